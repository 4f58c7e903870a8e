"""What Windows does with a TPM: it takes it over at its first boot, then comes the life of BitLocker."""

from dataclasses import dataclass, field
from hashlib import sha256

from tests.scenarios import Client, Reply
from tests.sessions import CallerSession, start_session
from tests.windows.made import boot
from vtpm.manufacture.checklist import creation_of
from vtpm.manufacture.templates import EK, SRK_HANDLE, SRK_TEMPLATE
from vtpm.manufacture.windows_keys import SEALED_TO, sealed_template
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA

MAX_TRIES, RECOVERY_TIME, LOCKOUT_RECOVERY = 31, 600, 86400
"""The dictionary attack parameters that Windows sets, in seconds."""

LOCKOUT_AUTH = bytes(range(1, 21))
"""20 octets, which Windows draws at random."""

VMK = bytes(range(44))
CAP = b"\x42" * 32
"""What the boot manager extends PCR 11 by once it has the key."""

CAP_PCR, STATE_PCR = 11, 7
SECOND = 1000


def provision(tpm: Client) -> None:
    """Take the TPM over: endorsement and storage root keys, lockoutAuth, dictionary attack parameters."""
    keep_primary(tpm, TPM_RH.ENDORSEMENT, EK.RSA_2048.value.template, EK.RSA_2048.value.handle)
    keep_primary(tpm, TPM_RH.OWNER, SRK_TEMPLATE, SRK_HANDLE)
    tpm.hierarchy_change_auth(TPM_RH.LOCKOUT, new_auth=LOCKOUT_AUTH).check()
    tpm.dictionary_attack_parameters(
        TPM_RH.LOCKOUT,
        new_max_tries=MAX_TRIES,
        new_recovery_time=RECOVERY_TIME,
        lockout_recovery=LOCKOUT_RECOVERY,
        auths=[LOCKOUT_AUTH],
    ).check()


def keep_primary(tpm: Client, hierarchy: int, template: TPMT_PUBLIC, handle: int) -> None:
    """Make a primary key persistent, unless there is one."""
    if tpm.read_public(handle).rc == 0:
        return
    made = tpm.create_primary(hierarchy, **creation_of(template)).check()
    tpm.evict_control(TPM_RH.OWNER, made.object_handle, persistent_handle=handle).check()
    tpm.flush_context(flush_handle=made.object_handle).check()


@dataclass
class Volume:
    """A volume whose master key is sealed to PCR 7 and 11 and, if there is one, to a PIN."""

    pin: bytes = b""
    state: bytes = b""
    stored: dict[str, object] = field(default_factory=dict)
    """The sealed key, as the volume's metadata have it."""

    def protect(self, tpm: Client) -> None:
        """Turn BitLocker on while Windows runs: PCR 11 will be zero where it matters, so it is computed."""
        selection = TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x80\0\0")
        (value,) = tpm.pcr_read(pcr_selection_in=(selection,)).check().pcr_values
        self.state = sha256(value + bytes(32)).digest()
        trial = start_session(tpm, TPM_SE.TRIAL)
        tpm.policy_auth_value(trial.handle).check()
        tpm.policy_pcr(trial.handle, pcr_digest=self.state, pcrs=(SEALED_TO,)).check()
        policy = tpm.policy_get_digest(trial.handle).check().policy_digest
        tpm.flush_context(flush_handle=trial.handle).check()
        tpm.read_public(SRK_HANDLE).check()
        template = sealed_template(policy)
        if self.pin:
            template = with_dictionary_attack_protection(template)
        sealed = tpm.create(
            SRK_HANDLE,
            **creation_of(template) | {"in_sensitive": TPMS_SENSITIVE_CREATE(user_auth=self.pin, data=VMK)},
        ).check()
        self.stored = {"in_private": sealed.out_private, "in_public": sealed.out_public}

    def unlock(self, tpm: Client, pin: bytes | None = None) -> Reply:
        """What the boot manager does: the reply of the command that refuses, or of Unseal."""
        loaded = tpm.load(SRK_HANDLE, **self.stored)
        if loaded.rc:
            return loaded
        session = start_session(tpm, TPM_SE.POLICY)
        tpm.policy_auth_value(session.handle).check()
        reply = tpm.policy_pcr(session.handle, pcr_digest=self.state, pcrs=(SEALED_TO,))
        if reply.rc == 0:
            reply = unseal(tpm, loaded.object_handle, session, self.pin if pin is None else pin)
        tpm.flush_context(flush_handle=session.handle)
        tpm.flush_context(flush_handle=loaded.object_handle).check()
        return reply


def with_dictionary_attack_protection(template: TPMT_PUBLIC) -> TPMT_PUBLIC:
    """A PIN is short, so failed tries must count."""
    attributes = template.object_attributes.but(noDA=False)
    return TPMT_PUBLIC(
        type=template.type,
        name_alg=template.name_alg,
        object_attributes=attributes,
        auth_policy=template.auth_policy,
        parameters=template.parameters,
        unique=template.unique,
    )


def unseal(tpm: Client, item: int, session: CallerSession, pin: bytes) -> Reply:
    """Unseal with a policy session that shows the PIN by an HMAC."""
    session.includes_auth = True
    session.auth = pin
    reply: Reply = tpm.unseal(item, sessions=[session])
    if reply.rc == 0:
        session.check(reply)
    return reply


def cap(tpm: Client) -> None:
    """Whatever runs after the boot manager must not get the key."""
    tpm.pcr_extend(CAP_PCR, digests=(TPMT_HA(TPM_ALG.SHA256, CAP),)).check()


def cold_boot(tpm: Client, *, orderly: bool = True) -> None:
    """Shut Windows down, or just take the power; then firmware boots."""
    if orderly:
        tpm.shutdown(shutdown_type=TPM_SU.CLEAR).check()
    tpm.lose_power()
    boot(tpm)


def sleep(tpm: Client) -> None:
    """S3: Windows saves the TPM's state, memory keeps the rest; firmware resumes the TPM."""
    tpm.shutdown(shutdown_type=TPM_SU.STATE).check()
    tpm.lose_power()
    tpm.startup(startup_type=TPM_SU.STATE).check()
