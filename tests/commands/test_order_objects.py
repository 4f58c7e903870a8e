"""Part 3, 5.1, clauses 11 and 12: of several faults, the one that the reference code would find first."""

from dataclasses import replace
from typing import Any

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
from tests.commands.test_duplication import made
from tests.commands.test_ephemeral import structure_of
from tests.commands.test_object import DERIVED, flipped
from tests.commands.test_object_loading import ecc
from tests.commands.test_rare_cases import KnownParent, sealed_data
from tests.keys import ecc_private, put_ecc, put_hmac, put_rsa
from tests.objects import SIGN_ECC, SIGN_RSA, STORAGE_ECC, creation, handle_of, primary, template
from tests.scenarios import Client
from vtpm.commands.derivation import DERIVED_PUBLIC
from vtpm.commands.protection import sealed_outer
from vtpm.spec.algorithms import (
    TPMS_DERIVE,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_SYM_DEF,
    TPMT_SYM_DEF_OBJECT,
)
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE
from vtpm.spec.objects import TPMT_SENSITIVE
from vtpm.state.object import name_of
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import marshal

A, RC = TPM_ALG, TPM_RC
OWNER, NULL = TPM_RH.OWNER, TPM_RH.NULL

SHA256 = TPMS_SCHEME_HASH(A.SHA256)
KDF2 = TPMT_KDF_SCHEME(A.KDF2, SHA256)
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


def create_derived(tpm: Client) -> Found:
    """12.9, under a derivation parent"""
    public = template(SIGN_ECC)
    attributes = public.object_attributes.but(sensitiveDataOrigin=False)
    derive: Any = TPMS_DERIVE(label=b"label", context=b"context")
    return {
        "parent": primary(tpm, DERIVED["parent_template"]),
        "in_sensitive": TPMS_SENSITIVE_CREATE(user_auth=b"", data=b""),
        "in_public": replace(public, object_attributes=attributes, unique=derive),
    }, [
        fault(RC.TYPE.handle(1), parent=put_ecc(tpm)),
        LONG_AUTH,
        fault(RC.TYPE.parameter(2), in_public=replace(template(SIGN_RSA), unique=derive)),
        fault(RC.ATTRIBUTES, in_public=marked(sensitiveDataOrigin=True)),
        *OF_A_TEMPLATE,
        fault(RC.INSUFFICIENT, in_sensitive=changed(data=b"\0")),
    ]


def send_create_derived(tpm: Client, arguments: Arguments) -> int:
    """With a label and a context in place of the unique."""
    octets = marshal(arguments["in_public"], DERIVED_PUBLIC)
    reply = tpm.create_loaded(**arguments | {"in_public": octets})
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


CHECKS = [
    Checks("start_auth_session", start_auth_session, send_start_auth_session),
    Checks("create", create),
    Checks("create", create_storage_key),
    Checks("create_loaded", create_loaded, send_create_loaded),
    Checks("create_loaded", create_derived, send_create_derived),
    Checks("load", load, send_load),
    Checks("load_external", load_external, send_load_external),
    Checks("activate_credential", activate_credential),
    Checks("make_credential", make_credential),
    Checks("object_change_auth", object_change_auth),
]


@pytest.mark.parametrize("checks", CHECKS, ids=lambda checks: checks.faults.__name__)
def test_order(tpm: Client, checks: Checks) -> None:
    """Each fault alone has its code; of two, the first one in the order of the checks is reported."""
    assert misplaced(tpm, checks) == []
