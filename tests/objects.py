"""Templates of objects, and the parameters that make objects of them."""

from typing import Any

from tests.scenarios import Caller, Client, Reply
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE
from vtpm.spec.constants import TPM_RH
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.state.object import Object
from vtpm.wire.structure import unmarshal

STORAGE_RSA = "0001000b00030472000000060080004300100800000000000000"
STORAGE_ECC = "0023000b000304720000000600800043001000030010 0000 0000"
SIGN_RSA = "0001000b0004007200000010 0014000b 0800 00000000 0000"
SIGN_ECC = "0023000b0004007200000010 0018000b 0003 0010 0000 0000"
SEALED = "0008000b00000052 0000 0010 0000"


def template(octets: str) -> TPMT_PUBLIC:
    """A public area from its octets."""
    public: TPMT_PUBLIC = unmarshal(TPMT_PUBLIC, bytes.fromhex(octets))
    return public


def creation(public: str | TPMT_PUBLIC, data: bytes = b"", auth: bytes = b"") -> dict[str, Any]:
    """The parameters of Create and CreatePrimary."""
    return {
        "in_sensitive": TPMS_SENSITIVE_CREATE(user_auth=auth, data=data),
        "in_public": template(public) if isinstance(public, str) else public,
        "outside_info": b"",
        "creation_pcr": (),
    }


def handle_of(reply: Reply) -> int:
    """The handle that a successful response begins with."""
    assert reply.rc == 0, hex(reply.rc)
    return int.from_bytes(reply.octets[10:14], "big")


def primary(tpm: Caller, public: str = STORAGE_ECC, hierarchy: int = TPM_RH.OWNER, **given: bytes) -> int:
    """A primary object, a storage key unless another template is given; its handle."""
    return handle_of(tpm.create_primary(hierarchy, **creation(public, **given)))


def created(tpm: Caller, parent: int, public: str | TPMT_PUBLIC, **given: bytes) -> dict[str, Any]:
    """What Load takes of a new object."""
    reply = tpm.create(parent, **creation(public, **given))
    return {"in_private": reply.out_private, "in_public": reply.out_public}


def sensitive_of(tpm: Client, handle: int) -> TPMT_SENSITIVE:
    """The sensitive area of a loaded object."""
    item = tpm.tpm.volatile.objects[handle]
    assert isinstance(item, Object)
    assert item.sensitive is not None
    return item.sensitive
