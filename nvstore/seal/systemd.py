"""
A seal by the service manager's credentials: the sealing key is encrypted by `systemd-creds`.

`with_key` says with what: the host's own secret, its TPM, or both; `auto` takes what there is.
A credential is bound to its name, which contains the provider's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nvstore.files import Files
from nvstore.keys import KEY_SIZE, Entropy
from nvstore.provider_errors import SealFailed
from nvstore.seal.programs import ProgramFailed, run_program
from nvstore.seal.sealing_key import SYSTEMD, SealingKey

_NAME: Final = re.compile(r"nvstore-[\w-]*")
_PROGRAM: Final = "systemd-creds"
_REMEDY: Final = "mend that, or restore the provider from its backup in another seal"


@dataclass(frozen=True)
class SystemdSealer:
    """The credentials of systemd on this host."""

    with_key: str = "auto"
    kind: str = SYSTEMD

    def make(self, files: Files, entropy: Entropy, what: str) -> SealingKey:  # noqa: D102 described by Sealer
        del files
        key = entropy(KEY_SIZE)
        name = _name_of(what)
        command = [_PROGRAM, "encrypt", f"--with-key={self.with_key}", f"--name={name}", "-", "-"]
        try:
            credential = run_program(command, key.hex().encode())
        except ProgramFailed as error:
            raise _failed(what, str(error)) from None
        return SealingKey(
            {"kind": SYSTEMD, "name": name, "credential": "".join(credential.decode().split())}, key
        )


def recover_from_systemd(description: Mapping[str, Any], what: str) -> bytes:
    """Return the sealing key, or raise SealFailed."""
    name = str(description.get("name"))
    if not _NAME.fullmatch(name):  # a credential of something else opens nothing here
        raise _failed(what, f"the credential's name {name[:80]!r} is none that is given to it")
    command = [_PROGRAM, "decrypt", f"--name={name}", "-", "-"]
    try:
        key = bytes.fromhex(run_program(command, str(description.get("credential")).encode()).decode())
    except ProgramFailed as error:
        raise _failed(what, str(error)) from None
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise _failed(what, "the credential holds something else")
    return key


def _name_of(what: str) -> str:
    return "nvstore-" + "".join(c if c.isalnum() else "-" for c in what).strip("-")


def _failed(what: str, reason: str) -> SealFailed:
    return SealFailed(f"the systemd credential that seals the key of {what}", reason, _REMEDY)
