"""Part 3, 5.1, clauses 28 and 31: of several faults, the one that the reference code would find first."""

from dataclasses import replace

import pytest

from tests.commands.checks import Change, Checks, Found, changed, fault, misplaced
from tests.commands.nv_indices import INDEX, OWNED, define, public_of
from tests.commands.test_context import st_clear_primary
from tests.keys import put_ecc, signing
from tests.objects import SIGN_ECC, creation, handle_of, primary, template
from tests.scenarios import Client
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_NT, TPM_RH
from vtpm.wire.error import TPM_RC

A, RC = TPM_ALG, TPM_RC
OWNER, PLATFORM = TPM_RH.OWNER, TPM_RH.PLATFORM
COUNTER = OWNED.but(TPM_NT=TPM_NT.COUNTER)
LOCKABLE = OWNED.but(READ_STCLEAR=True, WRITE_STCLEAR=True)
PLATFORMS = TPMA_NV(PPREAD=True, PPWRITE=True, PLATFORMCREATE=True)


def with_bits(**bits: bool | int) -> Change:
    """Other attributes of an Index."""
    return Change(lambda public: replace(public, attributes=public.attributes.but(**bits)))


def index(tpm: Client, number: int, attributes: TPMA_NV = OWNED, size: int = 8, data: bytes = b"") -> int:
    """An Index, written if there is data; its handle."""
    handle = INDEX + number
    assert define(tpm, attributes, size, handle=handle) == RC.SUCCESS
    if data:
        tpm.nv_write(OWNER, handle, data=data, offset=0).check()
    return handle


def locked(tpm: Client, number: int, attributes: TPMA_NV = OWNED, size: int = 8) -> int:
    """An Index that is locked for writing and for reading; its handle."""
    handle = index(tpm, number, attributes.but(READ_STCLEAR=True, WRITE_STCLEAR=True), size)
    tpm.nv_write_lock(OWNER, handle).check()
    tpm.nv_read_lock(OWNER, handle).check()
    return handle


def nv_define_space(tpm: Client) -> Found:
    """31.3"""
    tpm.hierarchy_control(PLATFORM, enable=TPM_RH.PLATFORM_NV, state=False).check()
    there = index(tpm, 1)
    return {"auth_handle": OWNER, "auth": b"", "public_info": public_of(COUNTER)}, [
        fault(RC.SIZE.parameter(2), public_info=changed(auth_policy=bytes(31))),
        fault(RC.SIZE.parameter(1), auth=b"x" * 33),
        fault(RC.HIERARCHY.handle(1), auth_handle=PLATFORM),
        fault(RC.ATTRIBUTES.parameter(2), public_info=with_bits(TPM_NT=3)),
        fault(RC.SIZE.parameter(2), public_info=changed(data_size=9)),
        fault(RC.ATTRIBUTES.parameter(2), public_info=with_bits(CLEAR_STCLEAR=True)),
        fault(RC.ATTRIBUTES.parameter(2), public_info=with_bits(WRITTEN=True)),
        fault(RC.ATTRIBUTES.parameter(2), public_info=with_bits(READLOCKED=True)),
        fault(RC.ATTRIBUTES.parameter(2), public_info=with_bits(OWNERREAD=False)),
        fault(RC.ATTRIBUTES.parameter(2), public_info=with_bits(OWNERWRITE=False)),
        fault(RC.ATTRIBUTES.handle(1), public_info=with_bits(PLATFORMCREATE=True)),
        fault(RC.ATTRIBUTES.parameter(2), public_info=with_bits(POLICY_DELETE=True)),
        fault(RC.NV_DEFINED, public_info=changed(nv_index=there)),
    ]


def nv_define_space_of_ordinary_data(tpm: Client) -> Found:
    """31.3"""
    there = index(tpm, 1)
    good = {"auth_handle": OWNER, "auth": b"", "public_info": public_of(OWNED, 1025)}
    return good, [
        fault(RC.ATTRIBUTES.parameter(2), public_info=with_bits(CLEAR_STCLEAR=True, WRITEDEFINE=True)),
        fault(RC.ATTRIBUTES.handle(1), public_info=with_bits(PLATFORMCREATE=True)),
        fault(RC.SIZE.parameter(2), public_info=with_bits(WRITEALL=True)),
        fault(RC.NV_DEFINED, public_info=changed(nv_index=there)),
    ]


def nv_undefine_space(tpm: Client) -> Found:
    """31.4"""
    return {"auth_handle": OWNER, "nv_index": index(tpm, 1)}, [
        fault(RC.ATTRIBUTES.handle(2), nv_index=index(tpm, 2, PLATFORMS.but(POLICY_DELETE=True))),
        fault(RC.NV_AUTHORIZATION, nv_index=index(tpm, 3, PLATFORMS)),
    ]


def nv_write(tpm: Client) -> Found:
    """31.7"""
    good = {"auth_handle": OWNER, "nv_index": index(tpm, 1, OWNED.but(WRITEALL=True))}
    return good | {"data": bytes(8), "offset": 0}, [
        fault(RC.NV_LOCKED, nv_index=locked(tpm, 2, COUNTER)),
        fault(RC.NV_AUTHORIZATION, auth_handle=PLATFORM),
        fault(RC.ATTRIBUTES, nv_index=index(tpm, 3, COUNTER)),
        fault(RC.VALUE.parameter(2), offset=9),
        fault(RC.NV_RANGE, data=bytes(9)),
        fault(RC.NV_RANGE, data=bytes(7)),
    ]


def nv_increment(tpm: Client) -> Found:
    """31.8"""
    return {"auth_handle": OWNER, "nv_index": index(tpm, 1, COUNTER)}, [
        fault(RC.NV_LOCKED, nv_index=locked(tpm, 2)),
        fault(RC.NV_AUTHORIZATION, auth_handle=PLATFORM),
        fault(RC.ATTRIBUTES.handle(2), nv_index=index(tpm, 3)),
    ]


def nv_extend(tpm: Client) -> Found:
    """31.9"""
    good, faults = nv_increment(tpm)
    good["nv_index"] = index(tpm, 4, OWNED.but(TPM_NT=TPM_NT.EXTEND), 32)
    return good | {"data": b"data"}, faults


def nv_set_bits(tpm: Client) -> Found:
    """31.10"""
    good, faults = nv_increment(tpm)
    good["nv_index"] = index(tpm, 4, OWNED.but(TPM_NT=TPM_NT.BITS))
    return good | {"bits": 1}, faults


def nv_write_lock(tpm: Client) -> Found:
    """31.11"""
    return {"auth_handle": OWNER, "nv_index": index(tpm, 1, LOCKABLE)}, [
        fault(RC.NV_AUTHORIZATION, auth_handle=PLATFORM),
        fault(RC.ATTRIBUTES.handle(2), nv_index=index(tpm, 2)),
    ]


nv_read_lock = nv_write_lock
"""31.14"""


def nv_read(tpm: Client) -> Found:
    """31.13"""
    good = {"auth_handle": OWNER, "nv_index": index(tpm, 1, size=2048, data=b"data")}
    return good | {"size": 8, "offset": 0}, [
        fault(RC.NV_LOCKED, nv_index=locked(tpm, 2)),
        fault(RC.NV_AUTHORIZATION, auth_handle=PLATFORM),
        fault(RC.NV_UNINITIALIZED, nv_index=index(tpm, 3)),
        fault(RC.VALUE.parameter(1), size=1025),
        fault(RC.VALUE.parameter(2), offset=2049),
        fault(RC.NV_RANGE, offset=2041),
    ]


def nv_certify(tpm: Client) -> Found:
    """31.16"""
    good = {"sign_key": put_ecc(tpm), "auth_handle": OWNER, "qualifying_data": b""}
    good |= {"nv_index": index(tpm, 1, size=2048, data=b"data"), "in_scheme": signing(A.ECDSA)}
    return good | {"size": 8, "offset": 0}, [
        fault(RC.NV_LOCKED, nv_index=locked(tpm, 2)),
        fault(RC.KEY.handle(1), sign_key=put_ecc(tpm, "decrypt")),
        fault(RC.SCHEME.parameter(2), in_scheme=signing(A.RSASSA)),
        fault(RC.NV_AUTHORIZATION, auth_handle=PLATFORM),
        fault(RC.NV_UNINITIALIZED, nv_index=index(tpm, 3)),
        fault(RC.NV_RANGE, offset=2048),
        fault(RC.VALUE.parameter(3), size=1025),
    ]


def evict_control(tpm: Client) -> Found:
    """28.5: a transient object"""
    public = template(SIGN_ECC)
    attributes = public.object_attributes.but(stClear=True)
    both = creation(replace(public, object_attributes=attributes))
    item = primary(tpm, SIGN_ECC)
    tpm.evict_control(OWNER, item, persistent_handle=0x81000002).check()
    return {"auth": OWNER, "item": item, "persistent_handle": 0x81000001}, [
        fault(RC.ATTRIBUTES.handle(2), item=handle_of(tpm.create_primary(PLATFORM, **both))),
        fault(RC.ATTRIBUTES.handle(2), item=st_clear_primary(tpm)),
        fault(RC.HIERARCHY.handle(2), item=primary(tpm, SIGN_ECC, PLATFORM)),
        fault(RC.RANGE.parameter(1), persistent_handle=0x81800001),
        fault(RC.NV_DEFINED, persistent_handle=0x81000002),
    ]


def evict_control_of_persistent(tpm: Client) -> Found:
    """28.5: a persistent object"""
    item, platform = primary(tpm, SIGN_ECC), primary(tpm, SIGN_ECC, PLATFORM)
    tpm.evict_control(OWNER, item, persistent_handle=0x81000002).check()
    tpm.evict_control(PLATFORM, platform, persistent_handle=0x81800001).check()
    return {"auth": OWNER, "item": 0x81000002, "persistent_handle": 0x81000002}, [
        fault(RC.RANGE.handle(2), item=0x81800001),
        fault(RC.HANDLE.handle(2), persistent_handle=0x81000003),
    ]


def context_load(tpm: Client) -> Found:
    """28.3"""
    context = tpm.context_save(primary(tpm)).context
    blob = context.context_blob
    disabled = tpm.context_save(primary(tpm, SIGN_ECC, TPM_RH.ENDORSEMENT)).context
    tpm.hierarchy_control(PLATFORM, enable=TPM_RH.ENDORSEMENT, state=False).check()
    return {"context": context}, [
        fault(RC.SIZE.parameter(1), context=replace(disabled, context_blob=b"\0\x20" + blob[2:])),
        fault(RC.SIZE.parameter(1), context=replace(disabled, context_blob=blob[:73])),
        fault(RC.INTEGRITY.parameter(1), context=replace(disabled, context_blob=blob[:-1])),
        fault(RC.HIERARCHY.parameter(1), context=disabled),
    ]


CHECKS = [
    Checks("nv_define_space", nv_define_space),
    Checks("nv_define_space", nv_define_space_of_ordinary_data),
    Checks("nv_undefine_space", nv_undefine_space),
    Checks("nv_write", nv_write),
    Checks("nv_increment", nv_increment),
    Checks("nv_extend", nv_extend),
    Checks("nv_set_bits", nv_set_bits),
    Checks("nv_write_lock", nv_write_lock),
    Checks("nv_read_lock", nv_read_lock),
    Checks("nv_read", nv_read),
    Checks("nv_certify", nv_certify),
    Checks("evict_control", evict_control),
    Checks("evict_control", evict_control_of_persistent),
    Checks("context_load", context_load),
]


@pytest.mark.parametrize("checks", CHECKS, ids=lambda checks: f"{checks.command}-{checks.faults.__name__}")
def test_order(tpm: Client, checks: Checks) -> None:
    """Each fault alone has its code; of two, the first one in the order of the checks is reported."""
    assert misplaced(tpm, checks) == []
