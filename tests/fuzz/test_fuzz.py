"""The campaign, for a moment."""

from typing import ClassVar

import pytest

from tests.fuzz.campaign import mutate
from tests.fuzz.engine import RAW, SIZED, Engine, item
from tests.fuzz.target import Finding, Target
from tests.fuzz.targets import TARGETS
from tests.scenarios import HEADER
from vtpm.commands import COMMANDS
from vtpm.spec.constants import TPM_CC, TPM_ST

FOREVER = 3600.0
GET_RANDOM = HEADER.pack(TPM_ST.NO_SESSIONS, 0, TPM_CC.GetRandom) + b"\0\4"


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_target(name: str) -> None:
    """Every seed and a few hundred inputs near them do what they may do, and some of them are taken."""
    result = mutate(TARGETS[name](), FOREVER, seed=1, more=300)

    assert not result.findings
    assert result.inputs > 300
    assert result.taken


class Odd(Target):
    """A program that cannot take an octet."""

    name: ClassVar[str] = "odd"

    def seeds(self) -> list[bytes]:
        """Octets that it can take, and one that it cannot."""
        return [b"abc", b"abd", b"ab!", b"abe!"]

    def check(self, octets: bytes) -> bool:
        """Read until the octet."""
        if b"!" in octets:
            raise LookupError(octets)
        return bool(octets)


def test_finding_is_reported_once() -> None:
    """Inputs that fail at the same place are one finding, with a traceback."""
    result = mutate(Odd(), FOREVER, seed=1, more=200)

    (finding,) = result.findings
    assert "LookupError: b'ab!'" in finding
    assert "1 FINDINGS" in str(result)


def test_engine_notices_failure_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that raises is a finding, which says the request."""
    engine = Engine()
    assert engine.check(item(SIZED, GET_RANDOM))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    broken = COMMANDS[TPM_CC.GetRandom]
    monkeypatch.setitem(vars(broken), "run", fail)
    with pytest.raises(Finding, match=r"(?s)failure mode: RuntimeError in GetRandom.*0000017b0004"):
        engine.check(item(SIZED, GET_RANDOM))


def test_engine_sends_octets_as_they_are() -> None:
    """A raw item is not mended: its size is wrong, and the TPM refuses it."""
    assert not Engine().check(item(RAW, GET_RANDOM))
