"""Sessions as streams begin them: of every kind, bound, salted, and by a recipe of a policy."""

from typing import TYPE_CHECKING, Any

from tests.differential.pair import Request, Split
from tests.differential.salts import salt_for
from tests.scenarios import Reply
from tests.sessions import NO_CIPHER, CallerSession, kdf_a
from vtpm.spec.algorithms import TPMT_SYM_DEF
from vtpm.spec.constants import TPM_ALG, TPM_RH, TPM_SE
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.state.object import Object
from vtpm.wire.structure import marshal, unmarshal

if TYPE_CHECKING:
    from tests.differential.stream import Stream

NONCE = bytes(range(16))
NO_SALTS = (b"", b"")
SIZES = {TPM_ALG.SHA1: 20, TPM_ALG.SHA256: 32, TPM_ALG.SHA384: 48, TPM_ALG.SHA512: 64}


def opening(
    stream: "Stream",
    kind: TPM_SE,
    alg: TPM_ALG,
    symmetric: TPMT_SYM_DEF = NO_CIPHER,
    *,
    bind: int = TPM_RH.NULL,
    tpm_key: int = TPM_RH.NULL,
) -> Request:
    """StartAuthSession; the callers have the session from then on."""
    entity = stream.entity(bind)
    auth = stream.value_of(entity) if bind != TPM_RH.NULL else b""
    salts, encrypted = salted(stream, tpm_key)

    def after(theirs: Reply, ours: Reply) -> None:
        for side, reply, salt in zip(stream.pair.sides, (theirs, ours), salts, strict=True):
            nonce, secret = reply.nonce_tpm, auth + salt
            has_key = bind != TPM_RH.NULL or tpm_key != TPM_RH.NULL
            key = kdf_a(alg, secret, b"ATH", nonce, NONCE, 8 * SIZES[alg]) if has_key else b""
            session = CallerSession(reply.session_handle, alg, nonce, NONCE, key)
            session.symmetric = 0 if symmetric.algorithm is TPM_ALG.XOR else symmetric.key_bits
            side.forget(reply.session_handle)
            side.sessions[reply.session_handle] = session

    given: dict[str, Any] = {"nonce_caller": NONCE, "encrypted_salt": encrypted, "session_type": kind}
    request = stream.request("start_auth_session", tpm_key, bind, symmetric=symmetric, auth_hash=alg, **given)
    request.after = after
    # The caller would have to know what was changed.
    request.fixed = True
    return request


def salted(stream: "Stream", tpm_key: int) -> tuple[tuple[bytes, bytes], Any]:
    """Salts for the key of each, and their encrypted forms; empty if there can be none."""
    if tpm_key == TPM_RH.NULL:
        return NO_SALTS, b""
    item = stream.pair.tpm.volatile.objects.get(tpm_key) or stream.pair.tpm.persistent.get(tpm_key)
    if not isinstance(item, Object):
        return NO_SALTS, b""
    salt, encrypted = salt_for(item.public, stream.dice.random) or (b"", b"")
    if stream.pair.judge.shares_seeds:
        return (salt, salt), encrypted
    octets = marshal(item.public)
    translated = stream.pair.counterparts.translated(octets)
    public = item.public if translated == octets else unmarshal(TPMT_PUBLIC, translated)
    their_salt, their_encrypted = salt_for(public, stream.dice.random) or (b"", b"")
    return (their_salt, salt), Split(their_encrypted, encrypted)
