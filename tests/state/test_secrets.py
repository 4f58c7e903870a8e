"""What is printed of a TPM's state, by mistake or in a traceback, tells no secret."""

from collections.abc import Iterator
from typing import Any

from tests.state.rich import rich
from vtpm.state.object import Object
from vtpm.state.saved import save_authorization, save_hierarchy
from vtpm.state.sequence import Sequence
from vtpm.state.suspended import save_session
from vtpm.state.tpm import TpmState


def parts_of(tpm: TpmState) -> Iterator[Any]:
    """Everything that a TPM is made of."""
    yield tpm
    yield from (tpm.permanent, tpm.lockout, tpm.clock, tpm.reset, tpm.clear, tpm.volatile, tpm.random)
    yield from (tpm.pcr_group, tpm.pcr, tpm.act_entity(), tpm.pcr_entity(20))
    for container in (tpm.hierarchies, tpm.nv, tpm.persistent, tpm.volatile.objects, tpm.volatile.sessions):
        yield container
        yield from container.values()
    yield from (save_authorization(tpm.lockout), save_hierarchy(tpm.owner))
    yield from (save_session(session) for session in tpm.volatile.sessions.values())


def secrets_of(tpm: TpmState) -> Iterator[bytes]:
    """What must not be told."""
    yield from (tpm.permanent.firmware_root, tpm.reset.commit_nonce, tpm.pcr_group.auth_value)
    yield tpm.lockout.auth_value
    for hierarchy in tpm.hierarchies.values():
        yield from (hierarchy.seed, hierarchy.proof, hierarchy.auth_value)
    for index in tpm.nv.values():
        yield from (index.auth_value, index.data)
    for session in tpm.volatile.sessions.values():
        yield session.session_key
    for item in (*tpm.persistent.values(), *tpm.volatile.objects.values()):
        if isinstance(item, Object) and item.sensitive is not None:
            yield from (item.sensitive.sensitive, item.sensitive.seed_value)
        elif isinstance(item, Sequence):
            yield from (state.save()[:64] for state in item.states.values())


def test_no_secret_is_shown() -> None:
    """Neither as octets nor in hexadecimal."""
    tpm = rich().tpm
    # Longer and rarer than the words that the tests of authorization use.
    for entity in (tpm.lockout, tpm.owner, tpm.endorsement, tpm.platform, tpm.pcr_group):
        entity.auth_value = b"never to be shown"
    shown = "\n".join(repr(part) for part in parts_of(tpm))

    for secret in secrets_of(tpm):
        if secret.strip(b"\0"):
            assert repr(secret)[2:-1] not in shown
            assert secret.hex() not in shown
