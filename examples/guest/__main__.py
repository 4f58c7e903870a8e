"""
Boot a guest with no TPM, with swtpm and with this project's, and print how long each takes.

`python -m examples.guest [--rounds N]`
A boot with a TPM takes longer because firmware hashes, QEMU emulates the device, and the TPM answers;
only the last of these differs between the two.
"""

import argparse
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median

from examples.guest.machine import Firmware, Machine, TpmDevice, choose_accelerator
from examples.guest.tpm_server import swtpm, vtpm

LIMIT = 120.0


def no_tpm(_directory: Path) -> AbstractContextManager[None]:
    """A machine without a TPM."""
    return nullcontext()


def main() -> None:
    """Print a table; the servers take turns, so that what else the machine does falls on all of them."""
    parser = argparse.ArgumentParser(prog="python -m examples.guest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="boots for each line (default: %(default)s)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="guest-") as directory:
        accelerator = choose_accelerator(Path(directory))
    print(f"seconds to user space under {accelerator}, {rounds} boots each")
    print(f"{'firmware':<10}{'device':<10}{'TPM':<8}{'minimum':>9}{'median':>9}")
    for firmware in Firmware:
        for device in TpmDevice:
            seconds: dict[str, list[float]] = {"none": [], "swtpm": [], "vtpm": []}
            for _ in range(rounds):
                for name, server in (("none", no_tpm), ("swtpm", swtpm), ("vtpm", vtpm)):
                    with (
                        tempfile.TemporaryDirectory(prefix="guest-") as directory,
                        server(Path(directory)) as tpm,
                    ):
                        machine = Machine(Path(directory), firmware, device, accelerator)
                        seconds[name].append(machine.boot("true", tpm, LIMIT).seconds_to_userspace)
            for name, taken in seconds.items():
                line = f"{firmware.value:<10}{device.value:<10}{name:<8}"
                print(f"{line}{min(taken):>9.2f}{median(taken):>9.2f}", flush=True)


if __name__ == "__main__":
    main()
