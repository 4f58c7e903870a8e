"""What the campaign computes by itself, and its tables: judged by this TPM and by its command table."""

import tomllib
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from tests.differential.audits import Audits, Executed
from tests.differential.coverage import LISTED, listed, missing, summary
from tests.differential.recipes import BOOK, for_duplication
from tests.differential.salts import salt_for
from tests.keys import NULL_SIGNATURE_SCHEME, put_ecc, put_rsa
from tests.scenarios import BY_HANDLER, Client
from tests.sessions import HASHES, CallerSession, start_session
from vtpm.commands import COMMANDS
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC

RECIPES = (*BOOK, for_duplication(b"\0\x0b" + bytes(32)))


@pytest.fixture
def tpm() -> Client:
    """A TPM with the limits of swtpm."""
    return Client(profile=SWTPM_COMPATIBLE)


@pytest.mark.parametrize("alg", HASHES)
@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_recipes(tpm: Client, number: int, alg: TPM_ALG) -> None:
    """Part 1, 16.7: the assertions of a recipe come to its digest."""
    recipe, session = RECIPES[number], start_session(tpm, TPM_SE.TRIAL, alg=alg)

    for verb, given in recipe.steps(alg):
        assert tpm.call(BY_HANDLER[verb], (session.handle,), [], [], 0, given).rc == TPM_RC.SUCCESS

    assert tpm.policy_get_digest(session.handle).policy_digest == recipe.digest(alg)


@pytest.mark.parametrize("put", [put_rsa, put_ecc])
def test_salts(tpm: Client, put: Callable[..., int]) -> None:
    """Part 1, 16.6.11: a session with a salt has the key that the caller computes."""
    key = put(tpm, "decrypt")
    made = salt_for(tpm.read_public(key).out_public, Random(1))
    assert made is not None
    session = start_session(tpm, tpm_key=key, salt=made[0], encrypted_salt=made[1])
    session.attributes = TPMA_SESSION(continueSession=True, audit=True)
    session.authorizes = False

    session.check(tpm.get_random(bytes_requested=8, sessions=[session]))


class TestAudits:
    """Part 1, 17 and 32"""

    def executed(self, tpm: Client, session: CallerSession, audits: Audits) -> None:
        """A command in an audit session, and what the caller makes of it."""
        reply = tpm.get_random(bytes_requested=8, sessions=[session])
        session.check(reply)
        executed = Executed(BY_HANDLER["get_random"], [], [], b"\0\x08", reply.parameters)
        audits.follow_session(executed, session)

    def test_session(self, tpm: Client) -> None:
        """The digest of a session is the caller's; one of another command is not."""
        session, audits = start_session(tpm), Audits()
        session.attributes, session.authorizes = TPMA_SESSION(continueSession=True, audit=True), False
        self.executed(tpm, session, audits)
        self.executed(tpm, session, audits)

        handles = [TPM_RH.ENDORSEMENT, TPM_RH.NULL, session.handle]
        given = {"qualifying_data": b"", "in_scheme": NULL_SIGNATURE_SCHEME}
        reply = tpm.get_session_audit_digest(*handles, **given)
        attested = Executed(BY_HANDLER["get_session_audit_digest"], handles, [], b"", b"")

        assert audits.is_attested(attested, reply)
        audits.follow_session(attested, session)
        assert not audits.is_attested(attested, reply)

    def test_commands(self, tpm: Client) -> None:
        """The digest of the command audit is the caller's, and begins anew when it is signed."""
        audits, alg = Audits(), tpm.tpm.permanent.audit_alg
        tpm.set_command_code_audit_status(
            TPM_RH.OWNER, audit_alg=TPM_ALG.NULL, set_list=(TPM_CC.GetRandom,), clear_list=()
        )
        audits.commands = tpm.tpm.reset.command_audit_digest
        reply = tpm.get_random(bytes_requested=8)
        audits.follow(Executed(BY_HANDLER["get_random"], [], [], b"\0\x08", reply.parameters), alg)

        handles: list[int] = [TPM_RH.ENDORSEMENT, TPM_RH.NULL]
        given = {"qualifying_data": b"", "in_scheme": NULL_SIGNATURE_SCHEME}
        reply = tpm.get_command_audit_digest(*handles, **given)
        attested = Executed(BY_HANDLER["get_command_audit_digest"], handles, [], b"", b"")

        assert audits.is_attested(attested, reply)
        audits.follow(Executed(attested.command, [TPM_RH.ENDORSEMENT, 0x80000000], [], b"", b""), None)
        assert audits.commands == b""


class TestCoverage:
    """codes.toml"""

    def test_listed(self) -> None:
        """Each command of the profile has a list of codes that there are; none is left out twice."""
        table = tomllib.loads(LISTED.read_text())
        left_out = [tuple(pair.split()) for pairs in table["out_of_reach"].values() for pair in pairs]

        assert set(table["commands"]) == {
            COMMANDS[code].name for code in SWTPM_COMPATIBLE.commands & COMMANDS.keys()
        }
        codes = [code for codes in table["commands"].values() for code in codes] + [
            code for _, code in left_out
        ]
        assert set(codes) <= set(TPM_RC.__members__)
        assert len(set(left_out)) == len(left_out)
        assert not listed() & set(left_out)

    def test_missing(self) -> None:
        """What was met is not missing."""
        assert summary(Counter()).startswith("0 of ")
        assert missing(Counter(listed())) == []
        assert missing(Counter(listed() - {("Clear", "DISABLED")})) == ["Clear: DISABLED"]
