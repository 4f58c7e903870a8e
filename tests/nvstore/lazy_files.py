"""
A file system in memory that forgets on a loss of power what was not flushed.

`python -m tests.nvstore.lazy_files MOUNT STORE` mounts what is in STORE.
Who looks for the file `lose-power` takes the power away: what was flushed is written to STORE, no more.
The data of a file last once the file was flushed, names once their directory was.
"""

import errno
import os
import stat
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import mfusepy

ROOT = "/"
LOSE_POWER = "lose-power"


class Node:
    """A file or directory: its data as processes see them, and as the disk has them."""

    def __init__(self, mode: int, data: bytes = b"") -> None:
        self.mode = mode
        self.data = bytearray(data)
        self.durable = bytes(data)

    @property
    def is_directory(self) -> bool:
        """Is it a directory?"""
        return stat.S_ISDIR(self.mode)


class LazyFiles(mfusepy.Operations):
    """Names as processes see them, and as the disk has them."""

    use_ns = True

    def __init__(self, store: Path) -> None:
        self.store = store
        self.names: dict[str, Node] = {ROOT: Node(stat.S_IFDIR | 0o700)}
        self.handles: dict[int, Node] = {}
        for path in sorted(store.rglob("*")):
            data = b"" if path.is_dir() else path.read_bytes()
            self.names[f"/{path.relative_to(store)}"] = Node(path.stat().st_mode, data)
        self.durable = dict(self.names)

    def lose_power(self) -> None:
        """Write what was flushed to the store, which is empty of all else, and end."""
        for path in sorted(self.store.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        for name, node in sorted(self.durable.items()):
            path = self.store / name.removeprefix("/")
            if node.is_directory:
                path.mkdir(exist_ok=True)
            elif path.parent.is_dir():
                path.write_bytes(node.durable)
            else:
                continue
            path.chmod(stat.S_IMODE(node.mode))
        os._exit(0)

    def _node(self, path: str) -> Node:
        if path not in self.names:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return self.names[path]

    def _open(self, node: Node) -> int:
        handle = len(self.handles) + 1
        self.handles[handle] = node
        return handle

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """What stat(2) tells."""
        if path == f"/{LOSE_POWER}":
            self.lose_power()
        node = self.handles[fh] if fh else self._node(path)
        return {
            "st_mode": node.mode,
            "st_size": len(node.data),
            "st_nlink": 2 if node.is_directory else 1,
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
        }

    def readdir(self, path: str, _fh: int) -> list[str]:
        """Names in a directory."""
        inside = [name for name in self.names if name != ROOT and str(PurePosixPath(name).parent) == path]
        return [".", "..", *(PurePosixPath(name).name for name in inside)]

    def mkdir(self, path: str, mode: int) -> None:
        """A new directory."""
        self.names[path] = Node(stat.S_IFDIR | mode)

    def create(self, path: str, mode: int, _fi: object = None) -> int:
        """A new file, opened."""
        self.names[path] = Node(stat.S_IFREG | stat.S_IMODE(mode))
        return self._open(self.names[path])

    def open(self, path: str, flags: int) -> int:
        """An opened file."""
        node = self._node(path)
        if flags & os.O_TRUNC:
            node.data.clear()
        return self._open(node)

    def read(self, _path: str, size: int, offset: int, fh: int) -> bytes:
        """Octets of a file."""
        return bytes(self.handles[fh].data[offset : offset + size])

    def write(self, _path: str, data: bytes, offset: int, fh: int) -> int:
        """Octets into a file."""
        content = self.handles[fh].data
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        """Another size."""
        content = (self.handles[fh] if fh else self._node(path)).data
        del content[length:]
        content.extend(bytes(length - len(content)))

    def chmod(self, path: str, mode: int) -> None:
        """Another mode."""
        node = self._node(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)

    def chown(self, _path: str, _uid: int, _gid: int) -> None:
        """Everything belongs to who mounts it."""

    def utimens(self, _path: str, _times: object = None) -> None:
        """Times are not kept."""

    def unlink(self, path: str) -> None:
        """A name goes."""
        self._node(path)
        del self.names[path]

    rmdir = unlink

    def rename(self, old: str, new: str) -> None:
        """A name moves, over another if there is one."""
        self.names[new] = self._node(old)
        del self.names[old]

    def link(self, target: str, source: str) -> None:
        """A second name."""
        self.names[target] = self._node(source)

    def fsync(self, _path: str, _datasync: int, fh: int) -> None:
        """The data of a file last from now on."""
        node = self.handles[fh]
        node.durable = bytes(node.data)

    def fsyncdir(self, path: str, _datasync: int, _fh: int) -> None:
        """The names in a directory last from now on."""
        here = {name for name in {*self.names, *self.durable} if str(PurePosixPath(name).parent) == path}
        for name in here:
            if name in self.names:
                self.durable[name] = self.names[name]
            else:
                del self.durable[name]

    def opendir(self, _path: str) -> int:
        """Directories need no handle."""
        return 0

    def statfs(self, _path: str) -> dict[str, int]:
        """There is always room."""
        return {"f_bsize": 4096, "f_blocks": 1 << 20, "f_bavail": 1 << 20, "f_bfree": 1 << 20}


def main() -> None:
    """Serve until the power is lost."""
    mount, store = sys.argv[1:3]
    mfusepy.FUSE(LazyFiles(Path(store)), mount, foreground=True, nothreads=True)


if __name__ == "__main__":
    main()
