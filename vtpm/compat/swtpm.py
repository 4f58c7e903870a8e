"""`swtpm`: this TPM with swtpm's command line, for everything that looks for that program on PATH."""

import gc
import json
import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from vtpm.compat.arguments import ArgumentError, Arguments, check, parse
from vtpm.compat.listeners import Listeners, listen
from vtpm.compat.version import own_version
from vtpm.daemon.sockets import SocketError

FEATURES: Final = (
    "tpm-2.0",
    "tpm-send-command-header",
    "flags-opt-startup",
    "flags-opt-disable-auto-shutdown",
    "ctrl-opt-terminate",
    "cmdarg-key-fd",
    "cmdarg-pwd-fd",
    "nvram-backend-dir",
    "tpmstate-opt-lock",
    "tpmstate-dir-backend-opt-backup",
    "tpmstate-dir-backend-opt-fsync",
)
"""What this program has of swtpm's, in swtpm's words."""

USAGE: Final = """\
Usage: swtpm socket --tpm2 --tpmstate dir=<directory> --ctrl <channel> [--server <channel>] [options]

The options of swtpm 0.7 to 0.10, as far as `swtpm socket --print-capabilities` names them:
  --ctrl, --server type=unixio,path=…[,mode=][,uid=][,gid=] | type=tcp,port=…[,bindaddr=] | type=…,fd=…
  --tpmstate dir=… | backend-uri=dir://…     --key pwdfile=|pwdfd=|file=|fd=…     -t, --terminate
  --flags not-need-init,startup-clear|startup-state,disable-auto-shutdown     -d, --daemon     --pid file=|fd=
  --log file=|fd=,level=,prefix=,truncate     --locality reject-locality-4,allow-set-locality
"""


def main() -> NoReturn:
    """Run `swtpm` with the process's arguments."""
    try:
        status = run(sys.argv[1:])
    except (ArgumentError, SocketError) as error:
        sys.stderr.write(f"swtpm: {error}\n")
        status = 1
    except KeyboardInterrupt:
        status = 1
    sys.exit(status)


def run(words: list[str]) -> int:
    """Obey a command line; the exit status."""
    if words[:1] == ["--version"]:
        sys.stdout.write(f"TPM emulator version {own_version()} (vtpm)\n")
        return 0
    if words[:1] in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    if words[:1] != ["socket"]:
        raise ArgumentError(f"{' '.join(words[:1]) or 'nothing'}: only the interface `socket` is supported")
    arguments = parse(words[1:])
    if "help" in arguments.switches:
        sys.stdout.write(USAGE)
        return 0
    if "print-capabilities" in arguments.switches:
        sys.stdout.write(capabilities(tpm2="tpm2" in arguments.switches) + "\n")
        return 0
    check(arguments)
    listeners = listen(arguments)
    try:
        return serve(arguments, listeners)
    finally:
        listeners.unlink()


def capabilities(*, tpm2: bool) -> str:
    """What this program can do, in the JSON that libvirt and swtpm_setup read."""
    from vtpm.state.profile import SWTPM_COMPATIBLE  # noqa: PLC0415 - a server binds its sockets before

    sizes = [f"rsa-keysize-{size}" for size in SWTPM_COMPATIBLE.rsa_key_bits] if tpm2 else []
    return json.dumps({"type": "swtpm", "features": [*FEATURES, *sizes], "version": own_version()})


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
    gc.disable()  # whatever is loaded stays: to look for garbage among it costs a tenth of the time to start
    from vtpm.compat.emulator import Emulator  # noqa: PLC0415 - loaded after the sockets are bound

    gc.freeze()
    gc.enable()
    return Emulator(arguments, listeners).run(ready)
