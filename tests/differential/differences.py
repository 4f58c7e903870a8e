"""The differences that are explained: `differences.toml`, which every run reads."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.differential.comparison import COUNTERS, attest
from tests.differential.pair import Exchange, Pair
from tests.scenarios import HEADER
from vtpm.spec.attributes import TPMA_SESSION
from vtpm.spec.constants import TPM_HT, TPM_RH, TPM_ST
from vtpm.state.object import Object
from vtpm.state.sequence import Sequence
from vtpm.wire.error import TPM_RC

TABLE = Path(__file__).with_name("differences.toml")

LARGE = 250
"""Octets of a command with a buffer that only one of the two takes."""

THEIR_HASHES, OUR_HASHES = 4, 16
"""The most elements of a TPML_PCR_SELECTION."""

AUDIT_EXCLUSIVE, AUDIT_RESET = TPMA_SESSION.auditExclusive.mask, TPMA_SESSION.auditReset.mask
AUDIT = TPMA_SESSION.audit.mask | AUDIT_EXCLUSIVE | AUDIT_RESET

Condition = Callable[[Exchange, Pair], bool]


@dataclass(frozen=True)
class Difference:
    """One explained difference: patterns for command and codes, and the clause that explains it."""

    name: str
    commands: tuple[str, ...]
    theirs: str
    ours: str
    what: str
    condition: str
    ends: bool
    """Do the states of the two differ from then on, so that the stream ends?"""
    clause: str
    reason: str

    def explains(self, exchange: Exchange, pair: Pair) -> bool:
        """Is it this difference?"""
        command, theirs, ours, what = exchange.key
        return (
            any(fnmatchcase(command, pattern) for pattern in self.commands)
            and fnmatchcase(theirs, self.theirs)
            and fnmatchcase(ours, self.ours)
            and fnmatchcase(what, self.what)
            and CONDITIONS[self.condition](exchange, pair)
        )


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


def names_sequence(exchange: Exchange, pair: Pair) -> bool:
    """Is one of the handles that of a sequence?"""
    objects = pair.tpm.volatile.objects
    return any(isinstance(objects.get(handle), Sequence) for handle in exchange.request.handles)


def large_buffer(exchange: Exchange, _: Pair) -> bool:
    """Have both refused a command with a buffer as large as the private area of a key?"""
    return both_refuse(exchange, _) and len(exchange.sent) > LARGE


def refused_sequence(exchange: Exchange, pair: Pair) -> bool:
    """Have both refused a command with a sequence?"""
    return both_refuse(exchange, pair) and names_sequence(exchange, pair)


def many_elements(exchange: Exchange, _: Pair) -> bool:
    """Is there a list with more elements than libtpms has hashes, but not more than there are?"""
    octets = exchange.request.parameters[1]
    counts = [octets[place : place + 4] for place in range(len(octets) - 3)]
    return any(count[:3] == bytes(3) and THEIR_HASHES < count[3] <= OUR_HASHES for count in counts)


def anonymized(exchange: Exchange, _: Pair) -> bool:
    """Is it an attestation that differs in the obfuscated counters alone?"""
    return all(
        first == second
        for place, (first, second) in enumerate(
            zip(attest(exchange.theirs.attested), attest(exchange.ours.attested), strict=True)
        )
        if place != COUNTERS
    )


def fewer_banks(_: Exchange, pair: Pair) -> bool:
    """Has a bank no PCR?"""
    return len(pair.tpm.pcr.banks) < THEIR_HASHES


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


def pin_by_policy(exchange: Exchange, pair: Pair) -> bool:
    """Does a policy authorize the use of a PIN Index?"""
    request = exchange.request
    indices = [pair.tpm.nv[handle] for handle in request.handles if handle in pair.tpm.nv]
    policies = [auth for auth in request.auths if auth.session >> 24 == TPM_HT.POLICY_SESSION]
    return bool(policies) and any(index.is_pin for index in indices)


def has_reset_by_policy(exchange: Exchange, pair: Pair) -> bool:
    """Does lockout authorize the command, after its policy has authorized a reset?"""
    return pair.has_reset_by_policy and TPM_RH.LOCKOUT in exchange.request.handles


def without_sign(exchange: Exchange, pair: Pair) -> bool:
    """Is the first handle a keyed hash that is not for signing?"""
    item = pair.tpm.volatile.objects.get(exchange.request.handles[0])
    return isinstance(item, Object) and not item.public.object_attributes.sign


def wide_algorithm(exchange: Exchange, _: Pair) -> bool:
    """Does a list of algorithms or curves begin with a number of more than 16 bits?"""
    octets = exchange.request.parameters[1]
    return octets[:4] in (bytes(4), b"\0\0\0\x08") and octets[4:6] != bytes(2)


def no_banks(exchange: Exchange, _: Pair) -> bool:
    """Are no PCR banks at all asked for?"""
    return exchange.request.parameters[1] == bytes.fromhex("00000005 00000000 00000000")


def no_signer(exchange: Exchange, _: Pair) -> bool:
    """Is the signing key TPM_RH_NULL?"""
    return TPM_RH.NULL in exchange.request.handles


def both_refuse(exchange: Exchange, _: Pair) -> bool:
    """Has neither done anything?"""
    return TPM_RC.SUCCESS not in (exchange.theirs.rc, exchange.ours.rc)


CONDITIONS: dict[str, Condition] = {
    condition.__name__: condition
    for condition in (
        always,
        anonymized,
        audits_nothing,
        both_refuse,
        by_session,
        fewer_banks,
        has_gone_on,
        has_lost_allocation,
        has_reset_by_policy,
        large_buffer,
        many_elements,
        names_persistent,
        names_sequence,
        no_banks,
        no_signer,
        pin_by_policy,
        refused_sequence,
        unknown_tag,
        wide_algorithm,
        without_sign,
    )
}
"""What else must be so, by the names that the table uses."""


def table() -> list[Difference]:
    """All explained differences, in order."""
    rows = tomllib.loads(TABLE.read_text())["difference"]
    return [
        Difference(
            name=row["name"],
            commands=tuple(row["commands"]),
            theirs=row["theirs"],
            ours=row["ours"],
            what=row.get("what", "code"),
            condition=row.get("condition", "always"),
            ends=row["ends"],
            clause=row["clause"],
            reason=row["reason"],
        )
        for row in rows
    ]
