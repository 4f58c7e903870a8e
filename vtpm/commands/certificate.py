"""Part 3, 18.8: X.509 certificates (deprecated since version 184)."""

from typing import Annotated

from vtpm.commands.attest import attesting_scheme
from vtpm.commands.key_signature import sign
from vtpm.commands.table import command
from vtpm.commands.x509 import (
    KEY_USAGE,
    TCG_TPMA_OBJECT,
    VERSION_3,
    extension_bits,
    is_usage_allowed,
    partial_certificate_of,
    signature_algorithm,
    subject_public_key_info,
)
from vtpm.crypto.der import SEQUENCE, Element, element, integer
from vtpm.crypto.digest import digest
from vtpm.spec.algorithms import TPMT_SIG_SCHEME_NULL, TPMT_SIGNATURE
from vtpm.spec.attributes import TPMA_X509_KEY_USAGE
from vtpm.spec.constants import TPM_CC
from vtpm.spec.handles import TPMI_DH_OBJECT
from vtpm.spec.structures import TPM2B_DATA, TPM2B_DIGEST, TPM2B_MAX_BUFFER
from vtpm.state.entity import Role
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError, blaming
from vtpm.wire.structure import structure

MOST_SERIAL_OCTETS = 20
"""RFC 5280, 4.1.2.2."""


@structure
class CertifyX509Response:
    """18.8"""

    added_to_certificate: TPM2B_MAX_BUFFER
    tbs_digest: TPM2B_DIGEST
    signature: TPMT_SIGNATURE


@command(TPM_CC.CertifyX509)
def certify_x509(
    tpm: TpmState,
    certified: Annotated[Object, TPMI_DH_OBJECT, Role.ADMIN],
    sign_key: Annotated[Object, TPMI_DH_OBJECT, Role.USER, TPM_RC.KEY],
    /,
    reserved: TPM2B_DATA,
    in_scheme: TPMT_SIG_SCHEME_NULL,
    partial_certificate: TPM2B_MAX_BUFFER,
) -> CertifyX509Response:
    """18.8: complete a certificate that shows that a key is loaded, and sign it."""
    if reserved:
        raise TpmError(TPM_RC.SIZE, at="reserved")
    scheme = attesting_scheme(sign_key, in_scheme)
    public_key = subject_public_key_info(certified.public)
    if public_key is None:
        raise TpmError(TPM_RC.ASYMMETRIC, at="certified")
    with blaming("partial_certificate"):
        given = partial_certificate_of(partial_certificate)
    made = b"" if given.signature_algorithm else signature_algorithm(sign_key, scheme)
    if made is None or scheme.details is None:
        raise TpmError(TPM_RC.SCHEME, at="sign_key")
    with blaming("partial_certificate"):
        check_extensions(certified, given.extensions)

    alg = scheme.details.hash_alg
    algorithm = made or given.signature_algorithm
    parts = [algorithm, given.issuer, given.validity, given.subject, public_key, given.extensions.octets]
    number = digest(alg, *parts, sign_key.name, certified.name)[:MOST_SERIAL_OCTETS]
    serial = integer(int.from_bytes(number, "big") & (1 << 8 * len(number) - 1) - 1)
    tbs_digest = digest(alg, element(SEQUENCE, VERSION_3, serial, *parts))
    return CertifyX509Response(
        added_to_certificate=element(SEQUENCE, VERSION_3, serial, made, public_key),
        tbs_digest=tbs_digest,
        signature=sign(tpm, sign_key, scheme, tbs_digest),
    )


def check_extensions(certified: Object, extensions: Element) -> None:
    """18.8: a Key Usage must be there, and what the extensions say of the key must be true."""
    attributes = certified.public.object_attributes
    values = extension_bits(extensions)
    if values.get(TCG_TPMA_OBJECT, attributes) != attributes:
        raise TpmError(TPM_RC.ATTRIBUTES, at="certified")
    if KEY_USAGE not in values:
        raise TpmError(TPM_RC.VALUE)
    usage = TPMA_X509_KEY_USAGE(values[KEY_USAGE])
    if usage & usage.reserved:
        raise TpmError(TPM_RC.RESERVED_BITS)
    if not is_usage_allowed(usage, attributes):
        raise TpmError(TPM_RC.ATTRIBUTES, at="certified")
