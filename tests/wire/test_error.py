"""Response codes and their positions."""

import pytest

from vtpm.wire.error import TPM_RC, Decoded, Session, TpmError, decode, positioned

POSITIONAL = sorted(code for code in TPM_RC if code.positional)
PLAIN = sorted(code for code in TPM_RC if not code.positional)
POSITIONS = [("", 0), *(("handle", n) for n in range(1, 8)), *(("session", n) for n in range(1, 8))]
POSITIONS += [("parameter", n) for n in range(1, 16)]


class TestPositions:
    """Part 2, 6.6.2"""

    @pytest.mark.parametrize("code", POSITIONAL, ids=lambda code: code.name)
    def test_position_comes_back(self, code: TPM_RC) -> None:
        """Whatever is put into a response code is found in it again, and no two are the same."""
        seen = set()
        for kind, number in POSITIONS:
            rc = positioned(code, **({kind: number} if kind else {}))
            assert decode(rc) == Decoded((code, kind, number))
            assert rc < 1 << 12
            seen.add(rc)

        assert len(seen) == len(POSITIONS)

    @pytest.mark.parametrize("code", PLAIN, ids=lambda code: code.name)
    def test_code_without_position(self, code: TPM_RC) -> None:
        """A format-zero code is itself, and refuses a position."""
        assert decode(code) == Decoded((code, "", 0))
        with pytest.raises(AssertionError):
            TpmError(code, at="data")

    @pytest.mark.parametrize(
        ("rc", "value", "text"),
        [
            (TPM_RC.VALUE.parameter(2), 0x2C4, "TPM_RC_VALUE, parameter 2"),
            (TPM_RC.HANDLE.handle(1), 0x18B, "TPM_RC_HANDLE, handle 1"),
            (TPM_RC.AUTH_FAIL.session(1), 0x98E, "TPM_RC_AUTH_FAIL, session 1"),
            (TPM_RC.SIZE.parameter(15), 0xFD5, "TPM_RC_SIZE, parameter 15"),
            (TPM_RC.NV_LOCKED, 0x148, "TPM_RC_NV_LOCKED"),
            (TPM_RC.LOCKOUT, 0x921, "TPM_RC_LOCKOUT"),
            (0x1FF, 0x1FF, "0x0BF, parameter 1"),
        ],
    )
    def test_known_values(self, rc: int, value: int, text: str) -> None:
        """Values as other software prints them."""
        assert rc == value
        assert str(decode(rc)) == text


class TestTpmError:
    """The error that carries a response code to the end of a command"""

    def test_gains_a_position_once(self) -> None:
        """The innermost position stays."""
        error = TpmError(TPM_RC.SIZE).positioned_at("data").positioned_at("offset")

        assert (error.rc, error.at, str(error)) == (TPM_RC.SIZE, "data", "TPM_RC_SIZE at data")

    def test_format_zero_code_gains_none(self) -> None:
        """A code that cannot have a position is not given one."""
        assert TpmError(TPM_RC.NV_RANGE).positioned_at("data").at is None

    def test_session(self) -> None:
        """Sessions have numbers."""
        assert str(TpmError(TPM_RC.AUTH_FAIL, at=Session(2))) == "TPM_RC_AUTH_FAIL at session 2"
