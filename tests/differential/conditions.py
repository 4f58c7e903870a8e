"""What else must be so for an explained difference, by the names that `differences.toml` uses."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from tests.differential.comparison import COUNTERS, attest
from tests.differential.counterparts import leaves
from tests.differential.pair import Exchange, Pair
from tests.scenarios import HEADER
from vtpm.spec.attributes import TPMA_OBJECT, TPMA_SESSION
from vtpm.spec.constants import TPM_ALG, TPM_CAP, TPM_CC, TPM_HT, TPM_RH, TPM_ST
from vtpm.spec.structures import TPMS_ATTEST
from vtpm.state.object import Object
from vtpm.state.sequence import Sequence
from vtpm.state.session import Hashed
from vtpm.wire.error import TPM_RC, TpmError, decode
from vtpm.wire.structure import unmarshal

THEIR_LARGEST = {
    "in_private": 1230,
    "duplicate": 1230,
    "in_duplicate": 1230,
    "secret": 384,
    "encrypted_salt": 384,
    "in_sym_seed": 384,
    "in_public": 484,
}
"""Parameters whose buffers have other limits here, and the largest that libtpms 0.9 takes."""

THEIR_LARGEST_PRIME = 192
"""Octets of the sensitive part of an RSA key for libtpms 0.9; here there is room for five parts."""

THEIR_HASHES = 4
"""The most elements of a TPML_PCR_SELECTION for libtpms 0.9."""

NEED_A_SLOT = (TPM_CC.Create, TPM_CC.Import)
"""Commands that need one as long as they last."""

NEW_TICKETS = (0x8026, 0x8027, 0x8028, 0x8029)
RESERVED_BIT = 1 << 3
LISTS_OF_TIMERS = tuple(
    kind.to_bytes(4, "big") for kind in (TPM_CAP.HANDLES, TPM_CAP.AUTH_POLICIES, TPM_CAP.ACT)
)
NEWEST_CAPABILITIES = (0xB, 0xC, 0xD)
"""TPM_CAP_PUB_KEYS, TPM_CAP_SPDM_SESSION_INFO and the one after them."""

LIMITED = TPMA_OBJECT(firmwareLimited=True, svnLimited=True)
BITS_OF_PUBLIC = slice(6, 10)
"""Where a TPM2B_PUBLIC has objectAttributes."""

AUDIT_EXCLUSIVE, AUDIT_RESET = TPMA_SESSION.auditExclusive.mask, TPMA_SESSION.auditReset.mask
AUDIT = TPMA_SESSION.audit.mask | AUDIT_EXCLUSIVE | AUDIT_RESET

Condition = Callable[[Exchange, Pair], bool]


def octets_at(exchange: Exchange, number: int) -> bytes:
    """The plain parameters from the one with this number on; nothing if one before it cannot be read."""
    stream = BytesIO(exchange.request.parameters[1])
    for name, codec in list(exchange.request.command.parameters.items())[: number - 1]:
        try:
            codec._parse(stream, None, name)
        except (TpmError, ValueError):
            return b""
    return stream.read()


def at_fault(rc: int, kind: str) -> int:
    """The number of the handle, parameter or session that a code finds fault with; 0 for another kind."""
    _, found, number = decode(rc)
    return number if found == kind else 0


def always(_: Exchange, __: Pair) -> bool:
    """No more than the codes."""
    return True


def unknown_tag(exchange: Exchange, _: Pair) -> bool:
    """Is the tag none of a command?"""
    return exchange.sent[:2] not in (
        TPM_ST.NO_SESSIONS.to_bytes(2, "big"),
        TPM_ST.SESSIONS.to_bytes(2, "big"),
    )


def names_persistent(exchange: Exchange, _: Pair) -> bool:
    """Is one of the handles that of a persistent object?"""
    return any(handle >> 24 == TPM_HT.PERSISTENT for handle in exchange.request.handles)


def no_slot_left(exchange: Exchange, pair: Pair) -> bool:
    """Are all slots of the other in use, if every persistent object that a handle names takes one?"""
    command, tpm = exchange.request.command, pair.tpm
    persistent = [handle for handle in exchange.request.handles if handle >> 24 == TPM_HT.PERSISTENT]
    wanted = command.code in NEED_A_SLOT or (command.response_handle and exchange.ours.rc != TPM_RC.SUCCESS)
    return (
        bool(persistent)
        and len(tpm.volatile.objects) + len(persistent) + wanted > tpm.profile.transient_slots
    )


def size_of_secret(octets: bytes) -> int:
    """The size that a TPM2B_SENSITIVE of an RSA key says its secret part has; 0 for another kind."""
    stream = BytesIO(octets)
    stream.read(2)
    if int.from_bytes(stream.read(2), "big") != TPM_ALG.RSA:
        return 0
    for _ in ("authValue", "seedValue"):
        stream.read(int.from_bytes(stream.read(2), "big"))
    return int.from_bytes(stream.read(2), "big")


def large_buffer(exchange: Exchange, _: Pair) -> bool:
    """Has libtpms refused a command with a buffer that only this TPM has room for?"""
    number = at_fault(exchange.theirs.rc, "parameter")
    names = list(exchange.request.command.parameters)
    if not 0 < number <= len(names):
        return False
    octets = octets_at(exchange, number)
    if exchange.request.command.code == TPM_CC.LoadExternal:
        return size_of_secret(octets) > THEIR_LARGEST_PRIME
    return int.from_bytes(octets[:2], "big") > THEIR_LARGEST.get(names[number - 1], 1 << 16)


def faults_sequence(exchange: Exchange, pair: Pair) -> bool:
    """Does this TPM refuse a handle that is a sequence's?"""
    number = at_fault(exchange.ours.rc, "handle")
    handles = exchange.request.handles
    if not 0 < number <= len(handles):
        return False
    return isinstance(pair.tpm.volatile.objects.get(handles[number - 1]), Sequence)


def refused_sequence(exchange: Exchange, pair: Pair) -> bool:
    """Have both refused a command, and this TPM because of a handle that is a sequence's?"""
    return both_refuse(exchange, pair) and faults_sequence(exchange, pair)


def many_elements(exchange: Exchange, _: Pair) -> bool:
    """Does libtpms find fault with a list of selections that has more elements than it has hashes?"""
    octets = octets_at(exchange, at_fault(exchange.theirs.rc, "parameter"))
    return int.from_bytes(octets[:4], "big") > THEIR_HASHES


def limited_object(exchange: Exchange, pair: Pair) -> bool:
    """Have both refused a command with an object of a limited hierarchy, which libtpms finds fault with?"""
    octets = octets_at(exchange, at_fault(exchange.theirs.rc, "parameter"))
    bits = int.from_bytes(octets[BITS_OF_PUBLIC], "big")
    return both_refuse(exchange, pair) and bool(bits & LIMITED)


def new_ticket(exchange: Exchange, pair: Pair) -> bool:
    """Have both refused a command with a ticket of a tag that libtpms does not know?"""
    octets = octets_at(exchange, at_fault(exchange.theirs.rc, "parameter"))
    return both_refuse(exchange, pair) and int.from_bytes(octets[:2], "big") in NEW_TICKETS


def exchanged_handles(exchange: Exchange, _: Pair) -> bool:
    """Have both the same code, one with the first handle at fault and the other with the second?"""
    theirs, ours = decode(exchange.theirs.rc), decode(exchange.ours.rc)
    return theirs[0] == ours[0] and {theirs[2], ours[2]} == {1, 2}


def locked(exchange: Exchange, pair: Pair) -> bool:
    """Have both refused a command with an Index that is locked?"""
    indices = [pair.tpm.nv[handle].attributes for handle in exchange.request.handles if handle in pair.tpm.nv]
    return both_refuse(exchange, pair) and any(bits.WRITELOCKED or bits.READLOCKED for bits in indices)


def unwritten(exchange: Exchange, pair: Pair) -> bool:
    """Have both refused a command with an Index that has not been written?"""
    indices = [pair.tpm.nv[handle].attributes for handle in exchange.request.handles if handle in pair.tpm.nv]
    return both_refuse(exchange, pair) and not all(bits.WRITTEN for bits in indices)


def octets_behind(exchange: Exchange, _: Pair) -> bool:
    """Does this TPM find fault with a secret that is a point with octets behind it?"""
    stream = BytesIO(octets_at(exchange, at_fault(exchange.ours.rc, "parameter")))
    secret = BytesIO(stream.read(int.from_bytes(stream.read(2), "big")))
    for _coordinate in ("x", "y"):
        secret.read(int.from_bytes(secret.read(2), "big"))
    return secret.read(1) != b""


def by_mqv(exchange: Exchange, _: Pair) -> bool:
    """Is the scheme of the key exchange ECMQV?"""
    return octets_at(exchange, 3)[:2] == TPM_ALG.ECMQV.to_bytes(2, "big")


def digest_of_index(exchange: Exchange, _: Pair) -> bool:
    """Has libtpms certified an Index without a key, and with an empty digest of all its data?"""
    if exchange.request.handles[0] != TPM_RH.NULL or exchange.request.parameters[1][-4:] != bytes(4):
        return False
    attested: Any = unmarshal(TPMS_ATTEST, exchange.theirs.attested).attested
    return attested.nv_digest == b"" and exchange.what in ("code", "attested")


def bound_otherwise(exchange: Exchange, pair: Pair) -> bool:
    """Is the policy session bound to a hash of parameters or Names?"""
    session = pair.tpm.volatile.sessions.get(exchange.request.handles[0] & 0xFFFFFF)
    policy = session.policy if session is not None else None
    return policy is not None and policy.bound_hash != b"" and policy.hashed is not Hashed.TEMPLATE


def restricted_key(exchange: Exchange, pair: Pair) -> bool:
    """Is the first handle a restricted key's?"""
    handle = exchange.request.handles[0]
    item = pair.tpm.volatile.objects.get(handle) or pair.tpm.persistent.get(handle)
    return isinstance(item, Object) and bool(item.public.object_attributes.restricted)


def public_only(exchange: Exchange, pair: Pair) -> bool:
    """Is the second handle an object of which the public area alone is loaded?"""
    handle = exchange.request.handles[1]
    item = pair.tpm.volatile.objects.get(handle) or pair.tpm.persistent.get(handle)
    return isinstance(item, Object) and item.sensitive is None


def anonymized(exchange: Exchange, _: Pair) -> bool:
    """Is it an attestation that differs in the obfuscated counters alone?"""
    return all(
        first == second
        for place, (first, second) in enumerate(
            zip(attest(exchange.theirs.attested), attest(exchange.ours.attested), strict=True)
        )
        if place != COUNTERS
    )


def has_gone_on(_: Exchange, pair: Pair) -> bool:
    """Has the state changed after a Shutdown, in a way that only one of the two takes for a change?"""
    return pair.has_gone_on


def has_lost_allocation(_: Exchange, pair: Pair) -> bool:
    """Has libtpms forgotten an allocation of PCR?"""
    return pair.has_lost_allocation


def by_session(exchange: Exchange, _: Pair) -> bool:
    """Is there a session, rather than passwords alone?"""
    return any(auth.session != TPM_RH.TPM_RS_PW for auth in exchange.request.auths)


def audits_nothing(exchange: Exchange, _: Pair) -> bool:
    """Has a session auditExclusive or auditReset, but not audit?"""
    sent = exchange.sent
    place = HEADER.size + 4 * len(exchange.request.command.handles)
    end = min(place + 4 + int.from_bytes(sent[place : place + 4], "big"), len(sent))
    place += 4
    while place < end:
        place += 6 + int.from_bytes(sent[place + 4 : place + 6], "big")
        attributes = sent[place] if place < end else 0
        if attributes & AUDIT in (AUDIT_EXCLUSIVE, AUDIT_RESET, AUDIT_EXCLUSIVE | AUDIT_RESET):
            return True
        place += 3 + int.from_bytes(sent[place + 1 : place + 3], "big")
    return False


def pss_by_default(exchange: Exchange, _: Pair) -> bool:
    """Is it a certificate with a signature of RSASSA-PSS with SHA-1?"""
    signature = exchange.ours.signature
    return signature.sig_alg is TPM_ALG.RSAPSS and signature.signature.hash is TPM_ALG.SHA1


def pin_by_policy(exchange: Exchange, pair: Pair) -> bool:
    """Does a policy authorize the use of a PIN Index?"""
    request = exchange.request
    indices = [pair.tpm.nv[handle] for handle in request.handles if handle in pair.tpm.nv]
    policies = [auth for auth in request.auths if auth.session >> 24 == TPM_HT.POLICY_SESSION]
    return bool(policies) and any(index.is_pin for index in indices)


def has_reset_by_policy(exchange: Exchange, pair: Pair) -> bool:
    """Does lockout authorize the command, after its policy has authorized a reset?"""
    return pair.has_reset_by_policy and TPM_RH.LOCKOUT in exchange.request.handles


def nameless(exchange: Exchange, pair: Pair) -> bool:
    """Is the first handle an object without nameAlg?"""
    item = pair.tpm.volatile.objects.get(exchange.request.handles[0])
    return isinstance(item, Object) and item.public.name_alg is TPM_ALG.NULL


def wide_algorithm(exchange: Exchange, _: Pair) -> bool:
    """Does a list of algorithms or curves begin with a number of more than 16 bits?"""
    octets = exchange.request.parameters[1]
    return octets[:4] in (bytes(4), b"\0\0\0\x08") and octets[4:6] != bytes(2)


def no_banks(exchange: Exchange, _: Pair) -> bool:
    """Are no PCR banks at all asked for?"""
    return exchange.request.parameters[1] == bytes.fromhex("00000005 00000000 00000000")


def no_signer(exchange: Exchange, _: Pair) -> bool:
    """Is TPM_RH_NULL one of the handles, and have not both succeeded?"""
    return TPM_RH.NULL in exchange.request.handles and exchange.what == "code"


def reserved_bit(exchange: Exchange, _: Pair) -> bool:
    """Is bit 3 of a public area's attributes set?"""
    octets = octets_at(exchange, at_fault(exchange.ours.rc, "parameter"))
    return bool(int.from_bytes(octets[BITS_OF_PUBLIC], "big") & RESERVED_BIT)


def lists_timers(exchange: Exchange, _: Pair) -> bool:
    """Are permanent handles asked for, their policies, or the timers?"""
    return exchange.request.parameters[1][:4] in LISTS_OF_TIMERS


def padded_message(exchange: Exchange, _: Pair) -> bool:
    """Is what was decrypted one number, with zeros in front of it here?"""
    return both_pad(exchange.theirs.message, exchange.ours.message)


def larger_private(exchange: Exchange, _: Pair) -> bool:
    """Is the other's private area larger?"""
    return len(exchange.theirs.out_private) > len(exchange.ours.out_private)


def decrypts_nothing(exchange: Exchange, _: Pair) -> bool:
    """Is there nothing in the first parameter, which a session decrypts?"""
    return exchange.request.parameters[1][:2] == bytes(2) and any(
        auth.attributes.decrypt for auth in exchange.request.auths
    )


def absent_command(exchange: Exchange, pair: Pair) -> bool:
    """Does a policy name a command that this TPM has not?"""
    return int.from_bytes(exchange.request.parameters[1][:4], "big") not in pair.tpm.commands


def lists_own_commands(exchange: Exchange, _: Pair) -> bool:
    """Are commands listed, of which the other has all, but for an attribute of ReadOnlyControl?"""
    if exchange.request.parameters[1][:4] != TPM_CAP.COMMANDS.to_bytes(4, "big"):
        return False
    theirs, ours = (set(reply.capability_data.data) for reply in (exchange.theirs, exchange.ours))
    more = {entry.commandIndex for entry in ours - theirs} - {TPM_CC.ReadOnlyControl}
    return not more or bool(exchange.theirs.more_data)


def newest_capability(exchange: Exchange, _: Pair) -> bool:
    """Is a capability asked for that only some TPMs of the newest revisions have?"""
    return int.from_bytes(exchange.request.parameters[1][:4], "big") in NEWEST_CAPABILITIES


def padded_curve(exchange: Exchange, _: Pair) -> bool:
    """Do the parameters of a curve agree but for zeros in front of numbers?"""
    pairs = list(leaves(exchange.theirs.fields["parameters"], exchange.ours.fields["parameters"]))
    return all(theirs == ours or both_pad(theirs, ours) for theirs, ours in pairs)


def both_pad(theirs: Any, ours: Any) -> bool:
    """Are two octet strings one number?"""
    if not isinstance(theirs, bytes) or not isinstance(ours, bytes):
        return False
    return theirs.lstrip(b"\0") == ours.lstrip(b"\0")


def both_refuse(exchange: Exchange, _: Pair) -> bool:
    """Has neither done anything?"""
    return TPM_RC.SUCCESS not in (exchange.theirs.rc, exchange.ours.rc)


CONDITIONS: dict[str, Condition] = {
    condition.__name__: condition
    for condition in (
        absent_command,
        always,
        anonymized,
        audits_nothing,
        both_refuse,
        bound_otherwise,
        by_mqv,
        by_session,
        digest_of_index,
        exchanged_handles,
        faults_sequence,
        has_gone_on,
        has_lost_allocation,
        has_reset_by_policy,
        large_buffer,
        limited_object,
        locked,
        many_elements,
        nameless,
        names_persistent,
        new_ticket,
        no_banks,
        no_signer,
        no_slot_left,
        octets_behind,
        pin_by_policy,
        pss_by_default,
        public_only,
        refused_sequence,
        restricted_key,
        reserved_bit,
        decrypts_nothing,
        larger_private,
        lists_own_commands,
        padded_message,
        lists_timers,
        newest_capability,
        padded_curve,
        unknown_tag,
        unwritten,
        wide_algorithm,
    )
}
"""What else must be so, by the names that the table uses."""
