"""What `vtpm state clone` makes of the blobs of the origin."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vtpm.cli.place import Place
from vtpm.cli.provisioning import PLATFORM, authority_of, platform_of
from vtpm.daemon.clock import entropy
from vtpm.daemon.device.stateblobs import powered_off
from vtpm.engine.clone import WAYS
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.templates import EK
from vtpm.state.saved import nv_blob, object_blob

if TYPE_CHECKING:
    from nvstore import Host
    from vtpm.daemon.authority.certifier import LocalCertifier
    from vtpm.state.tpm import TpmState


def cloned(
    place: Place, host: "Host", provider: str | None, name: str, how: str, origin: Mapping[str, bytes]
) -> dict[str, bytes]:
    """
    The blobs of the clone.

    One with seeds of its own gets the endorsement keys that its origin had, and certificates for them.
    """
    blobs = WAYS[how](powered_off(origin), entropy)
    keys = [key for key in EK if object_blob(key.value.handle) in origin]
    if how == "copy" or not keys:
        return blobs
    tpm = Tpm.restore(blobs, entropy)
    certifier = None
    if any(nv_blob(key.value.certificate) in origin for key in keys):
        certifier = certifier_of(place, host, provider, name, tpm)
    from vtpm.manufacture.provision import provision  # noqa: PLC0415 - not every clone needs it

    provision(tpm, certifier, keys=keys, srk=how == "replace")
    return tpm.snapshot()


def certifier_of(
    place: Place, host: "Host", provider: str | None, name: str, tpm: "TpmState"
) -> "LocalCertifier":
    """The host's own authority, for the certificates of a clone."""
    from vtpm.daemon.authority.certifier import LocalCertifier  # noqa: PLC0415 - not every clone needs it
    from vtpm.manufacture.identity import model_of, specification_of  # noqa: PLC0415

    authority = authority_of(place, host, provider).open()
    return LocalCertifier(authority, name, model_of(tpm), platform_of(PLATFORM), specification_of(tpm))
