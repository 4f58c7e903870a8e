"""Part 1, "Objects": what Load, Create and their kin put into a transient or persistent handle."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

from vtpm.crypto.digest import digest
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_RH
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.state.entity import Role, without_trailing_zeros
from vtpm.state.hierarchy import base_of
from vtpm.state.nv import OVERHEAD
from vtpm.wire.structure import marshal


def name_of(public: TPMT_PUBLIC) -> bytes:
    """Part 1, "Names": nameAlg || H(public area); empty if nameAlg is TPM_ALG_NULL."""
    alg = public.name_alg
    if alg is TPM_ALG.NULL:
        return b""
    return alg.to_bytes(2, "big") + digest(alg, marshal(public))


def qualified_name_of(parent: bytes, name: bytes, alg: TPM_ALG) -> bytes:
    """Part 1, "Qualified Names": nameAlg || H(the parent's Qualified Name || Name)."""
    if alg is TPM_ALG.NULL:
        return b""
    return alg.to_bytes(2, "big") + digest(alg, parent, name)


@dataclass(slots=True, eq=False)
class Object:
    """
    A loaded object: a key, sealed data, or the public part of either (`sensitive` is None).

    `hierarchy` is the handle of the hierarchy it belongs to, firmware- and SVN-limited ones included.
    """

    public: TPMT_PUBLIC
    sensitive: TPMT_SENSITIVE | None
    hierarchy: int
    qualified_name: bytes
    name: bytes = b""
    handle: int = 0
    external: bool = False
    """Loaded by LoadExternal: not proven to be of this TPM."""
    primary: bool = False
    st_clear: bool = False
    """Must it be flushed by the next Startup(CLEAR)? Its own stClear, or an ancestor's."""
    persistent: bool = False
    private_key: Any = field(default=None, repr=False)
    """The loaded private key of `vtpm.crypto`, made when first needed."""

    def __post_init__(self) -> None:
        if not self.name:
            self.name = name_of(self.public)

    def __repr__(self) -> str:
        return f"Object(0x{self.handle:08X}, {self.public.type.name}, name={self.name.hex()})"

    @property
    def auth_value(self) -> bytes:
        """The authValue without trailing zeros; empty if only the public area is loaded."""
        return without_trailing_zeros(self.sensitive.auth_value) if self.sensitive else b""

    @property
    def auth_policy(self) -> bytes:
        """The authPolicy of the public area."""
        return self.public.auth_policy

    @property
    def policy_alg(self) -> TPM_ALG:
        """An object's policy is computed with its nameAlg."""
        return self.public.name_alg

    @property
    def temporary(self) -> bool:
        """28.5: may it not be made persistent, since its hierarchy is the null one or a limited one?"""
        return self.hierarchy == TPM_RH.NULL or self.hierarchy != base_of(self.hierarchy)

    @property
    def size(self) -> int:
        """Octets that it takes of NV memory."""
        sensitive = b"" if self.sensitive is None else marshal(self.sensitive)
        return OVERHEAD + len(marshal(self.public)) + len(sensitive)

    def persistent_copy(self, handle: int) -> Self:
        """The same object with a persistent handle."""
        return replace(self, handle=handle, persistent=True)

    @property
    def is_da_protected(self) -> bool:
        """Unless noDA is set."""
        return not self.public.object_attributes.noDA

    @property
    def is_parent(self) -> bool:
        """Is it a Storage Parent: a restricted decryption key that protects other objects?"""
        attributes = self.public.object_attributes
        return (
            self.sensitive is not None
            and attributes.restricted
            and attributes.decrypt
            and not attributes.sign
            and self.public.type is not TPM_ALG.KEYEDHASH
        )

    @property
    def is_derivation_parent(self) -> bool:
        """Is it a Derivation Parent: a restricted keyed-hash decryption key?"""
        attributes = self.public.object_attributes
        return (
            self.sensitive is not None
            and self.public.type is TPM_ALG.KEYEDHASH
            and attributes.restricted
            and attributes.decrypt
            and not attributes.sign
        )

    def is_policy_required(self, role: Role) -> bool:
        """DUP always needs a policy, ADMIN if adminWithPolicy is set."""
        return role is Role.DUP or (role is Role.ADMIN and self.public.object_attributes.adminWithPolicy)

    def is_auth_value_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002 - the same for all
        """USER by authValue needs userWithAuth, ADMIN needs adminWithPolicy to be clear."""
        attributes = self.public.object_attributes
        return self.sensitive is not None and (
            attributes.userWithAuth or (role is Role.ADMIN and not attributes.adminWithPolicy)
        )

    def is_policy_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002
        """An object that can be used has an authPolicy, if only an empty one that no session satisfies."""
        return self.sensitive is not None
