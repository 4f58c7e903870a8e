"""Commands that took long run on a thread for a while."""

from tests.daemon.fake import CREATE, READ
from vtpm.daemon.device.pace import LIMIT, MOST, REMEMBERED, Pace


def test_slow_and_quick_again() -> None:
    """One that took long is slow until it was quick often enough; others are not concerned."""
    pace = Pace()
    pace.note(CREATE, LIMIT)
    assert not pace.is_slow(CREATE)
    pace.note(CREATE, 2 * LIMIT)
    assert pace.is_slow(CREATE)
    assert not pace.is_slow(READ)
    for _ in range(REMEMBERED):
        assert pace.is_slow(CREATE)
        pace.note(READ, 0)
        pace.note(CREATE, 0)
    assert not pace.is_slow(CREATE)


def test_any_code() -> None:
    """However many codes a client sends, few are remembered."""
    pace = Pace()
    for code in range(10 * MOST):
        pace.note(bytes(6) + code.to_bytes(4), 2 * LIMIT)
    assert len(pace._left) == MOST
    pace.note(b"", 1)
    assert not pace.is_slow(b"")
