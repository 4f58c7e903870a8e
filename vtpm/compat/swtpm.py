"""`swtpm`: this TPM with swtpm's command line, for everything that looks for that program on PATH."""

import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from vtpm.compat.arguments import MESSAGES, ArgumentError, Arguments, check, parse, split
from vtpm.compat.ending import last_value, obey
from vtpm.compat.listeners import Listeners, listen
from vtpm.compat.version import own_version
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.loading import loading
from vtpm.daemon.secrecy import forbid_dumps

VERSION: Final = "TPM emulator version {} (vtpm)\n"
SOCKET_INTERFACE: Final = "socket"
CHARDEV_INTERFACE: Final = "chardev"
USAGE: Final = """\
Usage: swtpm socket --tpm2 --tpmstate dir=<directory> --ctrl <channel> [--server <channel>] [options]
       swtpm chardev --tpm2 --tpmstate dir=<directory> --chardev <device>|--fd <fd>|--vtpm-proxy [options]

The options of swtpm 0.7 to 0.10, as far as `swtpm socket --print-capabilities` names them:
  --ctrl, --server type=unixio,path=…[,mode=][,uid=][,gid=] | type=tcp,port=…[,bindaddr=] | type=…,fd=…
  --tpmstate dir=… | backend-uri=dir://…|file://…     --key, --migration-key pwdfile=|pwdfd=|file=|fd=…
  --flags not-need-init,startup-clear|startup-state,disable-auto-shutdown     -d, --daemon     --pid file=|fd=
  --log file=|fd=,level=,prefix=,truncate     --locality reject-locality-4,allow-set-locality
  --migration incoming,release-lock-outgoing  --profile name=|profile=|file=|fd=     -t, --terminate
  --pcap file=,truncate     -r, --runas <user>     --print-capabilities|-states|-profiles     --print-info <n>
"""


def main() -> NoReturn:
    """Run `swtpm` with the process's arguments."""
    forbid_dumps()
    obey("swtpm", run, (ArgumentError, OperatorError), start_named_log)


def run(words: list[str]) -> int:
    """Obey a command line; the exit status."""
    if words[:1] == ["--version"]:
        sys.stdout.write(VERSION.format(own_version()))
        return 0
    if words[:1] in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    if words[:1] not in ([SOCKET_INTERFACE], [CHARDEV_INTERFACE]):
        named = " ".join(words[:1])
        raise ArgumentError(f"Unsupported TPM interface {named!r}: there are `socket` and `chardev`")
    chardev = words[0] == CHARDEV_INTERFACE
    arguments = parse(words[1:])
    told = message_of(arguments)
    if told is not None:
        sys.stdout.write(told)
        return 0
    check(arguments, chardev=chardev)
    if arguments.of("runas"):
        become(arguments.of("runas")["runas"])
    listeners = listen(arguments, chardev=chardev)
    try:
        return serve(arguments, listeners)
    finally:
        listeners.unlink()


def start_named_log(words: list[str]) -> None:
    """Log as a command line says, which need not be one that can be obeyed."""
    value = last_value("--log", words)
    if value is not None:
        from vtpm.compat.emulator import start_log  # noqa: PLC0415 - a server binds its sockets before

        start_log(Arguments(options={"log": split("log", value)}))


def message_of(arguments: Arguments) -> str | None:
    """What a command line asks the program to print before it ends; None if it is to serve."""
    if "help" in arguments.switches:
        return USAGE
    if "version" in arguments.switches:
        return VERSION.format(own_version())
    if not arguments.switches & MESSAGES and not arguments.of("print-info"):
        return None
    from vtpm.compat import description  # noqa: PLC0415 - a server binds its sockets before

    if "print-capabilities" in arguments.switches:
        told = description.capabilities(tpm2="tpm2" in arguments.switches)
    elif "print-profiles" in arguments.switches:
        told = description.profiles()
    elif "print-states" in arguments.switches:
        told = description.states(arguments)
    else:
        told = description.info(arguments)
    return f"{told}\n"


def become(user: str) -> None:
    """Go on as another user, with that user's groups; ArgumentError if that cannot be done."""
    import pwd  # noqa: PLC0415 - rarely needed

    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        raise ArgumentError(f"--runas {user}: there is no such user") from None
    try:
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError:
        raise ArgumentError(f"--runas {user}: only root can do that") from None
    forbid_dumps()  # a change of user undoes it where fs.suid_dumpable is not 0 (proc_sys_fs(5))


def serve(arguments: Arguments, listeners: Listeners) -> int:
    """Serve until the end, in the background if asked for."""
    if "daemon" not in arguments.switches:
        return _serve(arguments, listeners, ready=lambda: None)
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
            is_ready = pipe.read() == b"ready"
        listeners.paths = ()
        return 0 if is_ready else 1
    os.close(reading)
    os.setsid()

    def ready() -> None:
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        os.write(writing, b"ready")
        os.close(writing)

    return _serve(arguments, listeners, ready=ready)


def _serve(arguments: Arguments, listeners: Listeners, ready: Callable[[], None]) -> int:
    with loading():
        from vtpm.compat.emulator import Emulator  # noqa: PLC0415 - loaded after the sockets are bound
    return Emulator(arguments, listeners).run(ready)
