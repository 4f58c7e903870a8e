"""A VM moves from swtpm to this TPM and back, and its guest notices nothing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.judge import HAS_SWTPM, Swtpm
from tests.objects import SEALED, SIGN_ECC, STORAGE_ECC, STORAGE_RSA, created, creation, handle_of, primary
from tests.scenarios import Caller, Client, Password
from vtpm.libtpms import file
from vtpm.libtpms.errors import ForeignStateError
from vtpm.libtpms.exporting import export_state
from vtpm.libtpms.importing import import_state
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_NT, TPM_RH, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA
from vtpm.state.profile import DEFAULT
from vtpm.wire.error import TPM_RC

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HAS_SWTPM, reason="swtpm is not installed")]

STATE = "tpm2-00.permall"
SRK, KEY = 0x81000001, 0x81000002
ORDERLY = 0x01500010
STOP = bytes.fromhex("0000000e")
OPEN = TPMA_NV(OWNERWRITE=True, OWNERREAD=True, AUTHREAD=True, AUTHWRITE=True, NO_DA=True)
INDICES = {
    0x01500001: OPEN,
    0x01500002: OPEN.but(TPM_NT=TPM_NT.COUNTER),
    0x01500003: OPEN.but(TPM_NT=TPM_NT.COUNTER, ORDERLY=True),
    0x01500005: OPEN.but(TPM_NT=TPM_NT.BITS),
    0x01500006: OPEN.but(TPM_NT=TPM_NT.EXTEND),
}


def shut_down(tpm: Caller) -> None:
    assert tpm.shutdown(shutdown_type=TPM_SU.CLEAR).rc == 0


def settle(tpm: Caller) -> dict[str, Any]:
    """Give a TPM everything that is to move; what its answers are."""
    owner = TPM_RH.OWNER
    tpm.hierarchy_change_auth(owner, new_auth=b"owner")
    auth = [Password(b"owner")]
    parent = handle_of(tpm.create_primary(owner, **creation(STORAGE_RSA), sessions=auth))
    tpm.evict_control(owner, parent, persistent_handle=SRK, sessions=auth)
    tpm.flush_context(flush_handle=parent)
    sealed = created(tpm, SRK, SEALED, data=b"the secret")
    key = handle_of(tpm.load(SRK, **created(tpm, SRK, SIGN_ECC)))
    tpm.evict_control(owner, key, persistent_handle=KEY, sessions=auth)
    tpm.flush_context(flush_handle=key)
    for handle, attributes in INDICES.items():
        size = 32 if attributes.TPM_NT == TPM_NT.EXTEND else 8
        public = TPMS_NV_PUBLIC(handle, TPM_ALG.SHA256, attributes, b"", size)
        assert tpm.nv_define_space(owner, auth=b"", public_info=public, sessions=auth).rc == 0
        kind = attributes.TPM_NT
        if kind == TPM_NT.COUNTER:
            tpm.nv_increment(handle, handle)
        elif kind == TPM_NT.BITS:
            tpm.nv_set_bits(handle, handle, bits=5)
        elif kind == TPM_NT.EXTEND:
            tpm.nv_extend(handle, handle, data=b"measured")
        else:
            tpm.nv_write(handle, handle, data=b"12345678", offset=0)
    tpm.dictionary_attack_parameters(
        TPM_RH.LOCKOUT, new_max_tries=9, new_recovery_time=77, lockout_recovery=88
    )
    return sealed


def seen(tpm: Caller, sealed: dict[str, Any]) -> dict[str, Any]:
    """What a guest sees of it."""
    auth = [Password(b"owner")]
    item = handle_of(tpm.load(SRK, **sealed))
    tpm.unseal(item)  # libtpms answers TPM_RC_RETRY to the first use of a protected object
    facts: dict[str, Any] = {"unsealed": tpm.unseal(item).out_data}
    tpm.flush_context(flush_handle=item)
    for handle in (SRK, KEY):
        facts[hex(handle)] = tpm.read_public(handle).octets
    for handle, attributes in INDICES.items():
        size = 32 if attributes.TPM_NT == TPM_NT.EXTEND else 8
        facts[hex(handle)] = tpm.nv_read(handle, handle, size=size, offset=0).octets
        facts[f"{handle:x} public"] = tpm.nv_read_public(handle).octets
    for name, hierarchy in (("EK", TPM_RH.ENDORSEMENT), ("platform", TPM_RH.PLATFORM)):
        reply = tpm.create_primary(hierarchy, **creation(STORAGE_ECC))
        facts[name] = reply.out_public
        tpm.flush_context(flush_handle=handle_of(reply))
    reply = tpm.create_primary(TPM_RH.OWNER, **creation(STORAGE_RSA), sessions=auth)
    facts["SRK"] = (reply.out_public, reply.creation_ticket)
    tpm.flush_context(flush_handle=handle_of(reply))
    return facts


def arrived(blobs: dict[str, bytes]) -> Client:
    """Our TPM from blobs, powered, not started."""
    client = Client()
    client.durable = dict(blobs)
    client.lose_power()
    return client


def run_in_swtpm(judge: Swtpm, state: bytes) -> None:
    """Have swtpm go on from a permanent state."""
    judge.control.sendall(STOP)
    assert judge.control.recv(4) == bytes(4)
    (Path(judge.directory.name) / STATE).write_bytes(file.wrap(state))
    judge.lose_power()
    assert judge.startup(startup_type=TPM_SU.CLEAR).rc == 0


@pytest.fixture
def there() -> Iterator[Swtpm]:
    judge = Swtpm()
    yield judge
    judge.close()


def again(judge: Swtpm) -> bytes:
    """The permanent state of swtpm, after it wrote it."""
    return (Path(judge.directory.name) / STATE).read_bytes()


class TestImport:
    """What the guest has in swtpm, it has here"""

    def test_all_of_it(self, there: Swtpm) -> None:
        """Secrets, keys, Indices, authorizations, parameters, tickets."""
        sealed = settle(there)
        before = seen(there, sealed)
        shut_down(there)
        imported = import_state(file.unwrap(again(there)), DEFAULT, os.urandom)

        here = arrived(imported.blobs)
        assert here.startup(startup_type=TPM_SU.CLEAR).rc == 0
        assert seen(here, sealed) == before
        assert here.tpm.lockout.max_tries == 9
        assert here.tpm.lockout.recovery_time == 77
        assert here.tpm.lockout.lockout_recovery == 88

    def test_resume(self, there: Swtpm) -> None:
        """PCR and orderly data of a guest that was suspended to disk are there after Startup(STATE)."""
        public = TPMS_NV_PUBLIC(ORDERLY, TPM_ALG.SHA256, OPEN.but(ORDERLY=True), b"", 8)
        assert there.nv_define_space(TPM_RH.OWNER, auth=b"", public_info=public).rc == 0
        assert there.nv_write(ORDERLY, ORDERLY, data=b"12345678", offset=0).rc == 0
        there.pcr_extend(8, digests=(TPMT_HA(TPM_ALG.SHA256, bytes(range(32))),))
        selection = (TPMS_PCR_SELECTION(TPM_ALG.SHA256, b"\0\x01\0"),)
        before = there.pcr_read(pcr_selection_in=selection)
        assert there.shutdown(shutdown_type=TPM_SU.STATE).rc == 0
        imported = import_state(file.unwrap(again(there)), DEFAULT, os.urandom)

        here = arrived(imported.blobs)
        assert here.startup(startup_type=TPM_SU.STATE).rc == 0
        assert here.pcr_read(pcr_selection_in=selection).pcr_values == before.pcr_values
        assert here.nv_read(ORDERLY, ORDERLY, size=8, offset=0).data == b"12345678"

    def test_lost_power(self, there: Swtpm) -> None:
        """A TPM that was not shut down starts only with CLEAR, and its orderly counter goes on above."""
        sealed = settle(there)
        counter = there.nv_read(0x01500003, 0x01500003, size=8, offset=0).data
        imported = import_state(file.unwrap(again(there)), DEFAULT, os.urandom)

        here = arrived(imported.blobs)
        assert here.startup(startup_type=TPM_SU.STATE).rc == TPM_RC.VALUE.parameter(1)
        assert here.startup(startup_type=TPM_SU.CLEAR).rc == 0
        assert here.unseal(handle_of(here.load(SRK, **sealed))).out_data == b"the secret"
        assert here.nv_read(0x01500003, 0x01500003, size=8, offset=0).data > counter


class TestExport:
    """The way back"""

    def test_all_of_it(self, there: Swtpm) -> None:
        """A swtpm starts from what is exported, and the guest has everything there."""
        tpm = Client()
        sealed = settle(tpm)
        before = seen(tpm, sealed)
        shut_down(tpm)
        run_in_swtpm(there, export_state(tpm.durable, os.urandom).state)
        assert seen(there, sealed) == before

    def test_there_and_back(self, there: Swtpm) -> None:
        """A state of swtpm, through here, is the same state but for its random generator."""
        sealed = settle(there)
        before = seen(there, sealed)
        shut_down(there)
        imported = import_state(file.unwrap(again(there)), DEFAULT, os.urandom)
        run_in_swtpm(there, export_state(imported.blobs, os.urandom).state)
        assert seen(there, sealed) == before

    def test_refusal(self) -> None:
        """What libtpms 0.9 has no place for is named, and nothing is written."""
        tpm = Client()
        key = "0023000b00040072 0000 0010 001b000b 0020 0010 0000 0000"
        handle = primary(tpm, key.replace(" ", ""))
        assert tpm.evict_control(TPM_RH.OWNER, handle, persistent_handle=SRK).rc == 0
        with pytest.raises(ForeignStateError, match="0x81000001 has an algorithm"):
            export_state(tpm.durable, os.urandom)
