"""What `vtpm state clone` makes of the blobs of the origin."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vtpm.cli.place import Place
from vtpm.cli.provisioning import AUTHORITY, PLATFORM
from vtpm.daemon.clock import entropy
from vtpm.daemon.stateblobs import without_suspended
from vtpm.engine.clone import WAYS
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.templates import EK
from vtpm.state.saved import nv_blob, object_blob

if TYPE_CHECKING:
    from vtpm.state.tpm import TpmState


def cloned(place: Place, name: str, how: str, origin: Mapping[str, bytes]) -> dict[str, bytes]:
    """
    The blobs of the clone.

    One with seeds of its own gets the endorsement keys that its origin had, and certificates for them.
    """
    blobs = WAYS[how](without_suspended(origin), entropy)
    keys = [key for key in EK if object_blob(key.value.handle) in origin]
    if how == "copy" or not keys:
        return blobs
    tpm = Tpm.restore(blobs, entropy)
    has_certificates = any(nv_blob(key.value.certificate) in origin for key in keys)
    provision_again(place, name, tpm, keys, certify=has_certificates, srk=how == "replace")
    return tpm.snapshot()


def provision_again(
    place: Place, name: str, tpm: "TpmState", keys: list[EK], *, certify: bool, srk: bool
) -> None:
    """Make these endorsement keys, and certificates of the host's own authority if they have them."""
    from vtpm.daemon.authority import LocalCertifier, open_authority  # noqa: PLC0415 - not every clone needs it
    from vtpm.manufacture.certificates import Model  # noqa: PLC0415
    from vtpm.manufacture.identity import model_of, specification_of  # noqa: PLC0415
    from vtpm.manufacture.provision import provision  # noqa: PLC0415

    certifier = None
    if certify:
        authority = open_authority(place.state_dir / AUTHORITY)
        platform = Model(*PLATFORM.split(","))
        certifier = LocalCertifier(authority, name, model_of(tpm), platform, specification_of(tpm))
    provision(tpm, certifier, keys=keys, srk=srk)
