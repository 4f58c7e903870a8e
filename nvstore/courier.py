"""
Giving root's rights up for good, while the files that the caller named can still be reached.

Root works on the directory of a service as that service's user: nothing that the service may have put there
can make root do anything.
Files elsewhere that the words of the command line name are opened by a process of its own, which keeps the
caller's rights, reads nothing, and passes descriptors; any other path it refuses.
"""

import errno
import json
import os
import pwd
import socket
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from nvstore.errors import UnsafeFile
from nvstore.files import File, OsFile, OsFiles

TPM_DEVICE: Final = Path("/dev/tpmrm0")
_MESSAGE: Final = 1 << 16
_HIGHEST: Final = 1 << 16
_NEXT_FILE: Final = ".new"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def give_up_rights(uid: int, gid: int) -> None:
    """
    Become a user for good, in the groups that the user has, and in the one that may use this host's TPM.

    The service has that group from its unit, not from the list of groups; a seal by the TPM needs it.
    """
    groups = {gid}
    with suppress(KeyError):
        groups.update(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    with suppress(OSError):
        groups.add(TPM_DEVICE.stat().st_gid)
    os.setgroups(sorted(groups - {0}) or [gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid != 0 and os.getresuid() != (uid, uid, uid):  # pragma: no cover - the kernel would be at fault
        raise PermissionError(errno.EPERM, "root's rights could not be given up")


class Named:
    """The paths that a caller named, but for those in the directory of the service."""

    def __init__(self, paths: Collection[Path], service: Path) -> None:
        self._service = _plain(service)
        self._words = {path.absolute() for path in paths}
        self._paths = [path for path in map(_plain, paths) if not self._service.is_relative_to(path)]

    def __contains__(self, path: Path) -> bool:
        """Whether a path was named, is the file that replaces it, or lies in a named directory."""
        path = _plain(path)
        if path.is_relative_to(self._service):
            return False
        if (
            path.name.endswith(_NEXT_FILE)
            and path.with_name(path.name.removesuffix(_NEXT_FILE)) in self._paths
        ):
            return True
        return any(path.is_relative_to(named) for named in self._paths)

    def as_meant(self, path: Path) -> Path:
        """Return where a path leads: `..` goes through links only in words of the caller, never in others."""
        path, plain = path.absolute(), _plain(path)
        word = path.with_name(path.name.removesuffix(_NEXT_FILE))
        return path if not self._words.isdisjoint({path, word}) else plain

    def has_in(self, directory: Path) -> bool:
        """Whether a named path lies directly in a directory, which is flushed after it was made."""
        directory = _plain(directory)
        return directory in self or any(named.parent == directory for named in self._paths)


def named_in(words: Collection[str]) -> list[Path]:
    """Return the paths that words of a command line may be, also behind an option's equals sign."""
    texts = [text for word in words for text in {word, word.partition("=")[2]} if text and "\0" not in text]
    return [Path.cwd() / text for text in texts if not text.startswith("--")]


def _plain(path: Path) -> Path:
    """Return a path as text alone makes it plain; links are not followed, since they may change."""
    return Path(os.path.normpath(path.absolute()))


class Courier:
    """Asks the process that kept the caller's rights."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __repr__(self) -> str:
        return "Courier()"

    @classmethod
    def start(cls, named: Named) -> "Courier":
        """Start that process; it ends with this one."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:  # pragma: no cover - another process
            status = 1
            try:
                ours.close()
                _close_all_but(theirs.fileno())
                _serve(theirs, named)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        return cls(ours)

    def ask(self, operation: str, *paths: Path, **words: Any) -> tuple[Any, int]:
        """Return what an operation gives, and its descriptor or -1; OSError or UnsafeFile as it raises."""
        request = {"operation": operation, "paths": list(map(str, paths)), "words": words}
        self._sock.send(json.dumps(request).encode())
        octets, descriptors, _, _ = socket.recv_fds(self._sock, _MESSAGE, 1)
        if not octets:
            raise OSError(errno.EPIPE, "the process with the caller's rights has ended")
        answer = json.loads(octets)
        if "errno" in answer:
            raise OSError(answer["errno"], answer["text"], answer["path"])
        if "unsafe" in answer:
            cause, remedy = answer["unsafe"]
            place = str(paths[-1])
            raise UnsafeFile(place, cause.removeprefix(place).strip(), remedy)
        return answer["value"], descriptors[0] if descriptors else -1


def _close_all_but(descriptor: int) -> None:
    os.closerange(0, descriptor)
    os.closerange(descriptor + 1, _HIGHEST)


def _serve(sock: socket.socket, named: Named) -> None:  # pragma: no cover - another process
    """Answer until the other process has ended."""
    while octets := sock.recv(_MESSAGE):
        request = json.loads(octets)
        paths = list(map(Path, request["paths"]))
        descriptor = -1
        try:
            value, descriptor = _carried_out(request["operation"], paths, request["words"], named)
            answer = {"value": value}
        except UnsafeFile as error:
            answer = {"unsafe": [error.cause, error.remedy]}
        except OSError as error:
            number, text = error.errno or errno.EIO, error.strerror or str(error)
            answer = {"errno": number, "text": text, "path": str(paths[-1])}
        socket.send_fds(sock, [json.dumps(answer).encode()], [descriptor] if descriptor >= 0 else [])
        if descriptor >= 0:
            os.close(descriptor)


def _carried_out(operation: str, paths: list[Path], words: dict[str, Any], named: Named) -> tuple[Any, int]:
    """Carry an operation out; PermissionError where a path was not named."""
    flushes = operation == "flush_directory"
    if not all(named.has_in(path) if flushes else path in named for path in paths):
        raise PermissionError(errno.EACCES, "it was not named on the command line")
    paths = [path if flushes else named.as_meant(path) for path in paths]
    if operation == "read":
        return None, os.open(paths[0], os.O_RDONLY | os.O_CLOEXEC)
    if operation == "new_file":
        return None, os.open(paths[0], _NEW, words["mode"])
    if operation == "new_directory":
        paths[0].mkdir(mode=words["mode"], parents=True, exist_ok=True)
        return None, -1
    if operation not in _OPERATIONS:
        raise PermissionError(errno.EPERM, "there is no such operation")
    result = _OPERATIONS[operation](OsFiles(), *paths, **words)
    return (None, result.detach()) if isinstance(result, OsFile) else (result, -1)


_OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "create": OsFiles.create,
    "entries": OsFiles.entries,
    "exists": OsFiles.exists,
    "flush_directory": OsFiles.flush_directory,
    "make_directory": OsFiles.make_directory,
    "open": OsFiles.open,
    "open_to_read": OsFiles.open_to_read,
    "remove": OsFiles.remove,
    "rename": OsFiles.rename,
}


class CourierFiles(OsFiles):
    """The file system for who gave root's rights up: what was named is reached by the courier."""

    def __init__(self, courier: Courier, named: Named) -> None:
        super().__init__()
        self._courier, self._named = courier, named

    def reading(self, path: Path) -> BinaryIO:
        """Open a file that the caller named, through links too."""
        if path not in self._named:
            return path.open("rb")
        return os.fdopen(self._courier.ask("read", path)[1], "rb")

    def new_file(self, path: Path, mode: int) -> int:
        """Make a file for the caller, and return its descriptor; FileExistsError if there is one."""
        if path not in self._named:
            return os.open(path, _NEW, mode)
        return self._courier.ask("new_file", path, mode=mode)[1]

    def new_directory(self, path: Path, mode: int) -> None:
        """Make a directory for the caller, with its parents; it may exist."""
        if path not in self._named:
            path.mkdir(mode=mode, parents=True, exist_ok=True)
        else:
            self._courier.ask("new_directory", path, mode=mode)

    def make_directory(self, path: Path) -> None:  # noqa: D102 - described by Files, as all below
        if path in self._named:
            self._courier.ask("make_directory", path)
        else:
            super().make_directory(path)

    def create(self, path: Path) -> File:  # noqa: D102
        if path not in self._named:
            return super().create(path)
        return OsFile(self._courier.ask("create", path)[1])

    def open(self, path: Path) -> File:  # noqa: D102
        if path not in self._named:
            return super().open(path)
        return OsFile(self._courier.ask("open", path)[1])

    def open_to_read(self, path: Path, *, secret: bool = False) -> File:  # noqa: D102
        if path not in self._named:
            return super().open_to_read(path, secret=secret)
        return OsFile(self._courier.ask("open_to_read", path, secret=secret)[1])

    def exists(self, path: Path) -> bool:  # noqa: D102
        if path not in self._named:
            return super().exists(path)
        return bool(self._courier.ask("exists", path)[0])

    def entries(self, directory: Path) -> list[str]:  # noqa: D102
        if directory not in self._named:
            return super().entries(directory)
        return list(self._courier.ask("entries", directory)[0])

    def rename(self, source: Path, target: Path) -> None:  # noqa: D102
        if source in self._named and target in self._named:
            self._courier.ask("rename", source, target)
        else:
            super().rename(source, target)

    def remove(self, path: Path) -> None:  # noqa: D102
        if path in self._named:
            self._courier.ask("remove", path)
        else:
            super().remove(path)

    def flush_directory(self, path: Path) -> None:  # noqa: D102
        if self._named.has_in(path):
            self._courier.ask("flush_directory", path)
        else:
            super().flush_directory(path)


def act_as_owner(
    directory: Path, words: Collection[str], load_all: Callable[[], None] = lambda: None
) -> CourierFiles | None:
    """
    Become the owner of a service's directory for good, and return the files as they are reached then.

    None if this process does not run as root, or the directory is root's, or not there: nothing changes.
    `words` are those of the command line.
    `load_all` is called before, if the program's files cannot be read afterwards.
    """
    if os.geteuid() != 0 or not directory.exists():
        return None
    status = directory.stat()
    if status.st_uid == 0:
        return None
    if not _may_read(Path(__file__), status.st_uid) or not _may_read(Path(os.__file__), status.st_uid):
        load_all()
    named = Named(named_in(words), directory)
    courier = Courier.start(named)
    give_up_rights(status.st_uid, status.st_gid)
    return CourierFiles(courier, named)


def _may_read(path: Path, uid: int) -> bool:
    """Tell whether a user, who is in no group of theirs, may enter all directories above a file."""
    for directory in path.resolve().parents:
        status = directory.stat()
        bit = stat.S_IXUSR if status.st_uid == uid else stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True
