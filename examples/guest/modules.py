"""Modules of the guest's kernel, for drivers that are not built into it."""

import lzma
import re
import stat
from collections.abc import Iterable
from functools import cache

from examples.guest.initramfs import Archive, compressed
from examples.guest.machine import kernel

LOAD = "for module in /modules/*; do insmod $module; done"
"""What a job does before it needs the modules."""


@cache
def with_modules(*names: str) -> bytes:
    """
    An archive with modules and what they depend on, in the order in which LOAD inserts them.

    Raises FileNotFoundError with the remedy.
    """
    archive = Archive()
    for position, name in enumerate(_in_order(names)):
        archive.add(f"modules/{position:02}-{name}.ko", _read(name), stat.S_IFREG | 0o644)
    return compressed(archive)


def _in_order(names: Iterable[str]) -> list[str]:
    ordered: dict[str, None] = {}
    for name in names:
        ordered |= dict.fromkeys([*_in_order(_dependencies(name)), name])
    return list(ordered)


def _dependencies(name: str) -> list[str]:
    found = re.search(rb"\0depends=([^\0]*)\0", _read(name))
    return found[1].decode().split(",") if found is not None and found[1] else []


def _read(name: str) -> bytes:
    root, version = kernel().parent.parent, kernel().name.removeprefix("vmlinuz-")
    spelled = re.sub("[-_]", "[-_]", name)
    directories = [root / "lib/modules" / version, root / "usr/lib/modules" / version]
    path = next((path for directory in directories for path in directory.rglob(f"{spelled}.ko*")), None)
    if path is None:
        raise FileNotFoundError(f"no module {name} in {directories[0]}; remove {kernel()} and run .ci/setup")
    return lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
