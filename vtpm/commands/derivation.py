"""Part 1, "Derived Objects": what a derivation parent makes of a label and a context."""

from dataclasses import replace

from vtpm.commands.key_creation import created
from vtpm.commands.object_attributes import check_auth, check_public
from vtpm.crypto.digest import hmac_digest
from vtpm.crypto.drbg import LabelGenerator
from vtpm.spec.algorithms import TPMS_DERIVE, TPMS_ECC_POINT, TPMS_SCHEME_XOR, TPMS_SENSITIVE_CREATE
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.objects import TPMS_KEYEDHASH_PARMS, TPMT_PUBLIC, TPMT_SENSITIVE
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.structure import but, unmarshal
from vtpm.wire.vocabulary import codec_of

DERIVED_PUBLIC = but(TPMT_PUBLIC, unique=codec_of(TPMS_DERIVE))
"""A template whose unique is a label and a context."""


def derived_object(
    tpm: TpmState, parent: Object, template: bytes, sensitive: TPMS_SENSITIVE_CREATE
) -> tuple[TPMT_PUBLIC, TPMT_SENSITIVE]:
    """The areas of a derived object; the handler calls its arguments `in_public` and `in_sensitive`."""
    assert parent.sensitive is not None
    assert isinstance(parent.public.parameters, TPMS_KEYEDHASH_PARMS)
    details = parent.public.parameters.scheme.details
    assert isinstance(details, TPMS_SCHEME_XOR)
    public, wanted = derivation_of(tpm, template)
    check_auth(sensitive.user_auth, public, "in_sensitive")
    if public.type is TPM_ALG.RSA:
        raise TpmError(TPM_RC.TYPE, at="in_public")
    if public.object_attributes.sensitiveDataOrigin:
        raise TpmError(TPM_RC.ATTRIBUTES)
    try:
        check_public(public, parent=parent)
    except TpmError as error:
        raise error.positioned_at("in_public") from None
    label, context = wanted.label, wanted.context
    if sensitive.data:
        other: TPMS_DERIVE = unmarshal(TPMS_DERIVE, sensitive.data)
        label, context = label or other.label, context or other.context

    secret = parent.sensitive.sensitive
    generator = LabelGenerator(lambda message: hmac_digest(details.hash_alg, secret, message), label, context)
    return created(public, replace(sensitive, data=b""), generator)


def derivation_of(tpm: TpmState, template: bytes) -> tuple[TPMT_PUBLIC, TPMS_DERIVE]:
    """The public area of a template without its unique, and the label and context in the unique's place."""
    try:
        public: TPMT_PUBLIC = unmarshal(tpm.narrowing.of(DERIVED_PUBLIC), template)
    except TpmError as error:
        raise error.positioned_at("in_public") from None
    wanted = public.unique
    assert isinstance(wanted, TPMS_DERIVE)
    return replace(public, unique=TPMS_ECC_POINT(x=b"", y=b"") if public.type is TPM_ALG.ECC else b""), wanted
