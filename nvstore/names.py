"""
The index of names: which VM has a name, without reading every registration.

Each name has a file, whose own name is the SHA-256 of the name, with the VM's UUID in it.
It is written before the registration and removed after it: in a complete index no name lacks its file.
What it says is a hint, and the registration decides.
"""

import hashlib
from pathlib import Path
from typing import Final
from uuid import UUID

from nvstore.files import Files, read_file, replace_file

_COMPLETE: Final = "complete"


class Names:
    """The index in one directory."""

    def __init__(self, directory: Path, files: Files) -> None:
        self._directory, self._files = directory, files
        files.make_directory(directory)

    def __repr__(self) -> str:
        return f"Names({str(self._directory)!r})"

    @property
    def is_complete(self) -> bool:
        """Whether every registered name has its file."""
        return self._files.exists(self._directory / _COMPLETE)

    def complete(self) -> None:
        """Note that every registered name has its file."""
        replace_file(self._files, self._directory / _COMPLETE, b"")

    def find(self, name: str) -> UUID | None:
        """Return the VM that may have a name; None if it is free, or the index is not complete."""
        try:
            return UUID(read_file(self._files, self._path(name)).decode())
        except (FileNotFoundError, ValueError):
            return None

    def note(self, name: str, vm: UUID) -> None:
        """Give a name to a VM, durable on return."""
        if self.find(name) != vm:
            replace_file(self._files, self._path(name), str(vm).encode())

    def forget(self, name: str, vm: UUID) -> None:
        """Free a name, unless it is another VM's by now."""
        if self.find(name) != vm:
            return
        self._files.remove(self._path(name))
        self._files.flush_directory(self._directory)

    def _path(self, name: str) -> Path:
        return self._directory / hashlib.sha256(name.encode()).hexdigest()
