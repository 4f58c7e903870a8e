"""Response codes (Part 2, clause 6.6) and the error that carries one to the end of a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Self

RC_FMT1 = 0x080
RC_WARN = 0x900


class TPM_RC(IntEnum):  # noqa: N801 - the specification's name
    """6.6.3: response codes; `RC_FMT1` ones can say which handle, parameter or session is at fault"""

    SUCCESS = 0x000
    BAD_TAG = 0x01E
    INITIALIZE = 0x100
    FAILURE = 0x101
    SEQUENCE = 0x103
    PRIVATE = 0x10B
    HMAC = 0x119
    DISABLED = 0x120
    EXCLUSIVE = 0x121
    AUTH_TYPE = 0x124
    AUTH_MISSING = 0x125
    POLICY = 0x126
    PCR = 0x127
    PCR_CHANGED = 0x128
    UPGRADE = 0x12D
    TOO_MANY_CONTEXTS = 0x12E
    AUTH_UNAVAILABLE = 0x12F
    REBOOT = 0x130
    UNBALANCED = 0x131
    COMMAND_SIZE = 0x142
    COMMAND_CODE = 0x143
    AUTHSIZE = 0x144
    AUTH_CONTEXT = 0x145
    NV_RANGE = 0x146
    NV_SIZE = 0x147
    NV_LOCKED = 0x148
    NV_AUTHORIZATION = 0x149
    NV_UNINITIALIZED = 0x14A
    NV_SPACE = 0x14B
    NV_DEFINED = 0x14C
    BAD_CONTEXT = 0x150
    CPHASH = 0x151
    PARENT = 0x152
    NEEDS_TEST = 0x153
    NO_RESULT = 0x154
    SENSITIVE = 0x155
    READ_ONLY = 0x156
    ASYMMETRIC = 0x081
    ATTRIBUTES = 0x082
    HASH = 0x083
    VALUE = 0x084
    HIERARCHY = 0x085
    KEY_SIZE = 0x087
    MGF = 0x088
    MODE = 0x089
    TYPE = 0x08A
    HANDLE = 0x08B
    KDF = 0x08C
    RANGE = 0x08D
    AUTH_FAIL = 0x08E
    NONCE = 0x08F
    PP = 0x090
    SCHEME = 0x092
    SIZE = 0x095
    SYMMETRIC = 0x096
    TAG = 0x097
    SELECTOR = 0x098
    INSUFFICIENT = 0x09A
    SIGNATURE = 0x09B
    KEY = 0x09C
    POLICY_FAIL = 0x09D
    INTEGRITY = 0x09F
    TICKET = 0x0A0
    RESERVED_BITS = 0x0A1
    BAD_AUTH = 0x0A2
    EXPIRED = 0x0A3
    POLICY_CC = 0x0A4
    BINDING = 0x0A5
    CURVE = 0x0A6
    ECC_POINT = 0x0A7
    FW_LIMITED = 0x0A8
    SVN_LIMITED = 0x0A9
    PARMS = 0x0AA
    EXT_MU = 0x0AB
    ONE_SHOT_SIGNATURE = 0x0AC
    SIGN_CONTEXT_KEY = 0x0AD
    CHANNEL = 0x0B0
    CHANNEL_KEY = 0x0B1
    CONTEXT_GAP = 0x901
    OBJECT_MEMORY = 0x902
    SESSION_MEMORY = 0x903
    MEMORY = 0x904
    SESSION_HANDLES = 0x905
    OBJECT_HANDLES = 0x906
    LOCALITY = 0x907
    YIELDED = 0x908
    CANCELED = 0x909
    TESTING = 0x90A
    REFERENCE_H0 = 0x910
    REFERENCE_H1 = 0x911
    REFERENCE_H2 = 0x912
    REFERENCE_H3 = 0x913
    REFERENCE_H4 = 0x914
    REFERENCE_H5 = 0x915
    REFERENCE_H6 = 0x916
    REFERENCE_S0 = 0x918
    REFERENCE_S1 = 0x919
    REFERENCE_S2 = 0x91A
    REFERENCE_S3 = 0x91B
    REFERENCE_S4 = 0x91C
    REFERENCE_S5 = 0x91D
    REFERENCE_S6 = 0x91E
    NV_RATE = 0x920
    LOCKOUT = 0x921
    RETRY = 0x922
    NV_UNAVAILABLE = 0x923
    NOT_USED = 0x97F

    @property
    def positional(self) -> bool:
        """Can this code carry a position (6.6.2: bit 7 is set)?"""
        return bool(self & RC_FMT1)

    def handle(self, number: int) -> int:
        """6.6.2: this code, for the handle of that number (from 1)."""
        return positioned(self, handle=number)

    def parameter(self, number: int) -> int:
        """6.6.2: this code, for the parameter of that number (from 1)."""
        return positioned(self, parameter=number)

    def session(self, number: int) -> int:
        """6.6.2: this code, for the session of that number (from 1)."""
        return positioned(self, session=number)


class Session(int):
    """The number of a session in the authorization area, from 1, as the place an error points to."""

    __slots__ = ()


class TpmError(Exception):
    """
    A command ends with the response code `rc`.

    `at` says what is at fault: the name of an argument, as the command's handler declares it, or a `Session`.
    """

    def __init__(self, rc: TPM_RC, at: str | Session | None = None) -> None:
        assert at is None or rc.positional, f"{rc.name} has no position"
        super().__init__(rc, at)
        self.rc = rc
        self.at = at

    def __str__(self) -> str:
        if isinstance(self.at, Session):
            return f"TPM_RC_{self.rc.name} at session {int(self.at)}"
        return f"TPM_RC_{self.rc.name}" if self.at is None else f"TPM_RC_{self.rc.name} at {self.at}"

    def positioned_at(self, at: str | Session) -> Self:
        """Point this error to `at` if it can point and does not do so yet."""
        if self.at is None and self.rc.positional:
            self.at = at
            self.args = (self.rc, at)
        return self


@contextmanager
def blaming(at: str) -> Iterator[None]:
    """Point errors raised in the body to the argument `at`, unless they point elsewhere."""
    try:
        yield
    except TpmError as error:
        raise error.positioned_at(at) from None


def positioned(rc: int, *, handle: int = 0, parameter: int = 0, session: int = 0) -> int:
    """6.6.2: the response code with the number (from 1) of the handle, parameter or session at fault."""
    if parameter:
        return rc | 0x040 | parameter << 8
    if session:
        return rc | 0x800 | session << 8
    return rc | handle << 8


class Decoded(tuple[TPM_RC | int, str, int]):
    """A response code taken apart: the code, the kind of argument at fault ("" if none), its number."""

    __slots__ = ()

    def __str__(self) -> str:
        rc, kind, number = self
        name = f"TPM_RC_{rc.name}" if isinstance(rc, TPM_RC) else f"0x{rc:03X}"
        return f"{name}, {kind} {number}" if kind else name


def decode(code: int) -> Decoded:
    """6.6.2: take a response code apart; the inverse of `positioned`."""
    kind, number, canonical = "", 0, code
    if code & RC_FMT1:
        canonical = code & 0x0BF
        number = code >> 8 & 0xF
        if code & 0x040:
            kind = "parameter"
        elif number & 8:
            kind, number = "session", number & 7
        elif number:
            kind = "handle"
    return Decoded((TPM_RC(canonical) if canonical in _CODES else canonical, kind if number else "", number))


_CODES = frozenset(TPM_RC)
