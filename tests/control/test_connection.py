"""The control channel's framing: vtpm/control/connection.py."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtpm.control import messages
from vtpm.control.connection import Connection
from vtpm.control.messages import CMD, CODE, TPM_RESULT, Malformed, Request


def code(command: int) -> bytes:
    return CODE.pack(command)


PLAIN = {
    CMD.GET_CAPABILITY: messages.GetCapability(),
    CMD.SHUTDOWN: messages.Shutdown(),
    CMD.GET_TPMESTABLISHED: messages.GetTpmEstablished(),
    CMD.HASH_START: messages.HashStart(),
    CMD.HASH_END: messages.HashEnd(),
    CMD.CANCEL_TPM_CMD: messages.CancelTpmCmd(),
    CMD.STORE_VOLATILE: messages.StoreVolatile(),
    CMD.STOP: messages.Stop(),
    CMD.GET_CONFIG: messages.GetConfig(),
    CMD.SET_DATAFD: messages.SetDataFd(),
}

FRAMES: list[tuple[str, Request]] = [
    *((code(command).hex(), request) for command, request in PLAIN.items()),
    ("0000000200000001", messages.Init(1)),
    ("0000000503", messages.SetLocality(3)),
    ("0000000503000000", messages.SetLocality(3)),
    ("0000000b04", messages.ResetTpmEstablished(4)),
    ("0000000b04000000", messages.ResetTpmEstablished(4)),
    ("00000007 00000003 616263", messages.HashData(0, b"abc")),
    ("00000007 00000000", messages.HashData(0, b"")),
    ("0000000c 00000001 00000002 00000010", messages.GetStateBlob(1, 2, 16)),
    ("0000000d 00000000 00000001 00000002 6162", messages.SetStateBlob(0, 1, b"ab")),
    ("0000000d 00000000 00000002 00000000", messages.SetStateBlob(0, 2, b"")),
    ("00000011 00000f80", messages.SetBufferSize(0xF80)),
    ("00000012 0000000000000003 00000004 00000000", messages.GetInfo(3, 4, 0)),
    ("00000013 0000012c", messages.LockStorage(300)),
]


def test_every_command_has_a_frame() -> None:
    """The table of this test leaves no command out."""
    assert {request.command for _, request in FRAMES} == set(CMD)


@pytest.mark.parametrize(("octets", "request_"), FRAMES, ids=lambda value: str(value)[:30])
def test_request(octets: str, request_: Request) -> None:
    """Each request is read as what it is, and leaves nothing behind."""
    connection = Connection()

    assert connection.receive_data(bytes.fromhex(octets)) == [request_]
    assert connection.give_up() == []


def parts_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream cut at the given places."""
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def joined(requests: list[Request]) -> list[Request]:
    """Requests with the parts of one HASH_DATA put together again."""
    whole: list[Request] = []
    pending = b""
    for request in requests:
        if not isinstance(request, messages.HashData):
            whole.append(request)
        elif request.remaining:
            pending += request.data
        else:
            whole.append(messages.HashData(0, pending + request.data))
            pending = b""
    return whole


@given(
    st.lists(st.sampled_from(FRAMES), min_size=1, max_size=8),
    st.lists(st.integers(min_value=0, max_value=10_000), max_size=12),
)
def test_any_split(frames: list[tuple[str, Request]], cuts: list[int]) -> None:
    """Requests are found wherever the stream is cut, and however many arrive at once."""
    connection = Connection()
    stream = b"".join(bytes.fromhex(octets) for octets, _ in frames)

    received = [request for part in parts_of(stream, cuts) for request in connection.receive_data(part)]

    assert joined(received) == [request for _, request in frames]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_garbage(parts: list[bytes]) -> None:
    """Whatever comes, a request that follows after the client was given up on is understood."""
    connection = Connection()
    for part in parts:
        for request in connection.receive_data(part):
            assert isinstance(request, Request)
    connection.give_up()

    assert connection.receive_data(code(CMD.GET_CONFIG))[-1:] == [messages.GetConfig()]


@pytest.mark.parametrize("command", sorted(messages.REQUESTS))
@pytest.mark.parametrize("octets", ["00", "000000", "0000000000000000", "ffffffff", "00000015"])
def test_too_long(command: int, octets: str) -> None:
    """A request with surplus octets in the same read is answered once, unless they can begin another."""
    body = next(bytes.fromhex(frame) for frame, request in FRAMES if request.command == command)
    connection = Connection()

    requests = connection.receive_data(body + bytes.fromhex(octets))
    connection.give_up()

    assert len(requests) == 1
    assert connection.receive_data(code(CMD.STOP)) == [messages.Stop()]


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ("0000000e ffffffff", Malformed(CMD.STOP, TPM_RESULT.BAD_PARAMETER)),
        ("00000002 00000000 ffffffff", Malformed(CMD.INIT, TPM_RESULT.BAD_PARAMETER)),
        (
            "0000000d 00000000 00000001 00000002 616263646566",
            Malformed(CMD.SET_STATEBLOB, TPM_RESULT.BAD_PARAMETER),
        ),
        ("00000007 00000001 6162636465", Malformed(CMD.HASH_DATA, TPM_RESULT.BAD_PARAMETER)),
        ("00000001 ffffffff", messages.GetCapability()),
        ("00000005 02 ffffff", messages.SetLocality(2)),
        ("00000011 00000000 ffffffff", messages.SetBufferSize(0)),
    ],
)
def test_too_long_exact(octets: str, expected: Request) -> None:
    """Surplus octets are refused by the commands by which swtpm refuses them, and ignored by the others."""
    assert Connection().receive_data(bytes.fromhex(octets)) == [expected]


@pytest.mark.parametrize(
    ("octets", "command"),
    [
        ("000000", CMD.GET_CAPABILITY),
        ("00000002", CMD.INIT),
        ("000000020000", CMD.INIT),
        ("00000005", CMD.SET_LOCALITY),
        ("00000007 00000004 6162", CMD.HASH_DATA),
        ("0000000c 00000001", CMD.GET_STATEBLOB),
        ("0000000d 00000000 00000001 00000004 6162", CMD.SET_STATEBLOB),
        ("0000000d 00000000 00000001 00100000 6162", CMD.SET_STATEBLOB),
        ("00000011", CMD.SET_BUFFERSIZE),
    ],
)
def test_too_short(octets: str, command: CMD) -> None:
    """A request whose end does not come is answered with BAD_PARAMETER, and the next one is understood."""
    connection = Connection()
    assert connection.receive_data(bytes.fromhex(octets))[:-1] == []
    assert connection.is_waiting

    assert connection.give_up() == [Malformed(command, TPM_RESULT.BAD_PARAMETER)]
    assert connection.give_up() == []
    assert connection.receive_data(code(CMD.STOP)) == [messages.Stop()]


def test_unknown_command() -> None:
    """An unknown command is BAD_ORDINAL; its length is unknown, so all that came with it is dropped."""
    connection = Connection()

    assert connection.receive_data(bytes.fromhex("00000014 00000000")) == [
        Malformed(0x14, TPM_RESULT.BAD_ORDINAL)
    ]
    assert connection.receive_data(code(CMD.STOP)) == [messages.Stop()]


def test_large_state_blob() -> None:
    """A blob beyond the limit is refused after its octets have passed, without being kept."""
    connection = Connection()
    size = messages.MAX_STATE_BLOB + 1
    header = bytes.fromhex("0000000d 00000000 00000001") + CODE.pack(size)

    assert connection.receive_data(header) == []
    assert connection.receive_data(bytes(size - 1)) == []
    assert connection.receive_data(bytes(1) + code(CMD.STOP)) == [
        Malformed(CMD.SET_STATEBLOB, TPM_RESULT.FAIL),
        messages.Stop(),
    ]


def test_hash_data_in_parts() -> None:
    """HASH_DATA is given on as it comes, and says what remains."""
    connection = Connection()

    assert connection.receive_data(bytes.fromhex("00000007 00000005 6162")) == [messages.HashData(3, b"ab")]
    assert connection.receive_data(b"cde") == [messages.HashData(0, b"cde")]


@pytest.mark.parametrize(
    ("response", "octets"),
    [
        (messages.SUCCESS, "00000000"),
        (messages.Result(TPM_RESULT.BAD_LOCALITY), "0000003d"),
        (messages.Capability(0, messages.PTM_CAP(0x1FFFF)), "000000000001ffff"),
        (messages.Established(0, 1, bytes(3)), "0000000001000000"),
        (messages.StateBlob(0, 0, 2, b"ab"), "00000000000000000000000200000002" + "6162"),
        (messages.Config(0, 1), "0000000000000001"),
        (messages.BufferSize(0, 0xF80, 0xAF8, 0x1000), "0000000000000f8000000af800001000"),
        (messages.Info(0, 3, b"{}\0"), "000000000000000300000003" + "7b7d00"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_response(response: object, octets: str) -> None:
    """Responses have the layout of tpm_ioctl.h."""
    assert Connection().send(response).hex() == octets
