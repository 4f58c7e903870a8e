"""
Where a TPM of this host may be: the TCTI strings that are taken, and how they are opened.

A TCTI string reaches a loader of shared objects, and some TCTI run commands.
It comes out of files that whoever has the disk, or the service's user, may have written;
so only a device of this host is taken, by its own name.
A simulator, for tests, is taken if the process was started with its TCTI in the environment, and not else.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from nvstore.errors import TctiRefused

VARIABLE: Final = "NVSTORE_TCTI"
"""The environment variable with TCTI of simulators that are taken besides devices, separated by spaces."""

ANCHOR: Final = "NVSTORE_ANCHOR"
"""The environment variable with the TCTI of the TPM that anchors states of this host, if one does."""

_DEVICE: Final = re.compile(r"device:/dev/tpm(rm)?[0-9]{1,5}")
_SIMULATOR: Final = re.compile(
    r"(swtpm|mssim):((host=(localhost|127\.0\.0\.1|::1),)?port=[0-9]{1,5}|path=/[A-Za-z0-9_./-]{1,107})"
)


def is_allowed(tcti: str) -> bool:
    """Tell whether this is a device of this host, or a simulator that the environment names."""
    if _DEVICE.fullmatch(tcti):
        return True
    return _SIMULATOR.fullmatch(tcti) is not None and tcti in os.environ.get(VARIABLE, "").split()


def host_tcti() -> str:
    """Return the TCTI of the TPM that anchors states of this host, as its configuration says; or nothing."""
    return os.environ.get(ANCHOR, "")


def check_tcti(tcti: str) -> str:
    """Return a TCTI that may be opened, or raise TctiRefused."""
    if not is_allowed(tcti):
        raise TctiRefused(tcti, VARIABLE)
    return tcti


@contextmanager
def opened(tss: Any, tcti: str) -> Iterator[Any]:
    """Open the TPM at a TCTI by the module `tpm2_pytss`; TctiRefused, or the errors of that module."""
    name, conf = check_tcti(tcti).split(":", 1)
    # the library by its whole name: the loader tries a short one as a library of its own before
    with tss.TCTILdr(f"libtss2-tcti-{name}.so.0", conf) as tcti_of, tss.ESAPI(tcti_of) as esys:
        yield esys
