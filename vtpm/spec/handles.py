"""
Part 2, clauses 7 and 9.3 to 9.30: handles, and which ones a command takes.

`X_NULL` is what Part 2 and Part 3 write as `X+` (or `+X`): the type with its conditional value.
"""

from typing import Annotated

from vtpm.spec.constants import TPM_HT, TPM_RH
from vtpm.spec.limits import IMPLEMENTATION_PCR, MAX_ACTIVE_SESSIONS, MAX_LOADED_OBJECTS
from vtpm.wire.vocabulary import Handle

HR_HANDLE_MASK = 0x00FFFFFF
HR_RANGE_MASK = 0xFF000000
HR_SHIFT = 24
"""7.5"""


def range_of(kind: TPM_HT, count: int = HR_HANDLE_MASK + 1, start: int = 0) -> range:
    """The handles of a type: `count` of them from the number `start` on."""
    first = (kind << HR_SHIFT) + start
    return range(first, first + count)


PCR = range_of(TPM_HT.PCR, IMPLEMENTATION_PCR)
NV_INDEX = range_of(TPM_HT.NV_INDEX)
HMAC_SESSION = range_of(TPM_HT.HMAC_SESSION, MAX_ACTIVE_SESSIONS)
POLICY_SESSION = range_of(TPM_HT.POLICY_SESSION, MAX_ACTIVE_SESSIONS)
EXTERNAL_NV = range_of(TPM_HT.EXTERNAL_NV)
PERMANENT_NV = range_of(TPM_HT.PERMANENT_NV)
TRANSIENT = range_of(TPM_HT.TRANSIENT, MAX_LOADED_OBJECTS)
PERSISTENT = range_of(TPM_HT.PERSISTENT)
AC = range_of(TPM_HT.AC, 0x10000)
"""7.5, Table 35"""

PERMANENT = range(TPM_RH.SRK, 0x40050000)
"""7.4: TPM_RH_FIRST to TPM_RH_LAST."""

PLATFORM_PERSISTENT = range_of(TPM_HT.PERSISTENT, 0x800000, 0x800000)
OWNER_PERSISTENT = range_of(TPM_HT.PERSISTENT, 0x800000)
"""7.3: who may make an object persistent under a handle."""

AUTH = range(TPM_RH.AUTH_00, TPM_RH.AUTH_FF + 1)
ACT = range(TPM_RH.ACT_0, TPM_RH.ACT_F + 1)
SVN_OWNER = range(TPM_RH.SVN_OWNER_BASE, TPM_RH.SVN_OWNER_BASE + 0x10000)
SVN_ENDORSEMENT = range(TPM_RH.SVN_ENDORSEMENT_BASE, TPM_RH.SVN_ENDORSEMENT_BASE + 0x10000)
SVN_PLATFORM = range(TPM_RH.SVN_PLATFORM_BASE, TPM_RH.SVN_PLATFORM_BASE + 0x10000)
SVN_NULL = range(TPM_RH.SVN_NULL_BASE, TPM_RH.SVN_NULL_BASE + 0x10000)
"""7.4, Table 34: the low 16 bits of an SVN-limited hierarchy are the least SVN that may use it."""

BASE_HIERARCHIES = (TPM_RH.OWNER, TPM_RH.PLATFORM, TPM_RH.ENDORSEMENT)
FIRMWARE_LIMITED = (TPM_RH.FW_OWNER, TPM_RH.FW_PLATFORM, TPM_RH.FW_ENDORSEMENT, TPM_RH.FW_NULL)
SVN_LIMITED = (SVN_OWNER, SVN_PLATFORM, SVN_ENDORSEMENT, SVN_NULL)
HIERARCHIES = (*BASE_HIERARCHIES, TPM_RH.NULL, *FIRMWARE_LIMITED, *SVN_LIMITED)
"""9.13: the hierarchies, firmware- and SVN-limited ones included."""

TPM_HANDLE = Annotated[int, Handle(range(1 << 32))]  # 7.1

TPMI_DH_OBJECT = Annotated[int, Handle(TRANSIENT, PERSISTENT)]  # 9.3
TPMI_DH_OBJECT_NULL = Annotated[int, Handle(TRANSIENT, PERSISTENT, TPM_RH.NULL)]
TPMI_DH_PARENT = Annotated[int, Handle(TRANSIENT, PERSISTENT, *HIERARCHIES)]  # 9.4
TPMI_DH_PERSISTENT = Annotated[int, Handle(PERSISTENT)]  # 9.5
TPMI_DH_ENTITY = Annotated[
    int, Handle(*BASE_HIERARCHIES, TPM_RH.LOCKOUT, TRANSIENT, PERSISTENT, NV_INDEX, PCR, AUTH)
]  # 9.6
TPMI_DH_ENTITY_NULL = Annotated[
    int, Handle(*BASE_HIERARCHIES, TPM_RH.LOCKOUT, TRANSIENT, PERSISTENT, NV_INDEX, PCR, AUTH, TPM_RH.NULL)
]
TPMI_DH_PCR = Annotated[int, Handle(PCR)]  # 9.7
TPMI_DH_PCR_NULL = Annotated[int, Handle(PCR, TPM_RH.NULL)]
TPMI_SH_AUTH_SESSION = Annotated[int, Handle(HMAC_SESSION, POLICY_SESSION)]  # 9.8
TPMI_SH_AUTH_SESSION_NULL = Annotated[int, Handle(HMAC_SESSION, POLICY_SESSION, TPM_RH.TPM_RS_PW)]
TPMI_SH_HMAC = Annotated[int, Handle(HMAC_SESSION)]  # 9.9
TPMI_SH_POLICY = Annotated[int, Handle(POLICY_SESSION)]  # 9.10
TPMI_DH_CONTEXT = Annotated[int, Handle(HMAC_SESSION, POLICY_SESSION, TRANSIENT)]  # 9.11

SAVED_OBJECT = TRANSIENT[0]
SAVED_SEQUENCE = TRANSIENT[1]
SAVED_ST_CLEAR_OBJECT = TRANSIENT[2]
"""9.12, Table 58: what a saved context holds, if not a session."""

TPMI_DH_SAVED = Annotated[
    int, Handle(HMAC_SESSION, POLICY_SESSION, SAVED_OBJECT, SAVED_SEQUENCE, SAVED_ST_CLEAR_OBJECT)
]  # 9.12
TPMI_RH_HIERARCHY = Annotated[int, Handle(*HIERARCHIES)]  # 9.13
TPMI_RH_ENABLES = Annotated[int, Handle(*BASE_HIERARCHIES, TPM_RH.PLATFORM_NV)]  # 9.14
TPMI_RH_ENABLES_NULL = Annotated[int, Handle(*BASE_HIERARCHIES, TPM_RH.PLATFORM_NV, TPM_RH.NULL)]
TPMI_RH_HIERARCHY_AUTH = Annotated[int, Handle(*BASE_HIERARCHIES, TPM_RH.LOCKOUT)]  # 9.15
TPMI_RH_HIERARCHY_AUTH_NULL = Annotated[int, Handle(*BASE_HIERARCHIES, TPM_RH.LOCKOUT, TPM_RH.NULL)]
TPMI_RH_HIERARCHY_POLICY = Annotated[int, Handle(*BASE_HIERARCHIES, TPM_RH.LOCKOUT, ACT)]  # 9.16
TPMI_RH_BASE_HIERARCHY = Annotated[int, Handle(*BASE_HIERARCHIES)]  # 9.17
TPMI_RH_PLATFORM = Annotated[int, Handle(TPM_RH.PLATFORM)]  # 9.18
TPMI_RH_OWNER = Annotated[int, Handle(TPM_RH.OWNER)]  # 9.19
TPMI_RH_OWNER_NULL = Annotated[int, Handle(TPM_RH.OWNER, TPM_RH.NULL)]
TPMI_RH_ENDORSEMENT = Annotated[int, Handle(TPM_RH.ENDORSEMENT)]  # 9.20
TPMI_RH_ENDORSEMENT_NULL = Annotated[int, Handle(TPM_RH.ENDORSEMENT, TPM_RH.NULL)]
TPMI_RH_PROVISION = Annotated[int, Handle(TPM_RH.OWNER, TPM_RH.PLATFORM)]  # 9.21
TPMI_RH_CLEAR = Annotated[int, Handle(TPM_RH.LOCKOUT, TPM_RH.PLATFORM)]  # 9.22
TPMI_RH_NV_AUTH = Annotated[int, Handle(TPM_RH.PLATFORM, TPM_RH.OWNER, NV_INDEX)]  # 9.23
TPMI_RH_LOCKOUT = Annotated[int, Handle(TPM_RH.LOCKOUT)]  # 9.24
TPMI_RH_NV_INDEX = Annotated[int, Handle(NV_INDEX, EXTERNAL_NV, PERMANENT_NV)]  # 9.25
TPMI_RH_NV_DEFINED_INDEX = Annotated[int, Handle(NV_INDEX, EXTERNAL_NV)]  # 9.26
TPMI_RH_NV_LEGACY_INDEX = Annotated[int, Handle(NV_INDEX)]  # 9.27
TPMI_RH_NV_EXP_INDEX = Annotated[int, Handle(EXTERNAL_NV)]  # 9.28
TPMI_RH_AC = Annotated[int, Handle(AC)]  # 9.29
TPMI_RH_ACT = Annotated[int, Handle(ACT)]  # 9.30

TPMI_DH_PARENT_NULL = TPMI_DH_PARENT
TPMI_RH_HIERARCHY_NULL = TPMI_RH_HIERARCHY
"""Part 3 writes "+" after these two, whose tables have TPM_RH_NULL without condition."""
