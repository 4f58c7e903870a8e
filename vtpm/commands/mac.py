"""The MAC of a keyed-hash or symmetric key (Part 3, 15.6 and 17.3)."""

from vtpm.crypto.running import RunningCmac, RunningHmac
from vtpm.spec.algorithms import TPMS_SCHEME_HASH, TPMS_SCHEME_XOR, TPMS_SYMCIPHER_PARMS
from vtpm.spec.constants import TPM_ALG
from vtpm.spec.interface import HASHES
from vtpm.spec.objects import TPMS_KEYEDHASH_PARMS
from vtpm.state.object import Object
from vtpm.wire.error import TPM_RC, TpmError


def running_mac(key: Object, in_scheme: TPM_ALG) -> RunningHmac | RunningCmac:
    """The MAC of the key, ready for data; the handler calls its arguments `key` and `in_scheme`."""
    scheme = selected_mac(key, in_scheme)
    attributes = key.public.object_attributes
    if attributes.restricted:
        raise TpmError(TPM_RC.ATTRIBUTES, at="key")
    if not attributes.sign or key.sensitive is None:
        raise TpmError(TPM_RC.KEY, at="key")
    if isinstance(key.public.parameters, TPMS_SYMCIPHER_PARMS):
        return RunningCmac(key.public.parameters.sym.algorithm, key.sensitive.sensitive)
    return RunningHmac(scheme, key.sensitive.sensitive)


def selected_mac(key: Object, in_scheme: TPM_ALG) -> TPM_ALG:
    """The scheme of the key, or the one asked for if the key leaves it open."""
    parameters = key.public.parameters
    own = TPM_ALG.NULL
    if isinstance(parameters, TPMS_KEYEDHASH_PARMS):
        details = parameters.scheme.details
        if isinstance(details, TPMS_SCHEME_HASH | TPMS_SCHEME_XOR):
            own = details.hash_alg
        possible: tuple[TPM_ALG, ...] = HASHES
    elif isinstance(parameters, TPMS_SYMCIPHER_PARMS):
        own = parameters.sym.mode
        possible = (TPM_ALG.CMAC,)
    else:
        raise TpmError(TPM_RC.TYPE, at="key")
    if in_scheme is TPM_ALG.NULL:
        in_scheme = own
    if in_scheme is TPM_ALG.NULL or own not in (TPM_ALG.NULL, in_scheme):
        raise TpmError(TPM_RC.VALUE, at="in_scheme")
    if in_scheme not in possible:
        raise TpmError(TPM_RC.SCHEME, at="in_scheme")
    return in_scheme
