"""
A filter of system calls (swtpm.8, --seccomp): what a TPM never does, nobody who takes it over can do either.

The binding pyseccomp, which the extra `seccomp` brings, and libseccomp do the filtering.
"""

import importlib
from typing import Any, Final

from vtpm.compat.arguments import ArgumentError

FORBIDDEN: Final = (
    # other programs, and other processes' memory
    *("execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp"),
    *("pidfd_getfd", "process_madvise", "userfaultfd", "perf_event_open", "bpf", "personality"),
    # other users, roots and name spaces
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid"),
    *("setgroups", "capset", "chroot", "pivot_root", "unshare", "setns"),
    # file systems
    *(
        "mount",
        "umount2",
        "mount_setattr",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
    ),
    *("swapon", "swapoff", "quotactl", "name_to_handle_at", "open_by_handle_at", "acct", "mknod", "mknodat"),
    # the kernel and the machine
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "syslog"),
    *("iopl", "ioperm", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    *("sethostname", "setdomainname", "add_key", "request_key", "keyctl"),
)

NONE, LOG, KILL = "none", "log", "kill"
ACTIONS: Final = (NONE, LOG, KILL)


def binding() -> Any:
    """The binding; None if it, or the library behind it, is not installed."""
    try:
        return importlib.import_module("pyseccomp")
    except (ImportError, RuntimeError):
        return None


def action_of(text: str | None) -> str:
    """What is done about a forbidden call: `kill` unless told otherwise, but `none` without the binding."""
    if text is None:
        return NONE if binding() is None else KILL
    if text not in ACTIONS:
        raise ArgumentError(f"--seccomp action={text}: give {', '.join(ACTIONS)}")
    if text != NONE and binding() is None:
        raise ArgumentError(
            f"--seccomp action={text}: not supported without pyseccomp and libseccomp; "
            "install vtpm[seccomp], or give action=none"
        )
    return text


def restrict(action: str) -> None:
    """Forbid system calls to all threads, for ever."""
    if action == NONE:
        return
    seccomp = binding()
    restriction = seccomp.SyscallFilter(seccomp.ALLOW)
    restriction.set_attr(seccomp.Attr.CTL_TSYNC, 1)
    for name in FORBIDDEN:
        restriction.add_rule(seccomp.KILL_PROCESS if action == KILL else seccomp.LOG, name)
    restriction.load()
