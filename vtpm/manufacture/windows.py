"""
What Windows 11 asks of a TPM: its setup, PC Health Check, Get-Tpm, tpmtool, HLK and BitLocker.

Setup's rules are those of Microsoft's HardwareReadiness.ps1.
The commands are those of the HLK's "TPM V2.0 Command and Signal Profile".
"""

from datetime import datetime
from typing import Any, Final

from vtpm.engine.tpm import Tpm
from vtpm.manufacture.checklist import Advice, Checklist, Finding, NotChecked, Subject, made
from vtpm.manufacture.windows_keys import KEY_CHECKS
from vtpm.spec.attributes import TPMA_PERMANENT, TPMA_STARTUP_CLEAR
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_ECC_CURVE, TPM_PS, TPM_PT
from vtpm.spec.structures import TPMS_PCR_SELECTION

SETUP: Final = "Windows setup, PC Health Check"
GET_TPM: Final = "Get-Tpm"
HEALTH: Final = "pre-attestation health check"
HLK: Final = "HLK"
BITLOCKER: Final = "BitLocker"

ANOTHER_PROFILE: Final = "give the TPM another profile: vtpm profile migrate {vm} pc-client"
START: Final = "start the VM, then check again"

REQUIRED: Final = (
    TPM_CC.Startup, TPM_CC.Shutdown, TPM_CC.SelfTest, TPM_CC.GetTestResult, TPM_CC.StartAuthSession,
    TPM_CC.PolicyRestart, TPM_CC.Create, TPM_CC.Load, TPM_CC.ReadPublic, TPM_CC.ActivateCredential,
    TPM_CC.Unseal, TPM_CC.ObjectChangeAuth, TPM_CC.Duplicate, TPM_CC.Import, TPM_CC.RSA_Decrypt,
    TPM_CC.Hash, TPM_CC.GetRandom, TPM_CC.StirRandom, TPM_CC.Certify, TPM_CC.CertifyCreation,
    TPM_CC.Quote, TPM_CC.Sign, TPM_CC.PCR_Extend, TPM_CC.PCR_Event, TPM_CC.PCR_Read, TPM_CC.PCR_Reset,
    TPM_CC.PolicySecret, TPM_CC.PolicyOR, TPM_CC.PolicyPCR, TPM_CC.PolicyNV, TPM_CC.PolicyCommandCode,
    TPM_CC.PolicyAuthValue, TPM_CC.PolicyGetDigest, TPM_CC.CreatePrimary, TPM_CC.HierarchyControl,
    TPM_CC.Clear, TPM_CC.ClearControl, TPM_CC.HierarchyChangeAuth, TPM_CC.DictionaryAttackLockReset,
    TPM_CC.DictionaryAttackParameters, TPM_CC.ContextSave, TPM_CC.ContextLoad, TPM_CC.FlushContext,
    TPM_CC.EvictControl, TPM_CC.ReadClock, TPM_CC.ClockSet, TPM_CC.GetCapability, TPM_CC.NV_DefineSpace,
    TPM_CC.NV_UndefineSpace, TPM_CC.NV_ReadPublic, TPM_CC.NV_Write, TPM_CC.NV_Increment, TPM_CC.NV_Read,
    TPM_CC.NV_ChangeAuth,
)  # fmt: skip
"""Those that Windows uses."""

RECOMMENDED: Final = (
    TPM_CC.LoadExternal, TPM_CC.MakeCredential, TPM_CC.HashSequenceStart, TPM_CC.SequenceUpdate,
    TPM_CC.SequenceComplete, TPM_CC.EventSequenceComplete, TPM_CC.VerifySignature, TPM_CC.PolicySigned,
    TPM_CC.PolicyTicket, TPM_CC.PolicyCounterTimer, TPM_CC.PolicyCpHash, TPM_CC.PolicyNameHash,
    TPM_CC.PolicyDuplicationSelect, TPM_CC.PolicyAuthorize, TPM_CC.PolicyPassword,
)  # fmt: skip

ALGORITHMS: Final = (
    TPM_ALG.RSA, TPM_ALG.SHA1, TPM_ALG.HMAC, TPM_ALG.AES, TPM_ALG.MGF1, TPM_ALG.KEYEDHASH, TPM_ALG.XOR,
    TPM_ALG.SHA256, TPM_ALG.RSASSA, TPM_ALG.RSAES, TPM_ALG.RSAPSS, TPM_ALG.OAEP, TPM_ALG.ECDSA,
    TPM_ALG.ECDH, TPM_ALG.KDF1_SP800_56A, TPM_ALG.KDF1_SP800_108, TPM_ALG.ECC, TPM_ALG.SYMCIPHER,
    TPM_ALG.CFB,
)  # fmt: skip
"""Those of the PC Client Platform TPM Profile that Windows' keys, seals and sessions are made of."""

FIRMWARE_PCR: Final = range(8)
"""PC Client Platform Firmware Profile: what firmware measures into, or closes with a separator."""

ALL_PCR: Final = b"\xff\xff\xff"

CHECKS: Final = Checklist()


def examine(tpm: Tpm, now: datetime) -> list[dict[str, str]]:
    """Make all checks on a copy of a TPM, which they use up: who asks, for what, verdict, what to do."""
    return made([*CHECKS, *KEY_CHECKS], tpm, now)


@CHECKS.check(SETUP, "TPM 2.0", "Windows 11 needs a TPM 2.0: make one with vtpm create")
def version(subject: Subject) -> str:
    """Win32_Tpm.SpecVersion begins with a number of at least 2."""
    family = subject.text(TPM_PT.FAMILY_INDICATOR)
    found = f"{family}, {subject.property(TPM_PT.LEVEL)}, {subject.property(TPM_PT.REVISION) / 100:.2f}"
    if family != "2.0":
        raise Finding(found)
    return found


@CHECKS.check(SETUP, "the TPM responds", "reset the VM; if that does not help, look into the daemon's log")
def responds(subject: Subject) -> str:
    """The driver starts the TPM and tests it."""
    subject.self_test(full_test=1).check()
    result = subject.get_test_result().check().test_result
    if result:
        raise Finding(f"its self test ended in 0x{result:x}")
    first, second = (subject.get_random(bytes_requested=16).check().random_bytes for _ in range(2))
    if first == second:
        raise Finding("it gives the same random octets twice")
    return "self test passed"


@CHECKS.check(GET_TPM, "manufacturer", ANOTHER_PROFILE)
def manufacturer(subject: Subject) -> str:
    """ManufacturerIdTxt, ManufacturerVersionFull20."""
    name = subject.text(TPM_PT.MANUFACTURER)
    high, low = subject.property(TPM_PT.FIRMWARE_VERSION_1), subject.property(TPM_PT.FIRMWARE_VERSION_2)
    found = f"{name} {high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"
    if not name.isalnum() or not high | low:
        raise Finding(found)
    return found


@CHECKS.check(GET_TPM, "a PC Client TPM", ANOTHER_PROFILE)
def platform(subject: Subject) -> str:
    """TPM_PT_PS_FAMILY_INDICATOR."""
    kind = subject.property(TPM_PT.PS_FAMILY_INDICATOR)
    if kind != TPM_PS.PC:
        raise Advice(f"the platform's specification is 0x{kind:x}")
    return TPM_PS.PC.name


@CHECKS.check(GET_TPM, "enabled", "reset the VM; firmware that disables the TPM must be set to enable it")
def enabled(subject: Subject) -> str:
    """TpmEnabled, TpmActivated: the storage and endorsement hierarchies are."""
    if not subject.is_running:
        raise NotChecked("the VM is off", START)
    attributes = TPMA_STARTUP_CLEAR(subject.property(TPM_PT.STARTUP_CLEAR))
    if not (attributes.shEnable and attributes.ehEnable):
        raise Finding(f"{attributes}")
    return "storage and endorsement hierarchies"


@CHECKS.check(GET_TPM, "ready", "clear the TPM in the guest's firmware, or in Windows: Clear-Tpm")
def ready(subject: Subject) -> str:
    """Windows takes over a TPM whose owner and endorsement authorizations are empty, and leaves them so."""
    attributes = TPMA_PERMANENT(subject.property(TPM_PT.PERMANENT))
    whose = [name for name in ("owner", "endorsement") if getattr(attributes, f"{name}AuthSet")]
    if whose:
        raise Finding(f"another system has set the authorization of {' and '.join(whose)}")
    return "taken over already" if attributes.lockoutAuthSet else "not yet taken over"


@CHECKS.check(GET_TPM, "not locked out", "vtpm lockout-reset {vm}")
def not_locked_out(subject: Subject) -> str:
    """LockedOut, LockoutCount, LockoutMax, LockoutHealTime."""
    attributes = TPMA_PERMANENT(subject.property(TPM_PT.PERMANENT))
    count, most = subject.property(TPM_PT.LOCKOUT_COUNTER), subject.property(TPM_PT.MAX_AUTH_FAIL)
    heals = subject.property(TPM_PT.LOCKOUT_INTERVAL)
    found = f"{count} of {most} failed authorizations, one forgiven every {heals} s"
    if attributes.inLockout:
        raise Finding(found)
    return found


@CHECKS.check(
    GET_TPM, "can be cleared", "allow it in the guest: tpm2_clearcontrol -C p c, or in its firmware"
)
def can_be_cleared(subject: Subject) -> str:
    """Clear-Tpm, and Windows' own reset of a TPM."""
    if TPMA_PERMANENT(subject.property(TPM_PT.PERMANENT)).disableClear:
        raise Advice("TPM2_Clear is disabled for the owner")
    return "TPM2_Clear is allowed"


@CHECKS.check(
    HEALTH, "PCR hold measurements", "boot the VM with UEFI firmware that measures: OVMF with TPM support"
)
def measured(subject: Subject) -> str:
    """PcrsMatchTcgLog can only hold if firmware has extended what it must."""
    if not subject.is_running:
        raise NotChecked("the VM is off", START)
    values = pcr_values(subject, FIRMWARE_PCR)
    empty = [number for number, value in zip(FIRMWARE_PCR, values, strict=True) if not any(value)]
    if empty:
        raise Finding(f"PCR {', '.join(map(str, empty))} of the SHA-256 bank are zero")
    return "PCR 0 to 7"


@CHECKS.check(
    BITLOCKER, "SHA-256 bank", "vtpm create {vm} --banks sha256, or activate it in the guest's firmware"
)
def sha256_bank(subject: Subject) -> str:
    """Windows prefers it to SHA-1, and profile 7, 11 needs it."""
    banks = {bank.hash: bank.pcr_select for bank in subject.capability(TPM_CAP.PCRS)}
    if banks.get(TPM_ALG.SHA256) != ALL_PCR:
        active = ", ".join(alg.name for alg, chosen in banks.items() if any(chosen)) or "none"
        raise Finding(f"active: {active}")
    return "PCR 0 to 23"


@CHECKS.check(HLK, "commands that Windows uses", ANOTHER_PROFILE)
def required_commands(subject: Subject) -> str:
    """TPM V2.0 Command and Signal Profile: included."""
    return commands_among(subject, REQUIRED, Finding)


@CHECKS.check(HLK, "recommended commands", ANOTHER_PROFILE)
def recommended_commands(subject: Subject) -> str:
    """TPM V2.0 Command and Signal Profile: optional, recommended."""
    return commands_among(subject, RECOMMENDED, Advice)


@CHECKS.check(HLK, "algorithms", ANOTHER_PROFILE)
def algorithms(subject: Subject) -> str:
    """What Windows' keys, seals and sessions are made of, and the curve P-256."""
    there = {entry.alg for entry in subject.capability(TPM_CAP.ALGS)}
    missing = [alg.name for alg in ALGORITHMS if alg not in there]
    if TPM_ECC_CURVE.NIST_P256 not in subject.capability(TPM_CAP.ECC_CURVES):
        missing.append(TPM_ECC_CURVE.NIST_P256.name)
    if missing:
        raise Finding(f"missing: {', '.join(missing)}")
    return f"all {len(ALGORITHMS)}, and NIST_P256"


@CHECKS.check(
    HLK, "no curve that its tests stumble on", "for HLK, use a profile file without the curve NIST_P521"
)
def curves(subject: Subject) -> str:
    """ECDSASignValidate and ECDHSecretAgreementTest fail where P-521 is advertised (libtpms, issue 155)."""
    if TPM_ECC_CURVE.NIST_P521 in subject.capability(TPM_CAP.ECC_CURVES):
        raise Advice("NIST_P521 is advertised; Windows itself does not mind")
    return "NIST_P521 is not advertised"


def commands_among(subject: Subject, wanted: tuple[TPM_CC, ...], unmet: type[Finding]) -> str:
    """All of these commands must be there."""
    there = {entry.commandIndex for entry in subject.capability(TPM_CAP.COMMANDS)}
    missing = [code.name for code in wanted if code not in there]
    if missing:
        raise unmet(f"missing: {', '.join(missing)}")
    return f"all {len(wanted)}"


def pcr_values(subject: Subject, numbers: range) -> list[Any]:
    """Values in the SHA-256 bank; a response holds eight of them."""
    chosen = sum(1 << number for number in numbers).to_bytes(3, "little")
    reply = subject.pcr_read(pcr_selection_in=(TPMS_PCR_SELECTION(TPM_ALG.SHA256, chosen),)).check()
    if len(reply.pcr_values) != len(numbers):
        raise Finding("there is no SHA-256 bank")
    return list(reply.pcr_values)
