"""The pipeline: what a TPM answers before any handler runs."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.keys import put_hmac, signing
from tests.objects import SIGN_ECC, SIGN_RSA, primary
from tests.scenarios import Client, Reply
from vtpm.commands import COMMANDS
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_ST, TPM_SU
from vtpm.state.profile import DEFAULT
from vtpm.wire.error import TPM_RC

HEADER = struct.Struct(">HII")
GET_RANDOM = HEADER.pack(TPM_ST.NO_SESSIONS, 12, TPM_CC.GetRandom) + b"\x00\x08"


def code_of(response: bytes) -> int:
    """The response code of a response that is well formed."""
    tag, size, code = HEADER.unpack_from(response)
    assert size == len(response)
    assert tag in (TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS, TPM_ST.RSP_COMMAND)
    return int(code)


class TestHeader:
    """Part 3, 5.2"""

    @pytest.mark.parametrize(
        ("request_octets", "expected"),
        [
            (GET_RANDOM, TPM_RC.SUCCESS),
            (GET_RANDOM[:11], TPM_RC.COMMAND_SIZE),
            (GET_RANDOM + b"\0", TPM_RC.COMMAND_SIZE),
            (b"", TPM_RC.COMMAND_SIZE),
            (GET_RANDOM[:9], TPM_RC.COMMAND_SIZE),
            (b"\x00\xc1" + GET_RANDOM[2:], TPM_RC.TAG),
            (HEADER.pack(TPM_ST.NO_SESSIONS, 10, 0x11E), TPM_RC.COMMAND_CODE),
            (HEADER.pack(TPM_ST.NO_SESSIONS, 10, 0x20000000), TPM_RC.COMMAND_CODE),
        ],
    )
    def test_header(self, tpm: Client, request_octets: bytes, expected: int) -> None:
        """Tag, size and command code are checked in this order."""
        assert expected == code_of(tpm.send(request_octets))

    def test_probe_for_tpm_1_2(self, tpm: Client) -> None:
        """Part 3, 6.1: no compatibility; OVMF takes TPM_ST_RSP_COMMAND in the answer for a TPM 1.2."""
        assert tpm.send(bytes.fromhex("00c10000000a000000f1")) == bytes.fromhex("80010000000a00000097")

    def test_longest_command(self, tpm: Client) -> None:
        """A command longer than the profile allows is TPM_RC_COMMAND_SIZE, whatever else is wrong with it."""
        size = tpm.tpm.profile.max_command_size + 1
        request = HEADER.pack(TPM_ST.NO_SESSIONS, size, TPM_CC.GetRandom).ljust(size, b"\0")

        assert code_of(tpm.send(request)) == TPM_RC.COMMAND_SIZE


class TestModes:
    """Part 3, 5.3"""

    def test_before_startup(self) -> None:
        """Only Startup is executed before Startup."""
        tpm = Client(start=False)

        assert tpm.get_random(bytes_requested=8).rc == TPM_RC.INITIALIZE
        assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.SUCCESS

    def test_startup_twice(self, tpm: Client) -> None:
        """Startup is not executed again."""
        assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == TPM_RC.INITIALIZE

    def test_failure_mode(self, tpm: Client) -> None:
        """A TPM in failure mode answers TPM_RC_FAILURE to all but GetTestResult and GetCapability."""
        tpm.tpm.fail("a test")

        assert tpm.get_random(bytes_requested=8).rc == TPM_RC.FAILURE
        get_test_result = HEADER.pack(TPM_ST.NO_SESSIONS, 10, TPM_CC.GetTestResult)
        response = tpm.send(get_test_result)
        assert code_of(response) == TPM_RC.SUCCESS
        assert response[10:] == b"\x00\x06a test" + TPM_RC.FAILURE.to_bytes(4, "big")

    @pytest.mark.parametrize(
        "octets",
        [
            b"",
            GET_RANDOM[:9],
            HEADER.pack(TPM_ST.SESSIONS, 10, TPM_CC.GetTestResult),
            HEADER.pack(TPM_ST.NO_SESSIONS, 11, TPM_CC.GetTestResult),
            HEADER.pack(TPM_ST.NO_SESSIONS, 11, TPM_CC.GetTestResult) + b"\0",
            HEADER.pack(TPM_ST.NO_SESSIONS, 10, TPM_CC.GetCapability),
            HEADER.pack(TPM_ST.NO_SESSIONS, 22, TPM_CC.GetCapability) + bytes(12),
            HEADER.pack(TPM_ST.NO_SESSIONS, 12, TPM_CC.Startup) + bytes(2),
        ],
    )
    def test_failure_mode_has_one_answer(self, tpm: Client, octets: bytes) -> None:
        """Whatever is not one of the two, or not well formed, is TPM_RC_FAILURE."""
        tpm.tpm.fail("a test")

        assert tpm.send(octets) == HEADER.pack(TPM_ST.NO_SESSIONS, 10, TPM_RC.FAILURE)

    def test_unexpected_exception(
        self, tpm: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An exception that is no response code puts the TPM in failure mode, and nothing becomes durable."""

        def broken(_: int) -> bytes:
            tpm.tpm.touch_permanent()
            raise ZeroDivisionError

        monkeypatch.setattr(tpm.tpm, "random", broken)

        assert tpm.get_random(bytes_requested=8).rc == TPM_RC.FAILURE
        assert tpm.changes == {}
        assert "failure mode" in caplog.text


class TestHandles:
    """Part 3, 5.4"""

    def test_missing_handle(self, tpm: Client) -> None:
        """A handle area that ends early is TPM_RC_INSUFFICIENT with the number of the handle."""
        request = HEADER.pack(TPM_ST.NO_SESSIONS, 12, TPM_CC.ReadPublic) + b"\x80\x00"

        assert TPM_RC.INSUFFICIENT.handle(1) == code_of(tpm.send(request))


class TestAuthorizationArea:
    """Part 3, 5.5"""

    def test_forbidden(self, tpm: Client) -> None:
        """A command that takes no sessions refuses an authorization area."""
        area = bytes.fromhex("00000009400000090000010000")
        body = area + (0x80000000).to_bytes(4, "big")
        request = HEADER.pack(TPM_ST.SESSIONS, 10 + len(body), TPM_CC.FlushContext) + body

        assert code_of(tpm.send(request)) == TPM_RC.AUTH_CONTEXT

    @pytest.mark.parametrize("size", [0, 8, 100, 0xFFFFFFFF])
    def test_size(self, tpm: Client, size: int) -> None:
        """AuthorizationSize holds at least one session and ends within the command."""
        body = size.to_bytes(4, "big") + bytes.fromhex("400000090000010000") + b"\0\x08"
        request = HEADER.pack(TPM_ST.SESSIONS, 10 + len(body), TPM_CC.GetRandom) + body

        assert code_of(tpm.send(request)) == TPM_RC.AUTHSIZE

    def test_password_without_a_use(self, tpm: Client) -> None:
        """A password authorizes something, or it is TPM_RC_HANDLE."""
        body = bytes.fromhex("00000009400000090000010000") + b"\0\x08"
        request = HEADER.pack(TPM_ST.SESSIONS, 10 + len(body), TPM_CC.GetRandom) + body

        assert TPM_RC.HANDLE.session(1) == code_of(tpm.send(request))

    @pytest.mark.parametrize(
        ("session", "expected"),
        [
            ("400000090000200000", TPM_RC.ATTRIBUTES.session(1)),
            ("4000000900017701 0000", TPM_RC.NONCE.session(1)),
            ("400000090000080000", TPM_RC.RESERVED_BITS.session(1)),
            ("400000080000010000", TPM_RC.VALUE.session(1)),
            ("020000000000010000", TPM_RC.REFERENCE_S0),
            ("4000000900000100", TPM_RC.INSUFFICIENT.session(1)),
        ],
    )
    def test_malformed_sessions(self, tpm: Client, session: str, expected: int) -> None:
        """What is wrong with a session by itself carries its number."""
        octets = bytes.fromhex(session)
        area = len(octets).to_bytes(4, "big") + octets
        if len(octets) < 9:
            area = (9).to_bytes(4, "big") + octets + b"\0"
            area = area[:4] + octets[:7] + b"\x00\x05"
        body = area + b"\0\x08"
        request = HEADER.pack(TPM_ST.SESSIONS, 10 + len(body), TPM_CC.GetRandom) + body

        assert expected == code_of(tpm.send(request))


class TestParameters:
    """Part 3, 5.8"""

    def test_insufficient(self, tpm: Client) -> None:
        """A parameter that ends early is TPM_RC_INSUFFICIENT with its number."""
        request = HEADER.pack(TPM_ST.NO_SESSIONS, 11, TPM_CC.GetRandom) + b"\0"

        assert TPM_RC.INSUFFICIENT.parameter(1) == code_of(tpm.send(request))

    def test_surplus(self, tpm: Client) -> None:
        """Octets after the last parameter are TPM_RC_SIZE without a number."""
        request = HEADER.pack(TPM_ST.NO_SESSIONS, 13, TPM_CC.GetRandom) + b"\0\x08\0"

        assert code_of(tpm.send(request)) == TPM_RC.SIZE


class TestUnusedParameter:
    """Part 3, 5.8 and 8.2"""

    def test_refused(self) -> None:
        """A parameter that is of no use in this case must be well formed all the same."""
        profile = replace(DEFAULT, algorithms=DEFAULT.algorithms - {TPM_ALG.SHA384})
        tpm = Client(profile=profile)
        key = put_hmac(tpm)

        codes = [
            tpm.certify(key, TPM_RH.NULL, qualifying_data=b"", in_scheme=signing(TPM_ALG.ECDSA, alg)).rc
            for alg in (TPM_ALG.SHA256, TPM_ALG.SHA384)
        ]

        assert codes == [TPM_RC.SUCCESS, TPM_RC.HASH.parameter(2)]


class TestResponse:
    """Part 3, 4.3, 6.1 and 6.2"""

    PASSWORD = bytes.fromhex("00000009 40000009 0000 01 0000")

    def test_success(self, tpm: Client) -> None:
        """The response has the tag of the command, and with sessions the size of its parameters."""
        request = HEADER.pack(TPM_ST.SESSIONS, 27, TPM_CC.Clear) + bytes.fromhex("4000000a") + self.PASSWORD

        plain, with_sessions = tpm.send(GET_RANDOM), tpm.send(request)

        assert HEADER.unpack_from(plain) == (TPM_ST.NO_SESSIONS, 20, TPM_RC.SUCCESS)
        assert HEADER.unpack_from(with_sessions) == (TPM_ST.SESSIONS, 19, TPM_RC.SUCCESS)
        assert with_sessions[10:] == bytes(4) + bytes.fromhex("0000 01 0000")

    def test_refusal(self, tpm: Client) -> None:
        """A refusal is a header with TPM_ST_NO_SESSIONS, whatever the tag of the command."""
        request = HEADER.pack(TPM_ST.SESSIONS, 27, TPM_CC.Clear) + bytes.fromhex("40000001") + self.PASSWORD

        assert tpm.send(request) == HEADER.pack(TPM_ST.NO_SESSIONS, 10, TPM_RC.VALUE.handle(1))


class TestCost:
    """Which commands a server had better not wait for"""

    @pytest.mark.parametrize(
        ("octets", "expected"),
        [
            (HEADER.pack(TPM_ST.SESSIONS, 10, TPM_CC.CreatePrimary), True),
            (GET_RANDOM, False),
            (HEADER.pack(TPM_ST.NO_SESSIONS, 10, 0x11E), False),
            (GET_RANDOM[:9], False),
            (b"", False),
        ],
    )
    def test_octets(self, tpm: Client, octets: bytes, expected: bool) -> None:  # noqa: FBT001
        """The header tells, if there is one."""
        assert tpm.tpm.is_costly(octets) is expected

    @pytest.mark.parametrize(
        ("public", "expected"),
        [
            (SIGN_RSA, False),
            (SIGN_RSA.replace("0800", "0c00"), True),
            (SIGN_ECC, False),
            (SIGN_ECC.replace("0003 0010", "0011 0010"), True),
        ],
        ids=["RSA-2048", "RSA-3072", "P-256", "BN P-638"],
    )
    def test_keys(self, tpm: Client, public: str, expected: bool) -> None:  # noqa: FBT001
        """A key in the handle area tells, transient or persistent; one that is not loaded does not."""
        key = primary(tpm, public)
        sign = HEADER.pack(TPM_ST.SESSIONS, 14, TPM_CC.Sign)
        assert tpm.tpm.is_costly(sign + key.to_bytes(4, "big")) is expected
        assert not tpm.tpm.is_costly(sign + (key + 1).to_bytes(4, "big"))
        assert not tpm.tpm.is_costly(sign)
        assert not tpm.tpm.is_costly(GET_RANDOM + key.to_bytes(4, "big"))
        tpm.evict_control(TPM_RH.OWNER, key, persistent_handle=0x81000001).check()
        assert tpm.tpm.is_costly(sign + bytes.fromhex("81000001")) is expected


class TestAnyOctets:
    """A guest can never make the TPM raise."""

    @given(
        code=st.sampled_from(sorted(COMMANDS)),
        tag=st.sampled_from([TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS]),
        body=st.binary(max_size=200),
    )
    def test_any_body(self, code: int, tag: int, body: bytes) -> None:
        """Whatever follows a good header, the response is well formed and the TPM goes on."""
        tpm = Client()

        code_of(tpm.send(HEADER.pack(tag, HEADER.size + len(body), code) + body))
        assert not tpm.tpm.volatile.failed

    @given(octets=st.binary(max_size=64))
    def test_anything(self, octets: bytes) -> None:
        """Any octets at all get a response code."""
        assert code_of(Client().send(octets)) != TPM_RC.SUCCESS


def test_reply_names_the_code() -> None:
    """A field of a refused command is asked for in vain, and the message says why."""
    with pytest.raises(AttributeError, match="TPM_RC_VALUE, parameter 2"):
        _ = Reply(TPM_RC.VALUE.parameter(2), b"").out_public
