"""Any well-formed command: nothing breaks, and a refusal changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands.nv_indices import SELF, define
from tests.recorded import load, vectors
from tests.scenarios import HEADER, Client, Password, request_of
from tests.sessions import AES_128, start_session
from tests.spec.strategies import values_of
from vtpm.commands import COMMANDS, Command
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_NT, TPM_RH, TPM_SE
from vtpm.state.profile import DEFAULT, Profile
from vtpm.wire.codec import Codec
from vtpm.wire.error import TPM_RC, TpmError

KEYS = vectors("hmac_sessions")["keys"]
INDICES = {
    0x01000001: (SELF, 8),
    0x01000002: (SELF.but(TPM_NT=TPM_NT.COUNTER), 8),
    0x01000003: (SELF.but(TPM_NT=TPM_NT.BITS, ORDERLY=True), 8),
    0x01000004: (SELF.but(TPM_NT=TPM_NT.EXTEND, WRITE_STCLEAR=True, READ_STCLEAR=True), 32),
    0x01000005: (TPMA_NV(OWNERREAD=True, OWNERWRITE=True, NO_DA=True, WRITEALL=True), 40),
}
SEQUENCE = 0x80000002
HANDLES = [
    *INDICES,
    *(int(key["handle"], 16) for key in KEYS),
    SEQUENCE,
    0x02000000,
    0x03000001,
    0x03000002,
    0,
    16,
    TPM_RH.OWNER,
    TPM_RH.PLATFORM,
    TPM_RH.ENDORSEMENT,
    TPM_RH.LOCKOUT,
    TPM_RH.NULL,
    0x81000001,
    0x01000009,
]
"""Handles of something of every kind, and two of nothing."""

NOT_TRIED = {TPM_CC.Startup, TPM_CC.Shutdown, TPM_CC.SetCapability, TPM_CC.ContextLoad}
"""What ends the run, and what has no well-formed parameters but its own."""

FAILED_AUTHORIZATION = {TPM_RC.BAD_AUTH.session(1), TPM_RC.AUTH_FAIL.session(1)}
"""What a refused command may leave behind: a count of failures."""


def populated(profile: Profile = DEFAULT) -> Client:
    """A TPM with something of every kind, all authValues empty."""
    tpm = Client(profile=profile)
    for handle, (attributes, size) in INDICES.items():
        define(tpm, attributes, size, handle=handle)
    for handle in (0x01000001, 0x01000005):
        auth = handle if handle == 0x01000001 else TPM_RH.OWNER
        tpm.nv_write(auth, handle, data=bytes(INDICES[handle][1]), offset=0)
    for key in KEYS:
        load(tpm, int(key["handle"], 16), key["public"], key["private"])
    assert tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256).sequence_handle == SEQUENCE
    for kind in (TPM_SE.HMAC, TPM_SE.POLICY, TPM_SE.TRIAL):
        start_session(tpm, kind, symmetric=AES_128)
    tpm.tpm.physical_presence = True
    tpm.tpm.lockout.used = True
    return tpm


def accepts(codec: Codec, handle: int) -> bool:
    """Is the handle well formed for this argument?"""
    try:
        codec.parse(handle.to_bytes(4, "big"))
    except TpmError:
        return False
    return True


HANDLES_OF = {
    code: [[handle for handle in HANDLES if accepts(part.codec, handle)] for part in command.handles]
    for code, command in COMMANDS.items()
}
TRIED = [
    COMMANDS[code]
    for code, choices in HANDLES_OF.items()
    if code not in NOT_TRIED and not COMMANDS[code].costly and all(choices)
]


@st.composite
def requests(draw: st.DrawFn) -> tuple[Command, bytes]:
    """A command with well-formed handles and parameters, authorized by empty passwords."""
    command = draw(st.sampled_from(TRIED))
    handles = [draw(st.sampled_from(choices)) for choices in HANDLES_OF[command.code]]
    parameters = b"".join(codec.build(draw(values_of(codec))) for codec in command.parameters.values())
    area = b"".join(Password().octets(command, [], b"") for _ in range(command.authorizations))
    return command, request_of(command, handles, area, parameters)


def state_of(tpm: Client) -> dict[str, bytes]:
    """Everything that the TPM remembers."""
    return tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()


@pytest.mark.slow
@given(st.lists(requests(), min_size=1, max_size=8))
def test_any_commands(commands: list[tuple[Command, bytes]]) -> None:
    """The TPM never fails, and is after a refused command as it was before."""
    tpm = populated()
    before = state_of(tpm)
    for command, octets in commands:
        response = tpm.send(octets)
        _, size, code = HEADER.unpack_from(response)
        after = state_of(tpm)

        assert size == len(response)
        assert not tpm.tpm.volatile.failed, f"{command.name}: {tpm.tpm.volatile.failure}"
        if code not in (TPM_RC.SUCCESS, *FAILED_AUTHORIZATION):
            assert after == before, f"{command.name} is refused, and has changed something"
        before = after
