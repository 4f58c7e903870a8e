"""Every command names its clause of Part 3, and so does a test of it."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from tests.commands.recorder import LISTED, entry_of, faults
from tests.scenarios import Client
from tests.sessions import start_session
from tests.spec.facts import FACTS
from vtpm.commands import COMMANDS, Command
from vtpm.spec.constants import TPM_CC, TPM_RH, TPM_SE
from vtpm.wire.error import TPM_RC

CLAUSE = re.compile(r"(?<![\d.])\d\d?\.\d+(?!\d|\.\d)")
TESTS = Path(__file__).parents[1]


@cache
def clauses_of_tests() -> frozenset[str]:
    """The clauses that the tests of commands and of the engine name."""
    places = (TESTS / "commands", TESTS / "engine")
    texts = (path.read_text() for place in places for path in place.glob("test_*.py"))
    return frozenset(clause for text in texts for clause in CLAUSE.findall(text))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_command(command: Command) -> None:
    """What the handler says it does begins with the clause, or clauses, of Part 3; tests name them."""
    clauses = CLAUSE.findall((command.run.__doc__ or "").split(":")[0])

    assert clauses
    assert set(clauses) <= clauses_of_tests()


class TestResponseCodes:
    """`response_codes.toml`, which a run of all tests of commands is compared with"""

    def test_commands(self) -> None:
        """Every command is listed; a code is returned or never is, and that for a reason."""
        assert sorted(LISTED) == sorted(command.name for command in COMMANDS.values())
        for name, listed in LISTED.items():
            entry = entry_of(name)
            assert listed.keys() <= {"returns", "never"}, name
            assert len(listed.get("returns", ())) == len(set(entry.returns.values())), name
            assert not set(entry.returns.values()) & set(entry.never.values()), name
            assert all(listed.get("never", {}).values()), name

    def test_complete(self) -> None:
        """Every code that Part 3 and the reference code name for a command is listed, at some place."""
        for fact in json.loads((FACTS / "commands.json").read_text())["commands"]:
            name = {"MAC": "HMAC", "MAC_Start": "HMAC_Start"}.get(fact["name"][5:], fact["name"][5:])
            if name not in LISTED:
                continue
            named = {code.removeprefix("TPM_RC_") for code in fact["errors"]} & TPM_RC.__members__.keys()
            entry = entry_of(name)
            assert named <= {text.split()[0] for text in [*entry.returns, *entry.never]}, name

    def test_faults(self) -> None:
        """A code that no test sees is a fault, and so is one that is seen though it is said not to occur."""
        entries = {TPM_CC[name]: entry_of(name) for name in LISTED}
        complete: dict[int, frozenset[int]] = {
            code: frozenset(entry.returns.values()) for code, entry in entries.items()
        }
        incomplete = complete | {TPM_CC.Unseal: frozenset({TPM_RC.TYPE.handle(1)})}
        odd = complete | {TPM_CC.Startup: complete[TPM_CC.Startup] | {TPM_RC.NV_UNINITIALIZED}}

        assert faults(complete) == []
        assert faults(incomplete) == ["Unseal: no test sees ATTRIBUTES handle 1"]
        assert faults(odd) == ["Startup: NV_UNINITIALIZED occurs after all"]


class TestPolicyGetDigest:
    """23.19"""

    @pytest.mark.parametrize("kind", [TPM_SE.POLICY, TPM_SE.TRIAL])
    def test_changes_nothing(self, tpm: Client, kind: TPM_SE) -> None:
        """The digest is read, again and again, of sessions of both kinds."""
        session = start_session(tpm, kind).handle
        before = tpm.policy_get_digest(session).policy_digest
        tpm.policy_command_code(session, code=TPM_CC.Unseal).check()

        digests = [tpm.policy_get_digest(session).policy_digest for _ in range(2)]

        assert before == bytes(32)
        assert digests[0] == digests[1] != before

    def test_other_handles(self, tpm: Client) -> None:
        """An HMAC session has no policy (TPM_RC_VALUE); one that is not loaded is TPM_RC_REFERENCE_H0."""
        codes = [
            tpm.policy_get_digest(handle).rc
            for handle in (start_session(tpm).handle, TPM_RH.OWNER, 0x03000005)
        ]

        assert codes == [TPM_RC.VALUE.handle(1)] * 2 + [TPM_RC.REFERENCE_H0]
