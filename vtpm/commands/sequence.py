"""Part 3, clause 17: hash, MAC and event sequences."""

from typing import Annotated

from vtpm.commands.mac import running_mac
from vtpm.commands.pcr import extend
from vtpm.commands.table import command
from vtpm.commands.tickets import hash_check_ticket, null_hash_check_ticket
from vtpm.crypto.running import RunningDigest
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.spec.handles import TPMI_DH_OBJECT, TPMI_DH_PCR_NULL, TPMI_RH_HIERARCHY
from vtpm.spec.interface import TPMI_ALG_HASH_NULL, TPMI_ALG_MAC_SCHEME_NULL
from vtpm.spec.structures import (
    TPM2B_AUTH,
    TPM2B_DIGEST,
    TPM2B_MAX_BUFFER,
    TPML_DIGEST_VALUES,
    TPMT_HA,
    TPMT_TK_HASHCHECK,
)
from vtpm.state.entity import Role
from vtpm.state.object import Object
from vtpm.state.pcr import Pcr
from vtpm.state.sequence import Sequence, SequenceKind
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError, blaming
from vtpm.wire.structure import structure

SequenceHandle = Annotated[Sequence, TPMI_DH_OBJECT, Role.USER, TPM_RC.MODE]


@structure
class SequenceStartResponse:
    """17.2, 17.3 and 17.4"""

    sequence_handle: TPMI_DH_OBJECT


@command(TPM_CC.MAC_Start)
def mac_start(
    tpm: TpmState,
    key: Annotated[Object, TPMI_DH_OBJECT, Role.USER],
    /,
    auth: TPM2B_AUTH,
    in_scheme: TPMI_ALG_MAC_SCHEME_NULL,
) -> SequenceStartResponse:
    """17.2 and 17.3: begin the HMAC or CMAC of data that comes in parts; both commands have one code."""
    running = running_mac(key, in_scheme)

    sequence = Sequence(SequenceKind.MAC, auth, {running.alg: running})
    return SequenceStartResponse(sequence_handle=tpm.volatile.add(sequence))


@command(TPM_CC.HashSequenceStart)
def hash_sequence_start(
    tpm: TpmState, /, auth: TPM2B_AUTH, hash_alg: TPMI_ALG_HASH_NULL
) -> SequenceStartResponse:
    """17.4: begin the digest of data that comes in parts; without an algorithm, an event for every bank."""
    if hash_alg is TPM_ALG.NULL:
        # 17.9: a bank counts that could be allocated, whether or not it is.
        states = {alg: RunningDigest(alg) for alg in tpm.pcr.sizes}
        sequence = Sequence(SequenceKind.EVENT, auth, dict(states))
    else:
        sequence = Sequence(SequenceKind.HASH, auth, {hash_alg: RunningDigest(hash_alg)})
    return SequenceStartResponse(sequence_handle=tpm.volatile.add(sequence))


@command(TPM_CC.SequenceUpdate)
def sequence_update(tpm: TpmState, sequence: SequenceHandle, /, buffer: TPM2B_MAX_BUFFER) -> None:
    """17.7: more data."""
    sequence.update(buffer)


@structure
class SequenceCompleteResponse:
    """17.8"""

    result: TPM2B_DIGEST
    validation: TPMT_TK_HASHCHECK


@command(TPM_CC.SequenceComplete, flushed=True)
def sequence_complete(
    tpm: TpmState, sequence: SequenceHandle, /, buffer: TPM2B_MAX_BUFFER, hierarchy: TPMI_RH_HIERARCHY
) -> SequenceCompleteResponse:
    """17.8: the last data; the digest or MAC, and the end of the sequence."""
    if sequence.kind is SequenceKind.EVENT:
        raise TpmError(TPM_RC.MODE, at="sequence")
    with blaming("hierarchy"):
        tpm.proof_of(hierarchy)

    sequence.update(buffer)
    ((alg, state),) = sequence.states.items()
    result = state.digest()
    if sequence.kind is SequenceKind.MAC or sequence.is_generated or hierarchy == TPM_RH.NULL:
        validation = null_hash_check_ticket()
    else:
        validation = hash_check_ticket(tpm, hierarchy, alg, result)
    del tpm.volatile.objects[sequence.handle]
    return SequenceCompleteResponse(result=result, validation=validation)


@structure
class EventSequenceCompleteResponse:
    """17.9"""

    results: TPML_DIGEST_VALUES


@command(TPM_CC.EventSequenceComplete, nv=True, flushed=True)
def event_sequence_complete(
    tpm: TpmState,
    pcr: Annotated[Pcr | None, TPMI_DH_PCR_NULL, Role.USER],
    sequence: SequenceHandle,
    /,
    buffer: TPM2B_MAX_BUFFER,
) -> EventSequenceCompleteResponse:
    """17.9: the last data of an event; its digests extend a PCR, and the sequence ends."""
    if sequence.kind is not SequenceKind.EVENT:
        raise TpmError(TPM_RC.MODE, at="sequence")
    if pcr is not None and not tpm.pcr.may_extend(pcr.handle, tpm.locality):
        raise TpmError(TPM_RC.LOCALITY)

    sequence.update(buffer)
    results = tuple(TPMT_HA(alg, state.digest()) for alg, state in sequence.states.items())
    if pcr is not None:
        extend(tpm, pcr.handle, results)
    del tpm.volatile.objects[sequence.handle]
    return EventSequenceCompleteResponse(results=results)
