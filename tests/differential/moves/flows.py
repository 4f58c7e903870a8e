"""What takes several commands to come to: approvals, PIN Indices, lockout, many sessions, exclusive audit."""

from typing import Any

from tests.differential.moves.move import move
from tests.differential.moves.policies import session
from tests.differential.openings import SIZES, opening
from tests.differential.pair import Auth, Request, Split
from tests.differential.recipes import Recipe, for_command, for_duplication
from tests.differential.stream import Stream
from tests.keys import NULL_SIGNATURE_SCHEME
from tests.scenarios import Reply
from tests.sessions import HASHES
from vtpm.spec.attributes import TPMA_NV, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CC, TPM_NT, TPM_RH, TPM_SE, TPM_ST, TPM_SU
from vtpm.spec.nv import TPMS_NV_PUBLIC
from vtpm.spec.structures import TPMS_PCR_SELECTION, TPMT_TK_HASHCHECK

A = TPM_ALG
NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")
APPROVAL, PIN, SPECIAL = 0x01000003, 0x01000004, 0x01400005
NV_CODES = ("OWNERWRITE", "AUTHWRITE", "OWNERREAD", "AUTHREAD")


def run(stream: Stream, request: Request) -> Reply | None:
    """Send one command of a flow; its reply if both have succeeded."""
    exchange = stream.send(request)
    return exchange.ours if stream.is_success(exchange) else None


@move(2)
def approve(stream: Stream) -> Request | None:
    """Sign a policy, verify the signature, and have PolicyAuthorize replace the digest."""
    handle, key, ref = session(stream), stream.object(sign=True), stream.pick([b"", b"ref"])
    digest = run(stream, stream.request("policy_get_digest", handle))
    if digest is None or key not in stream.objects():
        return None
    item = stream.item(key)
    alg = item.public.name_alg if item.public.name_alg in SIZES else A.SHA256
    approved = stream.pick([digest.policy_digest] * 3 + [bytes(32)])
    text = stream.pair.counterparts.hashed(HASHES[alg], approved, ref)
    given: dict[str, Any] = {"in_scheme": NULL_SIGNATURE_SCHEME, "validation": NO_TICKET}
    signed = run(stream, stream.request("sign", key, digest=text, **given))
    if signed is None:
        return None
    verified = run(stream, stream.request("verify_signature", key, digest=text, signature=signed.signature))
    if verified is None:
        return None
    given = {"approved_policy": approved, "policy_ref": ref, "check_ticket": verified.validation}
    return stream.request("policy_authorize", handle, key_sign=item.name, **given)


@move(2)
def approve_by_index(stream: Stream) -> Request | None:
    """Write a policy to an Index, and have PolicyAuthorizeNV replace the digest."""
    handle = session(stream)
    if APPROVAL not in stream.pair.tpm.nv:
        attributes = TPMA_NV(TPM_NT=TPM_NT.ORDINARY, NO_DA=True, **dict.fromkeys(NV_CODES, True))
        public = TPMS_NV_PUBLIC(APPROVAL, A.SHA256, attributes, b"", stream.pick([34, 50, 66, 2, 1]))
        run(stream, stream.request("nv_define_space", TPM_RH.OWNER, auth=b"", public_info=public))
    digest = run(stream, stream.request("policy_get_digest", handle))
    loaded = stream.pair.tpm.volatile.sessions.get(handle & 0xFFFFFF)
    if digest is not None and loaded is not None:
        alg = stream.pick([loaded.hash] * 4 + [A.SHA1, A.NULL])
        data = alg.to_bytes(2, "big") + digest.policy_digest
        run(stream, stream.request("nv_write", TPM_RH.OWNER, APPROVAL, data=data, offset=0))
    return stream.request("policy_authorize_nv", stream.pick([TPM_RH.OWNER, APPROVAL]), APPROVAL, handle)


@move(2)
def use_pin(stream: Stream) -> Request | None:
    """A PIN Index, with a count and a limit, used with right and wrong authValues."""
    kind = stream.pick([TPM_NT.PIN_FAIL, TPM_NT.PIN_PASS])
    if PIN not in stream.pair.tpm.nv:
        attributes = TPMA_NV(TPM_NT=kind, OWNERWRITE=True, OWNERREAD=True, AUTHREAD=True, NO_DA=True)
        public = TPMS_NV_PUBLIC(PIN, A.SHA256, attributes, b"", 8)
        run(stream, stream.request("nv_define_space", TPM_RH.OWNER, auth=b"pin", public_info=public))
    count, limit = stream.pick([0, 0, 1, 3]), stream.pick([0, 1, 2, 3])
    data = count.to_bytes(4, "big") + limit.to_bytes(4, "big")
    run(stream, stream.request("nv_write", TPM_RH.OWNER, PIN, data=data, offset=0))
    for _ in range(stream.pick([1, 2, 4])):
        auths = [Auth(stream.pick([b"pin", b"pin", b"nip"]))]
        run(stream, stream.request("nv_read", PIN, PIN, size=8, offset=0, auths=auths))
    if stream.dice.chance(0.4):
        return stream.request("nv_undefine_space", TPM_RH.OWNER, PIN)
    return stream.request("nv_read", TPM_RH.OWNER, PIN, size=8, offset=0)


@move(2)
def administer_index(stream: Stream) -> Request | None:
    """An Index whose policy allows a new authValue, or its deletion by NV_UndefineSpaceSpecial."""
    code = stream.pick([TPM_CC.NV_ChangeAuth, TPM_CC.NV_UndefineSpaceSpecial])
    if SPECIAL not in stream.pair.tpm.nv:
        is_special = code == TPM_CC.NV_UndefineSpaceSpecial
        attributes = TPMA_NV(
            PPWRITE=True,
            PPREAD=True,
            AUTHREAD=True,
            PLATFORMCREATE=True,
            NO_DA=True,
            POLICY_DELETE=is_special,
        )
        policy = Recipe((for_command(code),)).digest(A.SHA256)
        public = TPMS_NV_PUBLIC(SPECIAL, A.SHA256, attributes, policy, 8)
        request = stream.request("nv_define_space", TPM_RH.PLATFORM, auth=b"old", public_info=public)
        # With another policy a peer would keep the Index for good.
        request.fixed = not stream.pair.judge.shares_seeds
        run(stream, request)
    if code == TPM_CC.NV_ChangeAuth:
        return stream.request("nv_change_auth", SPECIAL, new_auth=stream.pick([b"new", bytes(33), b"n" * 40]))
    return stream.request("nv_undefine_space_special", SPECIAL, TPM_RH.PLATFORM)


@move(1)
def change_pcr_between(stream: Stream) -> Request | None:
    """PolicyPCR, a change of PCR, and PolicyPCR again."""
    handle = session(stream)
    given: dict[str, Any] = {"pcr_digest": b"", "pcrs": (TPMS_PCR_SELECTION(A.SHA256, b"\0\0\1"),)}
    run(stream, stream.request("policy_pcr", handle, **given))
    run(stream, stream.request("pcr_event", 16, event_data=b"between"))
    return stream.request("policy_pcr", handle, **given)


@move(1)
def lock_out(stream: Stream) -> Request | None:
    """Failures of protected entities up to the lockout, and the way out of it."""
    given = {"new_max_tries": stream.pick([1, 2, 3]), "new_recovery_time": 10000, "lockout_recovery": 86400}
    request = stream.request("dictionary_attack_parameters", TPM_RH.LOCKOUT, **given)
    request.fixed = True
    run(stream, request)
    protected = [
        handle for handle in stream.objects() if not stream.item(handle).public.object_attributes.noDA
    ]
    for _ in range(stream.pick([1, 2, 4])):
        if protected and stream.dice.chance(0.7):
            wrong = [Auth(b"not this")]
            run(stream, stream.request("unseal", stream.pick(protected), auths=wrong))
        else:
            run(stream, stream.request("nv_read", stream.index(), stream.index(), size=1, offset=0))
    auths = [Auth(b"not this")] if stream.dice.chance(0.1) else None
    return stream.request("dictionary_attack_lock_reset", TPM_RH.LOCKOUT, auths=auths)


@move(1)
def disable_clear(stream: Stream) -> Request:
    """Clear while it is disabled, and after that."""
    run(stream, stream.request("clear_control", TPM_RH.LOCKOUT, disable=True))
    run(stream, stream.request("clear", stream.pick([TPM_RH.LOCKOUT, TPM_RH.PLATFORM])))
    return stream.request(
        "clear_control", stream.pick([TPM_RH.PLATFORM, TPM_RH.PLATFORM, TPM_RH.LOCKOUT]), disable=False
    )


@move(2)
def audit_exclusively(stream: Stream) -> Request | None:
    """A few commands in one audit session, maybe with another between, and the digest of them all."""
    handle = stream.new_session(TPM_SE.HMAC, stream.pick(SIZES))
    if handle is None:
        return None
    for _ in range(stream.pick([1, 2, 3])):
        auth = Auth(b"", handle, TPMA_SESSION(continueSession=True, audit=True), authorizes=False)
        auth.attributes = auth.attributes.but(
            auditExclusive=stream.dice.chance(0.4), auditReset=stream.dice.chance(0.2)
        )
        verb, given = stream.pick(
            [
                ("get_random", {"bytes_requested": 8}),
                ("read_clock", {}),
                ("hash", {"data": b"x", "hash_alg": A.SHA256, "hierarchy": TPM_RH.NULL}),
                ("nv_read_public", {"nv_index": stream.index()}),
            ]
        )
        handles = [given.pop("nv_index")] if "nv_index" in given else []
        run(stream, stream.request(verb, *handles, auths=[] if verb == "read_clock" else [auth], **given))
        if stream.dice.chance(0.2):
            run(stream, stream.request("get_random", bytes_requested=8, auths=[]))
    given = {"qualifying_data": b"", "in_scheme": NULL_SIGNATURE_SCHEME}
    signer = stream.pick([TPM_RH.NULL, stream.object(sign=True)])
    return stream.request("get_session_audit_digest", TPM_RH.ENDORSEMENT, signer, handle, **given)


@move(1)
def prefer_parent(stream: Stream) -> Request | None:
    """A policy that lets objects go to one parent alone, for the next templates to name."""
    parents = [
        handle for handle in stream.objects() if stream.item(handle).public.object_attributes.restricted
    ]
    if parents:
        name = stream.item(stream.pick(parents)).name
        recipe, theirs = for_duplication(name), for_duplication(stream.pair.counterparts.translated(name))
        for alg in SIZES:
            stream.pair.counterparts.note(theirs.digest(alg), recipe.digest(alg))
        stream.recipes.append(recipe)
    return None


@move(1)
def start_again(stream: Stream) -> Request:
    """Startup of a TPM that is started."""
    request = stream.request("startup", startup_type=stream.pick(list(TPM_SU)))
    request.fixed = True
    return request


@move(1)
def save_many(stream: Stream) -> Request | None:
    """Sessions saved one after the other, until there are no handles left or the gap is too large; seldom."""
    if not stream.dice.chance(0.15):
        return None
    first = stream.new_session(TPM_SE.HMAC, A.SHA256)
    if first is None or run(stream, stream.request("context_save", first)) is None:
        return None
    if stream.dice.chance(0.5):
        return fill_handles(stream)
    return widen_gap(stream)


def fill_handles(stream: Stream) -> Request:
    """As many active sessions as there can be."""
    for _ in range(70):
        answer = stream.send(opening(stream, TPM_SE.HMAC, A.SHA256), damaged=False)
        if not stream.is_success(answer):
            break
        stream.send(stream.request("context_save", answer.ours.session_handle), damaged=False)
    return stream.request("get_random", bytes_requested=1)


def widen_gap(stream: Stream) -> Request | None:
    """One session saved and loaded until the first one's context is too old."""
    handle = stream.new_session(TPM_SE.HMAC, A.SHA256)
    for _ in range(260):
        if handle is None:
            return None
        saved = stream.send(stream.request("context_save", handle), damaged=False)
        if not stream.is_success(saved):
            return stream.request("context_save", handle)
        contexts = Split(saved.theirs.context, saved.ours.context)
        stream.send(stream.request("context_load", context=contexts), damaged=False)
    return stream.request("get_random", bytes_requested=1)
