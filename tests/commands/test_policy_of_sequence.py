"""Part 3, 23.4 and 23.16: tickets about sequences, and approvals by nobody."""

from tests.scenarios import Client, Password
from tests.sessions import start_session
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE, TPM_ST
from vtpm.spec.structures import TPMT_TK_VERIFIED
from vtpm.wire.error import TPM_RC


def test_sequence(tpm: Client) -> None:
    """23.4: a sequence belongs to no hierarchy, so that the ticket is the null hierarchy's."""
    session = start_session(tpm, TPM_SE.POLICY)
    sequence = tpm.hash_sequence_start(auth=b"a", hash_alg=TPM_ALG.SHA256).sequence_handle

    given = {"nonce_tpm": session.nonce_tpm, "cp_hash_a": b"", "policy_ref": b"", "expiration": -1000}
    reply = tpm.policy_secret(sequence, session.handle, sessions=[Password(b"a")], **given).check()

    assert reply.policy_ticket.hierarchy == TPM_RH.NULL


def test_nobody(tpm: Client) -> None:
    """23.16: without a Name there is no hash algorithm."""
    session = start_session(tpm, TPM_SE.POLICY)
    ticket = TPMT_TK_VERIFIED(TPM_ST.VERIFIED, TPM_RH.OWNER, None, b"")

    given = {"approved_policy": bytes(32), "policy_ref": b"", "key_sign": b"", "check_ticket": ticket}
    assert tpm.policy_authorize(session.handle, **given).rc == TPM_RC.HASH.parameter(3)
