"""RSA primary keys are searched once for a seed and a template, and gone when the seed is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.objects import STORAGE_RSA, creation, handle_of, template
from tests.scenarios import Client, Reply
from vtpm import Instant
from vtpm.commands import primary
from vtpm.crypto.rsa import RsaKey, derived_key
from vtpm.spec.constants import TPM_RH, TPM_SU
from vtpm.spec.objects import TPMS_RSA_PARMS
from vtpm.state.object import Object
from vtpm.state.primary import MOST
from vtpm.wire.error import TPM_RC

Verb = Callable[[Client], Reply]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the keys that are searched for from here on."""
    sizes: list[int] = []

    def counted(bits: int, *rest: Any) -> RsaKey:
        sizes.append(bits)
        return derived_key(bits, *rest)

    monkeypatch.setattr(primary, "derived_key", counted)
    return sizes


def small(number: int = 0) -> dict[str, Any]:
    """A storage key of 1024 bits; the unique makes templates differ."""
    public = template(STORAGE_RSA)
    assert isinstance(public.parameters, TPMS_RSA_PARMS)
    parameters = replace(public.parameters, key_bits=1024)
    return creation(replace(public, parameters=parameters, unique=number.to_bytes(2, "big")))


def areas(tpm: Client, hierarchy: int = TPM_RH.OWNER, number: int = 0) -> tuple[Any, Any]:
    """Both areas of a primary key, which is flushed again."""
    handle = handle_of(tpm.create_primary(hierarchy, **small(number)))
    item = tpm.tpm.volatile.objects[handle]
    tpm.flush_context(flush_handle=handle)
    assert isinstance(item, Object)
    return item.public, item.sensitive


def remembered(tpm: Client) -> list[str]:
    """The blobs of primary keys that are durable."""
    return [name for name in tpm.durable if name.startswith("primary/")]


@pytest.mark.parametrize("hierarchy", [TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM])
def test_again(tpm: Client, searches: list[int], hierarchy: int) -> None:
    """The second time gives the same areas without a search, even after a loss of power."""
    first = areas(tpm, hierarchy)
    again = areas(tpm, hierarchy)
    tpm.power_cycle(shutdown=None)
    after = areas(tpm, hierarchy)

    assert first == again == after
    assert searches == [1024]


def test_snapshot(tpm: Client) -> None:
    """A snapshot has what is durable."""
    areas(tpm)

    assert tpm.tpm.snapshot().keys() == tpm.durable.keys()
    assert len(remembered(tpm)) == 1


def test_sensitive_data(tpm: Client, searches: list[int]) -> None:
    """The caller's data is part of what a key is derived from."""
    given = small()
    names = set()
    for data in (b"", b"a", b"b"):
        given["in_sensitive"] = replace(given["in_sensitive"], data=data)
        reply = tpm.create_primary(TPM_RH.OWNER, **given)
        names.add(reply.name)
        tpm.flush_context(flush_handle=handle_of(reply))

    assert len(names) == len(searches) == 3


@pytest.mark.parametrize(
    ("hierarchy", "change"),
    [
        (TPM_RH.OWNER, lambda tpm: tpm.clear(TPM_RH.LOCKOUT)),
        (TPM_RH.PLATFORM, lambda tpm: tpm.change_pps(TPM_RH.PLATFORM)),
        (TPM_RH.ENDORSEMENT, lambda tpm: tpm.change_eps(TPM_RH.PLATFORM)),
    ],
)
def test_seed_change(tpm: Client, searches: list[int], hierarchy: int, change: Verb) -> None:
    """With the seed, its keys are erased, and only its keys."""
    before: dict[int, Any] = {
        handle: areas(tpm, handle) for handle in (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM)
    }
    assert len(remembered(tpm)) == 3

    assert change(tpm).rc == TPM_RC.SUCCESS

    assert len(remembered(tpm)) == 2
    searches.clear()
    assert areas(tpm, hierarchy)[0] != before[hierarchy][0]
    assert searches == [1024]
    for other in before.keys() - {hierarchy}:
        assert areas(tpm, other)[0] == before[other][0]
    assert searches == [1024]


def test_null(tpm: Client, searches: list[int]) -> None:
    """Keys of the null hierarchy are remembered until its seed changes, but never written down."""
    areas(tpm, TPM_RH.NULL)
    areas(tpm, TPM_RH.NULL)
    assert searches == [1024]
    assert remembered(tpm) == []

    tpm.tpm.power_on(Instant(0))
    tpm.startup(startup_type=TPM_SU.CLEAR)

    assert tpm.tpm.primaries == {}


@pytest.mark.slow
def test_room(tpm: Client, searches: list[int]) -> None:
    """The oldest key makes room for a new one."""
    for number in range(MOST + 1):
        handle_of(tpm.create_primary(TPM_RH.OWNER, **small(number)))
        tpm.tpm.volatile.objects.clear()

    assert len(remembered(tpm)) == len(tpm.tpm.primaries) == MOST
    areas(tpm, number=MOST)
    assert len(searches) == MOST + 1
    areas(tpm, number=0)
    assert len(searches) == MOST + 2


def test_orderly(tpm: Client) -> None:
    """A key that is remembered after Shutdown does not make the shutdown less orderly."""
    tpm.shutdown(shutdown_type=TPM_SU.CLEAR)
    areas(tpm)

    tpm.lose_power()
    tpm.startup(startup_type=TPM_SU.CLEAR)

    assert tpm.tpm.volatile.was_orderly
    assert len(remembered(tpm)) == 1
