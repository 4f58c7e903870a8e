"""A TPM that remembers something of every kind, for tests of what is written down."""

from tests.commands.nv_indices import INDEX, OWNED, SELF, define
from tests.keys import put_ecc, put_hmac, put_rsa
from tests.scenarios import Client
from tests.sessions import AES_128, XOR_SHA256, start_session
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_CLOCK_ADJUST, TPM_NT, TPM_RH, TPM_SE, TPM_SU

PERSISTENT = 0x81000001
COUNTER, ORDERLY, BITS = INDEX + 1, INDEX + 2, INDEX + 3
CODES = (TPM_CC.ClockSet, TPM_CC.NV_DefineSpace)


def rich() -> Client:
    """Everything that can be saved is there, and differs from its default."""
    tpm = Client()
    keep_for_good(tpm)
    assert tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE).rc == 0
    keep_for_now(tpm)
    return tpm


def keep_for_good(tpm: Client) -> None:
    """Hierarchies, lockout, Indices, a persistent object, settings."""
    assert define(tpm, SELF, auth=b"index", policy=bytes(32)) == 0
    assert tpm.nv_write(INDEX, INDEX, data=b"written", offset=0, auths=[b"index"]).rc == 0
    for handle, kind in ((COUNTER, TPM_NT.COUNTER), (ORDERLY, TPM_NT.ORDINARY), (BITS, TPM_NT.BITS)):
        assert define(tpm, OWNED.but(TPM_NT=kind, ORDERLY=handle != COUNTER), handle=handle) == 0
    assert tpm.nv_increment(TPM_RH.OWNER, COUNTER).rc == 0
    assert tpm.nv_write(TPM_RH.OWNER, ORDERLY, data=b"orderly", offset=0).rc == 0
    key = put_ecc(tpm, "sign fixedTPM fixedParent sensitiveDataOrigin", TPM_ALG.ECDSA, auth=b"key")
    assert tpm.evict_control(TPM_RH.OWNER, key, persistent_handle=PERSISTENT).rc == 0
    assert (
        tpm.dictionary_attack_parameters(
            TPM_RH.LOCKOUT, new_max_tries=9, new_recovery_time=8, lockout_recovery=7
        ).rc
        == 0
    )
    tpm.tpm.physical_presence = True
    assert tpm.pp_commands(TPM_RH.PLATFORM, set_list=CODES, clear_list=()).rc == 0
    audit = {"audit_alg": TPM_ALG.NULL, "set_list": CODES, "clear_list": ()}
    assert tpm.set_command_code_audit_status(TPM_RH.OWNER, **audit).rc == 0
    assert tpm.clear_control(TPM_RH.LOCKOUT, disable=True).rc == 0
    assert tpm.clock_rate_adjust(TPM_RH.OWNER, rate_adjust=TPM_CLOCK_ADJUST.COARSE_FASTER).rc == 0
    for hierarchy in (TPM_RH.ENDORSEMENT, TPM_RH.LOCKOUT, TPM_RH.PLATFORM):
        policy = bytes([hierarchy & 0xFF]) * 32
        assert tpm.set_primary_policy(hierarchy, auth_policy=policy, hash_alg=TPM_ALG.SHA256).rc == 0
        assert tpm.hierarchy_change_auth(hierarchy, new_auth=b"auth").rc == 0


def keep_for_now(tpm: Client) -> None:
    """Sessions of every kind, objects, sequences, PCR, an open measurement."""
    tpm.wait(12345)
    assert tpm.pcr_event(0, event_data=b"event").rc == 0
    assert tpm.pcr_set_auth_value(20, auth=b"pcr").rc == 0
    assert tpm.nv_set_bits(TPM_RH.OWNER, BITS, bits=5).rc == 0
    put_rsa(tpm, "sign")
    hmac = put_hmac(tpm)
    assert tpm.mac_start(hmac, auth=b"mac", in_scheme=TPM_ALG.SHA256).rc == 0
    assert tpm.hash_sequence_start(auth=b"sequence", hash_alg=TPM_ALG.SHA384).rc == 0
    assert tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.NULL).rc == 0
    saved = start_session(tpm, TPM_SE.POLICY)
    assert tpm.context_save(saved.handle).rc == 0
    bound = start_session(tpm, bind=TPM_RH.LOCKOUT, bind_auth=b"auth", symmetric=AES_128)
    bound.attributes, bound.authorizes = TPMA_SESSION(audit=True, continueSession=True), False
    assert tpm.get_random(bytes_requested=1, sessions=[bound]).rc == 0
    policy = start_session(tpm, TPM_SE.POLICY, symmetric=XOR_SHA256)
    assert tpm.policy_auth_value(policy.handle).rc == 0
    assert tpm.policy_command_code(policy.handle, code=TPM_CC.NV_Read).rc == 0
    assert tpm.policy_nv_written(policy.handle, written_set=True).rc == 0
    start_session(tpm, TPM_SE.TRIAL)
    assert tpm.clock_set(TPM_RH.OWNER, new_time=1 << 30).rc == 0
    tpm.tpm.hash_start()
    tpm.tpm.hash_data(b"measured")
