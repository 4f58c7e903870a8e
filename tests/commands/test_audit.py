"""Part 3, clause 21 and 18.6: command audit."""

import hashlib
from collections.abc import Iterable
from typing import Any

import pytest

from tests.keys import NULL_SIGNATURE_SCHEME, put_rsa, signing
from tests.scenarios import Client, Reply
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_ST, TPM_SU
from vtpm.spec.structures import TPMS_ATTEST
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import unmarshal

ALWAYS = TPM_CC.SetCommandCodeAuditStatus


def set_audit(
    tpm: Client,
    alg: TPM_ALG = TPM_ALG.NULL,
    audited: Iterable[int] = (),
    cleared: Iterable[int] = (),
    auth: int = TPM_RH.OWNER,
    **options: Any,
) -> Reply:
    """Change the command audit."""
    return tpm.set_command_code_audit_status(
        auth, audit_alg=alg, set_list=tuple(audited), clear_list=tuple(cleared), **options
    )


def audit_of(tpm: Client, key: int = TPM_RH.NULL) -> Any:
    """What is attested of the command audit."""
    scheme = NULL_SIGNATURE_SCHEME if key == TPM_RH.NULL else signing(TPM_ALG.RSASSA)
    reply = tpm.get_command_audit_digest(TPM_RH.ENDORSEMENT, key, qualifying_data=b"", in_scheme=scheme)
    attest = unmarshal(TPMS_ATTEST, reply.attested)
    assert attest.type is TPM_ST.ATTEST_COMMAND_AUDIT
    return attest.attested


def digest_of_codes(*codes: int, alg: str = "sha256") -> bytes:
    """The digest of the audited commands, in the order of their codes."""
    return hashlib.new(alg, b"".join(code.to_bytes(4, "big") for code in sorted(codes))).digest()


def extended(old: bytes, code: int, names: bytes, parameters: bytes, response: bytes) -> bytes:
    """The audit digest after a command."""
    octets = code.to_bytes(4, "big")
    cp_hash = hashlib.sha256(octets + names + parameters).digest()
    rp_hash = hashlib.sha256(bytes(4) + octets + response).digest()
    return hashlib.sha256((old or bytes(32)) + cp_hash + rp_hash).digest()


class TestSetCommandCodeAuditStatus:
    """Part 3, 21.2"""

    def test_default(self, tpm: Client) -> None:
        """At first, SHA-256, and only this command is audited."""
        audit = audit_of(tpm)

        assert (audit.digest_alg, audit.audit_counter, audit.audit_digest) == (TPM_ALG.SHA256, 0, b"")
        assert digest_of_codes(ALWAYS) == audit.command_digest

    def test_lists(self, tpm: Client) -> None:
        """What is in both lists is not audited; this command always is, Shutdown and unknown ones never."""
        added = [TPM_CC.GetRandom, TPM_CC.PCR_Read, TPM_CC.Shutdown, 0x12345678, TPM_CC.ReadClock]

        reply = set_audit(tpm, audited=added, cleared=[TPM_CC.PCR_Read, ALWAYS, TPM_CC.NV_Read])

        assert reply.rc == TPM_RC.SUCCESS
        expected = digest_of_codes(ALWAYS, TPM_CC.GetRandom, TPM_CC.ReadClock)
        assert expected == audit_of(tpm).command_digest

    def test_permanent(self, tpm: Client) -> None:
        """The audit survives the loss of power."""
        set_audit(tpm, TPM_ALG.SHA384)
        set_audit(tpm, audited=[TPM_CC.GetRandom])
        tpm.power_cycle()

        audit = audit_of(tpm)

        assert audit.digest_alg == TPM_ALG.SHA384
        assert digest_of_codes(ALWAYS, TPM_CC.GetRandom, alg="sha384") == audit.command_digest

    def test_nothing_changed(self, tpm: Client) -> None:
        """What does not change the audit is not written to the store."""
        set_audit(tpm, audited=[TPM_CC.GetRandom])
        assert tpm.changes

        set_audit(tpm, audited=[TPM_CC.GetRandom], cleared=[TPM_CC.ReadClock, ALWAYS])

        assert tpm.changes == {}

    @pytest.mark.parametrize(
        ("lists", "expected"),
        [
            ({}, TPM_RC.SUCCESS),
            ({"audited": [TPM_CC.GetRandom]}, TPM_RC.VALUE.parameter(1)),
            ({"cleared": [TPM_CC.GetRandom]}, TPM_RC.VALUE.parameter(1)),
        ],
    )
    def test_algorithm_or_lists(self, tpm: Client, lists: dict[str, Any], expected: int) -> None:
        """The hash and the commands are not changed together."""
        assert expected == set_audit(tpm, TPM_ALG.SHA512, **lists).rc

    def test_same_algorithm(self, tpm: Client) -> None:
        """The present hash is as good as none."""
        assert set_audit(tpm, TPM_ALG.SHA256, [TPM_CC.GetRandom]).rc == TPM_RC.SUCCESS

    def test_algorithm_restarts(self, tpm: Client) -> None:
        """A new hash clears the digest, without this command being audited; the counter counts anew."""
        set_audit(tpm)
        assert audit_of(tpm).audit_counter == 1
        set_audit(tpm, TPM_ALG.SHA1)
        audit = audit_of(tpm)
        assert (audit.digest_alg, audit.audit_counter, audit.audit_digest) == (TPM_ALG.SHA1, 1, b"")

        set_audit(tpm)

        audit = audit_of(tpm)
        assert (audit.audit_counter, len(audit.audit_digest)) == (2, 20)

    def test_authorization(self, tpm: Client) -> None:
        """The owner or the platform decides."""
        tpm.tpm.owner.auth_value = b"owner"

        replies = [set_audit(tpm), set_audit(tpm, auths=[b"owner"]), set_audit(tpm, auth=TPM_RH.PLATFORM)]

        expected = [TPM_RC.BAD_AUTH.session(1), TPM_RC.SUCCESS, TPM_RC.SUCCESS]
        assert expected == [reply.rc for reply in replies]


class TestCommandAudit:
    """Part 3, 21.1 and 18.6"""

    def test_digest(self, tpm: Client) -> None:
        """Every audited command extends the digest with its cpHash and rpHash."""
        names = TPM_RH.OWNER.to_bytes(4, "big")
        code = TPM_CC.GetRandom.to_bytes(4, "big")
        set_audit(tpm, audited=[TPM_CC.GetRandom])
        parameters = TPM_ALG.NULL.to_bytes(2, "big") + b"\0\0\0\x01" + code + bytes(4)
        expected = extended(b"", ALWAYS, names, parameters, b"")
        assert audit_of(tpm).audit_digest == expected

        reply = tpm.get_random(bytes_requested=4)

        expected = extended(expected, TPM_CC.GetRandom, b"", b"\x00\x04", reply.parameters)
        audit = audit_of(tpm)
        assert (1, expected) == (audit.audit_counter, audit.audit_digest)

    def test_startup(self, tpm: Client) -> None:
        """Startup can be audited: a Resume shows that there was a Shutdown(STATE)."""
        set_audit(tpm, audited=[TPM_CC.Startup])
        before = audit_of(tpm).audit_digest

        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)

        assert audit_of(tpm).audit_digest == extended(before, TPM_CC.Startup, b"", b"\0\1", b"")

    def test_failed_command(self, tpm: Client) -> None:
        """A command that fails is not audited."""
        set_audit(tpm, audited=[TPM_CC.Hash])
        before = audit_of(tpm).audit_digest

        failed = tpm.hash(data=b"", hash_alg=TPM_ALG.SHA256, hierarchy=TPM_RH.SVN_OWNER_BASE + 1)

        assert failed.rc == TPM_RC.SVN_LIMITED.parameter(3)
        assert before == audit_of(tpm).audit_digest

    def test_signing_clears(self, tpm: Client) -> None:
        """A signed statement ends the digest, an unsigned one does not; the next begins a new count."""
        key = put_rsa(tpm)
        set_audit(tpm)
        digest = audit_of(tpm).audit_digest

        signed, after = audit_of(tpm, key), audit_of(tpm)
        set_audit(tpm)

        assert digest
        assert (1, digest) == (signed.audit_counter, signed.audit_digest)
        assert (after.audit_counter, after.audit_digest) == (1, b"")
        assert audit_of(tpm).audit_counter == 2

    def test_audits_itself(self, tpm: Client) -> None:
        """If this command is audited, it is the first of the digest that follows the one it attests."""
        key = put_rsa(tpm)
        set_audit(tpm, audited=[TPM_CC.GetCommandAuditDigest])
        before = audit_of(tpm).audit_digest

        signed, after = audit_of(tpm, key), audit_of(tpm)

        assert before != signed.audit_digest
        assert len(after.audit_digest) == 32
        assert after.audit_counter == signed.audit_counter + 1

    def test_wrong_key(self, tpm: Client) -> None:
        """A statement that cannot be signed ends nothing."""
        set_audit(tpm)
        before = audit_of(tpm).audit_digest

        refused = tpm.get_command_audit_digest(
            TPM_RH.ENDORSEMENT,
            put_rsa(tpm, "decrypt"),
            qualifying_data=b"",
            in_scheme=signing(TPM_ALG.RSASSA),
        )

        assert TPM_RC.KEY.handle(2) == refused.rc
        assert before == audit_of(tpm).audit_digest

    @pytest.mark.parametrize(
        ("shutdown", "startup", "kept"),
        [
            (TPM_SU.STATE, TPM_SU.STATE, True),
            (TPM_SU.STATE, TPM_SU.CLEAR, True),
            (TPM_SU.CLEAR, TPM_SU.CLEAR, False),
        ],
    )
    def test_power(self, tpm: Client, shutdown: TPM_SU, startup: TPM_SU, *, kept: bool) -> None:
        """The digest lasts until the next TPM Reset."""
        set_audit(tpm)
        before = audit_of(tpm).audit_digest
        tpm.power_cycle(shutdown=shutdown, startup=startup)

        assert (before if kept else b"") == audit_of(tpm).audit_digest
