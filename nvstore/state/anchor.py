"""
The anchor of a VM: what the TPM of this host remembers of the state, outside of any disk.

State and mark, put back together from a backup of the whole disk, are older than the anchor and are refused.
It is written when an opening begins to write, around the mark, and at close: no commit waits for it.
In between the opening is named, so that a crash is told from a rollback;
a copy of the disk from within a run is therefore refused only once that run was closed.

It is an NV Index of the owner, whose authValue comes from the provider's key (TPM 2.0 Part 1, "NV Memory"):

    magic `nvsanch1` 8, VM 16, generation u64, SHA-256 of the mark's fields 32, opening 16; zeros for none
"""

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, Self
from uuid import UUID

from nvstore.errors import AnchorMissing, AnchorUnavailable, RolledBack
from nvstore.keys import Prf
from nvstore.provider_errors import ExtraMissing
from nvstore.state.mark import Mark, encode_fields
from nvstore.tcti import check_tcti, opened

MAGIC: Final = b"nvsanch1"
FIRST_INDEX: Final = 0x01A00000
INDEX_BITS: Final = 20
AUTH: Final = b"nvstore v1 anchor"
NO_MARK: Final = bytes(32)
NO_OPENING: Final = bytes(16)
_FIELDS: Final = struct.Struct(">8s16sQ32s16s")
_Tss = Any
"""The module tpm2_pytss, or an object of it: it is optional, and has no types."""


class Anchored(NamedTuple):
    """Which marks are accepted: this very one, and those of this opening."""

    vm: UUID
    generation: int
    exact: bytes = NO_MARK
    opening: bytes = NO_OPENING

    @classmethod
    def at(cls, mark: Mark) -> Self:
        """Return what is remembered of a state that nobody writes: its mark."""
        return cls(mark.vm, mark.generation, digest_of(mark))

    def encode(self) -> bytes:
        """Return it as the TPM keeps it."""
        return _FIELDS.pack(MAGIC, self.vm.bytes, *self[1:])

    @classmethod
    def decode(cls, octets: bytes) -> Self | None:
        """Return what the TPM kept, or None if it is something else."""
        if len(octets) != _FIELDS.size or not octets.startswith(MAGIC):
            return None
        _, vm, *rest = _FIELDS.unpack(octets)
        return cls(UUID(bytes=vm), *rest)

    def check(self, mark: Mark) -> None:
        """Raise RolledBack unless the mark is an accepted one."""
        if digest_of(mark) == self.exact:
            return
        follows = self.opening == mark.opening != NO_OPENING and mark.generation >= self.generation
        if not follows:
            raise RolledBack(self.vm, mark.generation, self.generation, "the TPM of this host")


def digest_of(mark: Mark) -> bytes:
    """Return what stands for all that a mark says."""
    return hashlib.sha256(encode_fields(mark)).digest()


class Anchor(Protocol):
    """Where a host keeps what no disk can put back."""

    def read(self, vm: UUID, key: Prf) -> Anchored:
        """Return what is remembered; AnchorMissing, AnchorUnavailable."""
        ...

    def write(self, anchored: Anchored, key: Prf, *, anew: bool = False) -> None:
        """Remember this from now on, `anew` if the key is another one than before; AnchorUnavailable."""
        ...

    def remove(self, vm: UUID) -> None:
        """Forget the VM; AnchorUnavailable."""
        ...

    def remembers(self, vm: UUID) -> bool:
        """Tell whether anything is remembered of the VM; AnchorUnavailable."""
        ...


@dataclass(frozen=True)
class TpmAnchor:
    """An NV Index of the TPM at this TCTI."""

    tcti: str

    def read(self, vm: UUID, key: Prf) -> Anchored:
        """Return what is remembered; AnchorMissing, AnchorUnavailable."""
        with self._opened() as (tss, esys):
            index = self._index(tss, esys, vm, key)
            anchored = None if index is None else Anchored.decode(self._content(esys, index))
        if anchored is None or anchored.vm != vm:
            raise AnchorMissing(vm, self.tcti)
        return anchored

    def write(self, anchored: Anchored, key: Prf, *, anew: bool = False) -> None:
        """Remember this from now on, `anew` if the key is another one than before; AnchorUnavailable."""
        with self._opened() as (tss, esys):
            index = self._index(tss, esys, anchored.vm, key)
            if anew and index is not None:
                esys.nv_undefine_space(index, auth_handle=tss.ESYS_TR.OWNER)
                index = None
            if index is None:
                index = self._define(tss, esys, anchored.vm, key)
            session = self._session(tss, esys)
            try:
                esys.nv_write(index, anchored.encode(), auth_handle=index, session1=session)
            finally:
                esys.flush_context(session)

    def remove(self, vm: UUID) -> None:
        """Forget the VM; AnchorUnavailable."""
        with self._opened() as (tss, esys):
            index = self._index(tss, esys, vm)
            if index is not None:
                esys.nv_undefine_space(index, auth_handle=tss.ESYS_TR.OWNER)

    def remembers(self, vm: UUID) -> bool:
        """Tell whether there is an Index of the VM; needs no key; AnchorUnavailable."""
        with self._opened() as (tss, esys):
            return self._index(tss, esys, vm) is not None

    @contextmanager
    def _opened(self) -> Iterator[tuple[_Tss, _Tss]]:
        check_tcti(self.tcti)
        try:
            import tpm2_pytss as tss  # noqa: PLC0415 - optional, and most hosts never need it
        except ImportError:
            raise ExtraMissing("an anchor in the host's TPM", "tpm2-pytss", "tpm") from None
        try:
            with opened(tss, self.tcti) as esys:
                yield tss, esys
        except tss.TSS2_Exception as error:
            raise AnchorUnavailable(self.tcti, str(error)) from None

    @staticmethod
    def _index(tss: _Tss, esys: _Tss, vm: UUID, key: Prf | None = None) -> _Tss | None:
        handle = handle_of(vm)
        _more, data = esys.get_capability(tss.TPM2_CAP.HANDLES, handle, 1)
        if handle not in [int(found) for found in data.data.handles]:
            return None
        index = esys.tr_from_tpmpublic(handle)
        if key is not None:
            esys.tr_set_auth(index, auth_of(key))
        return index

    @staticmethod
    def _define(tss: _Tss, esys: _Tss, vm: UUID, key: Prf) -> _Tss:
        attributes = tss.TPMA_NV.AUTHREAD | tss.TPMA_NV.AUTHWRITE | tss.TPMA_NV.NO_DA
        public = tss.TPM2B_NV_PUBLIC(
            tss.TPMS_NV_PUBLIC(
                nvIndex=handle_of(vm),
                nameAlg=tss.TPM2_ALG.SHA256,
                attributes=attributes,
                dataSize=_FIELDS.size,
            )
        )
        index = esys.nv_define_space(auth_of(key), public, auth_handle=tss.ESYS_TR.OWNER)
        esys.tr_set_auth(index, auth_of(key))
        return index

    @staticmethod
    def _content(esys: _Tss, index: _Tss) -> bytes:
        return bytes(esys.nv_read(index, _FIELDS.size, auth_handle=index))

    @staticmethod
    def _session(tss: _Tss, esys: _Tss) -> _Tss:
        """Begin a session that proves the authValue without telling it."""
        none = tss.ESYS_TR.NONE
        symmetric = tss.TPMT_SYM_DEF(algorithm=tss.TPM2_ALG.NULL)
        session = esys.start_auth_session(none, none, tss.TPM2_SE.HMAC, symmetric, tss.TPM2_ALG.SHA256)
        flags = tss.TPMA_SESSION.CONTINUESESSION
        esys.trsess_set_attributes(session, flags, flags)
        return session


def handle_of(vm: UUID) -> int:
    """Return the handle of the Index of a VM, among those for owners (TCG Registry of Reserved Handles)."""
    digest = int.from_bytes(hashlib.sha256(vm.bytes).digest()[:4], "big")
    return FIRST_INDEX | digest >> (32 - INDEX_BITS)


def auth_of(key: Prf) -> bytes:
    """Return the authValue of a VM's Index, from its mark key."""
    return key(AUTH)[:32]
