"""The profile of a peer, read from what its GetCapability and TestParms answer."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.keys import NO_SYMMETRIC
from vtpm.commands.algorithm_attributes import algorithms_of
from vtpm.commands.properties import FIXED, property_of
from vtpm.engine.tpm import Tpm
from vtpm.spec.algorithms import TPMS_SYMCIPHER_PARMS, TPMT_RSA_SCHEME, TPMT_SYM_DEF_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_ECC_CURVE, TPM_PT, TPM_PT_PCR
from vtpm.spec.interface import SYMMETRIC_KEY_BITS
from vtpm.spec.limits import RSA_KEY_BITS
from vtpm.spec.objects import TPMS_RSA_PARMS, TPMT_PUBLIC_PARMS
from vtpm.state.pcr import IMPLEMENTED_PCR, LAYOUTS, REFERENCE, PcrAttributes, PcrLayout
from vtpm.state.profile import ALL_ALGORITHMS, ALL_COMMANDS, DEFAULT, Profile
from vtpm.state.profile_check import LIMITS
from vtpm.testing.entropy import seeded
from vtpm.wire.error import TPM_RC

if TYPE_CHECKING:
    from tests.differential.peer import Peer

EXTEND, RESET = (
    tuple(TPM_PT_PCR[f"{way}_L{locality}"] for locality in range(5)) for way in ("EXTEND", "RESET")
)

OF_PROPERTIES = {
    "loaded_sessions": TPM_PT.HR_LOADED_MIN,
    "transient_slots": TPM_PT.HR_TRANSIENT_MIN,
    "active_sessions": TPM_PT.ACTIVE_SESSIONS_MAX,
    "context_gap": TPM_PT.CONTEXT_GAP_MAX,
    "nv_index_max": TPM_PT.NV_INDEX_MAX,
    "clock_update": TPM_PT.CLOCK_UPDATE,
    "orderly_count": TPM_PT.ORDERLY_COUNT,
    "max_command_size": TPM_PT.MAX_COMMAND_SIZE,
    "max_response_size": TPM_PT.MAX_RESPONSE_SIZE,
    "commit_slots": TPM_PT.SPLIT_MAX,
    "revision": TPM_PT.REVISION,
}
"""The limits of a profile that a property tells."""


def profile_of(peer: "Peer") -> Profile:
    """What this TPM has to be, to be compared with the peer; nothing that either lacks is used."""
    attributes = {entry.alg: int(entry.alg_properties) for entry in peer.capabilities(TPM_CAP.ALGS, 0)}
    values = {entry.property: entry.value for entry in peer.capabilities(TPM_CAP.TPM_PROPERTIES, 0x100)}
    banks = tuple(TPM_ALG(bank.hash) for bank in peer.banks)
    codes = {entry.commandIndex for entry in peer.capabilities(TPM_CAP.COMMANDS, 0)}
    limits: dict[str, Any] = {
        name: nearest(LIMITS[name], values[tag]) for name, tag in OF_PROPERTIES.items() if tag in values
    }
    profile = replace(
        DEFAULT,
        name="peer",
        algorithms=frozenset(alg for alg in ALL_ALGORITHMS if alg in attributes),
        curves=frozenset(
            TPM_ECC_CURVE(curve) for curve in peer.capabilities(TPM_CAP.ECC_CURVES, 0) if curve in CURVES
        ),
        commands=frozenset(code for code in ALL_COMMANDS if code in codes),
        rsa_key_bits=tuple(bits for bits in RSA_KEY_BITS if has_rsa(peer, bits)),
        aes_key_bits=ciphers(peer, TPM_ALG.AES),
        camellia_key_bits=ciphers(peer, TPM_ALG.CAMELLIA),
        tdes_key_bits=ciphers(peer, TPM_ALG.TDES),
        pcr_banks=banks,
        active_banks=tuple(TPM_ALG(bank.hash) for bank in peer.banks if any(bank.pcr_select)),
        pcr_layout=layout_of(peer),
        **limits,
    )
    own = Tpm.manufacture(seeded(b"profile"), profile)
    known = {tag: property_of(own, tag) for tag in FIXED}
    implemented = algorithms_of(profile)
    return replace(
        profile,
        reported=tuple(
            (TPM_PT(tag), values[tag]) for tag in sorted(known) if values.get(tag, known[tag]) != known[tag]
        ),
        algorithm_attributes=tuple(
            (TPM_ALG(alg), attributes[alg]) for alg in implemented if int(implemented[alg]) != attributes[alg]
        ),
    )


CURVES = frozenset(DEFAULT.curves)


def nearest(allowed: Collection[int], value: int) -> int:
    """A value that a profile may have, no larger than the peer's if there is one."""
    return max((one for one in allowed if one <= value), default=min(allowed))


def has_rsa(peer: "Peer", bits: int) -> bool:
    """Has the peer RSA keys of this size?"""
    form = TPMT_PUBLIC_PARMS(
        TPM_ALG.RSA, TPMS_RSA_PARMS(NO_SYMMETRIC, TPMT_RSA_SCHEME(TPM_ALG.NULL, None), bits, 0)
    )
    return peer.test_parms(parameters=form).rc == TPM_RC.SUCCESS


def ciphers(peer: "Peer", alg: TPM_ALG) -> tuple[int, ...]:
    """The key sizes of a block cipher."""

    def sizes() -> Iterator[int]:
        for bits in SYMMETRIC_KEY_BITS[alg]:
            cipher = TPMT_SYM_DEF_OBJECT(alg, bits, TPM_ALG.CFB)
            form = TPMT_PUBLIC_PARMS(TPM_ALG.SYMCIPHER, TPMS_SYMCIPHER_PARMS(cipher))
            if peer.test_parms(parameters=form).rc == TPM_RC.SUCCESS:
                yield bits

    return tuple(sizes())


def layout_of(peer: "Peer") -> str:
    """Make a layout of the attributes of the peer's PCR; no property tells which of them start as ones."""
    reply = peer.get_capability(capability=TPM_CAP.PCR_PROPERTIES, property=0, property_count=0xFFFF).check()
    selects = {entry.tag: int.from_bytes(entry.pcr_select, "little") for entry in reply.capability_data.data}

    def has(number: int, tag: TPM_PT_PCR) -> bool:
        return bool(selects.get(tag, 0) >> number & 1)

    def localities(number: int, tags: tuple[TPM_PT_PCR, ...]) -> int:
        return sum(has(number, tag) << locality for locality, tag in enumerate(tags))

    attributes = tuple(
        PcrAttributes(
            saved=has(number, TPM_PT_PCR.SAVE),
            extend_localities=localities(number, EXTEND),
            reset_localities=localities(number, RESET),
            increments=not has(number, TPM_PT_PCR.NO_INCREMENT),
            drtm_reset=has(number, TPM_PT_PCR.DRTM_RESET),
            starts_as_ones=REFERENCE.attributes[number].starts_as_ones,
        )
        for number in range(IMPLEMENTED_PCR)
    )
    group = [number for number in range(IMPLEMENTED_PCR) if has(number, TPM_PT_PCR.AUTH)]
    LAYOUTS["peer"] = PcrLayout(attributes, range(group[0], group[-1] + 1) if group else range(0))
    return "peer"
