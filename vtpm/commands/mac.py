"""The MAC of a keyed-hash or symmetric key (Part 3, 15.6 and 17.3)."""

from vtpm.crypto.running import RunningCmac, RunningHmac
from vtpm.spec.algorithms import TPMS_SYMCIPHER_PARMS
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import HASHES
from vtpm.spec.objects import TPMS_KEYEDHASH_PARMS
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC, TpmError


def running_mac(key: Object, in_scheme: TPM_ALG) -> RunningHmac | RunningCmac:
    """
    The MAC of the key, ready for data; the handler calls its arguments `key` and `in_scheme`.

    The scheme comes before the attributes, as in the reference code.
    """
    parameters, attributes = key.public.parameters, key.public.object_attributes
    if not isinstance(parameters, TPMS_KEYEDHASH_PARMS | TPMS_SYMCIPHER_PARMS):
        raise TpmError(TPM_RC.TYPE, at="key")
    scheme = selected_mac(parameters, in_scheme)
    if attributes.restricted:
        raise TpmError(TPM_RC.ATTRIBUTES, at="key")
    if not attributes.sign:
        raise TpmError(TPM_RC.KEY, at="key")
    assert key.sensitive is not None, "no authorization without the sensitive area"
    if isinstance(parameters, TPMS_SYMCIPHER_PARMS):
        return RunningCmac(parameters.sym.algorithm, key.sensitive.sensitive)
    return RunningHmac(scheme, key.sensitive.sensitive)


def selected_mac(parameters: TPMS_KEYEDHASH_PARMS | TPMS_SYMCIPHER_PARMS, in_scheme: TPM_ALG) -> TPM_ALG:
    """The scheme of the key, or the one asked for if the key leaves it open."""
    own = TPM_ALG.NULL
    possible: tuple[TPM_ALG, ...] = (TPM_ALG.CMAC,)
    if isinstance(parameters, TPMS_SYMCIPHER_PARMS):
        own = parameters.sym.mode
    else:
        possible = HASHES
        if parameters.scheme.details is not None:
            own = parameters.scheme.details.hash_alg
    if in_scheme is TPM_ALG.NULL:
        in_scheme = own
    if in_scheme is TPM_ALG.NULL or own not in (TPM_ALG.NULL, in_scheme):
        raise TpmError(TPM_RC.VALUE, at="in_scheme")
    if in_scheme not in possible:
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    return in_scheme
