"""The process behind `swtpm socket`: one TPM, its sockets, its log and its end."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nvstore import NvstoreError
from vtpm.compat.arguments import TRUE, ArgumentError, Arguments, number, state_uri
from vtpm.compat.ending import LogHandler, log_to
from vtpm.compat.foreign_state import StreamForm, is_for_swtpm, take_over, takes_clear
from vtpm.compat.keys import read_key
from vtpm.compat.listeners import Listeners
from vtpm.compat.profiles import profile_of
from vtpm.compat.seccomp import action_of, restrict
from vtpm.compat.storage import storage_of
from vtpm.daemon.device.device import command_of
from vtpm.daemon.endpoint import Endpoint, Policy
from vtpm.daemon.errors import DeviceError
from vtpm.daemon.lane import Lane
from vtpm.daemon.process import Process
from vtpm.daemon.simulator import DataPort
from vtpm.daemon.tap import TapError, check_tap, device_for
from vtpm.spec.constants import TPM_CC, TPM_SU

STARTUPS: Final = {"startup-clear": TPM_SU.CLEAR, "startup-state": TPM_SU.STATE}
CLOSED_LOCALITY: Final = 4

log = logging.getLogger(__name__)


class Emulator:
    """
    One TPM with the behavior of a swtpm process.

    A new TPM is what libtpms 0.9 would make, as clients expect: FAPI of tpm2-tss before 3.2.3
    fails on algorithms and curves that it has no name for.
    """

    def __init__(self, arguments: Arguments, listeners: Listeners) -> None:
        start_log(arguments)
        storage = storage_of(state_uri(arguments))
        profile = profile_of(arguments.of("profile"))
        key = read_key("key", arguments.of("key"))
        migration_key = read_key("migration-key", arguments.of("migration-key"))
        self._arguments = arguments
        self._listeners = listeners
        self._restriction = action_of(arguments.of("seccomp").get("action"))
        self._process = Process(profile)
        self._device = device_for(
            trace_file(arguments),
            "tpm",
            self._process.tpms,
            storage.opener(key.passphrase if key else None, lambda: take_over(storage, profile, key)),
            may_manufacture=True,
            is_encrypted=key is not None,
            auto_shutdown=not arguments.has("flags", "disable-auto-shutdown"),
            allow_set_locality=arguments.has("locality", "allow-set-locality")
            or "vtpm-proxy" in arguments.switches,
            profile=profile,
            form=StreamForm(profile, migration_key, key, for_swtpm=is_for_swtpm(), takes_clear=takes_clear()),
            releases_storage=arguments.has("migration", "release-lock-outgoing"),
        )
        lane = Lane(self._process.loop, self._process.executor, self._device.fail)
        rejects = arguments.has("locality", "reject-locality-4")
        self._endpoint = Endpoint(
            self._process.loop,
            self._device,
            lane,
            listeners.control,
            policy=Policy(
                ends_with_control=False,
                rejected_locality=CLOSED_LOCALITY if rejects else None,
                one_command=arguments.has("server", "disconnect"),
            ),
            others_wait=lambda: False,
            ended=self._control_ended,
            data_ended=self._data_ended,
        )
        self._data_port: DataPort | None = None

    def run(self, ready: Callable[[], None]) -> int:
        """Serve until the end; the exit status."""
        try:
            self._power_on()
            pid_file = write_pid(self._arguments)
        except (DeviceError, NvstoreError, OSError) as error:
            log.error("the TPM cannot be started: %s", error)  # noqa: TRY400 - the operator's to mend
            return 1
        if self._listeners.data is not None:
            self._data_port = DataPort(self._process.loop, self._listeners.data, self._endpoint.serve_data)
        if self._listeners.control_client is not None:
            self._endpoint.serve(self._listeners.control_client)
        if self._listeners.data_client is not None:
            self._endpoint.serve_data(self._listeners.data_client)
        restrict(self._restriction)
        if self._listeners.carrier is not None:
            self._listeners.carrier.start()
        try:
            self._process.run(self._close, ready)
        finally:
            if pid_file is not None:
                pid_file.unlink(missing_ok=True)
        return 0

    def _power_on(self) -> None:
        flags = self._arguments.of("flags")
        if "vtpm-proxy" in self._arguments.switches and not flags:
            flags = {"startup-clear": TRUE}  # the kernel expects a TPM that is started
        startup = next((kind for name, kind in STARTUPS.items() if name in flags), None)
        if startup is None and "not-need-init" not in flags:
            return
        self._device.init()
        if startup is not None:
            self._device.execute(command_of(TPM_CC.Startup, startup))

    def _control_ended(self, shut_down: bool) -> None:  # noqa: FBT001 - a callback
        if shut_down or self._arguments.has("ctrl", "terminate"):
            self._process.stop()

    def _data_ended(self) -> None:
        if "terminate" in self._arguments.switches or self._listeners.data_client is not None:
            self._process.stop()

    async def _close(self) -> None:
        self._listeners.unlink()
        if self._data_port is not None:
            self._data_port.close()
        await self._endpoint.close()


def start_log(arguments: Arguments) -> None:
    """Log where --log says: swtpm's level 0 is silent but for errors."""
    values = arguments.of("log")
    if values.get("file") == "-":
        logging.disable()
        return
    stream = sys.stderr
    if "fd" in values:
        stream = log_to(number("log", "fd", values["fd"]))
    elif "file" in values:
        mode = os.O_TRUNC if values.get("truncate") == "true" else os.O_APPEND
        try:
            descriptor = os.open(values["file"], os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | mode, 0o644)
        except OSError as error:
            raise ArgumentError(f"--log file={values['file']}: {error.strerror}") from None
        stream = log_to(descriptor)
    level = logging.INFO if number("log", "level", values.get("level", "0")) else logging.WARNING
    prefix = values.get("prefix", "swtpm: ")
    form = f"{prefix.replace('%', '%%')}%(message)s"
    logging.basicConfig(handlers=[LogHandler(stream)], level=level, format=form)


def trace_file(arguments: Arguments) -> Path | None:
    """The file of --pcap, which is private whatever its `mode`; ArgumentError if it cannot be written to."""
    values = arguments.of("pcap")
    if not values:
        return None
    path = Path(values["file"]).absolute()
    if "mode" in values:
        number("pcap", "mode", values["mode"], 8)
    try:
        check_tap(path)
    except TapError as error:
        raise ArgumentError(f"--pcap file: {error}") from None
    if values.get("truncate") == TRUE:
        os.truncate(path, 0)
    return path


def write_pid(arguments: Arguments) -> Path | None:
    """Write the process's number where --pid says; the file to remove at the end."""
    values = arguments.of("pid")
    text = f"{os.getpid()}\n".encode()
    if "fd" in values:
        os.write(number("pid", "fd", values["fd"]), text)
    if "file" not in values:
        return None
    path = Path(values["file"]).absolute()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    os.write(descriptor, text)
    os.close(descriptor)
    return path
