"""What becomes of a TPM that is off when it gets another profile: what changes, and what would be lost."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any

from vtpm.spec.constants import TPM_ALG, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.objects import TPMT_PUBLIC_NULL
from vtpm.state.narrowed import Narrowing, narrowing_of
from vtpm.state.nv import NvIndex
from vtpm.state.object import Object
from vtpm.state.pcr import DRTM_PCR, HCRTM_PCR, LAYOUTS
from vtpm.state.permanent import DEFAULT_AUDIT, DEFAULT_PHYSICAL_PRESENCE, Permanent
from vtpm.state.profile import ALL_PCR, Profile
from vtpm.state.profile_check import words
from vtpm.state.saved import CLEAR, RESET
from vtpm.state.suspended import VOLATILE
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TpmError
from vtpm.wire.structure import marshal, unmarshal


class MigrationError(Exception):
    """A profile that the TPM cannot get as it is: the reasons, and what to do."""

    def __init__(self, reasons: Collection[str], remedy: str) -> None:
        super().__init__("; ".join((*reasons, remedy)))
        self.reasons = tuple(reasons)


class Migration:
    """
    The way of one TPM, just restored and without power, to another profile.

    `changes` says what the guest will find changed, `losses` what of the state cannot be kept,
    `obstacles` what must go first, because it is not for a program to choose.
    """

    def __init__(self, tpm: TpmState, profile: Profile, suspended: Collection[str] = ()) -> None:
        self._tpm = tpm
        self._profile = profile
        self._steps: list[Callable[[], object]] = []
        self._gone: set[str] = set()
        self.changes = tuple(differences(tpm.profile, profile))
        self.losses: list[str] = []
        self.obstacles: list[str] = []
        if profile == tpm.profile:
            return
        self._look_at_room(self._look_at_entities(narrowing_of(profile)))
        self._look_at_banks()
        self._look_at_hashes()
        self._look_at_suspension(suspended)

    def apply(self, *, allow_loss: bool = False) -> dict[str, bytes | None]:
        """The blobs that change, None for one that goes; MigrationError if something would be lost."""
        if not self.changes:
            return {}
        if self.obstacles:
            raise MigrationError(self.obstacles, "mend that first, or choose another profile")
        if self.losses and not allow_loss:
            raise MigrationError(self.losses, "allow the loss, or choose another profile")
        tpm = self._tpm
        for step in self._steps:
            step()
        permanent, commands = tpm.permanent, self._profile.commands
        permanent.audited = {*DEFAULT_AUDIT, *(permanent.audited & commands)}
        permanent.physical_presence = {*DEFAULT_PHYSICAL_PRESENCE, *(permanent.physical_presence & commands)}
        tpm.profile = self._profile
        tpm.touch_profile()
        tpm.touch_permanent()
        return {**tpm.changes(), **dict.fromkeys(self._gone)}

    def _lose(self, what: str, step: Callable[[], object]) -> None:
        self.losses.append(what)
        self._steps.append(step)

    def _look_at_entities(self, narrowing: Narrowing) -> list[Object | NvIndex]:
        """The objects and NV Indices that stay."""
        tpm = self._tpm
        kept: list[Object | NvIndex] = []
        for item in list(tpm.persistent.values()):
            if _is_known(narrowing, TPMT_PUBLIC_NULL, item.public):
                kept.append(item)
            else:
                self._lose(
                    f"persistent object {item.handle:#010x} ({item.public.type.name})", _erase(tpm, item)
                )
        for index in list(tpm.nv.values()):
            if _is_known(narrowing, TPMS_NV_PUBLIC, index.public):
                kept.append(index)
            else:
                self._lose(
                    f"NV Index {index.handle:#010x} ({index.public.data_size} octets)", _erase(tpm, index)
                )

        return kept

    def _look_at_room(self, kept: list[Object | NvIndex]) -> None:
        slots, capacity = self._profile.persistent_slots, self._profile.nv_capacity
        objects = sum(isinstance(entity, Object) for entity in kept)
        if objects > slots:
            self.obstacles.append(
                f"there are {objects} persistent objects, and the profile has {slots} slots"
            )
        orderly = sum(entity.orderly_size for entity in kept if isinstance(entity, NvIndex))
        if orderly > self._profile.orderly_capacity:
            self.obstacles.append(
                f"orderly NV Indices take {orderly} octets, and the profile has "
                f"{self._profile.orderly_capacity}"
            )
        taken = sum(entity.size for entity in kept)
        if taken > capacity:
            self.obstacles.append(
                f"NV Indices and persistent objects take {taken} octets, and the profile has {capacity}"
            )

    def _look_at_banks(self) -> None:
        permanent, profile = self._tpm.permanent, self._profile
        before = permanent.pcr_allocation
        after = {alg: before.get(alg, 0) for alg in profile.pcr_banks}

        def allocate() -> None:
            permanent.pcr_allocation = after

        for alg, bits in before.items():
            if bits and alg not in profile.pcr_banks:
                self.losses.append(f"PCR bank {alg.name}, and what is sealed to its values")
        for index in (HCRTM_PCR, DRTM_PCR):
            if not any(bits >> index & 1 for bits in after.values()):
                after |= dict.fromkeys(profile.active_banks, ALL_PCR)
        self._steps.append(allocate)

    def _look_at_hashes(self) -> None:
        tpm, there = self._tpm, {TPM_ALG.NULL, *self._profile.algorithms}
        holders: dict[str, Any] = {
            "owner": tpm.owner,
            "endorsement": tpm.endorsement,
            "lockout": tpm.lockout,
            "PCR": tpm.pcr_group,
        }
        if not LAYOUTS[self._profile.pcr_layout].group and tpm.pcr_group.policy_alg is not TPM_ALG.NULL:
            self._lose("PCR policy: no PCR has one in the profile", _drop_policy(holders.pop("PCR")))
        for name, holder in holders.items():
            if holder.policy_alg not in there:
                self._lose(f"{name} policy, which is of {holder.policy_alg.name}", _drop_policy(holder))
        if tpm.permanent.audit_alg not in there:
            self._lose(
                f"the command audit's choice of {tpm.permanent.audit_alg.name}", _choose_audit(tpm.permanent)
            )

    def _look_at_suspension(self, suspended: Collection[str]) -> None:
        permanent = self._tpm.permanent
        if permanent.shutdown == TPM_SU.STATE:
            self._lose("what Shutdown(STATE) has saved: the next start is a TPM Reset", _reset(permanent))
            self._gone |= {RESET, CLEAR}
        running = {*suspended, *((VOLATILE,) if self._tpm.suspended is not None else ())}
        if running:
            self.losses.append("the suspended run: the next start is a power-on")
            self._gone |= running


def _is_known(narrowing: Narrowing, kind: Any, value: Any) -> bool:
    try:
        unmarshal(narrowing.of(kind), marshal(value, kind))
    except TpmError:
        return False
    return True


def _erase(tpm: TpmState, entity: Object | NvIndex) -> Callable[[], object]:
    if isinstance(entity, NvIndex):
        return lambda: tpm.erase_nv(entity)
    return lambda: tpm.erase_object(entity)


def _drop_policy(holder: Any) -> Callable[[], object]:
    def drop() -> None:
        holder.auth_policy, holder.policy_alg = b"", TPM_ALG.NULL

    return drop


def _choose_audit(permanent: Permanent) -> Callable[[], object]:
    def choose() -> None:
        permanent.audit_alg = Permanent().audit_alg

    return choose


def _reset(permanent: Permanent) -> Callable[[], object]:
    def reset() -> None:
        permanent.shutdown = TPM_SU.CLEAR

    return reset


def differences(before: Profile, after: Profile) -> list[str]:
    """What another profile changes, field by field, in words."""
    lines = []
    for field in fields(Profile):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new:
            continue
        if isinstance(old, frozenset):
            lines += [
                f"{field.name}: {word} {words(part)}" for word, part in _parts(old, new).items() if part
            ]
        else:
            lines.append(f"{field.name}: {_value(old)} becomes {_value(new)}")
    return lines


def _parts(old: frozenset[int], new: frozenset[int]) -> Mapping[str, frozenset[int]]:
    return {"without": old - new, "with": new - old}


def _value(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    if value and isinstance(value[0], tuple):
        return ", ".join(f"{tag.name} {number:#x}" for tag, number in value)
    return ", ".join(getattr(item, "name", str(item)) for item in value) or "none"
