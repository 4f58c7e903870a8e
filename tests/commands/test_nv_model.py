"""NV Indices of every kind against a model of Part 1: what is written, locked, lost and kept."""

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.commands.nv_indices import SELF, define
from tests.scenarios import Client
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_NT, TPM_RH, TPM_SU
from vtpm.wire.error import TPM_RC

SIZE = 8
ORDERLY_COUNT = 0xFF
LOCKABLE = SELF.but(WRITE_STCLEAR=True, READ_STCLEAR=True)
HANDLES = range(0x01000000, 0x01000004)
KINDS = (TPM_NT.ORDINARY, TPM_NT.COUNTER, TPM_NT.BITS)


@dataclass
class Model:
    """What an Index should be."""

    attributes: TPMA_NV
    data: bytes | None = None
    write_locked: bool = False
    read_locked: bool = False

    @property
    def is_counter(self) -> bool:
        """Counters are never unwritten."""
        return self.attributes.TPM_NT == TPM_NT.COUNTER


class NvMachine(RuleBasedStateMachine):
    """Define, write, lock, delete and lose power in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.tpm = Client()
        self.model: dict[int, Model] = {}
        self.greatest_deleted = 0

    @initialize(kind=st.sampled_from(KINDS))
    def begin(self, kind: TPM_NT) -> None:
        """There is an Index to begin with."""
        self.define(HANDLES[0], kind, orderly=False, st_clear=False)

    @rule(
        handle=st.sampled_from(HANDLES),
        kind=st.sampled_from(KINDS),
        orderly=st.booleans(),
        st_clear=st.booleans(),
    )
    def define(self, handle: int, kind: TPM_NT, *, orderly: bool, st_clear: bool) -> None:
        """Define an Index, unless it is there."""
        attributes = LOCKABLE.but(
            TPM_NT=kind, ORDERLY=orderly, CLEAR_STCLEAR=st_clear and kind is not TPM_NT.COUNTER
        )
        code = define(self.tpm, attributes, SIZE, handle=handle)

        assert code == (TPM_RC.NV_DEFINED if handle in self.model else TPM_RC.SUCCESS)
        self.model.setdefault(handle, Model(attributes))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def undefine(self, data: st.DataObject) -> None:
        """Delete an Index."""
        handle = data.draw(st.sampled_from(sorted(self.model)))
        assert self.tpm.nv_undefine_space(TPM_RH.OWNER, handle).rc == TPM_RC.SUCCESS
        index = self.model.pop(handle)
        if index.is_counter and index.data:
            self.greatest_deleted = max(self.greatest_deleted, int.from_bytes(index.data, "big"))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), octets=st.binary(min_size=1, max_size=SIZE), offset=st.integers(0, SIZE - 1))
    def write(self, data: st.DataObject, octets: bytes, offset: int) -> None:
        """Write, count or set bits, as the Index's kind has it."""
        handle = data.draw(st.sampled_from(sorted(self.model)))
        index, kind = self.model[handle], self.model[handle].attributes.TPM_NT
        octets = octets[: SIZE - offset]
        old = index.data
        if kind == TPM_NT.COUNTER:
            reply = self.tpm.nv_increment(handle, handle)
            count = int.from_bytes(old, "big") if old else self.greatest_deleted
            new = (count + 1).to_bytes(SIZE, "big")
        elif kind == TPM_NT.BITS:
            bits = int.from_bytes(octets, "big")
            reply = self.tpm.nv_set_bits(handle, handle, bits=bits)
            new = (int.from_bytes(old or b"", "big") | bits).to_bytes(SIZE, "big")
        else:
            reply = self.tpm.nv_write(handle, handle, data=octets, offset=offset)
            blank = (b"\0" if index.attributes.ORDERLY else b"\xff") * SIZE
            before = blank if old is None else old
            new = before[:offset] + octets + before[offset + len(octets) :]
        assert reply.rc == (TPM_RC.NV_LOCKED if index.write_locked else TPM_RC.SUCCESS)
        if not index.write_locked:
            index.data = new

    @precondition(lambda self: self.model)
    @rule(data=st.data(), read=st.booleans())
    def lock(self, data: st.DataObject, *, read: bool) -> None:
        """Lock an Index for reading or for writing."""
        handle = data.draw(st.sampled_from(sorted(self.model)))
        send = self.tpm.nv_read_lock if read else self.tpm.nv_write_lock
        assert send(handle, handle).rc == TPM_RC.SUCCESS
        if read:
            self.model[handle].read_locked = True
        else:
            self.model[handle].write_locked = True

    @rule()
    def resume(self) -> None:
        """Shutdown(STATE), Startup(STATE): nothing changes."""
        self.tpm.power_cycle(shutdown=TPM_SU.STATE, startup=TPM_SU.STATE)

    @rule(shutdown=st.sampled_from([TPM_SU.STATE, TPM_SU.CLEAR, None]))
    def start(self, shutdown: TPM_SU | None) -> None:
        """Startup(CLEAR): locks end, and some data is lost."""
        self.tpm.power_cycle(shutdown=shutdown)
        for handle, index in self.model.items():
            index.read_locked = index.write_locked = False
            lost = index.attributes.CLEAR_STCLEAR or (index.attributes.ORDERLY and shutdown != TPM_SU.STATE)
            if index.is_counter:
                if index.attributes.ORDERLY and shutdown is None and index.data:
                    self.went_on(handle, index)
            elif lost:
                index.data = None

    def went_on(self, handle: int, index: Model) -> None:
        """An orderly counter goes on above all its counts, by no more than the steps that are not saved."""
        assert index.data is not None
        old = int.from_bytes(index.data, "big")
        index.data = bytes(self.tpm.nv_read(handle, handle, size=SIZE, offset=0).data)
        new = int.from_bytes(index.data, "big")
        assert old <= new <= old | ORDERLY_COUNT

    @invariant()
    def same_as_model(self) -> None:
        """Every Index reads as it should, or says why it does not."""
        for handle, index in self.model.items():
            reply = self.tpm.nv_read(handle, handle, size=SIZE, offset=0)
            if index.read_locked:
                assert reply.rc == TPM_RC.NV_LOCKED
            elif index.data is None:
                assert reply.rc == TPM_RC.NV_UNINITIALIZED
            else:
                assert reply.data == index.data
        assert not self.tpm.tpm.volatile.failed


TestNvModel = pytest.mark.slow(NvMachine.TestCase)
