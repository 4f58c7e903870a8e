"""Faults that other emulators have had on their control channels, by their numbers."""

import tracemalloc

import pytest

from vtpm.control import messages
from vtpm.control.blobs import BlobError, pack, unpack
from vtpm.control.connection import Connection
from vtpm.control.messages import CMD, PTM_BLOB_TYPE, TPM_RESULT, Malformed
from vtpm.control.mssim import SIM, TPM_PORT, UINT32, ProtocolError, SimulatorConnection

PERMANENT = PTM_BLOB_TYPE.PERMANENT
STATE = {"permanent": b"seeds", "nv/01800001": bytes(40)}


@pytest.mark.parametrize("size", range(12))
def test_cve_2026_75900(size: int) -> None:
    """
    CVE-2026-75900: SET_STATEBLOB whose body ends before the length of the blob.

    The answer is BAD_PARAMETER, which is 3 on the wire, and no octet beyond the body is looked at.
    """
    connection = Connection()
    body = bytes.fromhex("00000000 00000001 00000002")[:size]

    assert connection.receive_data(CMD.SET_STATEBLOB.to_bytes(4, "big") + body) == []
    assert connection.give_up() == [Malformed(CMD.SET_STATEBLOB, TPM_RESULT.BAD_PARAMETER)]
    assert int(TPM_RESULT.BAD_PARAMETER) == 3
    assert connection.receive_data(CMD.STOP.to_bytes(4, "big")) == [messages.Stop()]


def test_cve_2022_23645() -> None:
    """CVE-2022-23645: no octet of a state blob's header is believed; each is what it must be, or refused."""
    blob = pack(PERMANENT, STATE)
    for place in range(64):
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            altered = blob[:place] + bytes([value]) + blob[place + 1 :]
            if altered != blob:
                with pytest.raises(BlobError):
                    unpack(PERMANENT, altered)


@pytest.mark.parametrize("size", [0x80000000, 0xFFFFFFFC, 0xFFFFFFFF])
def test_simulator_length_near_the_end_of_its_range(size: int) -> None:
    """A length beyond INT32_MAX or near 2**32 ends the connection, and nothing is allocated for it."""
    connection = SimulatorConnection(TPM_PORT)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match=str(size)):
            connection.receive_data(UINT32.pack(SIM.SEND_COMMAND) + b"\0" + UINT32.pack(size))
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 1 << 20
