"""Indices, their uses and their locks; PCR."""

from typing import Any

from tests.differential.moves.move import move
from tests.differential.openings import SIZES
from tests.differential.pair import Request
from tests.differential.stream import Stream
from vtpm.spec.attributes import TPMA_NV
from vtpm.spec.constants import TPM_ALG, TPM_NT, TPM_RH
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_HA

A = TPM_ALG
OFTEN = ("OWNERWRITE", "AUTHWRITE", "OWNERREAD", "AUTHREAD")
SELDOM = ("PPWRITE", "POLICYWRITE", "PPREAD", "POLICYREAD", "NO_DA", "ORDERLY", "CLEAR_STCLEAR")
LOCKS = ("WRITEDEFINE", "WRITEALL", "WRITE_STCLEAR", "READ_STCLEAR", "GLOBALLOCK")
RARE = ("POLICY_DELETE", "WRITTEN", "WRITELOCKED", "READLOCKED")
INDICES = (0x01000001, 0x01000002, 0x01800003)
DATA = (b"", b"x", b"12345678", bytes(20), bytes(100), (7).to_bytes(4, "big") * 2)


@move(6)
def define(stream: Stream) -> Request:
    """A new Index, of any kind."""
    chance = stream.dice.chance
    chosen = {name: chance(0.7) for name in OFTEN}
    chosen |= {name: chance(0.25) for name in SELDOM + LOCKS} | {name: chance(0.03) for name in RARE}
    # A lock for good is durable at once here; libtpms writes what is orderly with the next Shutdown.
    chosen["WRITEDEFINE"] &= not chosen["ORDERLY"]
    if not stream.pair.judge.shares_seeds:
        # Only a new TPM could be rid of it, and a peer cannot be made one.
        chosen["POLICY_DELETE"] = False
    creator = stream.pick([TPM_RH.OWNER, TPM_RH.OWNER, TPM_RH.PLATFORM])
    by_platform = (creator == TPM_RH.PLATFORM) ^ chance(0.05)
    kind = stream.pick([TPM_NT.ORDINARY] * 3 + list(TPM_NT))
    attributes = TPMA_NV(TPM_NT=kind, PLATFORMCREATE=by_platform, **chosen)
    alg = stream.pick(SIZES)
    sizes = [8, 8, 8, 20, 32, 48, 64, 0, 7, 100]
    size = stream.pick(sizes if attributes.ORDERLY else [*sizes, 2048, 2049])
    known = stream.pick(stream.recipes).digest(alg)
    policies = [b"", b"", known, known, bytes(SIZES[alg]), bytes(7), *stream.digests[-3:]]
    public = TPMS_NV_PUBLIC(stream.pick(INDICES), alg, attributes, stream.pick(policies), size)
    return stream.request("nv_define_space", creator, auth=stream.pick(stream.auths), public_info=public)


@move(2)
def undefine(stream: Stream) -> Request:
    """Delete an Index."""
    if stream.dice.chance(0.1):
        return stream.request("nv_undefine_space_special", stream.index(), TPM_RH.PLATFORM)
    return stream.request("nv_undefine_space", stream.pick([TPM_RH.OWNER, TPM_RH.PLATFORM]), stream.index())


def authority(stream: Stream, index: int) -> int:
    """Who reads or writes an Index."""
    return int(stream.pick([TPM_RH.OWNER, TPM_RH.PLATFORM, index, index, index, stream.index()]))


@move(12)
def access(stream: Stream) -> Request:
    """Read an Index or write it, by anybody."""
    index = stream.index()
    offset = stream.pick([0, 0, 0, 1, 4, 8, 100])
    verb, given = stream.pick(
        [
            ("nv_write", {"data": stream.pick(DATA), "offset": offset}),
            ("nv_write", {"data": bytes(range(8)), "offset": 0}),
            ("nv_read", {"size": stream.pick([0, 1, 8, 20, 1024, 1025]), "offset": offset}),
            ("nv_read", {"size": 8, "offset": 0}),
            ("nv_increment", {}),
            ("nv_extend", {"data": stream.pick(DATA)}),
            ("nv_set_bits", {"bits": stream.dice.random.getrandbits(64)}),
        ]
    )
    return stream.request(verb, authority(stream, index), index, **given)


@move(4)
def read_index_public(stream: Stream) -> Request:
    """Part 3, 31.6."""
    return stream.request("nv_read_public", stream.index())


@move(2)
def lock(stream: Stream) -> Request:
    """A lock of an Index, or of all."""
    index = stream.index()
    if stream.dice.chance(0.2):
        return stream.request("nv_global_write_lock", stream.pick([TPM_RH.OWNER, TPM_RH.PLATFORM]))
    return stream.request(stream.pick(["nv_write_lock", "nv_read_lock"]), authority(stream, index), index)


@move(1)
def change_index_auth(stream: Stream) -> Request:
    """A new authValue of an Index, in a policy session."""
    return stream.request("nv_change_auth", stream.index(), new_auth=stream.pick(stream.auths))


def selection(stream: Stream) -> tuple[TPMS_PCR_SELECTION, ...]:
    """A few PCR."""
    banks = stream.dice.random.choices(list(SIZES), k=stream.pick([0, 1, 1, 1, 2, 3]))
    masks = [b"\0\0\x01", b"\x01\0\0", b"\x01\0\x83", b"\xff" * 3, b"\0\0\0", b"\x0f\0\x01"]
    return tuple(TPMS_PCR_SELECTION(alg, stream.pick(masks)) for alg in banks)


@move(6)
def pcr(stream: Stream) -> Request:
    """Extend, reset or read a PCR."""
    number = stream.pick([0, 1, 10, 16, 16, 16, 17, 20, 21, 22, 23, 23])
    digests = tuple(TPMT_HA(alg, bytes(SIZES[alg])) for alg in stream.dice.random.sample(list(SIZES), 2))
    verb, given = stream.pick(
        [
            ("pcr_reset", {}),
            ("pcr_extend", {"digests": digests}),
            ("pcr_event", {"event_data": stream.pick(DATA)}),
            ("pcr_read", {"pcr_selection_in": selection(stream)}),
            ("pcr_read", {"pcr_selection_in": selection(stream)}),
        ]
    )
    request = stream.request(verb, *([] if verb == "pcr_read" else [number]), **given)
    request.locality = stream.pick([0, 0, 0, 0, 1, 2, 3, 4])
    return request


@move(1)
def pcr_authorization(stream: Stream) -> Request:
    """Authorizations and policies of PCR, and their banks."""
    pick = stream.pick
    if stream.dice.chance(0.3):
        masks: Any = [b"\xff" * 3, b"\xff" * 3, b"\0\0\0"]
        chosen = tuple(TPMS_PCR_SELECTION(alg, pick(masks)) for alg in SIZES if stream.dice.chance(0.5))
        return stream.request("pcr_allocate", TPM_RH.PLATFORM, pcr_allocation=chosen)
    if stream.dice.chance(0.5):
        return stream.request("pcr_set_auth_value", pick([16, 20, 21, 22, 0]), auth=pick(stream.auths))
    alg = pick([A.NULL, A.SHA256, A.SHA1])
    policy = pick([b"", bytes(SIZES.get(alg, 0)), bytes(3)])
    given = {"auth_policy": policy, "hash_alg": alg, "pcr_num": pick([16, 20, 21, 22, 0])}
    return stream.request("pcr_set_auth_policy", TPM_RH.PLATFORM, **given)
