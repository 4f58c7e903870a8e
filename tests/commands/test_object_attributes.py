"""Part 2, 8.3, and Part 3, 12.1: the attributes of an object fit its parent's."""

from dataclasses import replace
from typing import Any

import pytest

from tests.objects import SEALED, SIGN_ECC, STORAGE_ECC, creation, handle_of, primary, template
from tests.scenarios import Client
from vtpm.spec.algorithms import TPMT_SYM_DEF_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMT_PUBLIC
from vtpm.wire.error import TPM_RC

REFUSED = TPM_RC.ATTRIBUTES.parameter(2)
MOVABLE = {"fixedTPM": False, "fixedParent": False}
STORAGE_AES = "0025000b00030072 0000 0006 0080 0043 0000"


def with_attributes(public: str | TPMT_PUBLIC, **changes: bool) -> TPMT_PUBLIC:
    """A template with other attributes."""
    area = template(public) if isinstance(public, str) else public
    return replace(area, object_attributes=area.object_attributes.but(**changes))


def with_symmetric(public: str, *symmetric: Any) -> TPMT_PUBLIC:
    """A template of a storage key with another symmetric algorithm."""
    area = template(public)
    assert isinstance(area.parameters, TPMS_ECC_PARMS)
    return replace(area, parameters=replace(area.parameters, symmetric=TPMT_SYM_DEF_OBJECT(*symmetric)))


def parent_of(tpm: Client, **changes: bool) -> int:
    """A storage key with these attributes changed."""
    given = creation(with_attributes(STORAGE_ECC, **changes))
    return handle_of(tpm.create_primary(TPM_RH.OWNER, **given))


@pytest.mark.parametrize("public", [SIGN_ECC, STORAGE_ECC])
@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        # under a fixed parent: fixedTPM and fixedParent together, or neither
        ({}, {}, TPM_RC.SUCCESS),
        ({}, MOVABLE, TPM_RC.SUCCESS),
        ({}, {"fixedTPM": False}, REFUSED),
        ({}, {"fixedParent": False}, REFUSED),
        ({}, {"encryptedDuplication": True}, REFUSED),
        ({}, {"encryptedDuplication": True, **MOVABLE}, TPM_RC.SUCCESS),
        # under a movable parent: never fixedTPM, and encryptedDuplication as the parent
        (MOVABLE, {}, REFUSED),
        (MOVABLE, MOVABLE, TPM_RC.SUCCESS),
        (MOVABLE, {"fixedTPM": False}, TPM_RC.SUCCESS),
        (MOVABLE, {"fixedParent": False}, REFUSED),
        (MOVABLE, {"encryptedDuplication": True, **MOVABLE}, REFUSED),
        ({"encryptedDuplication": True, **MOVABLE}, MOVABLE, REFUSED),
        (
            {"encryptedDuplication": True, **MOVABLE},
            {"encryptedDuplication": True, **MOVABLE},
            TPM_RC.SUCCESS,
        ),
    ],
)
def test_fixed(
    tpm: Client, public: str, parent: dict[str, bool], child: dict[str, bool], expected: int
) -> None:
    """Part 1, "Hierarchy Relationships": an object is not bound more tightly than its parent."""
    reply = tpm.create(parent_of(tpm, **parent), **creation(with_attributes(public, **child)))

    assert expected == reply.rc


@pytest.mark.parametrize(
    ("public", "expected"),
    [
        (with_symmetric(STORAGE_ECC, TPM_ALG.AES, 128, TPM_ALG.CFB), TPM_RC.SUCCESS),
        (with_symmetric(STORAGE_ECC, TPM_ALG.AES, 256, TPM_ALG.CFB), TPM_RC.SYMMETRIC.parameter(2)),
        (with_symmetric(STORAGE_ECC, TPM_ALG.CAMELLIA, 128, TPM_ALG.CFB), TPM_RC.SYMMETRIC.parameter(2)),
        (with_symmetric(STORAGE_ECC, TPM_ALG.AES, 128, TPM_ALG.CTR), TPM_RC.SYMMETRIC.parameter(2)),
        (replace(template(STORAGE_ECC), name_alg=TPM_ALG.SHA384), TPM_RC.HASH.parameter(2)),
        (template(STORAGE_AES), TPM_RC.SUCCESS),
        (replace(template(STORAGE_AES), name_alg=TPM_ALG.SHA512), TPM_RC.HASH.parameter(2)),
        # keys that are no parents have no algorithms of the parent's kind
        (replace(template(SIGN_ECC), name_alg=TPM_ALG.SHA384), TPM_RC.SUCCESS),
    ],
)
def test_algorithms(tpm: Client, public: TPMT_PUBLIC, expected: int) -> None:
    """12.1: a fixed storage key has its parent's algorithms; one that can move has its own."""
    parent = primary(tpm)

    assert expected == tpm.create(parent, **creation(public)).rc
    assert tpm.create(parent, **creation(with_attributes(public, **MOVABLE))).rc == TPM_RC.SUCCESS


@pytest.mark.parametrize("mode", [TPM_ALG.CTR, TPM_ALG.OFB, TPM_ALG.CBC, TPM_ALG.ECB, TPM_ALG.NULL])
def test_mode(tpm: Client, mode: TPM_ALG) -> None:
    """12.1: whatever the mode of a parent, its children are encrypted in CFB mode."""
    given = creation(with_symmetric(STORAGE_ECC, TPM_ALG.AES, 128, mode))
    parent = handle_of(tpm.create_primary(TPM_RH.OWNER, **given))
    reply = tpm.create(parent, **creation(SEALED, data=b"secret"))

    item = tpm.load(parent, in_private=reply.out_private, in_public=reply.out_public)

    assert tpm.unseal(handle_of(item)).out_data == b"secret"


@pytest.mark.parametrize(
    ("public", "data", "expected"),
    [
        (SIGN_ECC, b"x", REFUSED),
        (SEALED, b"", REFUSED),
        (SEALED, b"x", TPM_RC.SUCCESS),
        (with_attributes(SEALED, sensitiveDataOrigin=True), b"", REFUSED),
        (with_attributes(SIGN_ECC, sensitiveDataOrigin=False), b"x", REFUSED),
        # a restricted symmetric key that the caller provides may not be fixed
        (with_attributes(STORAGE_AES, sensitiveDataOrigin=False), bytes(16), REFUSED),
        (with_attributes(STORAGE_AES, sensitiveDataOrigin=False, **MOVABLE), bytes(16), TPM_RC.SUCCESS),
        (with_attributes(STORAGE_AES, sensitiveDataOrigin=False, **MOVABLE), bytes(15), TPM_RC.KEY_SIZE),
    ],
)
def test_origin(tpm: Client, public: str | TPMT_PUBLIC, data: bytes, expected: int) -> None:
    """12.1: who provides the secret."""
    assert expected == tpm.create(primary(tpm), **creation(public, data=data)).rc


def test_st_clear(tpm: Client) -> None:
    """Part 1, "stClear": the attribute is passed on to what is loaded under the object."""
    parent = parent_of(tpm, stClear=True)
    blob = tpm.create(parent, **creation(SIGN_ECC))
    item = tpm.load(parent, in_private=blob.out_private, in_public=blob.out_public).object_handle

    assert not tpm.read_public(item).out_public.object_attributes.stClear
    assert tpm.context_save(item).context.saved_handle == tpm.context_save(parent).context.saved_handle
    persisted = tpm.evict_control(TPM_RH.OWNER, item, persistent_handle=0x81000001).rc
    assert persisted == TPM_RC.ATTRIBUTES.handle(2)
