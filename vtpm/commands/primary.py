"""Part 1, "Primary Object": objects derived from a seed, bit for bit as the reference code does."""

from vtpm.commands.key_creation import created
from vtpm.crypto.digest import digest
from vtpm.crypto.drbg import DerivationGenerator
from vtpm.crypto.rsa import RsaKey, derived_key
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE
from vtpm.spec.constants import TPM_ALG, TPM_RH
from vtpm.spec.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.state.hierarchy import Hierarchy, base_of
from vtpm.state.primary import Primary
from vtpm.state.tpm import TpmState

LABEL = b"Primary Object Creation\0"


def derived_primary(
    tpm: TpmState,
    hierarchy: Hierarchy,
    template: bytes,
    public: TPMT_PUBLIC,
    sensitive: TPMS_SENSITIVE_CREATE,
) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """The areas of a primary object; `template` is the public area as the caller sent it."""
    name = public.name_alg.to_bytes(2, "big") + digest(public.name_alg, template)
    generator = DerivationGenerator(hierarchy.seed, LABEL, name, sensitive.data)
    is_endorsement = base_of(hierarchy.handle) == TPM_RH.ENDORSEMENT

    def make_rsa(bits: int, exponent: int) -> RsaKey:
        return remembered(tpm, hierarchy, name, sensitive.data, bits, exponent, generator)

    def stir_proofs() -> None:
        if is_endorsement:
            generator.stir(tpm.owner.proof)
            generator.stir(tpm.endorsement.proof)

    return created(public, sensitive, generator, make_rsa, stir_proofs)


def remembered(
    tpm: TpmState,
    hierarchy: Hierarchy,
    name: bytes,
    data: bytes,
    bits: int,
    exponent: int,
    generator: DerivationGenerator,
) -> RsaKey:
    """The RSA key of a seed and template; the generator is left where the search leaves it."""
    level = bytes((hierarchy.seed_level,))
    place = digest(TPM_ALG.SHA256, hierarchy.seed, level, len(name).to_bytes(2, "big"), name, data)
    known = tpm.primaries.get(place)
    if known is None:
        key = derived_key(bits, exponent, generator, hierarchy.seed_level)
        known = Primary(key, generator.save(), base_of(hierarchy.handle))
        tpm.remember_primary(place, known)
    generator.restore(known.generator)
    return known.key
