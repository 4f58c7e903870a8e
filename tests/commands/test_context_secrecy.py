"""
Part 1, "Context Confidentiality": no two saved contexts share key and IV, whatever begins again in between.

Numbers of contexts begin again with a TPM Reset, and go back with a snapshot of the TPM.
In CFB two texts under one key and IV show their difference up to the first block that differs.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.keys import put_rsa
from tests.objects import SEALED, SIGN_ECC, creation, handle_of, primary
from tests.scenarios import Client, seeded
from tests.sessions import start_session
from vtpm import Instant, Tpm
from vtpm.commands import context_protection
from vtpm.commands.context_protection import CONFOUNDER_SIZE, NONCE_SIZE, first_integrity
from vtpm.engine.clone import WAYS
from vtpm.spec.constants import TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.context import TPMS_CONTEXT
from vtpm.spec.limits import MAX_CONTEXT_SIZE
from vtpm.spec.objects import TPMS_RSA_PARMS
from vtpm.state.object import Object
from vtpm.state.profile_check import LIMITS
from vtpm.state.saved import save_object
from vtpm.state.session import Session
from vtpm.state.suspended import save_session
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal, unmarshal

OWNER = TPM_RH.OWNER
SYMMETRIC = "0025000b00060472 0000 0006 0080 0043 0000"
INTEGRITY_SIZE = 2 + 64
HEADER_SIZE = 10
LONGEST_HEAD = 96
"""Octets, at most, between an integrity value and what was saved."""

SHOWN = 4
"""Octets in a row that do not agree by chance: a whole PIN."""

FIRST_FORM = json.loads((Path(__file__).parent.parent / "states" / "contexts" / "1.json").read_text())


class Saved(NamedTuple):
    """A context, and what was saved in it."""

    context: TPMS_CONTEXT
    contents: bytes


def saved(tpm: Client, handle: int) -> Saved:
    """Save a context of an object or a session."""
    item = tpm.tpm.volatile.objects.get(handle) or tpm.tpm.volatile.sessions[handle & 0xFFFFFF]
    assert isinstance(item, Object | Session)
    contents = save_object(item) if isinstance(item, Object) else marshal(save_session(item))
    return Saved(tpm.context_save(handle).context, contents)


def xored(a: bytes, b: bytes) -> bytes:
    """The difference of two strings, as far as both go."""
    return bytes(x ^ y for x, y in zip(a, b, strict=False))


def longest_run(octets: Iterator[bool]) -> int:
    """How many in a row are true."""
    longest = run = 0
    for octet in octets:
        run = run + 1 if octet else 0
        longest = max(longest, run)
    return longest


def shown(one: Saved, other: Saved) -> int:
    """How many octets in a row of one context are learned by whoever knows the other's contents."""
    difference = xored(one.contents, other.contents)
    found = 0
    for head in range(LONGEST_HEAD):
        begin = INTEGRITY_SIZE + head
        learned = xored(one.context.context_blob[begin:], other.context.context_blob[begin:])
        found = max(found, longest_run(a == b for a, b in zip(learned, difference, strict=False)))
    return found


def check_apart(*contexts: Saved) -> None:
    """The contexts have one number and one kind, so that key and IV could be the same; they are not."""
    places = {(item.context.sequence, item.context.saved_handle, item.context.hierarchy) for item in contexts}
    assert len(places) == 1
    for one, other in combinations(contexts, 2):
        assert one.contents != other.contents
        assert shown(one, other) < SHOWN


def loaded_again(tpm: Client, public: object) -> int:
    """An object of a public area alone, which anybody can load."""
    return handle_of(tpm.load_external(in_private=None, in_public=public, hierarchy=OWNER))


class TestOverResets:
    """The number begins again, and the proofs of the hierarchies stay."""

    @pytest.mark.parametrize("public", [SEALED, SIGN_ECC, SYMMETRIC])
    @pytest.mark.parametrize("shutdown", [TPM_SU.CLEAR, None])
    def test_public_area(self, tpm: Client, public: str, shutdown: TPM_SU | None) -> None:
        """The context of a public area alone shows nothing of the object that has it."""
        data = b"secret" if public == SEALED else b""
        item = primary(tpm, public, data=data, auth=b"4711")
        area = tpm.read_public(item).out_public
        target = saved(tpm, item)

        tpm.power_cycle(shutdown=shutdown)

        check_apart(target, saved(tpm, loaded_again(tpm, area)))

    def test_rsa(self, tpm: Client) -> None:
        """The same, of an RSA key."""
        item = put_rsa(tpm, auth=b"4711")
        area = tpm.read_public(item).out_public
        target = saved(tpm, item)

        tpm.power_cycle()

        check_apart(target, saved(tpm, loaded_again(tpm, area)))

    def test_changed_auth(self, tpm: Client) -> None:
        """Contexts of one object with its old, its new and an unknown authValue show none of them."""
        private = []
        parent = primary(tpm)
        blob = tpm.create(parent, **creation(SEALED, data=b"secret", auth=b"known"))
        given = {"in_private": blob.out_private, "in_public": blob.out_public}
        item = handle_of(tpm.load(parent, **given))
        for auth in (b"A" * 32, b"B" * 32):
            change = tpm.object_change_auth(item, parent, auths=[b"known"], new_auth=auth)
            private.append(change.out_private)
        contexts = []
        for area in (blob.out_private, *private):
            tpm.power_cycle()
            parent = primary(tpm)
            item = handle_of(tpm.load(parent, in_private=area, in_public=blob.out_public))
            contexts.append(saved(tpm, item))

        check_apart(*contexts)


class TestOverSnapshots:
    """Everything begins again, the null hierarchy's proof included."""

    @pytest.mark.parametrize("seeds", [(b"1", b"2"), (b"1", b"1")])
    def test_session(self, tpm: Client, seeds: tuple[bytes, bytes]) -> None:
        """Two futures of one session, even where the random generator repeats, share nothing."""
        session = start_session(tpm, TPM_SE.POLICY)
        blobs = {**tpm.tpm.snapshot(), **tpm.tpm.snapshot_volatile()}
        contexts = []
        for number, seed in enumerate(seeds):
            tpm.tpm = Tpm.restore(blobs, seeded(seed))
            tpm.tpm.resume(Instant(tpm.now))
            for _ in range(number):
                assert tpm.policy_auth_value(session.handle).rc == TPM_RC.SUCCESS
            contexts.append(saved(tpm, session.handle))

        check_apart(*contexts)

    def test_object(self, tpm: Client) -> None:
        """Nor do two objects that take the same slot in two futures."""
        blobs = {**tpm.tpm.snapshot(), **tpm.tpm.snapshot_volatile()}
        contexts = []
        for auth in (b"4711", b"0815"):
            tpm.tpm = Tpm.restore(blobs, seeded(b"repeated"))
            tpm.tpm.resume(Instant(tpm.now))
            contexts.append(saved(tpm, primary(tpm, SEALED, data=b"secret", auth=auth)))

        check_apart(*contexts)

    def test_copies(self, tpm: Client) -> None:
        """Nor do those of two copies of a TPM."""
        contexts = []
        blobs = tpm.tpm.snapshot()
        for auth in (b"4711", b"0815"):
            tpm.durable = WAYS["copy"](blobs, seeded())
            tpm.tpm = Tpm.restore(tpm.durable, seeded(b"repeated"))
            tpm.tpm.power_on(Instant(tpm.now))
            assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS
            contexts.append(saved(tpm, primary(tpm, SEALED, data=b"secret", auth=auth)))

        check_apart(*contexts)

    def test_same_contents(self, tpm: Client) -> None:
        """Not even the same contents under the same number lead to the same octets."""
        item = primary(tpm)
        blobs = []
        for _ in range(2):
            tpm.tpm.reset.object_context = 0
            blobs.append(tpm.context_save(item).context.context_blob[INTEGRITY_SIZE:])

        assert not any(a == b for a, b in zip(blocks(blobs[0]), blocks(blobs[1]), strict=True))


def blocks(octets: bytes) -> list[bytes]:
    """The blocks of a cipher."""
    return [octets[begin : begin + 16] for begin in range(0, len(octets), 16)]


def test_confounder(tpm: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is encrypted begins with a block of random octets, so even one key would show nothing."""
    fixed = bytes(32), bytes(16)
    monkeypatch.setattr(context_protection, "context_key", lambda *_: fixed)
    item = primary(tpm)
    first, second = (saved(tpm, item) for _ in range(2))

    assert shown(first, second) < SHOWN


def test_exchanged_parts(tpm: Client) -> None:
    """No part of a context fits another one, not even another of the same object."""
    item = primary(tpm)
    one, other = (tpm.context_save(item).context for _ in range(2))
    cuts = (0, INTEGRITY_SIZE, INTEGRITY_SIZE + NONCE_SIZE, len(one.context_blob))
    for begin, end in pairwise(cuts):
        blob = one.context_blob[:begin] + other.context_blob[begin:end] + one.context_blob[end:]

        assert tpm.context_load(context=replace(one, context_blob=blob)).rc == TPM_RC.INTEGRITY.parameter(1)
    assert tpm.context_load(context=replace(one, context_blob=other.context_blob)).rc != TPM_RC.SUCCESS
    assert tpm.context_load(context=one).rc == TPM_RC.SUCCESS


class TestSizes:
    """A context fits its structure, and the smallest response that a profile may have."""

    def test_largest(self, tpm: Client) -> None:
        """An RSA key of the greatest size, with the longest authValue."""
        item = tpm.tpm.volatile.objects[put_rsa(tpm, auth=b"a" * 32)]
        assert isinstance(item, Object)
        assert item.sensitive is not None
        assert isinstance(item.public.parameters, TPMS_RSA_PARMS)
        bits = max(tpm.tpm.profile.rsa_key_bits)
        parameters = replace(item.public.parameters, key_bits=bits)
        item.public = replace(item.public, parameters=parameters, unique=b"n" * (bits // 8))
        item.sensitive = replace(item.sensitive, sensitive=b"p" * (bits // 16))
        context = tpm.context_save(item.handle).context

        assert len(context.context_blob) <= INTEGRITY_SIZE + MAX_CONTEXT_SIZE
        assert HEADER_SIZE + len(marshal(context)) <= min(LIMITS["max_response_size"])

    def test_overhead(self, tpm: Client) -> None:
        """A context is longer than what it holds by what protects it, and no more."""
        item = saved(tpm, primary(tpm))

        head = INTEGRITY_SIZE + NONCE_SIZE + CONFOUNDER_SIZE + 8
        assert len(item.context.context_blob) == head + len(item.contents)


class TestFirstForm:
    """Contexts of the form that had neither nonce nor confounder"""

    @pytest.fixture
    def old(self) -> Client:
        """A TPM that has saved such contexts, and goes on."""
        tpm = Client()
        blobs = {name: bytes.fromhex(blob) for name, blob in FIRST_FORM["state"].items()}
        tpm.tpm = Tpm.restore(blobs, seeded())
        tpm.tpm.resume(Instant(0))
        return tpm

    @pytest.mark.parametrize("kind", FIRST_FORM["contexts"])
    def test_loaded(self, old: Client, kind: str) -> None:
        """They load, until the next TPM Reset."""
        context = unmarshal(TPMS_CONTEXT, bytes.fromhex(FIRST_FORM["contexts"][kind]))

        handle = handle_of(old.context_load(context=context))

        if kind == "object":
            assert old.unseal(handle, auths=[b"pw"]).out_data == b"secret"
        elif kind == "sequence":
            result = old.sequence_complete(handle, buffer=b"", hierarchy=TPM_RH.NULL).result
            assert result == sha256(b"abc" * 50).digest()
        old.power_cycle()
        assert old.context_load(context=context).rc == TPM_RC.INTEGRITY.parameter(1)

    @pytest.mark.parametrize("kind", FIRST_FORM["contexts"])
    def test_tampered(self, old: Client, kind: str) -> None:
        """Every octet of them is protected."""
        octets = bytes.fromhex(FIRST_FORM["contexts"][kind])
        for place in (0, 40, len(octets) - 1):
            changed = octets[:place] + bytes((octets[place] ^ 1,)) + octets[place + 1 :]
            context = unmarshal(TPMS_CONTEXT, changed)
            assert old.context_load(context=context).rc == TPM_RC.INTEGRITY.parameter(1)

    def test_never_written(self, old: Client) -> None:
        """What is saved again has the new form, which nobody can pass for the first one."""
        context = unmarshal(TPMS_CONTEXT, bytes.fromhex(FIRST_FORM["contexts"]["object"]))
        handle = old.context_load(context=context).loaded_handle
        again = old.context_save(handle).context
        blob = again.context_blob
        rest = blob[INTEGRITY_SIZE:]

        assert blob[2:INTEGRITY_SIZE] != first_integrity(old.tpm, again, rest)
        for cut in (NONCE_SIZE, NONCE_SIZE + CONFOUNDER_SIZE):
            shorter = blob[:INTEGRITY_SIZE] + rest[cut:]
            reply = old.context_load(
                context=TPMS_CONTEXT(again.sequence, again.saved_handle, again.hierarchy, shorter)
            )
            assert reply.rc == TPM_RC.INTEGRITY.parameter(1)
        assert old.context_load(context=again).rc == TPM_RC.SUCCESS
