"""Part 1, "Failure Mode": the two commands that are still answered, without any other part of the TPM."""

import struct

from vtpm.commands.properties import failure_properties
from vtpm.spec.constants import TPM_CAP, TPM_CC, TPM_ST
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC

HEADER = struct.Struct(">HII")
CAPABILITY = struct.Struct(">III")
PROPERTIES = struct.Struct(">BII")
PROPERTY = struct.Struct(">II")


def execute_failed(tpm: TpmState, request: bytes) -> bytes:
    """GetTestResult, and GetCapability of one property; TPM_RC_FAILURE for everything else."""
    if len(request) >= HEADER.size:
        tag, size, code = HEADER.unpack_from(request)
        if tag == TPM_ST.NO_SESSIONS and size == len(request):
            if code == TPM_CC.GetTestResult and size == HEADER.size:
                return answer(test_result(tpm))
            if code == TPM_CC.GetCapability and size == HEADER.size + CAPABILITY.size:
                capability, first, count = CAPABILITY.unpack_from(request, HEADER.size)
                if capability == TPM_CAP.TPM_PROPERTIES:
                    return answer(one_property(tpm, first, count))
    return HEADER.pack(TPM_ST.NO_SESSIONS, HEADER.size, TPM_RC.FAILURE)


def answer(parameters: bytes) -> bytes:
    """A response without sessions."""
    return HEADER.pack(TPM_ST.NO_SESSIONS, HEADER.size + len(parameters), TPM_RC.SUCCESS) + parameters


def test_result(tpm: TpmState) -> bytes:
    """Part 3, 10.4: outData (what failed, for the vendor to read) and testResult."""
    reason = tpm.volatile.failure.encode()[:64]
    return len(reason).to_bytes(2, "big") + reason + TPM_RC.FAILURE.to_bytes(4, "big")


def one_property(tpm: TpmState, first: int, count: int) -> bytes:
    """
    Part 3, 30.2 in failure mode: the property asked for, or the next one there is.

    No more than one is returned at a time; moreData says whether that leaves any.
    """
    there = failure_properties(tpm, first)
    found = there[: min(count, 1)]
    head = PROPERTIES.pack(len(found) < len(there), TPM_CAP.TPM_PROPERTIES, len(found))
    return head + b"".join(PROPERTY.pack(*item) for item in found)
