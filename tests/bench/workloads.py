"""What is timed: each workload prepares a TPM and gives the octets of the command to repeat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.channel import Channel
from tests.objects import (
    SEALED,
    SIGN_ECC,
    SIGN_RSA,
    STORAGE_ECC,
    STORAGE_RSA,
    created,
    creation,
    handle_of,
    primary,
)
from tests.scenarios import BY_HANDLER, Caller, Password, parameters_of, request_of
from vtpm.spec.algorithms import TPMT_SIG_SCHEME
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_HT, TPM_RH, TPM_ST, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMT_HA, TPMT_TK_HASHCHECK

OWNER = TPM_RH.OWNER
INDEX = 0x01800001
ORDINARY_INDEX = TPMA_NV(OWNERWRITE=True, OWNERREAD=True, AUTHREAD=True, AUTHWRITE=True, NO_DA=True)

STORAGE_RSA_UNIQUE = STORAGE_RSA.removesuffix("0000") + "0002ffff"


class Remote(Caller):
    """The TPM of a channel."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are, at locality 0."""
        assert locality == 0
        return self.channel.send(request)

    def name_of(self, handle: int) -> bytes:
        """Passwords need no Names."""
        return handle.to_bytes(4, "big")


def request(name: str, *handles: int, **given: Any) -> bytes:
    """The octets of a command, with empty passwords."""
    command = BY_HANDLER[name]
    parameters = parameters_of(command, given)
    password = Password().octets(command, [], parameters)
    return request_of(command, handles, password * command.authorizations, parameters)


def loaded(tpm: Remote, public: str, data: bytes = b"") -> int:
    """A key or sealed data under a fresh storage key; its handle."""
    parent = primary(tpm)
    key = handle_of(tpm.load(parent, **created(tpm, parent, public, data=data)))
    flush(tpm, parent)
    return key


def flush(tpm: Remote, handle: int) -> None:
    """TPM2_FlushContext."""
    header = TPM_ST.NO_SESSIONS.to_bytes(2, "big") + (14).to_bytes(4, "big")
    tpm.send(header + TPM_CC.FlushContext.to_bytes(4, "big") + handle.to_bytes(4, "big"))


def flush_all(tpm: Remote) -> None:
    """Flush every transient object, so that each workload finds all slots free."""
    first = TPM_HT.TRANSIENT << 24
    reply = tpm.get_capability(capability=TPM_CAP.HANDLES, property=first, property_count=100)
    for handle in reply.capability_data.data:
        flush(tpm, handle)


def flush_new(tpm: Remote, response: bytes) -> None:
    """Flush the object whose handle the response begins with."""
    flush(tpm, int.from_bytes(response[10:14], "big"))


def define(tpm: Caller) -> int:
    """An ordinary Index of 64 octets, written once."""
    public = TPMS_NV_PUBLIC(
        nv_index=INDEX, name_alg=TPM_ALG.SHA256, attributes=ORDINARY_INDEX, auth_policy=b"", data_size=64
    )
    tpm.nv_undefine_space(OWNER, INDEX)
    assert tpm.nv_define_space(OWNER, auth=b"", public_info=public).rc == 0
    assert tpm.nv_write(OWNER, INDEX, data=bytes(64), offset=0).rc == 0
    return INDEX


def signing(public: str) -> Callable[[Remote], bytes]:
    """Sign a digest with a key of this template."""

    def prepare(tpm: Remote) -> bytes:
        no_ticket = TPMT_TK_HASHCHECK(tag=TPM_ST.HASHCHECK, hierarchy=TPM_RH.NULL, digest=b"")
        scheme = TPMT_SIG_SCHEME(scheme=TPM_ALG.NULL, details=None)
        key = loaded(tpm, public)
        return request("sign", key, digest=bytes(range(32)), in_scheme=scheme, validation=no_ticket)

    return prepare


def prepare_load(tpm: Remote) -> bytes:
    """Load an ECC signing key."""
    parent = primary(tpm)
    return request("load", parent, **created(tpm, parent, SIGN_ECC))


def prepare_capability(_: Remote) -> bytes:
    """GetCapability of TPM_PT_FAMILY_INDICATOR."""
    return request("get_capability", capability=TPM_CAP.TPM_PROPERTIES, property=0x100, property_count=1)


def prepare_unseal(tpm: Remote) -> bytes:
    """Unseal 32 octets."""
    return request("unseal", loaded(tpm, SEALED, bytes(range(32))))


def primaries(public: str) -> Callable[[Remote], bytes]:
    """Make a primary key of this template."""
    return lambda _: request("create_primary", OWNER, **creation(public))


def with_another_unique(octets: bytes, number: int) -> bytes:
    """CreatePrimary of a template whose unique nobody has used: nothing can be remembered of its key."""
    tail = 6  # an empty outsideInfo and an empty creationPCR
    return octets[: -tail - 2] + number.to_bytes(2, "big") + octets[-tail:]


def children(public: str) -> Callable[[Remote], bytes]:
    """Make a key of this template under a storage key."""
    return lambda tpm: request("create", primary(tpm), **creation(public))


def prepare_extend(_: Caller) -> bytes:
    """Extend the SHA-256 bank of the debug PCR."""
    return request("pcr_extend", 16, digests=(TPMT_HA(hash_alg=TPM_ALG.SHA256, digest=bytes(range(32))),))


@dataclass(frozen=True)
class Workload:
    """
    A command to repeat: `prepare` makes its octets, `after` undoes what a repetition leaves.

    `vary` makes the octets of a repetition from those and its number, where they must differ.
    """

    name: str
    rounds: int
    prepare: Callable[[Remote], bytes]
    after: Callable[[Remote, bytes], None] | None = None
    vary: Callable[[bytes, int], bytes] | None = None


def with_index(name: str, **given: Any) -> Callable[[Remote], bytes]:
    """A command on a fresh Index."""
    return lambda tpm: request(name, OWNER, define(tpm), **given)


WORKLOADS = [
    Workload("GetRandom, 32 octets", 2000, lambda _: request("get_random", bytes_requested=32)),
    Workload("GetCapability, one property", 2000, prepare_capability),
    Workload("PCR_Extend, one bank", 2000, prepare_extend),
    Workload("NV_Read, 64 octets", 2000, with_index("nv_read", size=64, offset=0)),
    Workload("NV_Write, 64 octets", 300, with_index("nv_write", data=bytes(range(64)), offset=0)),
    Workload("CreatePrimary ECC P-256", 30, primaries(STORAGE_ECC), flush_new),
    Workload("CreatePrimary RSA-2048, again", 10, primaries(STORAGE_RSA), flush_new),
    Workload(
        "CreatePrimary RSA-2048, new",
        20,
        primaries(STORAGE_RSA_UNIQUE),
        flush_new,
        with_another_unique,
    ),
    Workload("Create ECC P-256", 100, children(SIGN_ECC)),
    Workload("Create RSA-2048", 15, children(SIGN_RSA)),
    Workload("Load ECC P-256", 200, prepare_load, flush_new),
    Workload("Sign RSASSA-2048", 100, signing(SIGN_RSA)),
    Workload("Sign ECDSA P-256", 300, signing(SIGN_ECC)),
    Workload("Unseal, 32 octets", 500, prepare_unseal),
]


def start(tpm: Caller) -> None:
    """Startup(CLEAR)."""
    assert tpm.startup(startup_type=TPM_SU.CLEAR).rc == 0
