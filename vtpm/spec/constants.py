"""Part 2, clauses 6, 7.2, 7.4 and 13.2: constants; the response codes of 6.6 are in `vtpm.wire.error`."""

from vtpm.wire.integers import Constant


class TPM_ALG(Constant, octets=2):
    """6.3: algorithm identifiers, registered ones without an implementation here included"""

    RSA = 0x0001
    TDES = 0x0003
    SHA1 = 0x0004
    HMAC = 0x0005
    AES = 0x0006
    MGF1 = 0x0007
    KEYEDHASH = 0x0008
    XOR = 0x000A
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    SHA256_192 = 0x000E
    NULL = 0x0010
    SM3_256 = 0x0012
    SM4 = 0x0013
    RSASSA = 0x0014
    RSAES = 0x0015
    RSAPSS = 0x0016
    OAEP = 0x0017
    ECDSA = 0x0018
    ECDH = 0x0019
    ECDAA = 0x001A
    SM2 = 0x001B
    ECSCHNORR = 0x001C
    ECMQV = 0x001D
    HKDF = 0x001F
    KDF1_SP800_56A = 0x0020
    KDF2 = 0x0021
    KDF1_SP800_108 = 0x0022
    ECC = 0x0023
    SYMCIPHER = 0x0025
    CAMELLIA = 0x0026
    SHA3_256 = 0x0027
    SHA3_384 = 0x0028
    SHA3_512 = 0x0029
    SHAKE128 = 0x002A
    SHAKE256 = 0x002B
    SHAKE256_192 = 0x002C
    SHAKE256_256 = 0x002D
    SHAKE256_512 = 0x002E
    CMAC = 0x003F
    CTR = 0x0040
    OFB = 0x0041
    CBC = 0x0042
    CFB = 0x0043
    ECB = 0x0044
    CCM = 0x0050
    GCM = 0x0051
    KW = 0x0052
    KWP = 0x0053
    EAX = 0x0054
    EDDSA = 0x0060
    HASH_EDDSA = 0x0061
    LMS = 0x0070
    XMSS = 0x0071
    KEYEDXOF = 0x0080
    KMACXOF128 = 0x0081
    KMACXOF256 = 0x0082
    KMAC128 = 0x0090
    KMAC256 = 0x0091
    MLKEM = 0x00A0
    MLDSA = 0x00A1
    HASH_MLDSA = 0x00A2


class TPM_ECC_CURVE(Constant, octets=2):
    """6.4: elliptic curves"""

    NONE = 0x0000
    NIST_P192 = 0x0001
    NIST_P224 = 0x0002
    NIST_P256 = 0x0003
    NIST_P384 = 0x0004
    NIST_P521 = 0x0005
    BN_P256 = 0x0010
    BN_P638 = 0x0011
    SM2_P256 = 0x0020
    BP_P256_R1 = 0x0030
    BP_P384_R1 = 0x0031
    BP_P512_R1 = 0x0032
    CURVE_25519 = 0x0040
    CURVE_448 = 0x0041


class TPM_CC(Constant, octets=4):
    """6.5.2: command codes; TPM2_HMAC and TPM2_MAC share one, as their sequences do"""

    NV_UndefineSpaceSpecial = 0x0000011F
    EvictControl = 0x00000120
    HierarchyControl = 0x00000121
    NV_UndefineSpace = 0x00000122
    ChangeEPS = 0x00000124
    ChangePPS = 0x00000125
    Clear = 0x00000126
    ClearControl = 0x00000127
    ClockSet = 0x00000128
    HierarchyChangeAuth = 0x00000129
    NV_DefineSpace = 0x0000012A
    PCR_Allocate = 0x0000012B
    PCR_SetAuthPolicy = 0x0000012C
    PP_Commands = 0x0000012D
    SetPrimaryPolicy = 0x0000012E
    FieldUpgradeStart = 0x0000012F
    ClockRateAdjust = 0x00000130
    CreatePrimary = 0x00000131
    NV_GlobalWriteLock = 0x00000132
    GetCommandAuditDigest = 0x00000133
    NV_Increment = 0x00000134
    NV_SetBits = 0x00000135
    NV_Extend = 0x00000136
    NV_Write = 0x00000137
    NV_WriteLock = 0x00000138
    DictionaryAttackLockReset = 0x00000139
    DictionaryAttackParameters = 0x0000013A
    NV_ChangeAuth = 0x0000013B
    PCR_Event = 0x0000013C
    PCR_Reset = 0x0000013D
    SequenceComplete = 0x0000013E
    SetAlgorithmSet = 0x0000013F
    SetCommandCodeAuditStatus = 0x00000140
    FieldUpgradeData = 0x00000141
    IncrementalSelfTest = 0x00000142
    SelfTest = 0x00000143
    Startup = 0x00000144
    Shutdown = 0x00000145
    StirRandom = 0x00000146
    ActivateCredential = 0x00000147
    Certify = 0x00000148
    PolicyNV = 0x00000149
    CertifyCreation = 0x0000014A
    Duplicate = 0x0000014B
    GetTime = 0x0000014C
    GetSessionAuditDigest = 0x0000014D
    NV_Read = 0x0000014E
    NV_ReadLock = 0x0000014F
    ObjectChangeAuth = 0x00000150
    PolicySecret = 0x00000151
    Rewrap = 0x00000152
    Create = 0x00000153
    ECDH_ZGen = 0x00000154
    HMAC = 0x00000155
    MAC = 0x00000155
    Import = 0x00000156
    Load = 0x00000157
    Quote = 0x00000158
    RSA_Decrypt = 0x00000159
    HMAC_Start = 0x0000015B
    MAC_Start = 0x0000015B
    SequenceUpdate = 0x0000015C
    Sign = 0x0000015D
    Unseal = 0x0000015E
    PolicySigned = 0x00000160
    ContextLoad = 0x00000161
    ContextSave = 0x00000162
    ECDH_KeyGen = 0x00000163
    EncryptDecrypt = 0x00000164
    FlushContext = 0x00000165
    LoadExternal = 0x00000167
    MakeCredential = 0x00000168
    NV_ReadPublic = 0x00000169
    PolicyAuthorize = 0x0000016A
    PolicyAuthValue = 0x0000016B
    PolicyCommandCode = 0x0000016C
    PolicyCounterTimer = 0x0000016D
    PolicyCpHash = 0x0000016E
    PolicyLocality = 0x0000016F
    PolicyNameHash = 0x00000170
    PolicyOR = 0x00000171
    PolicyTicket = 0x00000172
    ReadPublic = 0x00000173
    RSA_Encrypt = 0x00000174
    StartAuthSession = 0x00000176
    VerifySignature = 0x00000177
    ECC_Parameters = 0x00000178
    FirmwareRead = 0x00000179
    GetCapability = 0x0000017A
    GetRandom = 0x0000017B
    GetTestResult = 0x0000017C
    Hash = 0x0000017D
    PCR_Read = 0x0000017E
    PolicyPCR = 0x0000017F
    PolicyRestart = 0x00000180
    ReadClock = 0x00000181
    PCR_Extend = 0x00000182
    PCR_SetAuthValue = 0x00000183
    NV_Certify = 0x00000184
    EventSequenceComplete = 0x00000185
    HashSequenceStart = 0x00000186
    PolicyPhysicalPresence = 0x00000187
    PolicyDuplicationSelect = 0x00000188
    PolicyGetDigest = 0x00000189
    TestParms = 0x0000018A
    Commit = 0x0000018B
    PolicyPassword = 0x0000018C
    ZGen_2Phase = 0x0000018D
    EC_Ephemeral = 0x0000018E
    PolicyNvWritten = 0x0000018F
    PolicyTemplate = 0x00000190
    CreateLoaded = 0x00000191
    PolicyAuthorizeNV = 0x00000192
    EncryptDecrypt2 = 0x00000193
    AC_GetCapability = 0x00000194
    AC_Send = 0x00000195
    Policy_AC_SendSelect = 0x00000196
    CertifyX509 = 0x00000197
    ACT_SetTimeout = 0x00000198
    ECC_Encrypt = 0x00000199
    ECC_Decrypt = 0x0000019A
    PolicyCapability = 0x0000019B
    PolicyParameters = 0x0000019C
    NV_DefineSpace2 = 0x0000019D
    NV_ReadPublic2 = 0x0000019E
    SetCapability = 0x0000019F
    ReadOnlyControl = 0x000001A0
    PolicyTransportSPDM = 0x000001A1
    VerifySequenceComplete = 0x000001A3
    SignSequenceComplete = 0x000001A4
    VerifyDigestSignature = 0x000001A5
    SignDigest = 0x000001A6
    Encapsulate = 0x000001A7
    Decapsulate = 0x000001A8
    VerifySequenceStart = 0x000001A9
    SignSequenceStart = 0x000001AA


class TPM_CLOCK_ADJUST(Constant, octets=1):
    """6.7: adjustments of the rate of Clock"""

    COARSE_SLOWER = -3
    MEDIUM_SLOWER = -2
    FINE_SLOWER = -1
    NO_CHANGE = 0x00
    FINE_FASTER = 0x01
    MEDIUM_FASTER = 0x02
    COARSE_FASTER = 0x03


class TPM_EO(Constant, octets=2):
    """6.8: comparisons of PolicyNV and PolicyCounterTimer"""

    EQ = 0x0000
    NEQ = 0x0001
    SIGNED_GT = 0x0002
    UNSIGNED_GT = 0x0003
    SIGNED_LT = 0x0004
    UNSIGNED_LT = 0x0005
    SIGNED_GE = 0x0006
    UNSIGNED_GE = 0x0007
    SIGNED_LE = 0x0008
    UNSIGNED_LE = 0x0009
    BITSET = 0x000A
    BITCLEAR = 0x000B


class TPM_ST(Constant, octets=2):
    """6.9: structure tags"""

    RSP_COMMAND = 0x00C4
    NULL = 0x8000
    NO_SESSIONS = 0x8001
    SESSIONS = 0x8002
    ATTEST_NV = 0x8014
    ATTEST_COMMAND_AUDIT = 0x8015
    ATTEST_SESSION_AUDIT = 0x8016
    ATTEST_CERTIFY = 0x8017
    ATTEST_QUOTE = 0x8018
    ATTEST_TIME = 0x8019
    ATTEST_CREATION = 0x801A
    ATTEST_NV_DIGEST = 0x801C
    CREATION = 0x8021
    VERIFIED = 0x8022
    AUTH_SECRET = 0x8023
    HASHCHECK = 0x8024
    AUTH_SIGNED = 0x8025
    MESSAGE_VERIFIED = 0x8026
    DIGEST_VERIFIED = 0x8027
    FU_MANIFEST = 0x8029


class TPM_SU(Constant, octets=2):
    """6.10: kinds of Startup and Shutdown"""

    CLEAR = 0x0000
    STATE = 0x0001


class TPM_SE(Constant, octets=1):
    """6.11: kinds of authorization session"""

    HMAC = 0x00
    POLICY = 0x01
    TRIAL = 0x03


class TPM_CAP(Constant, octets=4):
    """6.12: capability groups"""

    ALGS = 0x00000000
    HANDLES = 0x00000001
    COMMANDS = 0x00000002
    PP_COMMANDS = 0x00000003
    AUDIT_COMMANDS = 0x00000004
    PCRS = 0x00000005
    TPM_PROPERTIES = 0x00000006
    PCR_PROPERTIES = 0x00000007
    ECC_CURVES = 0x00000008
    AUTH_POLICIES = 0x00000009
    ACT = 0x0000000A
    PUB_KEYS = 0x0000000B
    SPDM_SESSION_INFO = 0x0000000C
    VENDOR_PROPERTY = 0x00000100


class TPM_PT(Constant, octets=4):
    """6.13: properties of the TPM: fixed ones from 0x100 on, variable ones from 0x200 on"""

    FAMILY_INDICATOR = 0x00000100
    LEVEL = 0x00000101
    REVISION = 0x00000102
    ERRATA = 0x00000103
    YEAR = 0x00000104
    MANUFACTURER = 0x00000105
    VENDOR_STRING_1 = 0x00000106
    VENDOR_STRING_2 = 0x00000107
    VENDOR_STRING_3 = 0x00000108
    VENDOR_STRING_4 = 0x00000109
    VENDOR_TPM_TYPE = 0x0000010A
    FIRMWARE_VERSION_1 = 0x0000010B
    FIRMWARE_VERSION_2 = 0x0000010C
    INPUT_BUFFER = 0x0000010D
    HR_TRANSIENT_MIN = 0x0000010E
    HR_PERSISTENT_MIN = 0x0000010F
    HR_LOADED_MIN = 0x00000110
    ACTIVE_SESSIONS_MAX = 0x00000111
    PCR_COUNT = 0x00000112
    PCR_SELECT_MIN = 0x00000113
    CONTEXT_GAP_MAX = 0x00000114
    NV_COUNTERS_MAX = 0x00000116
    NV_INDEX_MAX = 0x00000117
    MEMORY = 0x00000118
    CLOCK_UPDATE = 0x00000119
    CONTEXT_HASH = 0x0000011A
    CONTEXT_SYM = 0x0000011B
    CONTEXT_SYM_SIZE = 0x0000011C
    ORDERLY_COUNT = 0x0000011D
    MAX_COMMAND_SIZE = 0x0000011E
    MAX_RESPONSE_SIZE = 0x0000011F
    MAX_DIGEST = 0x00000120
    MAX_OBJECT_CONTEXT = 0x00000121
    MAX_SESSION_CONTEXT = 0x00000122
    PS_FAMILY_INDICATOR = 0x00000123
    PS_LEVEL = 0x00000124
    PS_REVISION = 0x00000125
    PS_DAY_OF_YEAR = 0x00000126
    PS_YEAR = 0x00000127
    SPLIT_MAX = 0x00000128
    TOTAL_COMMANDS = 0x00000129
    LIBRARY_COMMANDS = 0x0000012A
    VENDOR_COMMANDS = 0x0000012B
    NV_BUFFER_MAX = 0x0000012C
    MODES = 0x0000012D
    MAX_CAP_BUFFER = 0x0000012E
    FIRMWARE_SVN = 0x0000012F
    FIRMWARE_MAX_SVN = 0x00000130
    ML_PARAMETER_SETS = 0x00000131
    PERMANENT = 0x00000200
    STARTUP_CLEAR = 0x00000201
    HR_NV_INDEX = 0x00000202
    HR_LOADED = 0x00000203
    HR_LOADED_AVAIL = 0x00000204
    HR_ACTIVE = 0x00000205
    HR_ACTIVE_AVAIL = 0x00000206
    HR_TRANSIENT_AVAIL = 0x00000207
    HR_PERSISTENT = 0x00000208
    HR_PERSISTENT_AVAIL = 0x00000209
    NV_COUNTERS = 0x0000020A
    NV_COUNTERS_AVAIL = 0x0000020B
    ALGORITHM_SET = 0x0000020C
    LOADED_CURVES = 0x0000020D
    LOCKOUT_COUNTER = 0x0000020E
    MAX_AUTH_FAIL = 0x0000020F
    LOCKOUT_INTERVAL = 0x00000210
    LOCKOUT_RECOVERY = 0x00000211
    NV_WRITE_RECOVERY = 0x00000212
    AUDIT_COUNTER_0 = 0x00000213
    AUDIT_COUNTER_1 = 0x00000214


class TPM_PT_PCR(Constant, octets=4):
    """6.14: properties of a PCR"""

    SAVE = 0x00000000
    EXTEND_L0 = 0x00000001
    RESET_L0 = 0x00000002
    EXTEND_L1 = 0x00000003
    RESET_L1 = 0x00000004
    EXTEND_L2 = 0x00000005
    RESET_L2 = 0x00000006
    EXTEND_L3 = 0x00000007
    RESET_L3 = 0x00000008
    EXTEND_L4 = 0x00000009
    RESET_L4 = 0x0000000A
    NO_INCREMENT = 0x00000011
    DRTM_RESET = 0x00000012
    POLICY = 0x00000013
    AUTH = 0x00000014


class TPM_PS(Constant, octets=4):
    """6.15: platform specifications"""

    MAIN = 0x00000000
    PC = 0x00000001
    PDA = 0x00000002
    CELL_PHONE = 0x00000003
    SERVER = 0x00000004
    PERIPHERAL = 0x00000005
    TSS = 0x00000006
    STORAGE = 0x00000007
    AUTHENTICATION = 0x00000008
    EMBEDDED = 0x00000009
    HARDCOPY = 0x0000000A
    INFRASTRUCTURE = 0x0000000B
    VIRTUALIZATION = 0x0000000C
    TNC = 0x0000000D
    MULTI_TENANT = 0x0000000E
    TC = 0x0000000F


class TPM_PUB_KEY(Constant, octets=4):
    """6.16: public keys of the TPM"""

    TPM_SPDM_00 = 0x00000000
    TPM_SPDM_FF = 0x000000FF


class TPM_HT(Constant, octets=1):
    """7.2: handle types, the most significant octet of a handle"""

    PCR = 0x00
    NV_INDEX = 0x01
    HMAC_SESSION = 0x02
    LOADED_SESSION = 0x02
    POLICY_SESSION = 0x03
    SAVED_SESSION = 0x03
    EXTERNAL_NV = 0x11
    PERMANENT_NV = 0x12
    PERMANENT = 0x40
    TRANSIENT = 0x80
    PERSISTENT = 0x81
    AC = 0x90


class TPM_RH(Constant, octets=4):
    """7.4: permanent handles"""

    SRK = 0x40000000
    OWNER = 0x40000001
    REVOKE = 0x40000002
    TRANSPORT = 0x40000003
    OPERATOR = 0x40000004
    ADMIN = 0x40000005
    EK = 0x40000006
    NULL = 0x40000007
    UNASSIGNED = 0x40000008
    TPM_RS_PW = 0x40000009
    LOCKOUT = 0x4000000A
    ENDORSEMENT = 0x4000000B
    PLATFORM = 0x4000000C
    PLATFORM_NV = 0x4000000D
    AUTH_00 = 0x40000010
    AUTH_FF = 0x4000010F
    ACT_0 = 0x40000110
    ACT_F = 0x4000011F
    FW_OWNER = 0x40000140
    FW_ENDORSEMENT = 0x40000141
    FW_PLATFORM = 0x40000142
    FW_NULL = 0x40000143
    SVN_OWNER_BASE = 0x40010000
    SVN_ENDORSEMENT_BASE = 0x40020000
    SVN_PLATFORM_BASE = 0x40030000
    SVN_NULL_BASE = 0x40040000


class TPM_NT(Constant, octets=1):
    """13.2: kinds of NV Index"""

    ORDINARY = 0x0
    COUNTER = 0x1
    BITS = 0x2
    EXTEND = 0x4
    PIN_FAIL = 0x8
    PIN_PASS = 0x9


TPM_GENERATED_VALUE = 0xFF544347
"""6.2: begins every structure that the TPM signs, so that nothing from outside can be taken for one."""

TPM_SPEC_FAMILY = 0x322E3000
TPM_SPEC_LEVEL = 0
TPM_SPEC_VERSION = 185
TPM_SPEC_YEAR = 0
TPM_SPEC_ERRATA = 0
"""6.1: the version of the specification that this TPM follows."""

TPM_MAX_DERIVATION_BITS = 8192
"""6.2: how much one instance of the deterministic random bit generator may give."""
