"""What keeps the memory of this process, where the keys are, from being written anywhere."""

import ctypes
import resource
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""Linux, include/uapi/linux/prctl.h."""


def forbid_dumps() -> None:
    """
    Leave no core dump, and let no other process of this user read the memory or attach to it.

    The limit alone would not do: the kernel ignores it where dumps are piped to a program.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "core dumps cannot be forbidden")
