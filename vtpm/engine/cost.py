"""
Which commands take longer than about a millisecond, so that a server had better not wait for them.

That is a matter of the command, as its handler declares it, or of a key in its handle area:
with a long RSA key or on a curve that OpenSSL does not compute fast, whatever is done takes several.
"""

from vtpm.commands import COMMANDS
from vtpm.spec.constants import TPM_CC, TPM_ECC_CURVE, TPM_HT
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMS_RSA_PARMS
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState

QUICK_RSA_BITS = 2048
QUICK_CURVES = {
    TPM_ECC_CURVE.NIST_P192,
    TPM_ECC_CURVE.NIST_P224,
    TPM_ECC_CURVE.NIST_P256,
    TPM_ECC_CURVE.NIST_P384,
    TPM_ECC_CURVE.NIST_P521,
}

DECLARED = frozenset(code.to_bytes(4, "big") for code, command in COMMANDS.items() if command.costly)
OF_OBJECTS = {
    code.to_bytes(4, "big"): len(command.handles)
    for code, command in COMMANDS.items()
    if any(Object in handle.entities for handle in command.handles)
}
"""How many handles there are in the commands that take an object."""

MAKERS = frozenset(
    code.to_bytes(4, "big") for code in (TPM_CC.Create, TPM_CC.CreatePrimary, TPM_CC.CreateLoaded)
)
"""They may take seconds, for the primes of an RSA key, during which other threads run."""

HANDLES = 10
"""Where the handle area begins."""

TRANSIENT, PERSISTENT = int(TPM_HT.TRANSIENT), int(TPM_HT.PERSISTENT)


def is_costly(tpm: TpmState, request: bytes) -> bool:
    """May the command of these octets, which may be any, take many milliseconds?"""
    code = request[6:10]
    if code in DECLARED:
        return True
    for number in range(OF_OBJECTS.get(code, 0)):
        handle = int.from_bytes(request[HANDLES + 4 * number : HANDLES + 4 * number + 4], "big")
        kind = handle >> 24
        if kind == TRANSIENT:
            item = tpm.volatile.objects.get(handle)
        elif kind == PERSISTENT:
            item = tpm.persistent.get(handle)
        else:
            continue
        if isinstance(item, Object) and has_slow_key(item):
            return True
    return False


def may_make_key(request: bytes) -> bool:
    """May the command take seconds, so that others that are costly had better not wait for it either?"""
    return request[6:10] in MAKERS


def has_slow_key(item: Object) -> bool:
    """Does an operation with the object's key take many milliseconds?"""
    parameters = item.public.parameters
    if isinstance(parameters, TPMS_RSA_PARMS):
        return parameters.key_bits > QUICK_RSA_BITS
    return isinstance(parameters, TPMS_ECC_PARMS) and parameters.curve_id not in QUICK_CURVES
