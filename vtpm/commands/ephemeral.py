"""Part 3, clause 19: ephemeral EC keys."""

from typing import Annotated

from vtpm.commands.asymmetric import EMPTY_POINT, given_point, point_structure
from vtpm.commands.commitment import commit as open_commitment
from vtpm.commands.commitment import fresh_number
from vtpm.commands.private_key import ecc_key_of
from vtpm.commands.table import command
from vtpm.crypto.curves import CURVES
from vtpm.crypto.digest import digest
from vtpm.crypto.ecc import EccKey, Point, is_on_curve
from vtpm.spec.algorithms import (
    TPM2B_ECC_PARAMETER,
    TPM2B_ECC_POINT,
    TPM2B_SENSITIVE_DATA,
)
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.spec.handles import TPMI_DH_OBJECT
from vtpm.spec.interface import TPMI_ECC_CURVE
from vtpm.spec.objects import TPMS_ECC_PARMS
from vtpm.state.entity import Role
from vtpm.state.object import Object
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError
from vtpm.wire.integers import UINT16
from vtpm.wire.structure import structure


@structure
class CommitResponse:
    """19.2"""

    k: TPM2B_ECC_POINT
    l: TPM2B_ECC_POINT  # noqa: E741 - Part 3 names it so
    e: TPM2B_ECC_POINT
    counter: UINT16


@command(TPM_CC.Commit)
def commit(
    tpm: TpmState,
    sign_key: Annotated[Object, TPMI_DH_OBJECT, Role.USER, TPM_RC.KEY],
    /,
    p1: TPM2B_ECC_POINT,
    s2: TPM2B_SENSITIVE_DATA,
    y2: TPM2B_ECC_PARAMETER,
) -> CommitResponse:
    """19.2: the first half of an anonymous signature: points of a number that Sign will use."""
    if sign_key.public.type is not TPM_ALG.ECC:
        raise TpmError(TPM_RC.KEY, at="sign_key")
    assert isinstance(sign_key.public.parameters, TPMS_ECC_PARMS)
    if sign_key.public.parameters.scheme.scheme is not TPM_ALG.ECDAA:
        raise TpmError(TPM_RC.SCHEME, at="sign_key")
    if bool(s2) is not bool(y2):
        raise TpmError(TPM_RC.SIZE, at="y2")
    second = second_point(sign_key, s2, y2) if s2 else None
    first = given_point(sign_key, p1, "p1") if p1.x or p1.y else None

    key = ecc_key_of(sign_key)
    number = EccKey(key.curve, fresh_number(tpm, key.curve, sign_key))
    k = ell = e = EMPTY_POINT
    if second is not None:
        k, ell = point_structure(key.shared_point(second)), point_structure(number.shared_point(second))
    if first is not None:
        e = point_structure(number.shared_point(first))
    elif second is None:
        e = point_structure(number.public)
    return CommitResponse(k=k, l=ell, e=e, counter=open_commitment(tpm))


def second_point(key: Object, s2: bytes, y2: bytes) -> Point:
    """P2: its x is the digest of s2, reduced modulo the field; TPM_RC_ECC_POINT if y2 does not fit."""
    assert isinstance(key.public.parameters, TPMS_ECC_PARMS)
    if key.public.name_alg is TPM_ALG.NULL:
        raise TpmError(TPM_RC.HASH, at="sign_key")
    curve = CURVES[key.public.parameters.curve_id]
    x = int.from_bytes(digest(key.public.name_alg, s2), "big") % curve.p
    y = int.from_bytes(y2, "big")
    if not is_on_curve(curve, x, y):
        raise TpmError(TPM_RC.ECC_POINT, at="s2")
    return Point(curve, x, y)


@structure
class EcEphemeralResponse:
    """19.3"""

    q: TPM2B_ECC_POINT
    counter: UINT16


@command(TPM_CC.EC_Ephemeral, costly=True)
def ec_ephemeral(tpm: TpmState, /, curve_id: TPMI_ECC_CURVE) -> EcEphemeralResponse:
    """19.3: an ephemeral public key, whose private key ZGen_2Phase will use."""
    curve = CURVES[curve_id]
    key = EccKey(curve, fresh_number(tpm, curve, None))
    return EcEphemeralResponse(q=point_structure(key.public), counter=open_commitment(tpm))
