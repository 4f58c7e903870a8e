"""Part 2, clauses 8, 13.1, 13.4 and 13.5: attributes."""

from vtpm.wire.flags import Bit, Bits, Flags


class TPMA_ALGORITHM(Flags, octets=4):
    """8.2: what an algorithm is used for (deprecated, still reported)"""

    asymmetric = Bit(0)
    symmetric = Bit(1)
    hash = Bit(2)
    object = Bit(3)
    signing = Bit(8)
    encrypting = Bit(9)
    method = Bit(10)


class TPMA_OBJECT(Flags, octets=4):
    """8.3: how an object may be used, authorized and duplicated"""

    fixedTPM = Bit(1)
    stClear = Bit(2)
    fixedParent = Bit(4)
    sensitiveDataOrigin = Bit(5)
    userWithAuth = Bit(6)
    adminWithPolicy = Bit(7)
    firmwareLimited = Bit(8)
    svnLimited = Bit(9)
    noDA = Bit(10)
    encryptedDuplication = Bit(11)
    restricted = Bit(16)
    decrypt = Bit(17)
    sign = Bit(18)
    x509sign = Bit(19)


class TPMA_SESSION(Flags, octets=1):
    """8.4: what a session is used for in one command"""

    continueSession = Bit(0)
    auditExclusive = Bit(1)
    auditReset = Bit(2)
    decrypt = Bit(5)
    encrypt = Bit(6)
    audit = Bit(7)


class TPMA_LOCALITY(Flags, octets=1):
    """8.5: localities 0 to 4 as bits; an extended locality (32 to 255) as the whole octet"""

    TPM_LOC_ZERO = Bit(0)
    TPM_LOC_ONE = Bit(1)
    TPM_LOC_TWO = Bit(2)
    TPM_LOC_THREE = Bit(3)
    TPM_LOC_FOUR = Bit(4)
    Extended = Bits(7, 5)


class TPMA_PERMANENT(Flags, octets=4):
    """8.6: settings that persist"""

    ownerAuthSet = Bit(0)
    endorsementAuthSet = Bit(1)
    lockoutAuthSet = Bit(2)
    disableClear = Bit(8)
    inLockout = Bit(9)
    tpmGeneratedEPS = Bit(10)


class TPMA_STARTUP_CLEAR(Flags, octets=4):
    """8.7: settings that Startup(CLEAR) initializes"""

    phEnable = Bit(0)
    shEnable = Bit(1)
    ehEnable = Bit(2)
    phEnableNV = Bit(3)
    readOnly = Bit(4)
    orderly = Bit(31)


class TPMA_MEMORY(Flags, octets=4):
    """8.8: how the memory of the TPM is organized"""

    sharedRAM = Bit(0)
    sharedNV = Bit(1)
    objectCopiedToRam = Bit(2)


class TPMA_CC(Flags, octets=4):
    """8.9: a command code and the properties of the command"""

    commandIndex = Bits(15, 0)
    nv = Bit(22)
    extensive = Bit(23)
    flushed = Bit(24)
    cHandles = Bits(27, 25)
    rHandle = Bit(28)
    V = Bit(29)


class TPMA_MODES(Flags, octets=4):
    """8.10: standards that the TPM was designed for"""

    FIPS_140_2 = Bit(0)
    FIPS_140_3 = Bit(1)
    FIPS_140_3_INDICATOR = Bits(3, 2)


class TPMA_X509_KEY_USAGE(Flags, octets=4):
    """8.11: the key usage of an X.509 certificate"""

    decipherOnly = Bit(23)
    encipherOnly = Bit(24)
    CRLSign = Bit(25)
    keyCertSign = Bit(26)
    keyAgreement = Bit(27)
    dataEncipherment = Bit(28)
    keyEncipherment = Bit(29)
    nonRepudiation = Bit(30)
    digitalSignature = Bit(31)


class TPMA_ACT(Flags, octets=4):
    """8.12: the state of an authenticated countdown timer"""

    signaled = Bit(0)
    preserveSignaled = Bit(1)


class TPMA_ML_PARAMETER_SET(Flags, octets=4):
    """8.13: parameter sets of ML-KEM and ML-DSA"""

    mlKem_512 = Bit(0)
    mlKem_768 = Bit(1)
    mlKem_1024 = Bit(2)
    mlDsa_44 = Bit(3)
    mlDsa_65 = Bit(4)
    mlDsa_87 = Bit(5)
    extMu = Bit(6)


class TPM_NV_INDEX(Flags, octets=4):
    """13.1: the parts of the handle of an NV Index"""

    index = Bits(23, 0)
    TPM_HT = Bits(31, 24)


class TPMA_NV(Flags, octets=4):
    """13.4: how an NV Index may be read and written"""

    PPWRITE = Bit(0)
    OWNERWRITE = Bit(1)
    AUTHWRITE = Bit(2)
    POLICYWRITE = Bit(3)
    TPM_NT = Bits(7, 4)
    POLICY_DELETE = Bit(10)
    WRITELOCKED = Bit(11)
    WRITEALL = Bit(12)
    WRITEDEFINE = Bit(13)
    WRITE_STCLEAR = Bit(14)
    GLOBALLOCK = Bit(15)
    PPREAD = Bit(16)
    OWNERREAD = Bit(17)
    AUTHREAD = Bit(18)
    POLICYREAD = Bit(19)
    NO_DA = Bit(25)
    ORDERLY = Bit(26)
    CLEAR_STCLEAR = Bit(27)
    READLOCKED = Bit(28)
    WRITTEN = Bit(29)
    PLATFORMCREATE = Bit(30)
    READ_STCLEAR = Bit(31)


class TPMA_NV_EXP(TPMA_NV, octets=8):
    """13.5: the bits of TPMA_NV, and how external NV is protected"""

    EXTERNAL_NV_ENCRYPTION = Bit(32)
    EXTERNAL_NV_INTEGRITY = Bit(33)
    EXTERNAL_NV_ANTIROLLBACK = Bit(34)
