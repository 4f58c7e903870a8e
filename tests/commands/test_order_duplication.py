"""Part 3, 5.1, clause 13: of several faults, the one that the reference code would find first."""

from dataclasses import replace

import pytest

from tests.commands.checks import (
    Arguments,
    Change,
    Checks,
    Found,
    changed,
    fault,
    marked,
    misplaced,
)
from tests.commands.test_duplication import INNER, KEY, NO_INNER, STORAGE_AES, Movable, made
from tests.commands.test_object import flipped
from tests.commands.test_rare_cases import sealed_data
from tests.keys import put, put_ecc
from tests.objects import primary
from tests.scenarios import Client
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.objects import TPM2B_PRIVATE, TPMT_SENSITIVE
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal
from vtpm.wire.vocabulary import codec_of

A, RC = TPM_ALG, TPM_RC
NULL = TPM_RH.NULL
UNSIZED_POINT = b"\0\x20"
"""No TPMS_ECC_POINT."""


def duplicate(tpm: Client) -> Found:
    """13.1, of an object with encryptedDuplication"""
    item = made(tpm, encryptedDuplication=True)
    fixed = replace(item.public, object_attributes=item.public.object_attributes.but(fixedParent=True))
    other = put(tpm, fixed, b"data")
    return {
        "item": item.handle,
        "new_parent": primary(tpm),
        "encryption_key_in": KEY,
        "symmetric_alg": INNER,
    }, [
        fault(RC.ATTRIBUTES.handle(1), item=other),
        fault(RC.TYPE.handle(2), new_parent=put_ecc(tpm)),
        fault(RC.SYMMETRIC.parameter(2), symmetric_alg=NO_INNER),
        fault(RC.HIERARCHY.handle(2), new_parent=NULL),
        fault(RC.SIZE.parameter(1), encryption_key_in=b"x"),
    ]


def send_duplicate(tpm: Client, arguments: Arguments) -> int:
    """By the object's policy."""
    item = Movable(tpm, arguments["item"])
    reply = item.duplicate(
        arguments["new_parent"], arguments["symmetric_alg"], arguments["encryption_key_in"]
    )
    return int(reply.rc)


def rewrap(tpm: Client) -> Found:
    """13.2"""
    item, old, new = made(tpm), primary(tpm), primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)
    blob = item.duplicate(old)
    return {
        "old_parent": old,
        "new_parent": new,
        "in_duplicate": blob.duplicate,
        "name": tpm.read_public(item.handle).name,
        "in_sym_seed": blob.out_sym_seed,
    }, [
        fault(RC.HANDLE.handle(1), old_parent=NULL, in_sym_seed=blob.out_sym_seed),
        fault(RC.HANDLE.handle(1), old_parent=old, in_sym_seed=b""),
        fault(RC.TYPE.handle(1), old_parent=put_ecc(tpm)),
        fault(RC.VALUE.parameter(3), in_sym_seed=UNSIZED_POINT),
        fault(RC.INTEGRITY.parameter(1), in_duplicate=Change(lambda octets: flipped(octets, -1))),
        fault(RC.TYPE.handle(2), new_parent=put_ecc(tpm)),
    ]


def rewrap_large(tpm: Client) -> Found:
    """13.2, of what is too large for another wrapper"""
    good = {"old_parent": NULL, "new_parent": primary(tpm), "in_duplicate": b"x", "name": b"name"}
    return good | {"in_sym_seed": b""}, [
        fault(RC.HANDLE.handle(1), in_sym_seed=b"x"),
        fault(RC.TYPE.handle(2), new_parent=put_ecc(tpm)),
        fault(RC.VALUE.parameter(1), in_duplicate=bytes(PRIVATE_SIZE - 33)),
    ]


PRIVATE_SIZE = codec_of(TPM2B_PRIVATE).most() - 2
"""Octets of the largest private area."""


def import_object(tpm: Client) -> Found:
    """13.3, with both wrappers, of an object with encryptedDuplication"""
    item, parent = made(tpm, encryptedDuplication=True), primary(tpm)
    blob = item.duplicate(parent, INNER, KEY)
    return {
        "parent": parent,
        "encryption_key": KEY,
        "object_public": item.public,
        "duplicate": blob.duplicate,
        "in_sym_seed": blob.out_sym_seed,
        "symmetric_alg": INNER,
    }, [
        fault(RC.ATTRIBUTES.parameter(2), object_public=marked(fixedParent=True)),
        fault(RC.TYPE.handle(1), parent=put_ecc(tpm)),
        fault(RC.SIZE.parameter(1), encryption_key=KEY[1:]),
        fault(RC.SIZE.parameter(1), symmetric_alg=NO_INNER),
        fault(RC.ATTRIBUTES.parameter(1), symmetric_alg=NO_INNER, encryption_key=b""),
        fault(RC.TYPE.handle(1), parent=primary(tpm, STORAGE_AES), in_sym_seed=blob.out_sym_seed),
        fault(RC.INSUFFICIENT.parameter(4), in_sym_seed=UNSIZED_POINT),
        fault(RC.ATTRIBUTES.parameter(4), in_sym_seed=b""),
        fault(RC.INTEGRITY.parameter(3), duplicate=Change(lambda octets: flipped(octets, -1))),
    ]


def import_bare(tpm: Client) -> Found:
    """13.3, without wrappers, under a parent that is fixedTPM"""
    public, _ = sealed_data()
    return {
        "parent": primary(tpm),
        "encryption_key": b"",
        "object_public": public,
        "sensitive": TPMT_SENSITIVE(A.KEYEDHASH, b"", bytes(32), b"data"),
        "size": 0,
    }, [
        fault(RC.SIZE.parameter(1), encryption_key=b"x"),
        fault(RC.SIZE.parameter(3), size=1),
        fault(RC.SIZE.parameter(3), size=-1),
        fault(RC.KEY_SIZE.parameter(3), sensitive=changed(seed_value=bytes(33))),
        fault(RC.SIZE.parameter(2), object_public=changed(auth_policy=bytes(31))),
        fault(RC.ATTRIBUTES.parameter(2), object_public=marked(restricted=True)),
        fault(RC.SIZE.parameter(3), sensitive=changed(auth_value=bytes(33))),
        fault(RC.BINDING, sensitive=changed(sensitive=b"other")),
    ]


def send_import_bare(tpm: Client, arguments: Arguments) -> int:
    """With the sensitive area as the duplicate, and a size that may be wrong."""
    area = marshal(arguments["sensitive"])
    return int(
        tpm.import_object(
            arguments["parent"],
            encryption_key=arguments["encryption_key"],
            object_public=arguments["object_public"],
            duplicate=(len(area) + arguments["size"]).to_bytes(2, "big") + area,
            in_sym_seed=b"",
            symmetric_alg=NO_INNER,
        ).rc
    )


CHECKS = [
    Checks("duplicate", duplicate, send_duplicate),
    Checks("rewrap", rewrap),
    Checks("rewrap", rewrap_large),
    Checks("import_object", import_object),
    Checks("import_object", import_bare, send_import_bare),
]


@pytest.mark.parametrize("checks", CHECKS, ids=lambda checks: checks.faults.__name__)
def test_order(tpm: Client, checks: Checks) -> None:
    """Each fault alone has its code; of two, the first one in the order of the checks is reported."""
    assert misplaced(tpm, checks) == []
