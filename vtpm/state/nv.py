"""Part 1, "NV Memory": NV Indices."""

from dataclasses import dataclass, field

from vtpm.crypto.digest import digest
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_NT, TPM_RH
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.state.entity import USER, Entity, Role, without_trailing_zeros
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import marshal

WRITES = frozenset(
    {TPM_CC.NV_Write, TPM_CC.NV_Increment, TPM_CC.NV_SetBits, TPM_CC.NV_Extend, TPM_CC.NV_WriteLock}
)
"""Commands that AUTHWRITE and POLICYWRITE of an Index allow; the others need AUTHREAD or POLICYREAD."""


READS = frozenset({TPM_CC.NV_Read, TPM_CC.NV_Certify})
"""Commands that a read lock refuses at once; PolicyNV looks at it later, but not in a trial session."""


READERS: dict[int, int] = {TPM_RH.OWNER: TPMA_NV.OWNERREAD.mask, TPM_RH.PLATFORM: TPMA_NV.PPREAD.mask}
WRITERS: dict[int, int] = {TPM_RH.OWNER: TPMA_NV.OWNERWRITE.mask, TPM_RH.PLATFORM: TPMA_NV.PPWRITE.mask}
"""31.1: the attribute by which a hierarchy may read or write an Index."""

PIN_KINDS = frozenset({TPM_NT.PIN_FAIL, TPM_NT.PIN_PASS})

OVERHEAD = 96
"""Octets that an Index takes beside its data."""

ORDERLY_OVERHEAD = 12
"""Octets that an orderly Index takes beside its data of the memory for such: size, handle, attributes."""


@dataclass(slots=True, eq=False)
class NvIndex:
    """An NV Index: its public area, authValue and data (`data_size` octets, meaningful once WRITTEN)."""

    public: TPMS_NV_PUBLIC
    auth_value: bytes
    data: bytes = b""
    known_name: bytes = field(default=b"", repr=False)
    """The Name, once it has been asked for, until the attributes change."""

    def __post_init__(self) -> None:
        self.auth_value = without_trailing_zeros(self.auth_value)

    def __repr__(self) -> str:
        return f"NvIndex(0x{self.handle:08X}, {self.attributes!r})"

    @property
    def handle(self) -> int:
        """The handle, which is the Index's own number."""
        return self.public.nv_index

    @property
    def attributes(self) -> TPMA_NV:
        """The attributes as they are now: WRITTEN and the locks change."""
        return self.public.attributes

    @property
    def kind(self) -> TPM_NT:
        """What the Index holds."""
        return TPM_NT(self.attributes.TPM_NT)

    @property
    def name(self) -> bytes:
        """Part 1, "Names": nameAlg || H(public area), with the attributes as they are now."""
        if not self.known_name:
            alg = self.public.name_alg
            self.known_name = alg.to_bytes(2, "big") + digest(alg, marshal(self.public))
        return self.known_name

    @property
    def auth_policy(self) -> bytes:
        """The authPolicy of the public area."""
        return self.public.auth_policy

    @property
    def policy_alg(self) -> TPM_ALG:
        """An Index's policy is computed with its nameAlg."""
        return self.public.name_alg

    @property
    def is_da_protected(self) -> bool:
        """Unless TPMA_NV_NO_DA is set."""
        return not self.attributes.NO_DA

    @property
    def is_pin(self) -> bool:
        """Is it a PIN Pass or PIN Fail Index?"""
        return self.attributes.TPM_NT in PIN_KINDS

    @property
    def is_pin_pass(self) -> bool:
        """Is it a PIN Pass Index?"""
        return self.kind is TPM_NT.PIN_PASS

    @property
    def pin(self) -> tuple[int, int]:
        """PinCount and pinLimit of a written PIN Index."""
        return int.from_bytes(self.data[:4], "big"), int.from_bytes(self.data[4:8], "big")

    @property
    def is_pin_usable(self) -> bool:
        """Part 1, 34.2.6: is the count of a PIN Index below its limit, so that its authValue may be tried?"""
        count, limit = self.pin
        return self.attributes.WRITTEN and count < limit

    def set_attributes(self, attributes: TPMA_NV) -> None:
        """Change the attributes, and with them the Name."""
        public = self.public
        self.known_name = b""
        self.public = TPMS_NV_PUBLIC(
            nv_index=public.nv_index,
            name_alg=public.name_alg,
            attributes=attributes,
            auth_policy=public.auth_policy,
            data_size=public.data_size,
        )

    @property
    def size(self) -> int:
        """Octets that it takes of NV memory."""
        return OVERHEAD + self.public.data_size

    @property
    def orderly_size(self) -> int:
        """Octets that it takes of the memory for orderly Indices."""
        return ORDERLY_OVERHEAD + self.public.data_size if self.attributes.ORDERLY else 0

    @property
    def number(self) -> int:
        """The value of a counter or bits Index; 0 before it is written."""
        return int.from_bytes(self.data, "big") if self.attributes.WRITTEN else 0

    def is_frozen(self, code: TPM_CC) -> bool:
        """
        Part 3, Table 207: does Read-Only mode refuse the command, which would change the Index?

        What a restart forgets can be written; a PIN cannot be counted.
        """
        if code is TPM_CC.PolicySecret:
            return self.is_pin
        forgotten = self.attributes.ORDERLY and self.attributes.CLEAR_STCLEAR
        return not forgotten and (code in WRITES or code is TPM_CC.NV_ReadLock)

    def is_locked(self, code: TPM_CC) -> bool:
        """Does a lock refuse the command?"""
        if code in READS:
            return self.attributes.READLOCKED
        return code in WRITES and code is not TPM_CC.NV_WriteLock and self.attributes.WRITELOCKED

    def check_write(self, auth: Entity) -> None:
        """31.1: may `auth` write what `is_locked` lets it? TPM_RC_NV_AUTHORIZATION."""
        mask = WRITERS.get(auth.handle)
        allowed = auth is self if mask is None else self.attributes & mask
        if not allowed:
            raise TpmError(TPM_RC.NV_AUTHORIZATION)

    def check_read(self, auth: Entity) -> None:
        """31.1: may `auth` read? TPM_RC_NV_LOCKED, TPM_RC_NV_AUTHORIZATION, TPM_RC_NV_UNINITIALIZED."""
        attributes, mask = self.attributes, READERS.get(auth.handle)
        allowed = auth is self if mask is None else attributes & mask
        if attributes.READLOCKED:
            raise TpmError(TPM_RC.NV_LOCKED)
        if not allowed:
            raise TpmError(TPM_RC.NV_AUTHORIZATION)
        if not attributes.WRITTEN:
            raise TpmError(TPM_RC.NV_UNINITIALIZED)

    def write(self, offset: int, data: bytes) -> bool:
        """
        Write octets; has anything changed?

        What a first write leaves out is zeros, but ones in an ordinary Index that is not orderly.
        """
        old, first = self.data, not self.attributes.WRITTEN
        if first:
            erased = self.kind is TPM_NT.ORDINARY and not self.attributes.ORDERLY
            old = (b"\xff" if erased else b"\0") * self.public.data_size
            self.set_attributes(self.attributes.but(WRITTEN=True))
        self.data = old[:offset] + data + old[offset + len(data) :]
        return first or self.data != old

    def is_policy_required(self, role: Role) -> bool:
        """ADMIN and DUP need a policy."""
        return role is not USER

    def is_auth_value_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002 - the same for all
        """AUTHWRITE for writing; AUTHREAD for reading; a PIN Index while its count is below its limit."""
        if code in WRITES:
            return self.attributes.AUTHWRITE
        if self.is_pin:
            return self.is_pin_usable
        return self.attributes.AUTHREAD

    def is_policy_available(self, role: Role, code: TPM_CC) -> bool:
        """POLICYWRITE for writing, POLICYREAD for reading; the ADMIN role needs only an authPolicy."""
        if not self.auth_policy:
            return False
        if self.is_policy_required(role):
            return True
        return self.attributes.POLICYWRITE if code in WRITES else self.attributes.POLICYREAD
