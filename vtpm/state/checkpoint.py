"""
A checkpoint: what a TPM was before a command, to be so again if the command cannot be made durable.

Part 1, "Access Interruptions": such a command ends in TPM_RC_NV_UNAVAILABLE, as if it had not been sent.
"""

import re
from collections.abc import Callable
from copy import copy
from dataclasses import fields
from operator import attrgetter, methodcaller
from typing import Any, NamedTuple

from vtpm.spec.constants import TPM_NT
from vtpm.state.lockout import Lockout
from vtpm.state.nv import NvIndex
from vtpm.state.sequence import Sequence
from vtpm.state.tpm import TpmState

PARTS = ("permanent", "lockout", "clock", "reset", "clear", "volatile", "pcr_group", "pcr")
MAPS = ("hierarchies", "nv", "persistent", "saved", "primaries", "ahead")


class Layout(NamedTuple):
    """How the parts of one class are read."""

    names: tuple[str, ...]
    values: Callable[[Any], tuple[Any, ...]]
    collections: tuple[tuple[int, Callable[[Any], Any]], ...]
    """Which of the values change in place, and how each is copied."""


def copied_lists(collection: dict[Any, list[Any]]) -> dict[Any, list[Any]]:
    """A copy of a dict of lists."""
    return {key: value[:] for key, value in collection.items()}


def copied_items(collection: dict[Any, Any]) -> dict[Any, Any]:
    """A copy of a dict of running digests."""
    return {key: copy(value) for key, value in collection.items()}


COPIES: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("dict[TPM_ALG, list[bytes]]", copied_lists),
    ("dict[TPM_ALG, Running", copied_items),
    ("dict[", methodcaller("copy")),
    ("list[", methodcaller("copy")),
    ("set[", methodcaller("copy")),
)
"""How to copy a value, by the beginning of its declared type."""

_layouts: dict[type, Layout] = {}


def layout_of(kind: Any) -> Layout:
    """The layout of a dataclass, made when it is first asked for."""
    declared = [(field.name, declaration_of(field.type)) for field in fields(kind)]
    names = tuple(name for name, _ in declared)
    collections = tuple(
        (number, next(copy for beginning, copy in COPIES if declaration.startswith(beginning)))
        for number, (_, declaration) in enumerate(declared)
        if declaration.startswith(tuple(beginning for beginning, _ in COPIES))
    )
    return Layout(names, attrgetter(*names), collections)


def declaration_of(kind: Any) -> str:
    """A declared type as it is written."""
    return re.sub(r"[a-z_]+\.", "", str(kind))


class Checkpoint:
    """What a TPM is now; objects other than NV Indices and sequences do not change and are not copied."""

    def __init__(self, tpm: TpmState) -> None:
        self._tpm = tpm
        self._parts = [(name, getattr(tpm, name)) for name in PARTS]
        self._maps = [(name, getattr(tpm, name).copy()) for name in MAPS]
        sessions = tpm.volatile.sessions.values()
        items: list[Any] = [part for _, part in self._parts]
        items += (tpm.clear.act, *tpm.hierarchies.values(), *tpm.nv.values(), *sessions)
        items += [session.policy for session in sessions if session.policy is not None]
        items += [item for item in tpm.volatile.objects.values() if isinstance(item, Sequence)]
        self._values = [(item, self._read(item)) for item in items]

    @staticmethod
    def _read(item: Any) -> Any:
        layout = _layouts.get(item.__class__) or _layouts.setdefault(type(item), layout_of(type(item)))
        values = layout.values(item)
        if not layout.collections:
            return values
        changing = list(values)
        for number, copied in layout.collections:
            changing[number] = copied(changing[number])
        return changing

    def put_back(self) -> None:
        """
        Make the TPM what it was; but a failed authorization stays counted.

        Otherwise a TPM that cannot write would take guesses without end.
        """
        tpm = self._tpm
        lockout = tpm.lockout
        tries, enabled = lockout.failed_tries, lockout.auth_enabled
        timers = lockout.self_heal_timer, lockout.lockout_timer
        pins = {index.handle: index.pin for index in tpm.nv.values() if index.kind is TPM_NT.PIN_FAIL}
        tpm.forget_changes()
        for name, part in self._parts:
            setattr(tpm, name, part)
        for name, entries in self._maps:
            setattr(tpm, name, entries)
        for item, values in self._values:
            for name, value in zip(_layouts[type(item)].names, values, strict=True):
                setattr(item, name, value)
        self._keep_failures(lockout, tries, timers, enabled=enabled)
        for handle, pin in pins.items():
            self._keep_pin(tpm.nv.get(handle), *pin)

    def _keep_failures(self, lockout: Lockout, tries: int, timers: tuple[int, int], *, enabled: bool) -> None:
        if tries > lockout.failed_tries:
            lockout.failed_tries, lockout.self_heal_timer = tries, timers[0]
            self._tpm.touch_permanent()
        if lockout.auth_enabled and not enabled:
            lockout.auth_enabled, lockout.lockout_timer = False, timers[1]
            self._tpm.touch_permanent()

    def _keep_pin(self, index: NvIndex | None, count: int, limit: int) -> None:
        if index is None or index.kind is not TPM_NT.PIN_FAIL or index.pin[1] != limit:
            return
        if count > index.pin[0]:
            index.data = count.to_bytes(4, "big") + index.data[4:]
            self._tpm.touch_nv(index)
