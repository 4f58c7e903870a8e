"""What keeps the memory of this process, where the keys are, from being written anywhere."""

import ctypes
import resource
from pathlib import Path
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""Linux, include/uapi/linux/prctl.h."""


MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4
"""Linux 4.4, include/uapi/asm-generic/mman.h: what is used is locked, what is reserved is not."""

CAP_IPC_LOCK: Final = 14
"""Linux, include/uapi/linux/capability.h."""


def lock_memory() -> bool:
    """
    Keep the memory of this process out of swap; False where that is not allowed without a limit.

    Under a limit, memory that is asked for later would be refused once it is reached.
    """
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY and not _may_lock():
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0)


def _may_lock() -> bool:
    """Does this process have the capability to lock as much as it likes (proc_pid_status(5), CapEff)?"""
    try:
        lines = Path("/proc/self/status").read_bytes().splitlines()
    except OSError:
        return False
    found = next((line.split()[1] for line in lines if line.startswith(b"CapEff:")), b"0")
    return bool(int(found, 16) >> CAP_IPC_LOCK & 1)


def forbid_dumps() -> None:
    """
    Leave no core dump, and let no other process of this user read the memory or attach to it.

    The limit alone would not do: the kernel ignores it where dumps are piped to a program.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "core dumps cannot be forbidden")
