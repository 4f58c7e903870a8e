"""A guest's use of its TPM, without the guest: the stored state is run in this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nvstore import Host
from vtpm import Instant, Tpm
from vtpm.caller.caller import Direct
from vtpm.spec.algorithms import (
    TPMS_ECC_POINT,
    TPMS_SENSITIVE_CREATE,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.attributes import TPMA_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_ECC_CURVE, TPM_RH, TPM_SU
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_KEYEDHASH_PARMS, TPMT_PUBLIC

STORAGE_KEY = TPMT_PUBLIC(
    type=TPM_ALG.ECC,
    name_alg=TPM_ALG.SHA256,
    object_attributes=TPMA_OBJECT(
        fixedTPM=True,
        fixedParent=True,
        sensitiveDataOrigin=True,
        userWithAuth=True,
        restricted=True,
        decrypt=True,
    ),
    auth_policy=b"",
    parameters=TPMS_ECC_PARMS(
        symmetric=TPMT_SYM_DEF_OBJECT(TPM_ALG.AES, 128, TPM_ALG.CFB),
        scheme=TPMT_ECC_SCHEME(TPM_ALG.NULL, None),
        curve_id=TPM_ECC_CURVE.NIST_P256,
        kdf=TPMT_KDF_SCHEME(TPM_ALG.NULL, None),
    ),
    unique=TPMS_ECC_POINT(b"", b""),
)
SEALED = TPMT_PUBLIC(
    type=TPM_ALG.KEYEDHASH,
    name_alg=TPM_ALG.SHA256,
    object_attributes=TPMA_OBJECT(fixedTPM=True, fixedParent=True, userWithAuth=True),
    auth_policy=b"",
    parameters=TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(TPM_ALG.NULL, None)),
    unique=b"",
)
DISK_KEY = dict[str, object]
"""What the guest keeps on its disk: a sealed object that only its TPM opens."""


@contextmanager
def powered(state_dir: Path, vm: str) -> Iterator[Direct]:
    """The VM's TPM between power-on and an orderly shutdown, every change made durable."""
    store = Host(state_dir).open_state(vm)
    try:
        tpm = Tpm.restore(store.load(), os.urandom)
        tpm.power_on(Instant(0))
        guest = Direct(tpm)
        guest.startup(startup_type=TPM_SU.CLEAR)
        yield guest
        guest.shutdown(shutdown_type=TPM_SU.CLEAR)
        store.commit(dict(tpm.snapshot()))
    finally:
        store.close()


def storage_key(guest: Direct) -> int:
    """The guest's storage root key."""
    return int(
        guest.create_primary(
            TPM_RH.OWNER,
            in_sensitive=TPMS_SENSITIVE_CREATE(b"", b""),
            in_public=STORAGE_KEY,
            outside_info=b"",
            creation_pcr=(),
        ).object_handle
    )


def seal(state_dir: Path, vm: str, secret: bytes) -> DISK_KEY:
    """Seal a secret; what the guest then writes to its disk."""
    with powered(state_dir, vm) as guest:
        made = guest.create(
            storage_key(guest),
            in_sensitive=TPMS_SENSITIVE_CREATE(b"", secret),
            in_public=SEALED,
            outside_info=b"",
            creation_pcr=(),
        )
        return {"in_private": made.out_private, "in_public": made.out_public}


def unseal(state_dir: Path, vm: str, disk_key: DISK_KEY) -> bytes | None:
    """The secret, or None where the TPM does not open it."""
    with powered(state_dir, vm) as guest:
        loaded = guest.load(storage_key(guest), **disk_key)
        return bytes(guest.unseal(loaded.object_handle).out_data) if loaded.rc == 0 else None
