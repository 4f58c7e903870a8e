"""Part 3, clause 31: the use of NV Indices."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.commands.nv_indices import INDEX, OWNED, SELF, attributes_of, define
from tests.keys import signing
from tests.recorded import code_of
from tests.scenarios import Client, Password, Reply, request_of
from tests.sessions import start_session
from vtpm.commands import COMMANDS
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_EO, TPM_NT, TPM_RH, TPM_SE, TPM_SU
from vtpm.wire.error import TPM_RC

OWNER, PLATFORM = TPM_RH.OWNER, TPM_RH.PLATFORM
BITS = SELF.but(TPM_NT=TPM_NT.BITS)
COUNTER = SELF.but(TPM_NT=TPM_NT.COUNTER)
EXTEND = SELF.but(TPM_NT=TPM_NT.EXTEND)
PIN_PASS = OWNED.but(TPM_NT=TPM_NT.PIN_PASS, AUTHREAD=True)
PIN_FAIL = OWNED.but(TPM_NT=TPM_NT.PIN_FAIL, AUTHREAD=True)
BLOB = f"nv/{INDEX:08x}"


def write(tpm: Client, data: bytes, offset: int = 0, auth: int = INDEX) -> int:
    """NV_Write; gives the response code."""
    return tpm.nv_write(auth, INDEX, data=data, offset=offset).rc


def read(tpm: Client, size: int = 8, offset: int = 0, auth: int = INDEX) -> bytes:
    """The data of the Index."""
    reply = tpm.nv_read(auth, INDEX, size=size, offset=offset)
    assert reply.rc == TPM_RC.SUCCESS
    return bytes(reply.data)


def number(tpm: Client) -> int:
    """The number that the Index holds."""
    return int.from_bytes(read(tpm), "big")


class TestWrite:
    """31.7"""

    @pytest.mark.parametrize(
        ("offset", "size", "expected"),
        [
            (0, 8, TPM_RC.SUCCESS),
            (8, 0, TPM_RC.SUCCESS),
            (0, 0, TPM_RC.SUCCESS),
            (7, 1, TPM_RC.SUCCESS),
            (9, 0, TPM_RC.VALUE.parameter(2)),
            (0xFFFF, 8, TPM_RC.VALUE.parameter(2)),
            (4, 5, TPM_RC.NV_RANGE),
            (0, 9, TPM_RC.NV_RANGE),
        ],
    )
    def test_range(self, tpm: Client, offset: int, size: int, expected: int) -> None:
        """A write lies within the Index."""
        define(tpm)

        assert write(tpm, bytes(size), offset) == expected

    @pytest.mark.parametrize(("orderly", "blank"), [(0, b"\xff"), (1, b"\0")])
    def test_first_write(self, tpm: Client, orderly: int, blank: bytes) -> None:
        """What a first write leaves out has a value nonetheless; a later write leaves it as it is."""
        define(tpm, SELF.but(ORDERLY=orderly))

        write(tpm, b"abc", 2)
        assert read(tpm) == blank * 2 + b"abc" + blank * 3
        write(tpm, b"x", 7)
        assert read(tpm) == blank * 2 + b"abc" + blank * 2 + b"x"

    def test_write_all(self, tpm: Client) -> None:
        """An Index with WRITEALL is written as a whole."""
        define(tpm, SELF.but(WRITEALL=True))

        assert write(tpm, bytes(7)) == TPM_RC.NV_RANGE
        assert write(tpm, bytes(8)) == TPM_RC.SUCCESS

    @pytest.mark.parametrize(("attributes", "size"), [(COUNTER, 8), (BITS, 8), (EXTEND, 32)])
    def test_other_kinds(self, tpm: Client, attributes: TPMA_NV, size: int) -> None:
        """Counters, bits and extended Indices have commands of their own."""
        define(tpm, attributes, size)

        assert write(tpm, bytes(size)) == TPM_RC.ATTRIBUTES

    def test_empty_index(self, tpm: Client) -> None:
        """An Index of no octets is written like any other."""
        define(tpm, size=0)

        assert write(tpm, b"") == TPM_RC.SUCCESS
        assert BLOB in tpm.changes
        assert read(tpm, 0) == b""

    def test_durable(self, tpm: Client) -> None:
        """What is written is durable, and the same octets are not written again."""
        define(tpm)
        write(tpm, b"12345678")
        assert set(tpm.changes) == {BLOB}
        write(tpm, b"12345678")
        assert tpm.changes == {}

        tpm.power_cycle(shutdown=None)
        assert read(tpm) == b"12345678"


AUTHORIZATION: list[tuple[TPMA_NV, dict[int, int]]] = [
    (OWNED, {OWNER: TPM_RC.SUCCESS, PLATFORM: TPM_RC.NV_AUTHORIZATION, INDEX: TPM_RC.AUTH_UNAVAILABLE}),
    (
        SELF,
        {OWNER: TPM_RC.NV_AUTHORIZATION, PLATFORM: TPM_RC.NV_AUTHORIZATION, INDEX: TPM_RC.SUCCESS},
    ),
    (
        TPMA_NV(PPREAD=True, PPWRITE=True, NO_DA=True),
        {OWNER: TPM_RC.NV_AUTHORIZATION, PLATFORM: TPM_RC.SUCCESS, INDEX: TPM_RC.AUTH_UNAVAILABLE},
    ),
]


READING: dict[str, tuple[list[int | None], dict[str, Any], list[bytes]]] = {
    "nv_read": ([INDEX, INDEX], {"size": 0, "offset": 0}, []),
    "nv_certify": (
        [TPM_RH.NULL, INDEX, INDEX],
        {"qualifying_data": b"", "in_scheme": signing(TPM_ALG.ECDSA), "size": 0, "offset": 0},
        [b""],
    ),
    "policy_nv": ([INDEX, INDEX, None], {"operand_b": b"", "offset": 0, "operation": TPM_EO.EQ}, []),
    "policy_authorize_nv": ([INDEX, INDEX, None], {}, []),
}
"""What reads an Index: the handles, `None` for a policy session, the parameters and the other authValues."""


class TestAuthorization:
    """31.1: who may read and write"""

    @pytest.mark.parametrize(("attributes", "expected"), AUTHORIZATION)
    def test_write(self, tpm: Client, attributes: TPMA_NV, expected: dict[int, int]) -> None:
        """OWNERWRITE, PPWRITE and AUTHWRITE."""
        define(tpm, attributes)

        for auth, code in expected.items():
            assert write(tpm, b"x", auth=auth) == code

    @pytest.mark.parametrize(("attributes", "expected"), AUTHORIZATION)
    def test_read(self, tpm: Client, attributes: TPMA_NV, expected: dict[int, int]) -> None:
        """OWNERREAD, PPREAD and AUTHREAD."""
        define(tpm, attributes)
        writer = next(auth for auth, code in expected.items() if code == TPM_RC.SUCCESS)
        write(tpm, b"x", auth=writer)

        for auth, code in expected.items():
            assert tpm.nv_read(auth, INDEX, size=1, offset=0).rc == code

    @pytest.mark.parametrize(
        ("verb", "given", "attributes", "size"),
        [
            ("nv_increment", {}, COUNTER, 8),
            ("nv_set_bits", {"bits": 1}, BITS, 8),
            ("nv_extend", {"data": b"x"}, EXTEND, 32),
            ("nv_write_lock", {}, SELF.but(WRITE_STCLEAR=True), 8),
        ],
    )
    def test_other_writes(
        self, tpm: Client, verb: str, given: dict[str, Any], attributes: TPMA_NV, size: int
    ) -> None:
        """31.8 to 31.11: whoever may not write may not change the Index in another way."""
        define(tpm, attributes, size)
        send = getattr(tpm, verb)

        assert [send(auth, INDEX, **given).rc for auth in (OWNER, PLATFORM, INDEX)] == [
            TPM_RC.NV_AUTHORIZATION,
            TPM_RC.NV_AUTHORIZATION,
            TPM_RC.SUCCESS,
        ]

    def test_other_index(self, tpm: Client) -> None:
        """One Index does not authorize another."""
        define(tpm)
        define(tpm, handle=INDEX + 1)

        assert write(tpm, b"x", auth=INDEX + 1) == TPM_RC.NV_AUTHORIZATION
        assert tpm.nv_read(INDEX + 1, INDEX, size=1, offset=0).rc == TPM_RC.NV_AUTHORIZATION

    @pytest.mark.parametrize(
        ("auth", "expected"),
        [
            (b"", TPM_RC.BAD_AUTH.session(1)),
            (b"wrong", TPM_RC.BAD_AUTH.session(1)),
            (b"secret\0", TPM_RC.SUCCESS),
        ],
    )
    def test_password(self, tpm: Client, auth: bytes, expected: int) -> None:
        """The authValue, without trailing zeros; NO_DA keeps failures out of the dictionary attack logic."""
        define(tpm, auth=b"secret\0\0")

        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[auth]).rc == expected
        assert tpm.tpm.lockout.failed_tries == 0

    @pytest.mark.parametrize("name", ["nv_read", "nv_certify", "policy_nv", "policy_authorize_nv"])
    def test_unwritten(self, tpm: Client, name: str) -> None:
        """Whether an Index has data is looked at before its authValue, so that no failure is counted."""
        define(tpm, SELF.but(NO_DA=False), auth=b"secret")
        session = start_session(tpm, TPM_SE.POLICY).handle
        handles, given, auths = READING[name]
        handles = [session if handle is None else handle for handle in handles]

        for auth in (b"secret", b"wrong"):
            reply = getattr(tpm, name)(*handles, **given, auths=[*auths, auth])
            assert reply.rc == TPM_RC.NV_UNINITIALIZED
        assert tpm.tpm.lockout.failed_tries == 0

    def test_unwritten_in_a_trial(self, tpm: Client) -> None:
        """23.9: a trial policy reads no data, so that its authorization is like any other."""
        define(tpm, SELF.but(NO_DA=False), auth=b"secret")
        session = start_session(tpm, TPM_SE.TRIAL).handle
        _, given, _ = READING["policy_nv"]

        codes = [
            tpm.policy_nv(INDEX, INDEX, session, **given, auths=[auth]).rc for auth in (b"wrong", b"secret")
        ]

        assert codes == [TPM_RC.AUTH_FAIL.session(1), TPM_RC.SUCCESS]

    def test_dictionary_attack(self, tpm: Client) -> None:
        """Without NO_DA, failures count, and lock out in the end."""
        define(tpm, SELF.but(NO_DA=False), auth=b"secret")

        for _ in range(tpm.tpm.lockout.max_tries):
            assert write(tpm, b"x") == TPM_RC.AUTH_FAIL.session(1)
        reply = tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[b"secret"])
        assert reply.rc == TPM_RC.LOCKOUT

    def test_unavailable_policy(self, tpm: Client) -> None:
        """A policy authorizes only what POLICYREAD and POLICYWRITE allow."""
        define(tpm, SELF.but(POLICYWRITE=True), policy=bytes(32))
        session = start_session(tpm, TPM_SE.POLICY)
        assert tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, sessions=[session]).rc == TPM_RC.SUCCESS

        reply = tpm.nv_read(INDEX, INDEX, size=1, offset=0, sessions=[session])
        assert reply.rc == TPM_RC.AUTH_UNAVAILABLE


class TestRead:
    """31.13"""

    @pytest.mark.parametrize(
        ("offset", "size", "expected"),
        [
            (0, 8, TPM_RC.SUCCESS),
            (8, 0, TPM_RC.SUCCESS),
            (3, 5, TPM_RC.SUCCESS),
            (9, 0, TPM_RC.VALUE.parameter(2)),
            (0, 9, TPM_RC.NV_RANGE),
            (3, 6, TPM_RC.NV_RANGE),
            (0, 1024, TPM_RC.NV_RANGE),
            (0, 1025, TPM_RC.VALUE.parameter(1)),
            (9, 1025, TPM_RC.VALUE.parameter(1)),
        ],
    )
    def test_range(self, tpm: Client, offset: int, size: int, expected: int) -> None:
        """A read lies within the Index, and within a buffer."""
        define(tpm)
        write(tpm, b"12345678")

        reply = tpm.nv_read(INDEX, INDEX, size=size, offset=offset)
        assert reply.rc == expected
        if expected == TPM_RC.SUCCESS:
            assert reply.data == b"12345678"[offset : offset + size]

    def test_unwritten(self, tpm: Client) -> None:
        """There is nothing to be read before the first write."""
        define(tpm)

        assert tpm.nv_read(INDEX, INDEX, size=0, offset=0).rc == TPM_RC.NV_UNINITIALIZED


class TestIncrement:
    """31.8, and what 31.2 says of counters"""

    def test_counts(self, tpm: Client) -> None:
        """A counter counts, and no power loss takes it back."""
        define(tpm, COUNTER)
        for count in range(1, 4):
            assert tpm.nv_increment(INDEX, INDEX).rc == TPM_RC.SUCCESS
            tpm.power_cycle(shutdown=None)
            assert number(tpm) == count

    @pytest.mark.parametrize(("attributes", "size"), [(SELF, 8), (BITS, 8), (EXTEND, 32)])
    def test_other_kinds(self, tpm: Client, attributes: TPMA_NV, size: int) -> None:
        """Only counters count."""
        define(tpm, attributes, size)

        assert tpm.nv_increment(INDEX, INDEX).rc == TPM_RC.ATTRIBUTES.handle(2)

    def test_orderly(self, tpm: Client) -> None:
        """An orderly counter is saved by Shutdown."""
        define(tpm, COUNTER.but(ORDERLY=True))
        for _ in range(5):
            tpm.nv_increment(INDEX, INDEX)
        tpm.power_cycle(shutdown=TPM_SU.CLEAR)

        assert number(tpm) == 5

    def test_not_orderly(self, tpm: Client) -> None:
        """Without Shutdown, it goes on above every count that it can have had."""
        define(tpm, COUNTER.but(ORDERLY=True))
        tpm.nv_increment(INDEX, INDEX)
        assert BLOB in tpm.changes
        tpm.nv_increment(INDEX, INDEX)
        assert tpm.changes == {}

        tpm.power_cycle(shutdown=None)
        assert number(tpm) == 0xFF
        tpm.power_cycle(shutdown=None)
        assert number(tpm) == 0xFF
        tpm.nv_increment(INDEX, INDEX)
        assert BLOB in tpm.changes
        tpm.power_cycle(shutdown=None)
        assert number(tpm) == 0x1FF

    def test_orderly_saves(self, tpm: Client) -> None:
        """It is saved whenever the count of unsaved steps is used up."""
        define(tpm, COUNTER.but(ORDERLY=True))
        saved = []
        for count in range(1, 514):
            tpm.nv_increment(INDEX, INDEX)
            if BLOB in tpm.changes:
                saved.append(count)

        assert saved == [1, 256, 512]


@pytest.mark.parametrize("code", [TPM_CC.NV_Write, TPM_CC.NV_Extend])
def test_too_much_data(tpm: Client, code: TPM_CC) -> None:
    """31.7 and 31.9: the data is at most as long as a buffer of MAX_NV_BUFFER_SIZE; TPM_RC_SIZE."""
    define(tpm, EXTEND, 32)
    data = b"\x04\x01" + bytes(1025) + b"\0\0"

    response = tpm.send(
        request_of(COMMANDS[code], [INDEX, INDEX], Password().octets(COMMANDS[code], [], b""), data)
    )

    assert code_of(response) == TPM_RC.SIZE.parameter(1)


class TestSetBits:
    """31.10"""

    def test_bits(self, tpm: Client) -> None:
        """Bits are set, and stay set."""
        define(tpm, BITS)
        assert tpm.nv_set_bits(INDEX, INDEX, bits=0).rc == TPM_RC.SUCCESS
        assert number(tpm) == 0
        for bits in (1, 0x8000000000000000, 2):
            tpm.nv_set_bits(INDEX, INDEX, bits=bits)

        assert number(tpm) == 0x8000000000000003

    @pytest.mark.parametrize(("attributes", "size"), [(SELF, 8), (COUNTER, 8), (EXTEND, 32)])
    def test_other_kinds(self, tpm: Client, attributes: TPMA_NV, size: int) -> None:
        """Only an Index of bits has bits."""
        define(tpm, attributes, size)

        assert tpm.nv_set_bits(INDEX, INDEX, bits=1).rc == TPM_RC.ATTRIBUTES.handle(2)


class TestExtend:
    """31.9"""

    @pytest.mark.parametrize(
        ("alg", "name"), [(TPM_ALG.SHA1, "sha1"), (TPM_ALG.SHA256, "sha256"), (TPM_ALG.SHA512, "sha512")]
    )
    def test_extends(self, tpm: Client, alg: TPM_ALG, name: str) -> None:
        """The first extension is of zeros, each with the digest of the nameAlg."""
        value = bytes(hashlib.new(name).digest_size)
        define(tpm, EXTEND, len(value), alg=alg)
        for data in (b"", b"data", bytes(1024)):
            assert tpm.nv_extend(INDEX, INDEX, data=data).rc == TPM_RC.SUCCESS
            value = hashlib.new(name, value + data).digest()

        assert read(tpm, len(value)) == value

    @pytest.mark.parametrize("attributes", [SELF, COUNTER, BITS])
    def test_other_kinds(self, tpm: Client, attributes: TPMA_NV) -> None:
        """Only an Index for extension is extended."""
        define(tpm, attributes)

        assert tpm.nv_extend(INDEX, INDEX, data=b"x").rc == TPM_RC.ATTRIBUTES.handle(2)


class TestWriteLock:
    """31.11"""

    def test_until_clear(self, tpm: Client) -> None:
        """WRITE_STCLEAR: locked until the next Startup(CLEAR); locking again changes nothing."""
        define(tpm, SELF.but(WRITE_STCLEAR=True))
        write(tpm, b"x")
        for _ in range(2):
            assert tpm.nv_write_lock(INDEX, INDEX).rc == TPM_RC.SUCCESS
            assert write(tpm, b"y") == TPM_RC.NV_LOCKED
        assert read(tpm, 1) == b"x"

        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)
        assert write(tpm, b"y") == TPM_RC.NV_LOCKED
        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.CLEAR)
        assert write(tpm, b"y") == TPM_RC.SUCCESS

    def test_for_ever(self, tpm: Client) -> None:
        """WRITEDEFINE: once written and locked, it remains so."""
        define(tpm, SELF.but(WRITEDEFINE=True))
        write(tpm, b"x")
        tpm.nv_write_lock(INDEX, INDEX)
        tpm.power_cycle(shutdown=None)

        assert write(tpm, b"y") == TPM_RC.NV_LOCKED

    def test_unwritten(self, tpm: Client) -> None:
        """WRITEDEFINE: the lock of an Index that has never been written ends with Startup(CLEAR)."""
        define(tpm, SELF.but(WRITEDEFINE=True))
        tpm.nv_write_lock(INDEX, INDEX)
        assert write(tpm, b"x") == TPM_RC.NV_LOCKED
        tpm.power_cycle()

        assert write(tpm, b"x") == TPM_RC.SUCCESS

    def test_cannot_be_locked(self, tpm: Client) -> None:
        """An Index without either attribute is not locked."""
        define(tpm)

        assert tpm.nv_write_lock(INDEX, INDEX).rc == TPM_RC.ATTRIBUTES.handle(2)

    def test_authorization(self, tpm: Client) -> None:
        """Who may not write may not lock."""
        define(tpm, SELF.but(WRITE_STCLEAR=True))

        assert tpm.nv_write_lock(OWNER, INDEX).rc == TPM_RC.NV_AUTHORIZATION

    @pytest.mark.parametrize(
        ("attributes", "size", "send"),
        [
            (COUNTER, 8, lambda tpm: tpm.nv_increment(INDEX, INDEX)),
            (BITS, 8, lambda tpm: tpm.nv_set_bits(INDEX, INDEX, bits=1)),
            (EXTEND, 32, lambda tpm: tpm.nv_extend(INDEX, INDEX, data=b"x")),
        ],
    )
    def test_other_writes(
        self, tpm: Client, attributes: TPMA_NV, size: int, send: Callable[[Client], Reply]
    ) -> None:
        """The lock is for every kind of writing."""
        define(tpm, attributes.but(WRITE_STCLEAR=True), size)
        tpm.nv_write_lock(INDEX, INDEX)

        assert send(tpm).rc == TPM_RC.NV_LOCKED


class TestGlobalWriteLock:
    """31.12"""

    def test_lock(self, tpm: Client) -> None:
        """Every Index with GLOBALLOCK is locked, until the next Startup(CLEAR)."""
        define(tpm, SELF.but(GLOBALLOCK=True))
        define(tpm, SELF, handle=INDEX + 1)

        assert tpm.nv_global_write_lock(PLATFORM).rc == TPM_RC.SUCCESS

        assert write(tpm, b"x") == TPM_RC.NV_LOCKED
        assert tpm.nv_write(INDEX + 1, INDEX + 1, data=b"x", offset=0).rc == TPM_RC.SUCCESS
        tpm.power_cycle()
        assert write(tpm, b"x") == TPM_RC.SUCCESS

    @pytest.mark.parametrize("auth", [OWNER, PLATFORM])
    @pytest.mark.parametrize("creator", [False, True])
    def test_any_creator(self, tpm: Client, auth: int, *, creator: bool) -> None:
        """Whoever authorizes, and whoever the Index was defined by."""
        define(tpm, SELF.but(GLOBALLOCK=True, PLATFORMCREATE=creator))
        tpm.nv_global_write_lock(auth).check()

        assert write(tpm, b"x") == TPM_RC.NV_LOCKED

    @pytest.mark.parametrize("written", [False, True])
    def test_for_ever(self, tpm: Client, *, written: bool) -> None:
        """With WRITEDEFINE the lock remains, unless the Index has not been written."""
        define(tpm, SELF.but(GLOBALLOCK=True, WRITEDEFINE=True))
        if written:
            assert write(tpm, b"x") == TPM_RC.SUCCESS
        tpm.nv_global_write_lock(OWNER).check()
        tpm.power_cycle()

        assert write(tpm, b"y") == (TPM_RC.NV_LOCKED if written else TPM_RC.SUCCESS)

    def test_later_index(self, tpm: Client) -> None:
        """An Index that is defined after the lock is not locked."""
        tpm.nv_global_write_lock(OWNER)
        define(tpm, SELF.but(GLOBALLOCK=True))

        assert write(tpm, b"x") == TPM_RC.SUCCESS


class TestReadLock:
    """31.14"""

    def test_until_clear(self, tpm: Client) -> None:
        """READ_STCLEAR: locked until the next Startup(CLEAR); locking again changes nothing."""
        define(tpm, SELF.but(READ_STCLEAR=True))
        write(tpm, b"x")
        for _ in range(2):
            assert tpm.nv_read_lock(INDEX, INDEX).rc == TPM_RC.SUCCESS
            assert tpm.nv_read(INDEX, INDEX, size=1, offset=0).rc == TPM_RC.NV_LOCKED
        assert write(tpm, b"y") == TPM_RC.SUCCESS

        tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)
        assert attributes_of(tpm).READLOCKED
        tpm.power_cycle()
        assert read(tpm, 1) == b"y"

    def test_unwritten(self, tpm: Client) -> None:
        """An Index can be locked for reading before it is written."""
        define(tpm, SELF.but(READ_STCLEAR=True))

        assert tpm.nv_read_lock(INDEX, INDEX).rc == TPM_RC.SUCCESS
        assert attributes_of(tpm).READLOCKED

    def test_cannot_be_locked(self, tpm: Client) -> None:
        """An Index without READ_STCLEAR is not locked, and who may not read does not lock."""
        define(tpm)

        assert tpm.nv_read_lock(INDEX, INDEX).rc == TPM_RC.ATTRIBUTES.handle(2)
        assert tpm.nv_read_lock(OWNER, INDEX).rc == TPM_RC.NV_AUTHORIZATION


class TestLifetime:
    """Part 1, NV Index attributes: what a start-up leaves of the data"""

    @pytest.mark.parametrize(
        ("attributes", "shutdown", "startup", "kept"),
        [
            (SELF, None, TPM_SU.CLEAR, True),
            (SELF.but(CLEAR_STCLEAR=True), TPM_SU.STATE, TPM_SU.STATE, True),
            (SELF.but(CLEAR_STCLEAR=True), TPM_SU.STATE, TPM_SU.CLEAR, False),
            (SELF.but(CLEAR_STCLEAR=True), TPM_SU.CLEAR, TPM_SU.CLEAR, False),
            (SELF.but(CLEAR_STCLEAR=True), None, TPM_SU.CLEAR, False),
            (SELF.but(ORDERLY=True), TPM_SU.STATE, TPM_SU.STATE, True),
            (SELF.but(ORDERLY=True), TPM_SU.STATE, TPM_SU.CLEAR, True),
            (SELF.but(ORDERLY=True), TPM_SU.CLEAR, TPM_SU.CLEAR, False),
            (SELF.but(ORDERLY=True), None, TPM_SU.CLEAR, False),
            (SELF.but(ORDERLY=True, CLEAR_STCLEAR=True), TPM_SU.STATE, TPM_SU.CLEAR, False),
        ],
    )
    def test_data(
        self, tpm: Client, attributes: TPMA_NV, shutdown: TPM_SU | None, startup: TPM_SU, *, kept: bool
    ) -> None:
        """Data is kept, or the Index is as if it had never been written."""
        define(tpm, attributes)
        write(tpm, b"12345678")
        tpm.power_cycle(shutdown=shutdown, startup=startup)

        assert attributes_of(tpm).WRITTEN is kept
        if kept:
            assert read(tpm) == b"12345678"

    def test_orderly_is_not_written_out(self, tpm: Client) -> None:
        """A write of orderly data does not touch what is durable."""
        define(tpm, SELF.but(ORDERLY=True))
        write(tpm, b"12345678")

        assert tpm.changes == {}

    def test_write_after_shutdown(self, tpm: Client) -> None:
        """A write after Shutdown makes the shutdown no orderly one."""
        define(tpm, SELF.but(ORDERLY=True))
        tpm.shutdown(shutdown_type=TPM_SU.STATE)
        write(tpm, b"12345678")
        tpm.lose_power()

        assert tpm.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.VALUE.parameter(1)


class TestPin:
    """Part 1, PIN Indices"""

    def pin(self, count: int, limit: int) -> bytes:
        """TPMS_NV_PIN_COUNTER_PARAMETERS"""
        return count.to_bytes(4, "big") + limit.to_bytes(4, "big")

    def set_pin(self, tpm: Client, attributes: TPMA_NV, limit: int) -> None:
        """Define a PIN Index with the authValue "pin", and set its limit."""
        define(tpm, attributes, auth=b"pin")
        assert write(tpm, self.pin(0, limit), auth=OWNER) == TPM_RC.SUCCESS

    def use(self, tpm: Client, auth: bytes) -> int:
        """Use the PIN to read the Index."""
        return tpm.nv_read(INDEX, INDEX, size=8, offset=0, auths=[auth]).rc

    def test_unwritten(self, tpm: Client) -> None:
        """Until the Index is written, there is no PIN."""
        define(tpm, PIN_PASS, auth=b"pin")

        assert self.use(tpm, b"pin") == TPM_RC.AUTH_UNAVAILABLE

    @pytest.mark.parametrize("orderly", [0, 1])
    def test_first_write(self, tpm: Client, orderly: int) -> None:
        """What a first write leaves out is zeros, so that a count alone allows no use."""
        define(tpm, PIN_PASS.but(ORDERLY=orderly), auth=b"pin")

        assert write(tpm, b"\0\0\0\0", 0, auth=OWNER) == TPM_RC.SUCCESS

        assert tpm.nv_read(OWNER, INDEX, size=8, offset=0).data == bytes(8)
        assert self.use(tpm, b"pin") == TPM_RC.AUTH_UNAVAILABLE

    def test_pass(self, tpm: Client) -> None:
        """PIN Pass: each success counts, until the limit is reached."""
        self.set_pin(tpm, PIN_PASS, 2)

        assert self.use(tpm, b"wrong") == TPM_RC.BAD_AUTH.session(1)
        assert [self.use(tpm, b"pin") for _ in range(3)] == [0, 0, TPM_RC.AUTH_UNAVAILABLE]
        assert read(tpm, auth=OWNER) == self.pin(2, 2)

    def test_fail(self, tpm: Client) -> None:
        """PIN Fail: each failure counts, until the limit is reached; a success forgives them."""
        self.set_pin(tpm, PIN_FAIL, 2)

        assert self.use(tpm, b"wrong") == TPM_RC.BAD_AUTH.session(1)
        assert read(tpm, auth=OWNER) == self.pin(1, 2)
        assert self.use(tpm, b"pin") == TPM_RC.SUCCESS
        assert read(tpm, auth=OWNER) == self.pin(0, 2)
        for _ in range(2):
            assert self.use(tpm, b"wrong") == TPM_RC.BAD_AUTH.session(1)
        assert self.use(tpm, b"pin") == TPM_RC.AUTH_UNAVAILABLE

    def test_failures_are_durable(self, tpm: Client) -> None:
        """A loss of power does not forgive."""
        self.set_pin(tpm, PIN_FAIL, 1)
        self.use(tpm, b"wrong")
        tpm.power_cycle(shutdown=None)

        assert self.use(tpm, b"pin") == TPM_RC.AUTH_UNAVAILABLE

    def test_locked(self, tpm: Client) -> None:
        """34.2.8.3: a PIN Index that is locked for reading and writing still serves PolicySecret."""
        self.set_pin(tpm, PIN_PASS.but(READ_STCLEAR=True, WRITE_STCLEAR=True), 2)
        tpm.nv_write_lock(OWNER, INDEX).check()
        tpm.nv_read_lock(OWNER, INDEX).check()
        session = start_session(tpm, TPM_SE.POLICY).handle
        given = {"nonce_tpm": b"", "cp_hash_a": b"", "policy_ref": b"", "expiration": 0}

        codes = [tpm.policy_secret(INDEX, session, **given, auths=[b"pin"]).rc for _ in range(3)]

        assert codes == [TPM_RC.SUCCESS, TPM_RC.SUCCESS, TPM_RC.AUTH_UNAVAILABLE]

    def test_owner_sets_it_back(self, tpm: Client) -> None:
        """Whoever may write the Index sets its count."""
        self.set_pin(tpm, PIN_FAIL, 1)
        self.use(tpm, b"wrong")
        write(tpm, self.pin(0, 1), auth=OWNER)

        assert self.use(tpm, b"pin") == TPM_RC.SUCCESS


class TestReadOnlyMode:
    """Part 3, Table 207: in Read-Only mode only what a restart forgets is written"""

    @pytest.mark.parametrize(
        ("verb", "given", "attributes", "size"),
        [
            ("nv_write", {"data": b"x", "offset": 0}, SELF, 8),
            ("nv_extend", {"data": b"x"}, EXTEND, 32),
            ("nv_set_bits", {"bits": 1}, BITS, 8),
            ("nv_write_lock", {}, SELF.but(WRITE_STCLEAR=True), 8),
            ("nv_read_lock", {}, SELF.but(READ_STCLEAR=True), 8),
        ],
    )
    def test_write(
        self, tpm: Client, verb: str, given: dict[str, Any], attributes: TPMA_NV, size: int
    ) -> None:
        """Both ORDERLY and CLEAR_STCLEAR make an Index one of these."""
        send = getattr(tpm, verb)
        for extra, expected in (
            ({}, TPM_RC.READ_ONLY),
            ({"ORDERLY": True}, TPM_RC.READ_ONLY),
            ({"ORDERLY": True, "CLEAR_STCLEAR": True}, TPM_RC.SUCCESS),
        ):
            define(tpm, attributes.but(**extra), size)
            tpm.tpm.clear.read_only = True
            assert send(INDEX, INDEX, **given).rc == expected
            tpm.tpm.clear.read_only = False
            tpm.nv_undefine_space(OWNER, INDEX)

    def test_before_authorization(self, tpm: Client) -> None:
        """Part 1, 42.2: the command is refused before its authorization, of which no failure is counted."""
        define(tpm, SELF.but(NO_DA=False), auth=b"secret")
        tpm.tpm.clear.read_only = True

        codes = [
            tpm.nv_write(INDEX, INDEX, data=b"x", offset=0, auths=[auth]).rc for auth in (b"wrong", b"secret")
        ]

        assert codes == [TPM_RC.READ_ONLY] * 2
        assert tpm.tpm.lockout.failed_tries == 0

    def test_increment(self, tpm: Client) -> None:
        """Counters do not count."""
        define(tpm, COUNTER)
        tpm.tpm.clear.read_only = True

        assert tpm.nv_increment(INDEX, INDEX).rc == TPM_RC.READ_ONLY
