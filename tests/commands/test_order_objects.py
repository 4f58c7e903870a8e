"""Part 3, 5.1, clauses 11 to 13: of several faults, the one that the reference code would find first."""

from dataclasses import replace

import pytest

from tests.commands.checks import (
    Arguments,
    Change,
    Checks,
    Fault,
    Found,
    changed,
    fault,
    marked,
    misplaced,
    parametrized,
)
from tests.commands.test_duplication import INNER, KEY, NO_INNER, STORAGE_AES, Movable, made
from tests.commands.test_ephemeral import structure_of
from tests.commands.test_object import flipped
from tests.commands.test_object_loading import ecc
from tests.commands.test_rare_cases import KnownParent, sealed_data
from tests.keys import ecc_private, put, put_ecc, put_hmac, put_rsa
from tests.objects import SIGN_ECC, STORAGE_ECC, creation, handle_of, primary
from tests.scenarios import Client
from vtpm.commands.protection import sealed_outer
from vtpm.spec.algorithms import (
    TPMS_SCHEME_HASH,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_RSA_DECRYPT,
    TPMT_SYM_DEF,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE
from vtpm.spec.objects import TPM2B_PRIVATE, TPMT_SENSITIVE
from vtpm.state.object import name_of
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal
from vtpm.wire.vocabulary import codec_of

A, RC = TPM_ALG, TPM_RC
OWNER, NULL = TPM_RH.OWNER, TPM_RH.NULL

SHA256 = TPMS_SCHEME_HASH(A.SHA256)
KDF2 = TPMT_KDF_SCHEME(A.KDF2, SHA256)
NO_PADDING = TPMT_RSA_DECRYPT(A.NULL, None)
OAEP = TPMT_RSA_DECRYPT(A.OAEP, SHA256)
RSAES = TPMT_RSA_DECRYPT(A.RSAES, None)
AES = TPMT_SYM_DEF_OBJECT(A.AES, 128, A.CFB)
UNSIZED_POINT = b"\0\x20"
"""No TPMS_ECC_POINT."""


def start_auth_session(tpm: Client) -> Found:
    """11.1"""
    oaep_key = put_rsa(tpm, "decrypt restricted")
    return {
        "tpm_key": NULL,
        "bind": NULL,
        "nonce_caller": bytes(16),
        "encrypted_salt": b"",
        "session_type": TPM_SE.TRIAL,
        "symmetric": TPMT_SYM_DEF(A.NULL, 0, A.NULL),
        "auth_hash": A.SHA256,
    }, [
        fault(RC.SIZE.parameter(1), nonce_caller=bytes(15)),
        fault(RC.KEY.handle(1), tpm_key=put_hmac(tpm)),
        fault(RC.VALUE.parameter(2), tpm_key=put_ecc(tpm, "sign", private=False), encrypted_salt=b""),
        fault(RC.HANDLE.handle(1), tpm_key=put_ecc(tpm, "sign", private=False), encrypted_salt=UNSIZED_POINT),
        fault(RC.ATTRIBUTES.handle(1), tpm_key=put_ecc(tpm, "sign"), encrypted_salt=UNSIZED_POINT),
        fault(RC.VALUE.parameter(2), tpm_key=put_ecc(tpm, "decrypt"), encrypted_salt=UNSIZED_POINT),
        fault(RC.VALUE.parameter(2), tpm_key=oaep_key, encrypted_salt=bytes(128)),
        fault(RC.VALUE.parameter(2), encrypted_salt=b"salt"),
        fault(RC.HANDLE.handle(2), bind=put_ecc(tpm, private=False)),
        fault(RC.MODE.parameter(4), symmetric=TPMT_SYM_DEF(A.AES, 128, A.CBC)),
    ]


def send_start_auth_session(tpm: Client, arguments: Arguments) -> int:
    """Start a session, and flush it."""
    reply = tpm.start_auth_session(**arguments)
    if reply.rc == RC.SUCCESS:
        tpm.flush_context(flush_handle=reply.session_handle)
    return int(reply.rc)


OF_A_TEMPLATE: list[Fault] = [
    fault(RC.SIZE.parameter(2), in_public=changed(auth_policy=bytes(31))),
    fault(RC.ATTRIBUTES.parameter(2), in_public=marked(fixedParent=False)),
    fault(RC.SCHEME.parameter(2), in_public=parametrized(scheme=TPMT_ECC_SCHEME(A.ECDH, SHA256))),
    fault(RC.SYMMETRIC.parameter(2), in_public=parametrized(symmetric=AES)),
    fault(RC.KDF.parameter(2), in_public=parametrized(kdf=KDF2)),
]
"""What is wrong with the template of a signing key, as all commands find it."""

SURPLUS_DATA = fault(RC.ATTRIBUTES.parameter(2), in_sensitive=changed(data=b"x"))
LONG_AUTH_384 = fault(RC.SIZE.parameter(1), in_sensitive=changed(user_auth=b"x" * 49))
LONG_AUTH = fault(RC.SIZE.parameter(1), in_sensitive=changed(user_auth=b"x" * 33))


def create(tpm: Client) -> Found:
    """12.1"""
    return {"parent": primary(tpm), **creation(SIGN_ECC)}, [
        fault(RC.TYPE.handle(1), parent=put_ecc(tpm)),
        SURPLUS_DATA,
        *OF_A_TEMPLATE,
        LONG_AUTH,
    ]


def create_storage_key(tpm: Client) -> Found:
    """12.1, of a Storage Parent"""
    return {"parent": primary(tpm), **creation(STORAGE_ECC)}, [
        fault(RC.SCHEME.parameter(2), in_public=parametrized(scheme=TPMT_ECC_SCHEME(A.ECDH, SHA256))),
        fault(RC.KDF.parameter(2), in_public=parametrized(kdf=KDF2)),
        fault(RC.HASH.parameter(2), in_public=changed(name_alg=A.SHA384)),
        fault(RC.SYMMETRIC.parameter(2), in_public=parametrized(symmetric=replace(AES, key_bits=256))),
        LONG_AUTH_384,
    ]


def create_loaded(tpm: Client) -> Found:
    """12.9"""
    given = creation(SIGN_ECC)
    good = {"parent": primary(tpm), "in_sensitive": given["in_sensitive"], "in_public": given["in_public"]}
    return good, [
        fault(RC.TYPE.handle(1), parent=put_ecc(tpm)),
        LONG_AUTH,
        SURPLUS_DATA,
        *OF_A_TEMPLATE,
    ]


def send_create_loaded(tpm: Client, arguments: Arguments) -> int:
    """With the template as octets; the object is flushed."""
    reply = tpm.create_loaded(**arguments | {"in_public": marshal(arguments["in_public"])})
    if reply.rc == RC.SUCCESS:
        tpm.flush_context(flush_handle=handle_of(reply))
    return int(reply.rc)


def load(tpm: Client) -> Found:
    """12.2, under a parent whose seed the caller knows"""
    parent = KnownParent(tpm)
    public, octets = sealed_data()
    sensitive = TPMT_SENSITIVE(A.KEYEDHASH, b"", bytes(32), b"data")
    assert octets[2:] == marshal(sensitive)
    return {
        "parent": parent.handle,
        "known": parent,
        "sensitive": sensitive,
        "in_public": public,
        "seal": True,
        "flip": False,
        "inside": b"",
    }, [
        fault(RC.SIZE.parameter(1), seal=False),
        fault(RC.TYPE.handle(1), parent=put_ecc(tpm)),
        fault(RC.INTEGRITY.parameter(1), flip=True),
        fault(RC.INSUFFICIENT.parameter(1), inside=b"\0"),
        fault(RC.SENSITIVE, inside=b"\0\0"),
        fault(RC.KEY_SIZE.parameter(1), sensitive=changed(seed_value=bytes(33))),
        fault(RC.SIZE.parameter(2), in_public=changed(auth_policy=bytes(31))),
        fault(RC.ATTRIBUTES.parameter(2), in_public=marked(fixedTPM=True)),
        fault(RC.ATTRIBUTES.parameter(2), in_public=marked(restricted=True)),
        fault(RC.SIZE.parameter(1), sensitive=changed(auth_value=bytes(33))),
        fault(RC.BINDING, sensitive=changed(sensitive=b"other")),
    ]


def send_load(tpm: Client, arguments: Arguments) -> int:
    """Seal the sensitive area, or what is to be inside, as the parent does."""
    known, public = arguments["known"], arguments["in_public"]
    area = marshal(arguments["sensitive"])
    inside = arguments["inside"] or len(area).to_bytes(2, "big") + area
    private = b""
    if arguments["seal"]:
        private = sealed_outer(known.item, name_of(public), known.seed, inside, bytes(16))
        private = flipped(private, -1) if arguments["flip"] else private
    reply = tpm.load(arguments["parent"], in_private=private, in_public=public)
    if reply.rc == RC.SUCCESS:
        tpm.flush_context(flush_handle=reply.object_handle)
    return int(reply.rc)


def load_external(tpm: Client) -> Found:
    """12.3"""
    tpm.tpm.hierarchies[TPM_RH.ENDORSEMENT].enabled = False
    public, sensitive = ecc()
    other = structure_of(ecc_private(label=b"other").public)
    return {"in_private": sensitive, "in_public": public, "hierarchy": NULL}, [
        fault(RC.HIERARCHY.parameter(3), hierarchy=TPM_RH.ENDORSEMENT),
        fault(RC.HIERARCHY.parameter(3), hierarchy=OWNER),
        fault(RC.ATTRIBUTES.parameter(2), in_public=marked(fixedParent=True)),
        fault(RC.KEY_SIZE.parameter(1), in_private=changed(seed_value=bytes(33))),
        fault(RC.SIZE.parameter(2), in_public=changed(auth_policy=bytes(31))),
        fault(RC.ATTRIBUTES.parameter(2), in_public=marked(sign=False)),
        fault(RC.SCHEME.parameter(2), in_public=parametrized(scheme=TPMT_ECC_SCHEME(A.ECDH, SHA256))),
        fault(RC.SYMMETRIC.parameter(2), in_public=parametrized(symmetric=AES)),
        fault(RC.KDF.parameter(2), in_public=parametrized(kdf=KDF2)),
        fault(RC.SIZE.parameter(1), in_private=changed(auth_value=bytes(33))),
        fault(RC.KEY_SIZE, in_private=changed(sensitive=bytes(32))),
        fault(RC.BINDING, in_public=changed(unique=other)),
    ]


def send_load_external(tpm: Client, arguments: Arguments) -> int:
    """Load, and flush what was loaded."""
    reply = tpm.load_external(**arguments)
    if reply.rc == RC.SUCCESS:
        tpm.flush_context(flush_handle=reply.object_handle)
    return int(reply.rc)


def activate_credential(tpm: Client) -> Found:
    """12.5"""
    key, activated = primary(tpm), put_ecc(tpm)
    name = tpm.read_public(activated).name
    made_for_it = tpm.make_credential(key, credential=b"secret", object_name=name)
    return {
        "activated": activated,
        "key": key,
        "credential_blob": made_for_it.credential_blob,
        "secret": made_for_it.secret,
    }, [
        fault(RC.TYPE.handle(2), key=put_ecc(tpm, "decrypt")),
        fault(RC.INSUFFICIENT.parameter(2), secret=UNSIZED_POINT),
        fault(RC.INTEGRITY.parameter(1), credential_blob=Change(lambda blob: flipped(blob, -1))),
    ]


def make_credential(tpm: Client) -> Found:
    """12.6"""
    return {"key": primary(tpm), "credential": b"secret", "object_name": b"name"}, [
        fault(RC.TYPE.handle(1), key=put_ecc(tpm, "decrypt")),
        fault(RC.SIZE.parameter(1), credential=bytes(33)),
    ]


def object_change_auth(tpm: Client) -> Found:
    """12.8"""
    item = made(tpm).handle
    parent = min(tpm.tpm.volatile.objects)
    return {"item": item, "parent": parent, "new_auth": b"new", "auths": [b"pw"]}, [
        fault(RC.SIZE.parameter(1), new_auth=b"x" * 33),
        fault(RC.TYPE.handle(2), parent=primary(tpm, hierarchy=TPM_RH.ENDORSEMENT)),
    ]


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
    Checks("start_auth_session", start_auth_session, send_start_auth_session),
    Checks("create", create),
    Checks("create", create_storage_key),
    Checks("create_loaded", create_loaded, send_create_loaded),
    Checks("load", load, send_load),
    Checks("load_external", load_external, send_load_external),
    Checks("activate_credential", activate_credential),
    Checks("make_credential", make_credential),
    Checks("object_change_auth", object_change_auth),
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
