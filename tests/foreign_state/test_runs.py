"""A guest is suspended under swtpm and goes on here, and back: sessions, objects, sequences, PCR, time."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.differential.judge import HAS_SWTPM, PERMANENT, VOLATILE, Swtpm
from tests.objects import SEALED, SIGN_ECC, STORAGE_ECC, STORAGE_RSA, creation, handle_of, template
from tests.scenarios import BY_HANDLER, Caller, Client, Password, reply_of
from tests.sessions import AES_128, start_session
from vtpm import Tpm
from vtpm.libtpms import file
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.exporting import export_state
from vtpm.libtpms.exporting_run import export_run
from vtpm.libtpms.importing import import_state
from vtpm.libtpms.importing_run import import_run, read_run
from vtpm.spec.algorithms import TPMT_SIG_SCHEME
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_NT, TPM_RH, TPM_SE, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_TK_HASHCHECK
from vtpm.state.clock import Instant
from vtpm.state.profile import SWTPM_COMPATIBLE
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import unmarshal

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")]

PERMANENT_FILE, VOLATILE_FILE = "tpm2-00.permall", "tpm2-00.volatilestate"
ECDSA = unmarshal(TPMT_SIG_SCHEME, bytes.fromhex("0018000b"))
NO_TICKET = unmarshal(TPMT_TK_HASHCHECK, bytes.fromhex("8024400000070000"))
OPEN = TPMA_NV(OWNERWRITE=True, OWNERREAD=True, AUTHREAD=True, AUTHWRITE=True, NO_DA=True)
ORDINARY = 0x01500001
STOP = bytes.fromhex("0000000e")
MESSAGE = bytes(range(256)) * 3 + b"tail"
ORDERLY = 0x01500003


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def handed_to_us(there: Swtpm) -> Client:
    """Our TPM, from where swtpm is."""
    permanent, volatile = (file.unwrap(there.state(kind)) for kind in (PERMANENT, VOLATILE))
    imported = import_state(permanent, SWTPM_COMPATIBLE, os.urandom)
    run = import_run(volatile, permanent, imported.blobs, os.urandom)
    client = Client(profile=SWTPM_COMPATIBLE)
    client.durable = dict(imported.blobs)
    client.tpm = Tpm.restore(imported.blobs | run.blobs, os.urandom)
    client.tpm.resume(Instant(client.now))
    return client


def handed_to_swtpm(here: Client, judge: Swtpm) -> Swtpm:
    """swtpm, from where our TPM is."""
    blobs = here.tpm.snapshot() | here.tpm.snapshot_volatile()
    judge.control.sendall(STOP)
    assert judge.control.recv(4) == bytes(4)
    directory = Path(judge.directory.name)
    (directory / PERMANENT_FILE).write_bytes(file.wrap(export_state(blobs, os.urandom).state))
    (directory / VOLATILE_FILE).write_bytes(file.wrap(export_run(blobs, now(), os.urandom)))
    judge.lose_power()
    return judge


@dataclass
class Move:
    """From which TPM to which."""

    first: Caller
    judge: Swtpm
    to_us: bool
    twice: bool

    def go(self) -> Caller:
        """Suspend the first one; the TPM that goes on."""
        if self.to_us:
            here = handed_to_us(self.judge)
            return handed_to_swtpm(here, self.judge) if self.twice else here
        assert isinstance(self.first, Client)
        there = handed_to_swtpm(self.first, self.judge)
        return handed_to_us(there) if self.twice else there


@pytest.fixture(params=["swtpm to us", "us to swtpm", "swtpm to us and back", "us to swtpm and back"])
def move(request: pytest.FixtureRequest) -> Iterator[Move]:
    judge = Swtpm()
    to_us, twice = request.param.startswith("swtpm"), request.param.endswith("back")
    yield Move(judge if to_us else Client(profile=SWTPM_COMPATIBLE), judge, to_us, twice)
    judge.close()


class TestPcr:
    """The values of all PCR"""

    def test_values(self, move: Move) -> None:
        """Every PCR of every bank, and the counter of their changes."""
        for number in (0, 7, 16, 23):
            move.first.pcr_event(number, event_data=bytes([number])).check()
        selections = [
            (TPMS_PCR_SELECTION(alg, (0xFF << shift).to_bytes(3, "little")),)
            for alg in (TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512)
            for shift in (0, 8, 16)
        ]
        before = [move.first.pcr_read(pcr_selection_in=selection).octets for selection in selections]
        after = move.go()
        assert [after.pcr_read(pcr_selection_in=selection).octets for selection in selections] == before

    def test_allocation(self, move: Move) -> None:
        """An allocation for the next start is not yet in force."""
        allocation = (TPMS_PCR_SELECTION(TPM_ALG.SHA384, b"\xff\xff\xff"),)
        move.first.pcr_allocate(TPM_RH.PLATFORM, pcr_allocation=allocation).check()
        bank = (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x01\0\0"),)
        before = move.first.pcr_read(pcr_selection_in=bank).octets
        after = move.go()
        assert after.pcr_read(pcr_selection_in=bank).octets == before
        assert after.shutdown(shutdown_type=TPM_SU.STATE).rc == TPM_RC.TYPE | 0x140


class TestObjects:
    """The transient objects"""

    def test_keys(self, move: Move) -> None:
        """Of every hierarchy, in their handles, with their authorizations and private keys."""
        first = move.first
        parent = handle_of(first.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC, auth=b"parent")))
        null = handle_of(first.create_primary(TPM_RH.NULL, **creation(STORAGE_RSA)))
        key = handle_of(first.create_primary(TPM_RH.ENDORSEMENT, **creation(SIGN_ECC)))
        before = [first.read_public(handle).octets for handle in (parent, null, key)]
        after = move.go()
        assert [after.read_public(handle).octets for handle in (parent, null, key)] == before
        after.sign(
            key, digest=bytes(32), in_scheme=ECDSA, validation=NO_TICKET
        )  # may be TPM_RC_RETRY at first
        after.sign(key, digest=bytes(32), in_scheme=ECDSA, validation=NO_TICKET).check()
        after.flush_context(flush_handle=key).check()
        inner = after.create(parent, **creation(SEALED, data=b"inside"), sessions=[Password(b"parent")])
        after.create(null, **creation(SEALED, data=b"inside")).check()
        after.flush_context(flush_handle=null).check()
        loaded = after.load(
            parent, in_private=inner.out_private, in_public=inner.out_public, sessions=[Password(b"parent")]
        )
        assert after.unseal(handle_of(loaded)).out_data == b"inside"

    def test_external(self, move: Move) -> None:
        """A public area alone, of nobody's hierarchy."""
        key = move.first.create_primary(TPM_RH.NULL, **creation(SIGN_ECC))
        public = key.out_public
        move.first.flush_context(flush_handle=handle_of(key)).check()
        handle = handle_of(move.first.load_external(in_private=None, in_public=public, hierarchy=TPM_RH.NULL))
        after = move.go()
        assert after.read_public(handle).out_public == public
        assert after.sign(handle, digest=bytes(32), in_scheme=ECDSA, validation=NO_TICKET).rc != 0


class TestSequences:
    """Digests and MACs under way"""

    @pytest.mark.parametrize("size", [0, 3, 64, 772])
    @pytest.mark.parametrize("alg", [TPM_ALG.SHA1, TPM_ALG.SHA256, TPM_ALG.SHA384, TPM_ALG.SHA512])
    def test_hash(self, move: Move, alg: TPM_ALG, size: int) -> None:
        """A digest goes on within a block, and its ticket is still given."""
        sequence = handle_of(move.first.hash_sequence_start(auth=b"x", hash_alg=alg))
        auth = [Password(b"x")]
        if size:
            move.first.sequence_update(sequence, buffer=MESSAGE[:size], sessions=auth).check()
        after = move.go()
        after.sequence_update(sequence, buffer=MESSAGE[size:][:99], sessions=auth).check()
        rest = MESSAGE[size:][99:]
        done = after.sequence_complete(sequence, buffer=rest, hierarchy=TPM_RH.OWNER, sessions=auth).check()
        expected = after.hash(data=MESSAGE, hash_alg=alg, hierarchy=TPM_RH.OWNER)
        has_ticket = 0 < size != 3 or size == 0
        assert done.result == expected.out_hash
        assert (done.validation == expected.validation) is has_ticket

    def test_generated(self, move: Move) -> None:
        """What begins as the TPM's own structures has no ticket, wherever it goes on."""
        sequence = handle_of(move.first.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA256))
        move.first.sequence_update(sequence, buffer=b"\xffTCGmore").check()
        done = move.go().sequence_complete(sequence, buffer=b"", hierarchy=TPM_RH.OWNER).check()
        assert done.validation.digest == b""

    def test_event(self, move: Move) -> None:
        """An event's digests for all banks."""
        sequence = handle_of(move.first.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.NULL))
        move.first.sequence_update(sequence, buffer=MESSAGE[:100]).check()
        after = move.go()
        done = after.event_sequence_complete(16, sequence, buffer=MESSAGE[100:]).check()
        assert len(done.results) == 4
        for value in done.results:
            expected = after.hash(data=MESSAGE, hash_alg=value.hash_alg, hierarchy=TPM_RH.NULL)
            assert value.digest == expected.out_hash

    @pytest.mark.parametrize("size", [0, 64, 100])
    def test_hmac(self, move: Move, size: int) -> None:
        """An HMAC goes on with its key."""
        area = template("0008000b00040472 0000 0005 000b 0000")
        key = handle_of(move.first.create_primary(TPM_RH.OWNER, **creation(area)))
        sequence = handle_of(move.first.mac_start(key, auth=b"", in_scheme=TPM_ALG.SHA256))
        if size:
            move.first.sequence_update(sequence, buffer=MESSAGE[:size]).check()
        after = move.go()
        done = after.sequence_complete(sequence, buffer=MESSAGE[size:], hierarchy=TPM_RH.NULL).check()
        assert done.result == after.mac(key, buffer=MESSAGE, in_scheme=TPM_ALG.SHA256).out_mac


class TestSessions:
    """The loaded sessions"""

    def test_bound(self, move: Move) -> None:
        """A session that is bound still authorizes without the authValue in its key."""
        move.first.hierarchy_change_auth(TPM_RH.OWNER, new_auth=b"owner").check()
        session = start_session(move.first, bind=TPM_RH.OWNER, bind_auth=b"owner", symmetric=AES_128)
        session.auth, session.includes_auth = b"owner", False
        after = move.go()
        reply = after.clear_control(TPM_RH.LOCKOUT, disable=True)
        assert reply.rc == 0
        reply = after.set_primary_policy(
            TPM_RH.OWNER, auth_policy=b"", hash_alg=TPM_ALG.NULL, sessions=[session]
        )
        assert reply.rc == 0
        session.check(reply)
        reply = after.set_primary_policy(
            TPM_RH.OWNER, auth_policy=b"", hash_alg=TPM_ALG.NULL, sessions=[session]
        )
        assert reply.rc == 0

    def test_bound_to_another(self, move: Move) -> None:
        """Bound to an NV Index, it is no longer once the Index is gone."""
        public = TPMS_NV_PUBLIC(ORDINARY, TPM_ALG.SHA256, OPEN, b"", 8)
        move.first.nv_define_space(TPM_RH.OWNER, auth=b"index", public_info=public).check()
        session = start_session(move.first, bind=ORDINARY, bind_auth=b"index")
        move.first.nv_undefine_space(TPM_RH.OWNER, ORDINARY).check()
        session.auth = b""
        after = move.go()
        reply = after.set_primary_policy(
            TPM_RH.OWNER, auth_policy=b"", hash_alg=TPM_ALG.NULL, sessions=[session]
        )
        assert reply.rc == 0
        session.check(reply)

    def test_audit(self, move: Move) -> None:
        """An audit session and its digest; it stays exclusive."""
        session = start_session(move.first)
        session.authorizes = False
        session.attributes = TPMA_SESSION(continueSession=True, audit=True)
        session.check(move.first.get_random(bytes_requested=4, sessions=[session]))
        after = move.go()
        session.attributes = TPMA_SESSION(continueSession=True, audit=True, auditExclusive=True)
        reply = after.get_random(bytes_requested=4, sessions=[session])
        assert reply.rc == 0
        session.check(reply)

    def test_policy(self, move: Move) -> None:
        """A policy under way: its digest, and what it asks for."""
        session = start_session(move.first, TPM_SE.POLICY)
        move.first.policy_command_code(session.handle, code=TPM_CC.NV_Write).check()
        move.first.policy_auth_value(session.handle).check()
        move.first.policy_nv_written(session.handle, written_set=False).check()
        locality = bytes.fromhex("8001 0000000f 0000016f") + session.handle.to_bytes(4, "big") + b"\x01"
        assert reply_of(BY_HANDLER["policy_locality"], move.first.send(locality)).rc == 0
        policy = move.first.policy_get_digest(session.handle).policy_digest
        attributes = TPMA_NV(POLICYWRITE=True, AUTHREAD=True, OWNERREAD=True, NO_DA=True)
        public = TPMS_NV_PUBLIC(ORDINARY, TPM_ALG.SHA256, attributes, policy, 8)
        move.first.nv_define_space(TPM_RH.OWNER, auth=b"index", public_info=public).check()
        name = move.first.nv_read_public(ORDINARY).nv_name
        after = move.go()
        assert after.policy_get_digest(session.handle).policy_digest == policy
        for caller in (after, move.judge):
            getattr(caller, "names", {})[ORDINARY] = name
        session.auth, session.includes_auth = b"index", True
        reply = after.nv_write(ORDINARY, ORDINARY, data=b"12345678", offset=0, sessions=[session])
        assert reply.rc == 0
        again = after.nv_write(ORDINARY, ORDINARY, data=b"12345678", offset=0, sessions=[session])
        assert again.rc != 0

    @pytest.mark.parametrize("step", ["cp_hash", "name_hash", "template"])
    def test_bound_policy(self, move: Move, step: str) -> None:
        """A hash to which a policy is bound excludes another one."""
        session = start_session(move.first, TPM_SE.POLICY)
        steps = {
            "cp_hash": lambda tpm, octets: tpm.policy_cp_hash(session.handle, cp_hash_a=octets),
            "name_hash": lambda tpm, octets: tpm.policy_name_hash(session.handle, name_hash=octets),
            "template": lambda tpm, octets: tpm.policy_template(session.handle, template_hash=octets),
        }
        steps[step](move.first, bytes(32)).check()
        after = move.go()
        others = [name for name in steps if name != step]
        assert all(steps[name](after, bytes(32)).rc for name in others)
        assert after.policy_restart(session.handle).rc == 0
        assert steps[others[0]](after, bytes(32)).rc == 0

    def test_pcr_policy(self, move: Move) -> None:
        """A policy on PCR ends with the next change of them, wherever that happens."""
        session = start_session(move.first, TPM_SE.POLICY)
        selection = (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\x01\0\0"),)
        move.first.policy_pcr(session.handle, pcr_digest=b"", pcrs=selection).check()
        after = move.go()
        assert after.policy_pcr(session.handle, pcr_digest=b"", pcrs=selection).rc == 0
        after.pcr_event(0, event_data=b"a change").check()
        assert after.policy_pcr(session.handle, pcr_digest=b"", pcrs=selection).rc == TPM_RC.PCR_CHANGED

    def test_trial(self, move: Move) -> None:
        """A trial session stays one."""
        session = start_session(move.first, TPM_SE.TRIAL)
        after = move.go()
        assert after.policy_password(session.handle).rc == 0
        after.flush_context(flush_handle=session.handle).check()


class TestRest:
    """Time, orderly NV Indices, lockout, enables"""

    def test_time(self, move: Move) -> None:
        """Time and Clock go on, and do not begin again."""
        before = move.first.read_clock().current_time
        after = move.go().read_clock().current_time
        assert after.time >= before.time
        assert after.clock_info.clock >= before.clock_info.clock
        assert after.clock_info.reset_count == before.clock_info.reset_count
        assert after.clock_info.restart_count == before.clock_info.restart_count

    def test_orderly(self, move: Move) -> None:
        """Counts that are only in memory."""
        attributes = OPEN.but(TPM_NT=TPM_NT.COUNTER, ORDERLY=True)
        public = TPMS_NV_PUBLIC(ORDERLY, TPM_ALG.SHA256, attributes, b"", 8)
        move.first.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).check()
        for _ in range(3):
            move.first.nv_increment(ORDERLY, ORDERLY).check()
        before = move.first.nv_read(ORDERLY, ORDERLY, size=8, offset=0).data
        after = move.go()
        assert after.nv_read(ORDERLY, ORDERLY, size=8, offset=0).data == before
        after.nv_increment(ORDERLY, ORDERLY).check()
        counted = after.nv_read(ORDERLY, ORDERLY, size=8, offset=0).data
        assert int.from_bytes(counted, "big") == int.from_bytes(before, "big") + 1

    def test_platform(self, move: Move) -> None:
        """The platform's authorization, which only lasts until the next start, and what is enabled."""
        move.first.hierarchy_change_auth(TPM_RH.PLATFORM, new_auth=b"platform").check()
        auth = [Password(b"platform")]
        move.first.hierarchy_control(TPM_RH.PLATFORM, enable=TPM_RH.OWNER, state=False, sessions=auth).check()
        after = move.go()
        assert after.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC)).rc != 0
        after.hierarchy_control(TPM_RH.PLATFORM, enable=TPM_RH.OWNER, state=True, sessions=auth).check()
        assert after.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC)).rc == 0

    def test_lockout(self, move: Move) -> None:
        """Failed authorizations, and how long ago they were."""
        area = template(SEALED)
        parent = handle_of(move.first.create_primary(TPM_RH.OWNER, **creation(STORAGE_ECC)))
        inner = move.first.create(parent, **creation(area, data=b"x", auth=b"right"))
        item = handle_of(move.first.load(parent, in_private=inner.out_private, in_public=inner.out_public))
        wrong = [Password(b"wrong")]
        move.first.unseal(item, sessions=wrong)  # libtpms answers TPM_RC_RETRY to the first use
        while move.first.unseal(item, sessions=wrong).rc != TPM_RC.LOCKOUT:
            pass
        after = move.go()
        assert after.unseal(item, sessions=[Password(b"right")]).rc == TPM_RC.LOCKOUT
        after.dictionary_attack_lock_reset(TPM_RH.LOCKOUT).check()
        assert after.unseal(item, sessions=[Password(b"right")]).rc in (0, TPM_RC.RETRY)
        assert after.unseal(item, sessions=[Password(b"right")]).out_data == b"x"


class TestRefusals:
    """What is not carried over is refused before anything is changed"""

    def test_another_tpm(self) -> None:
        """A run of one TPM does not go on beside the state of another."""
        judge = Swtpm()
        volatile = file.unwrap(judge.state(VOLATILE))
        judge.renew()
        permanent = file.unwrap(judge.state(PERMANENT))
        judge.close()
        imported = import_state(permanent, SWTPM_COMPATIBLE, os.urandom)
        with pytest.raises(ForeignStateError, match="of another TPM"):
            import_run(volatile, permanent, imported.blobs, os.urandom)
        with pytest.raises(ForeignStateError, match="damaged"):
            read_run(volatile[:-1])

    def test_too_much(self) -> None:
        """More sessions and objects than swtpm has room for, and algorithms that it does not know."""
        tpm = Client()
        for _ in range(4):
            start_session(tpm)
            tpm.hash_sequence_start(auth=b"", hash_alg=TPM_ALG.SHA3_256).check()
        blobs = tpm.tpm.snapshot() | tpm.tpm.snapshot_volatile()
        with pytest.raises(ForeignStateError) as error:
            export_run(blobs, now(), os.urandom)
        for said in (
            "more than 3 sessions",
            "0x80000003 is beyond",
            "0x80000000 is of a hierarchy or algorithm",
        ):
            assert said in str(error.value)
