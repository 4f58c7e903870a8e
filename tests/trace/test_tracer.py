"""vtpm/trace/tracer.py and message.py: commands and responses as lines."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.objects import SEALED, creation, handle_of, primary
from tests.sessions import AES_128, start_session
from tests.trace.conversation import Recorded, explained, lines_of
from vtpm.caller.messages import request_of
from vtpm.commands import COMMANDS, Command
from vtpm.spec.algorithms import TPMT_SIG_SCHEME
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.trace.event import Event, Kind
from vtpm.trace.message import clause_of
from vtpm.trace.tracer import Tracer

TRACES = sorted((Path(__file__).parents[1] / "vectors" / "traces").glob("*.trace"))
INDEX = 0x01800001
PUBLIC = TPMS_NV_PUBLIC(INDEX, TPM_ALG.SHA256, TPMA_NV(AUTHREAD=True, AUTHWRITE=True), b"", 8)
NO_SCHEME = TPMT_SIG_SCHEME(TPM_ALG.NULL, None)
PASSWORD = b"\xa1\xb2\xc3\xd4\xe5\xf6"
CAN_BE_READ = ("!", "left over", "no member", "too early", "refused here", "does not have")


@pytest.fixture
def recorded() -> Recorded:
    """A TPM whose conversation is recorded."""
    return Recorded()


class TestLines:
    """What is said of a command and its response"""

    def test_startup(self) -> None:
        """A command has its name and clause, its parameters their names and values."""
        assert explained("80010000000c000001440000", "80010000000a00000000") == [
            "1 > TPM2_Startup (Part 3, 9.3)",
            "      startup_type: TPM_SU_CLEAR",
            "1 < TPM_RC_SUCCESS",
        ]

    def test_nv(self, recorded: Recorded) -> None:
        """Handles have names, a session says what it authorizes, structures are taken apart."""
        recorded.nv_define_space(TPM_RH.OWNER, auth=PASSWORD, public_info=PUBLIC).check()
        recorded.nv_write(INDEX, INDEX, auths=[PASSWORD], data=b"\1" * 8, offset=0).check()

        assert recorded.lines() == [
            "1 > TPM2_NV_DefineSpace (Part 3, 31.3)",
            "      auth_handle: TPM_RH_OWNER",
            "      session 1: TPM_RS_PW for auth_handle, continueSession, password empty",
            "      auth: 6 octets, hidden",
            "      public_info.nv_index: NV Index 0x01800001",
            "      public_info.name_alg: TPM_ALG_SHA256",
            "      public_info.attributes: AUTHWRITE AUTHREAD",
            "      public_info.auth_policy: empty",
            "      public_info.data_size: 8",
            "1 < TPM_RC_SUCCESS",
            "      session 1: continueSession, HMAC empty",
            "2 > TPM2_NV_Write (Part 3, 31.7)",
            "      auth_handle: NV Index 0x01800001",
            "      nv_index: NV Index 0x01800001",
            "      session 1: TPM_RS_PW for auth_handle, continueSession, password 6 octets, hidden",
            "      data: 8 octets, hidden",
            "      offset: 0",
            "2 < TPM_RC_SUCCESS",
            "      session 1: continueSession, HMAC empty",
        ]

    def test_capability(self, recorded: Recorded) -> None:
        """What numbers stand for depends on the capability; numbers that belong together share a line."""
        recorded.get_capability(capability=6, property=0x105, property_count=1)
        recorded.get_capability(capability=2, property=0x144, property_count=2)
        lines = recorded.lines()

        assert "      property: TPM_PT_MANUFACTURER" in lines
        (manufacturer,) = (line for line in lines if "data[0]: property TPM_PT_MANUFACTURER" in line)
        assert manufacturer.endswith("'")
        assert "      property: TPM2_Startup" in lines
        assert "      capability_data.data: TPM2_Startup, TPM2_Shutdown" in lines

    def test_attestation(self, recorded: Recorded) -> None:
        """What an attestation says is taken apart, too."""
        recorded.get_time(TPM_RH.ENDORSEMENT, TPM_RH.NULL, qualifying_data=b"q", in_scheme=NO_SCHEME).check()
        lines = recorded.lines()

        assert "      attested.type: TPM_ST_ATTEST_TIME" in lines
        assert "      attested.extra_data: 1 octet 71" in lines

    def test_times(self) -> None:
        """Where a capture has times, a line says when, and how long it took."""
        lines = Tracer().lines(
            [
                Event(Kind.COMMAND, bytes.fromhex("80010000000a00000181"), 1000.0),
                Event(Kind.RESPONSE, bytes.fromhex("80010000000a00000101"), 1002.5),
                Event(Kind.COMMAND, bytes.fromhex("80010000000a00000181"), 2500.0),
            ]
        )

        heads = [line for line in lines if not line.startswith(" ")]
        assert heads == [
            "1 > TPM2_ReadClock (Part 3, 29.1), at 0.000 s",
            "1 < TPM_RC_FAILURE, after 2.5 ms",
            "2 > TPM2_ReadClock (Part 3, 29.1), at 1.500 s",
        ]

    def test_long_values(self) -> None:
        """A long value is cut, unless all of it is asked for."""
        request = request_of(COMMANDS[0x13C], [16], b"", b"\0\x50" + bytes(80))
        event = Event(Kind.COMMAND, request)

        assert f"      event_data: 80 octets {'00' * 64}…" in Tracer().explain(event)
        assert f"      event_data: 80 octets {'00' * 80}" in Tracer(whole=True).explain(event)

    def test_control_channel(self) -> None:
        """What goes over swtpm's control channel is named."""
        lines = lines_of(
            b"#connect - 1.0\nC> 0000000200000000 1.0\nC< 00000000 2.0\nC> ffffffff 2.0\nC< 00 3\n"
        )

        assert lines == [
            "# connect - 1.0",
            "control > CMD_INIT, 8 octets",
            "control < TPM_RESULT_SUCCESS, 4 octets",
            "control > part of a message, 4 octets",
            "control < part of a message, 1 octets",
        ]

    @pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
    def test_clause(self, command: Command) -> None:
        """Every command has its clause of Part 3."""
        assert re.fullmatch(r"Part 3, \d+\.\d+( and \d+\.\d+)?", clause_of(command))


class TestRefusals:
    """What is said of a response code"""

    @pytest.mark.parametrize(
        ("code", "line"),
        [
            ("000001c4", "TPM_RC_VALUE, parameter 1 (auth)"),
            ("000002d5", "TPM_RC_SIZE, parameter 2 (public_info)"),
            ("000005d5", "TPM_RC_SIZE, parameter 5"),
            ("00000184", "TPM_RC_VALUE, handle 1 (auth_handle)"),
            ("000009a2", "TPM_RC_BAD_AUTH, session 1 (for auth_handle)"),
            ("00000a8f", "TPM_RC_NONCE, session 2"),
            ("00000921", "TPM_RC_LOCKOUT"),
            ("00000fff", "0x0BF, parameter 15"),
        ],
    )
    def test_at_fault(self, code: str, line: str) -> None:
        """A response code names the handle, the parameter or the session at fault."""
        head, reason = explained("80020000000a0000012a", f"80010000000a{code}")[-2:]

        assert head == f"1 < {line}"
        assert reason.endswith("(Part 2, 6.6.3; Part 3, 31.3)")

    def test_reason(self) -> None:
        """It is explained, with the clauses to read."""
        assert explained("80010000000a00000181", "80010000000a00000100")[-1] == (
            "      refused: Startup must come first, and only once (Part 2, 6.6.3; Part 3, 29.1)"
        )

    def test_unknown_code(self) -> None:
        """A code of no specification is shown as it is."""
        assert explained("80010000000a00000181", "80010000000a00000abc")[-2:] == [
            "1 < 0x0BC, session 2",
            "      refused: no code of the specification (Part 2, 6.6.3; Part 3, 29.1)",
        ]


class TestSecrets:
    """Secrets are hidden unless they are asked for"""

    @pytest.fixture
    def lines(self, recorded: Recorded) -> Recorded:
        """An object with an authValue seals data, which comes out again."""
        parent = primary(recorded)
        given = creation(SEALED, data=b"\x5e\xcc\xe7\x00\x01\x02", auth=PASSWORD)
        made = recorded.create(parent, **given).check()
        item = handle_of(recorded.load(parent, in_private=made.out_private, in_public=made.out_public))
        assert recorded.unseal(item, auths=[PASSWORD]).out_data == b"\x5e\xcc\xe7\x00\x01\x02"
        return recorded

    def test_hidden(self, lines: Recorded) -> None:
        """Neither the authValue nor the data is shown."""
        text = "\n".join(lines.lines())

        assert "in_sensitive.data: 6 octets, hidden" in text
        assert "out_data: 6 octets, hidden" in text
        assert PASSWORD.hex() not in text
        assert "5ecce7" not in text

    def test_shown(self, lines: Recorded) -> None:
        """With `show_secrets` they are."""
        text = "\n".join(lines.lines(show_secrets=True))

        assert f"in_sensitive.user_auth: 6 octets {PASSWORD.hex()}" in text
        assert f"password 6 octets {PASSWORD.hex()}" in text
        assert text.count("5ecce7000102") == 2

    @pytest.mark.parametrize("cut", range(11, 61, 7))
    def test_undecodable(self, recorded: Recorded, cut: int) -> None:
        """What cannot be decoded is hidden, for it may be anything."""
        recorded.nv_define_space(TPM_RH.OWNER, auth=PASSWORD, public_info=PUBLIC).check()
        event = Event(Kind.COMMAND, recorded.events[0].octets[:cut])

        assert PASSWORD.hex() not in "\n".join(Tracer().explain(event))
        assert len(Tracer().explain(event)) >= 3

    def test_encrypted(self, recorded: Recorded) -> None:
        """Parameters that a session encrypts are said to be so."""
        session = start_session(recorded, symmetric=AES_128)
        session.authorizes = False
        session.attributes = TPMA_SESSION(continueSession=True, encrypt=True)
        recorded.get_random(bytes_requested=16, sessions=[session]).check()
        lines = recorded.lines()

        assert lines[-2] == "      random_bytes: encrypted, 16 octets"
        assert any(
            "session 1: HMAC session 0x02000000, continueSession encrypt, nonce" in line for line in lines
        )


class TestAnyOctets:
    """Whatever was captured has lines"""

    @pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
    def test_recorded(self, trace: Path) -> None:
        """Every recorded conversation is decoded to its end."""
        octets = trace.read_bytes()
        lines = lines_of(octets)

        messages = [line for line in octets.decode().splitlines() if line.startswith("D")]
        assert len([line for line in lines if line[:1].isdigit()]) == len(messages)
        assert [line for line in lines if any(mark in line for mark in CAN_BE_READ)] == []

    @given(octets=st.binary(max_size=200), response=st.binary(max_size=200))
    def test_octets(self, octets: bytes, response: bytes) -> None:
        """Any octets as a command and as a response."""
        events = [Event(Kind.COMMAND, octets), Event(Kind.RESPONSE, response), Event(Kind.EITHER, octets)]

        lines = list(Tracer(show_secrets=True, whole=True).lines(events))

        assert len([line for line in lines if not line.startswith(" ")]) == 3

    @given(
        code=st.sampled_from(sorted(COMMANDS)),
        sessions=st.booleans(),
        body=st.binary(max_size=120),
        answer=st.binary(max_size=120),
    )
    def test_bodies(self, code: int, body: bytes, answer: bytes, *, sessions: bool) -> None:
        """Any octets after the header of any command, and of its successful response."""
        tag = b"\x80\x02" if sessions else b"\x80\x01"
        request = tag + (10 + len(body)).to_bytes(4, "big") + code.to_bytes(4, "big") + body
        response = tag + (10 + len(answer)).to_bytes(4, "big") + bytes(4) + answer

        lines = list(Tracer().lines([Event(Kind.COMMAND, request), Event(Kind.RESPONSE, response)]))

        assert lines[0].startswith(f"1 > TPM2_{COMMANDS[code].name} (")
        assert "1 < TPM_RC_SUCCESS" in lines

    @pytest.mark.parametrize(
        ("octets", "lines"),
        [
            (
                "8001",
                [
                    "1 > no command",
                    "      header: a command has at least 10 octets; what is left: 2 octets, hidden",
                ],
            ),
            (
                "80010000000c200010000102",
                [
                    "1 > command 0x20001000",
                    "      body: this TPM does not have the command; what is left: 2 octets, hidden",
                ],
            ),
            (
                "00c1000000ff00000181",
                [
                    "1 > TPM2_ReadClock (Part 3, 29.1)",
                    "      tag: 0x00C1 (refused here: TPM_RC_TAG)",
                    "      size: the header says 255 octets, there are 10",
                ],
            ),
            (
                "80010000000c000001440007",
                ["1 > TPM2_Startup (Part 3, 9.3)", "      startup_type: 0x0007 (refused here: TPM_RC_VALUE)"],
            ),
            (
                "80010000000d00000144000000",
                [
                    "1 > TPM2_Startup (Part 3, 9.3)",
                    "      startup_type: TPM_SU_CLEAR",
                    "      parameters: octets are left over; what is left: 1 octet, hidden",
                ],
            ),
            (
                "80010000000b0000014400",
                [
                    "1 > TPM2_Startup (Part 3, 9.3)",
                    "      startup_type: the octets end too early; what is left: 1 octet, hidden",
                ],
            ),
        ],
    )
    def test_malformed(self, octets: str, lines: list[str]) -> None:
        """What is wrong with a command is said, where it is wrong."""
        assert explained(octets) == lines

    def test_response_alone(self) -> None:
        """A response whose command was not captured shows its code."""
        event = Event(Kind.RESPONSE, bytes.fromhex("80010000000c000000000008"))

        assert Tracer().explain(event) == [
            "? < TPM_RC_SUCCESS",
            "      body: it answers no command that can be decoded; what is left: 2 octets, hidden",
        ]
