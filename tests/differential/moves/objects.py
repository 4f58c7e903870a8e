"""Objects: made, loaded, saved, moved and forgotten."""

from dataclasses import replace
from typing import Any

from tests.differential.moves.move import move
from tests.differential.moves.storage import selection
from tests.differential.pair import Request, Split
from tests.differential.recipes import DUPLICATE
from tests.differential.stream import Blob, Stream
from tests.differential.test_templates import Dice as Templates
from tests.keys import NO_SYMMETRIC
from tests.objects import SEALED, SIGN_ECC, STORAGE_ECC, template
from tests.scenarios import Reply
from vtpm.spec.algorithms import TPMS_SENSITIVE_CREATE, TPMT_SYM_DEF_OBJECT
from vtpm.spec.constants import TPM_ALG, TPM_HT, TPM_RH
from vtpm.spec.objects import TPMT_PUBLIC
from vtpm.state.object import name_of
from vtpm.wire.structure import marshal

A = TPM_ALG
HMAC_KEY = "0008000b00060472 0000 0005000b 0000"
RESTRICTED_ECC = "0023000b0005047200000010 0018000b 0003 0010 0000 0000"
CIPHER = "0025000b00060472 0000 0006 0080 0043 0000"
DERIVER = "0008000b00030472 0000 000a 000b 0022 0000"
NOT_FIXED = {"fixedTPM": False, "fixedParent": False}
PERSISTENT = (0x81000001, 0x81000002, 0x81800001)
AES_CFB = TPMT_SYM_DEF_OBJECT(A.AES, 128, A.CFB)


def public(stream: Stream, *, parent: bool = False) -> TPMT_PUBLIC:
    """A template: most often one that works."""
    if not parent and stream.dice.chance(0.25):
        templates = Templates(stream.dice.random.getrandbits(32))
        found = templates.public()
        # RSA keys take both TPMs long to make.
        while found.type is A.RSA and stream.dice.chance(0.8):
            found = templates.public()
        return found
    octets = (
        STORAGE_ECC
        if parent
        else stream.pick([STORAGE_ECC, SIGN_ECC, RESTRICTED_ECC, HMAC_KEY, CIPHER, SEALED, DERIVER])
    )
    made = template(octets)
    attributes = made.object_attributes
    if stream.dice.chance(0.4):
        attributes = attributes.but(**NOT_FIXED)
    if stream.dice.chance(0.3):
        attributes = attributes.but(noDA=stream.dice.chance(0.5), adminWithPolicy=stream.dice.chance(0.5))
    recipe = (
        DUPLICATE if not attributes.fixedParent and stream.dice.chance(0.6) else stream.pick(stream.recipes)
    )
    known = recipe.digest(A.SHA256)
    policy = stream.pick(
        [b"", b"", known, known, bytes(32), *[d for d in stream.digests[-3:] if len(d) == 32]]
    )
    return replace(made, object_attributes=attributes, auth_policy=policy)


def content(stream: Stream, made: TPMT_PUBLIC) -> TPMS_SENSITIVE_CREATE:
    """What the caller gives of the sensitive area."""
    origin = made.object_attributes.sensitiveDataOrigin ^ stream.dice.chance(0.03)
    data = b"" if origin else stream.pick([b"sealed", bytes(16), b"k" * 32])
    return TPMS_SENSITIVE_CREATE(stream.pick(stream.auths), data)


@move(5)
def create_primary(stream: Stream) -> Request:
    """All of it is the same for both, if the seeds are."""
    made = public(stream, parent=stream.dice.chance(0.5))
    given: dict[str, Any] = {
        "in_sensitive": content(stream, made),
        "in_public": made,
        "creation_pcr": selection(stream),
    }

    def after(_: Reply, ours: Reply) -> None:
        stream.creations.append((ours.name, ours.creation_hash, ours.creation_ticket))

    request = stream.request(
        "create_primary", stream.hierarchy(), outside_info=stream.pick([b"", b"o"]), **given
    )
    request.after = after
    return request


def parent(stream: Stream) -> int:
    """A storage key, most often."""
    return stream.object(restricted=True, decrypt=True)


@move(5)
def create(stream: Stream) -> Request:
    """A new object, of which either's private area is kept for both."""
    handle, made = parent(stream), public(stream)

    def after(theirs: Reply, ours: Reply) -> None:
        reply = stream.shown(theirs, ours)
        if handle in stream.objects():
            stream.blobs.append(Blob(stream.item(handle).name, reply.out_private, reply.out_public))

    given: dict[str, Any] = {
        "in_sensitive": content(stream, made),
        "in_public": made,
        "creation_pcr": selection(stream),
    }
    request = stream.request("create", handle, outside_info=b"", **given)
    request.after = after
    return request


def make_room(stream: Stream, kept: int = 0) -> None:
    """Flush an object, but not the one to be kept, if there are as many as there can be."""
    transient = [handle for handle in stream.pair.tpm.volatile.objects if handle != kept]
    if len(stream.pair.tpm.volatile.objects) >= stream.pair.tpm.profile.transient_slots:
        stream.send(stream.request("flush_context", flush_handle=stream.pick(transient)), damaged=False)


@move(6)
def raise_child(stream: Stream) -> Request | None:
    """A parent, and an object created and loaded under it; then what takes both of them."""
    above = [
        handle for handle in stream.objects() if stream.fits(handle, {"restricted": True, "decrypt": True})
    ]
    above = [handle for handle in above if stream.item(handle).public.type in (A.ECC, A.RSA)]
    if not above:
        make_room(stream)
        made = template(STORAGE_ECC)
        given: dict[str, Any] = {"in_sensitive": TPMS_SENSITIVE_CREATE(b"", b""), "in_public": made}
        given |= {"outside_info": b"", "creation_pcr": ()}
        answer = stream.send(stream.request("create_primary", stream.hierarchy(), **given))
        if not stream.is_success(answer):
            return None
        above = [answer.ours.object_handle]
    handle, made = stream.pick(above), public(stream)
    make_room(stream, handle)
    given = {"in_sensitive": content(stream, made), "in_public": made, "creation_pcr": selection(stream)}
    answer = stream.send(stream.request("create", handle, outside_info=b"", **given))
    if not stream.is_success(answer):
        return None
    reply = stream.shown(answer.theirs, answer.ours)
    stream.blobs.append(Blob(stream.item(handle).name, reply.out_private, reply.out_public))
    stream.creations.append((name_of(reply.out_public), reply.creation_hash, reply.creation_ticket))
    blob = {"in_private": reply.out_private, "in_public": reply.out_public}
    answer = stream.send(stream.request("load", handle, **blob))
    if not stream.is_success(answer) or stream.dice.chance(0.4):
        return None
    child = answer.ours.object_handle
    if not made.object_attributes.fixedParent and stream.dice.chance(0.8):
        return duplicated(stream, child, stream.pick([TPM_RH.NULL, handle]))
    return stream.request("object_change_auth", child, handle, new_auth=stream.pick(stream.auths))


@move(2)
def create_loaded(stream: Stream) -> Request:
    """The object is flushed if it is random, since both have others."""
    handle = stream.pick([parent(stream), stream.hierarchy()])
    made = public(stream)

    def after(theirs: Reply, _: Reply) -> None:
        if theirs.out_private:
            stream.send(stream.request("flush_context", flush_handle=theirs.object_handle), damaged=False)

    given: dict[str, Any] = {"in_sensitive": content(stream, made), "in_public": marshal(made)}
    request = stream.request("create_loaded", handle, **given)
    request.after = after
    return request


@move(5)
def load(stream: Stream) -> Request | None:
    """What was created, under its parent if that is loaded."""
    if not stream.blobs:
        return None
    blob = stream.pick(stream.blobs[-6:])
    parents = [h for h in stream.objects() if stream.item(h).name == blob.parent] or [parent(stream)]
    return stream.request("load", stream.pick(parents), in_private=blob.private, in_public=blob.public)


@move(4)
def load_external(stream: Stream) -> Request:
    """Both areas, or the public one."""
    templates = Templates(stream.dice.random.getrandbits(32))
    made, sensitive = templates.external()
    hierarchy = stream.pick([TPM_RH.NULL, TPM_RH.NULL, TPM_RH.OWNER])
    given: dict[str, Any] = {"in_public": made, "hierarchy": hierarchy}
    return stream.request("load_external", in_private=stream.pick([sensitive, sensitive, None]), **given)


@move(4)
def read_public(stream: Stream) -> Request:
    """Part 3, 12.4."""
    return stream.request("read_public", stream.object())


@move(5)
def flush(stream: Stream) -> Request:
    """An object, or a session."""
    tpm = stream.pair.tpm
    sessions = [s.handle for s in tpm.volatile.sessions.values()]
    handles = [*tpm.volatile.objects, *tpm.volatile.objects, *sessions]
    handles += [TPM_HT.HMAC_SESSION << 24 | saved for saved in tpm.reset.saved_sessions]
    handle = stream.pick(handles or [0x80000000])

    def after(_: Reply, __: Reply) -> None:
        for session in (handle, handle + (1 << 24)):
            stream.pair.forget(session)

    request = stream.request("flush_context", flush_handle=handle)
    request.after = after
    request.fixed = handle >> 24 in (TPM_HT.HMAC_SESSION, TPM_HT.POLICY_SESSION)
    return request


@move(2)
def evict(stream: Stream) -> Request:
    """Make an object persistent, or forget it."""
    creator = stream.pick([TPM_RH.OWNER, TPM_RH.OWNER, TPM_RH.PLATFORM])
    item = stream.object()
    persistent = item if item >> 24 == TPM_HT.PERSISTENT else stream.pick(PERSISTENT)
    return stream.request("evict_control", creator, item, persistent_handle=persistent)


@move(3)
def save(stream: Stream) -> Request:
    """Save an object or a session."""
    tpm = stream.pair.tpm
    handles = [*tpm.volatile.objects, *(s.handle for s in tpm.volatile.sessions.values())]

    def after(theirs: Reply, ours: Reply) -> None:
        stream.contexts.append((theirs.context, ours.context))

    request = stream.request("context_save", stream.pick(handles or [0x80000000]))
    request.after = after
    return request


@move(3)
def restore(stream: Stream) -> Request | None:
    """Load a saved context."""
    if not stream.contexts:
        return None
    theirs, ours = stream.pick(stream.contexts[-5:])
    request = stream.request("context_load", context=Split(theirs, ours))
    request.fixed = stream.dice.chance(0.9)
    return request


@move(2)
def change_auth(stream: Stream) -> Request:
    """Part 3, 12.8, often with the right parent."""
    handles = (stream.object(), parent(stream))
    parents = {blob.public: blob.parent for blob in stream.blobs if stream.dice.chance(0.9)}
    for handle in stream.objects():
        above = parents.get(stream.item(handle).public)
        fit = [one for one in stream.objects() if stream.item(one).name == above]
        if fit:
            handles = (handle, stream.pick(fit))
    return stream.request("object_change_auth", *handles, new_auth=stream.pick(stream.auths))


def spoil(stream: Stream, given: dict[str, Any]) -> None:
    """Change one octet of what Import takes, or its end."""
    name = stream.pick(["duplicate", "in_sym_seed", "encryption_key"])
    octets = given[name]
    if octets:
        place = stream.dice.random.randrange(len(octets))
        way = stream.pick(["change", "change", "cut", "longer", "none"])

        def spoiled(octets: bytes) -> bytes:
            changed = octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]
            return {"change": changed, "cut": octets[:-1], "longer": octets + b"x", "none": b""}[way]

        given[name] = Split(spoiled(stream.pair.counterparts.translated(octets)), spoiled(octets))


def rewrap(stream: Stream, item: int, old_parent: int, given: dict[str, Any]) -> int:
    """Give a duplicate to another parent, whose it is then."""
    new_parent = parent(stream)
    old = {"in_duplicate": given["duplicate"], "in_sym_seed": given["in_sym_seed"]}
    answer = stream.send(
        stream.request("rewrap", old_parent, new_parent, name=stream.pair.own.name_of(item), **old)
    )
    if stream.is_success(answer):
        reply = stream.shown(answer.theirs, answer.ours)
        given["duplicate"], given["in_sym_seed"] = reply.out_duplicate, reply.out_sym_seed
    return new_parent


@move(4)
def duplicate(stream: Stream) -> Request:
    """Give an object away, and import it again in the form of either."""
    item = stream.object(fixedTPM=False, fixedParent=False)
    return duplicated(stream, item, stream.pick([TPM_RH.NULL, parent(stream)]))


def duplicated(stream: Stream, item: int, target: int) -> Request:
    """Duplicate, and then Rewrap and Import, or Import alone, or neither."""
    inner = stream.pick([NO_SYMMETRIC, AES_CFB])

    def after(theirs: Reply, ours: Reply) -> None:
        reply = stream.shown(theirs, ours)
        if item in stream.objects():
            given = {"encryption_key": reply.encryption_key_out, "duplicate": reply.duplicate}
            given |= {"in_sym_seed": reply.out_sym_seed, "symmetric_alg": inner}
            given["object_public"] = stream.item(item).public
            new_parent = target if target != TPM_RH.NULL else parent(stream)
            if target != TPM_RH.NULL and stream.dice.chance(0.4):
                new_parent = rewrap(stream, item, target, given)
            if stream.dice.chance(0.3):
                spoil(stream, given)
            stream.send(stream.request("import_object", new_parent, **given))

    request = stream.request("duplicate", item, target, encryption_key_in=b"", symmetric_alg=inner)
    request.after = after
    return request


@move(2)
def credential(stream: Stream) -> Request:
    """Make a credential, and activate the one of either."""
    key, named = parent(stream), stream.object()
    name = stream.pair.own.name_of(named)

    def after(theirs: Reply, ours: Reply) -> None:
        reply = stream.shown(theirs, ours)
        given = {"credential_blob": reply.credential_blob, "secret": reply.secret}
        stream.send(stream.request("activate_credential", named, key, **given))

    secret = stream.pick([b"secret", bytes(32), bytes(64)])
    request = stream.request("make_credential", key, credential=secret, object_name=name)
    request.after = after
    return request


@move(1)
def unseal(stream: Stream) -> Request:
    """Part 3, 12.7."""
    sealed = [h for h in stream.objects() if stream.item(h).public.type is A.KEYEDHASH]
    return stream.request("unseal", stream.pick(sealed or [stream.object()]))
