"""What an operator may change of a TPM past its commands, of one that runs and of one that is stored."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from inspect import signature
from typing import Any, Final

from vtpm.daemon.clock import entropy
from vtpm.daemon.device.custody import Stretch, custody_of
from vtpm.daemon.device.stateblobs import SUSPENDED
from vtpm.daemon.errors import OperatorError
from vtpm.state.saved import SavedStateError
from vtpm.state.tpm import TpmState

Change = Callable[..., Any]


class ChangeError(OperatorError):
    """The change was not made; the text gives cause and remedy."""


def forgive(tpm: TpmState) -> int:
    """End a lockout; how many failed authorizations are forgiven."""
    tries = tpm.lockout.failed_tries
    tpm.lockout.forgive()
    tpm.touch_permanent()
    return tries


def put_certificate(tpm: TpmState, certificate: str, *, module: str, function: str) -> int:
    """Replace a certificate, given as DER in hexadecimal, by a function that is loaded now; its Index."""
    put = getattr(import_module(module), function)  # X.509 is loaded when it is needed
    try:
        index: int = put(tpm, bytes.fromhex(certificate))
    except ValueError as error:
        raise ChangeError(f"the certificate is not taken: {error}; the TPM keeps what it has") from None
    return index


put_ek: Final = partial(put_certificate, module="vtpm.manufacture.endorsement", function="put_certificate")
put_platform: Final = partial(
    put_certificate, module="vtpm.manufacture.platform", function="put_platform_certificate"
)
CHANGES: Final[Mapping[str, Change]] = {
    "lockout-reset": forgive,
    "ek-certificate": put_ek,
    "platform-certificate": put_platform,
}


def alteration(change: str, **arguments: Any) -> Callable[[TpmState], Any]:
    """A change by its name, for `Device.change`; TypeError if its arguments are not those."""
    if change not in CHANGES:
        raise ChangeError(f"there is no change {change}; use the `vtpm` of the daemon's version")
    signature(CHANGES[change]).bind(None, **arguments)
    return partial(CHANGES[change], **arguments)


def altered(
    blobs: Mapping[str, bytes], here: tuple[bytes, int], change: str, **arguments: Any
) -> tuple[Any, dict[str, bytes | None]]:
    """
    What a change of a stored TPM gives, and the blobs that it changes in the generation `here`.

    What was handed out before does not follow from it.
    """
    custody = custody_of(blobs)
    custody.check_start()
    if SUSPENDED in blobs:
        raise ChangeError(
            "the state was stored while the TPM ran, and goes on only with what is stored beside it; "
            "start the VM, then try again"
        )
    try:
        tpm = TpmState.restore(blobs, entropy)
    except SavedStateError as error:
        raise ChangeError(f"{error}; restore the state from a backup") from None
    result = alteration(change, **arguments)(tpm)
    return result, tpm.changes() | custody.gone_on(Stretch(*here)).blob()
