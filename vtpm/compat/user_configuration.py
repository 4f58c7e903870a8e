"""
A user's own swtpm_setup.conf (swtpm_setup.8, --create-config-files), which libvirt asks for in session mode.

It names no tool for certificates: what the system's names may keep its keys where no user can write,
and the local authority keeps them with the user's.
"""

import os
from pathlib import Path
from typing import Final

from vtpm.compat.arguments import ArgumentError
from vtpm.compat.setup_arguments import CONFIGURATION
from vtpm.daemon.authority.local import own_home

CHOICES: Final = frozenset({"", "overwrite", "skip-if-exist", "root"})

CONTENT: Final = """\
# Certificates are made by the local authority of this user; create_certs_tool would name another one.
active_pcr_banks = sha256
"""


def create_configuration(text: str) -> None:
    """Write the file as the words of the option say; ArgumentError if they do not allow it."""
    words = set(text.split(","))
    if not words <= CHOICES:
        raise ArgumentError(f"--create-config-files {text}: give overwrite or skip-if-exist, or root besides")
    if os.geteuid() == 0 and "root" not in words:
        raise ArgumentError(
            "--create-config-files: as root, give root besides, or be the user whose file it is"
        )
    home = os.environ.get("XDG_CONFIG_HOME")
    path = (Path(home) if home else own_home() / ".config") / CONFIGURATION
    try:
        if path.exists() and "overwrite" not in words:
            if "skip-if-exist" in words:
                return
            raise ArgumentError(f"--create-config-files: {path} exists; give overwrite or skip-if-exist")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONTENT)
    except OSError as error:
        raise ArgumentError(f"{path}: {error.strerror}") from None
