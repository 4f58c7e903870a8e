"""Part 1, "PCR Operations", with the attributes that a platform gives its PCR."""

from dataclasses import dataclass, field, replace

from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_PT_PCR
from vtpm.state.entity import USER, Role

IMPLEMENTED_PCR = 24
PCR_SELECT_SIZE = IMPLEMENTED_PCR // 8
"""Octets of a PCR selection (TPM_PT_PCR_SELECT_MIN)."""

HCRTM_PCR = 0
DRTM_PCR = 17
DRTM_LOCALITY = 4


@dataclass(frozen=True, slots=True)
class PcrAttributes:
    """What may happen to one PCR; localities are sets of bits, bit n for locality n."""

    saved: bool
    extend_localities: int
    reset_localities: int
    increments: bool = True
    """Does an extension increment pcrUpdateCounter, and so invalidate PolicyPCR?"""
    drtm_reset: bool = False
    starts_as_ones: bool = False


STATIC = PcrAttributes(saved=True, extend_localities=0b11111, reset_localities=0)
FREE = PcrAttributes(saved=False, extend_localities=0b11111, reset_localities=0b01111, increments=False)
LAUNCH = PcrAttributes(
    saved=False, extend_localities=0b11100, reset_localities=0b10000, drtm_reset=True, starts_as_ones=True
)
DYNAMIC = replace(LAUNCH, extend_localities=0b00100, reset_localities=0b10100, increments=False)


@dataclass(frozen=True, slots=True)
class PcrLayout:
    """What a platform makes of its PCR."""

    attributes: tuple[PcrAttributes, ...]
    group: range
    """The PCR of the authValue group and of the policy group, which are one."""


REFERENCE = PcrLayout(
    attributes=(
        *[STATIC] * 16,
        FREE,
        LAUNCH,
        LAUNCH,
        replace(LAUNCH, extend_localities=0b01100),
        replace(DYNAMIC, extend_localities=0b01110, increments=True),
        DYNAMIC,
        DYNAMIC,
        FREE,
    ),
    group=range(20, 23),
)
"""PCR 0 to 23 as the reference code and libtpms have them: locality 2 resets those of a dynamic OS."""

PC_CLIENT = PcrLayout(
    attributes=tuple(
        replace(attributes, reset_localities=attributes.reset_localities | 0b01000)
        if attributes.drtm_reset and attributes.reset_localities & 0b00100
        else attributes
        for attributes in REFERENCE.attributes
    ),
    group=range(0),
)
"""PC Client Platform TPM Profile 1.07: locality 3 resets them, too, and no PCR has an authorization."""

LAYOUTS = {"reference": REFERENCE, "pc-client": PC_CLIENT}
"""The layouts by the names that profiles have for them."""


@dataclass(slots=True, eq=False)
class PcrGroup:
    """The authorization that some PCR share: the authValue is kept as clear data, the policy for good."""

    auth_value: bytes = field(default=b"", repr=False)
    auth_policy: bytes = b""
    policy_alg: TPM_ALG = TPM_ALG.NULL


@dataclass(slots=True, eq=False)
class Pcr:
    """The handle of one PCR; `group` is the authorization it shares with others, if any."""

    handle: int
    group: PcrGroup | None = None

    @property
    def name(self) -> bytes:
        """Part 1, "Names": the handle itself."""
        return self.handle.to_bytes(4, "big")

    @property
    def auth_value(self) -> bytes:
        """The group's authValue; otherwise empty."""
        return self.group.auth_value if self.group else b""

    @property
    def auth_policy(self) -> bytes:
        """The group's authPolicy; otherwise empty."""
        return self.group.auth_policy if self.group else b""

    @property
    def policy_alg(self) -> TPM_ALG:
        """The hash of the group's authPolicy."""
        return self.group.policy_alg if self.group else TPM_ALG.NULL

    @property
    def is_da_protected(self) -> bool:
        """PCR are exempt."""
        return False

    def is_policy_required(self, role: Role) -> bool:
        """ADMIN and DUP need a policy; so does a PCR that has one."""
        return role is not USER or (self.group is not None and self.group.policy_alg is not TPM_ALG.NULL)

    def is_auth_value_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002 - the same for all
        """The authValue always authorizes."""
        return True

    def is_policy_available(self, role: Role, code: TPM_CC) -> bool:  # noqa: ARG002
        """Only a PCR of the policy group can have a policy."""
        return self.group is not None


@dataclass(slots=True, eq=False)
class PcrBanks:
    """The values of all PCR, by bank; `sizes` holds the digest size of every bank that can be allocated."""

    sizes: dict[TPM_ALG, int]
    layout: PcrLayout
    banks: dict[TPM_ALG, list[bytes]] = field(default_factory=dict)
    selected: dict[TPM_ALG, int] = field(default_factory=dict)
    """Which PCR of a bank exist, as bits (PCR_Allocate)."""

    def allocate(self, selected: dict[TPM_ALG, int]) -> None:
        """Make the banks that hold the selected PCR, all zeros."""
        self.selected = dict(selected)
        self.banks = {
            alg: [bytes(self.sizes[alg])] * IMPLEMENTED_PCR for alg in self.sizes if selected.get(alg, 0)
        }

    def exists(self, alg: TPM_ALG, index: int) -> bool:
        """Is the PCR part of the bank?"""
        return bool(self.selected.get(alg, 0) >> index & 1)

    def startup(self, *, resume: bool, locality: int) -> int:
        """
        Part 1, "Initializing PCR": every PCR gets its first value; a resume keeps the saved ones.

        Returns how many PCR that the update counter counts have changed.
        """
        for alg, bank in self.banks.items():
            size = self.sizes[alg]
            for index, attributes in enumerate(self.layout.attributes):
                if not (resume and attributes.saved):
                    bank[index] = b"\xff" * size if attributes.starts_as_ones else bytes(size)
            if not resume:
                bank[HCRTM_PCR] = locality.to_bytes(size, "big")
        return sum(
            attributes.increments and not (resume and attributes.saved)
            for attributes in self.layout.attributes
        )

    def may_extend(self, index: int, locality: int) -> bool:
        """May this locality extend the PCR?"""
        return bool(self.layout.attributes[index].extend_localities >> locality & 1)

    def may_reset(self, index: int, locality: int) -> bool:
        """May this locality reset the PCR? Locality 4 does so by a dynamic launch, never by command."""
        return locality != DRTM_LOCALITY and bool(
            self.layout.attributes[index].reset_localities >> locality & 1
        )

    def reset(self, index: int) -> None:
        """TPM2_PCR_Reset: zeros in every bank."""
        for alg, bank in self.banks.items():
            bank[index] = bytes(self.sizes[alg])

    def drtm_reset(self) -> None:
        """_TPM_Hash_Start after Startup: the dynamic root of trust begins with zeros."""
        for index, attributes in enumerate(self.layout.attributes):
            if attributes.drtm_reset:
                self.reset(index)

    def clear_unimplemented(self, alg: TPM_ALG, select: bytes) -> bytes:
        """Part 2, 10.6.1: the selection without PCR that do not exist."""
        mask = self.selected.get(alg, 0).to_bytes(PCR_SELECT_SIZE, "little")
        mask = mask.ljust(len(select), b"\0")
        return bytes(a & b for a, b in zip(select, mask, strict=False))

    def values(self, alg: TPM_ALG, select: bytes) -> list[bytes]:
        """The values of the selected PCR that exist, in ascending order."""
        chosen = int.from_bytes(self.clear_unimplemented(alg, select), "little")
        return [value for index, value in enumerate(self.banks.get(alg, ())) if chosen >> index & 1]


def property_select(layout: PcrLayout, tag: TPM_PT_PCR) -> bytes:
    """Part 2, 6.14: which PCR have a property."""
    if tag == TPM_PT_PCR.SAVE:
        chosen = [a.saved for a in layout.attributes]
    elif tag == TPM_PT_PCR.NO_INCREMENT:
        chosen = [not a.increments for a in layout.attributes]
    elif tag == TPM_PT_PCR.DRTM_RESET:
        chosen = [a.drtm_reset for a in layout.attributes]
    elif tag in (TPM_PT_PCR.POLICY, TPM_PT_PCR.AUTH):
        chosen = [index in layout.group for index in range(IMPLEMENTED_PCR)]
    else:
        assert TPM_PT_PCR.EXTEND_L0 <= tag <= TPM_PT_PCR.RESET_L4
        locality, reset = divmod(tag - TPM_PT_PCR.EXTEND_L0, 2)
        chosen = [
            bool((a.reset_localities if reset else a.extend_localities) >> locality & 1)
            for a in layout.attributes
        ]
    bits = sum(1 << index for index, there in enumerate(chosen) if there)
    return bits.to_bytes(PCR_SELECT_SIZE, "little")
