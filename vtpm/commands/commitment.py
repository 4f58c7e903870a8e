"""
Part 1, "Split Signing Operations": numbers that the TPM commits to before it uses them.

A number that signs twice gives the key away.
So the nonce that numbers come from is fresh whenever no commitment is open: a TPM that begins again from
a snapshot has none open, and its counter alone would lead to the numbers that it had before.
"""

from vtpm.crypto.curves import Curve
from vtpm.crypto.kdf import kdf_a
from vtpm.state.hierarchy import PROOF_SIZE
from vtpm.state.object import Object
from vtpm.state.profile import CONTEXT_HASH
from vtpm.state.tpm import TpmState

COUNTER_BITS = 16
"""A caller sees the low bits of the commit counter."""

LABEL = b"ECDAA Commit"


def commit(tpm: TpmState) -> int:
    """Open a commitment with the present counter, which is returned; the next one has the next counter."""
    reset = tpm.reset
    counter = reset.commit_counter
    reset.commit_used |= 1 << counter % tpm.profile.commit_slots
    reset.commit_counter += 1
    return counter & (1 << COUNTER_BITS) - 1


def end_commitment(tpm: TpmState, counter: int) -> None:
    """Close a commitment: its number is never used again."""
    tpm.reset.commit_used &= ~(1 << counter % tpm.profile.commit_slots)


def fresh_number(tpm: TpmState, curve: Curve, key: Object | None) -> int:
    """The number of the commitment that `commit` opens next."""
    if not tpm.reset.commit_used:
        tpm.reset.commit_nonce = tpm.random(PROOF_SIZE)
    return _number(tpm, tpm.reset.commit_counter, curve, key)


def committed_number(tpm: TpmState, counter: int, curve: Curve, key: Object | None) -> int | None:
    """The number of an open commitment; None if the counter is not that of one."""
    reset, slots = tpm.reset, tpm.profile.commit_slots
    if not reset.commit_used >> counter % slots & 1:
        return None
    # The commitment of a slot is the latest one that used it.
    latest = reset.commit_counter - 1
    whole = latest - (latest - counter) % slots
    if whole < 0 or whole & (1 << COUNTER_BITS) - 1 != counter:
        return None
    return _number(tpm, whole, curve, key)


def _number(tpm: TpmState, counter: int, curve: Curve, key: Object | None) -> int:
    name = key.name if key is not None else b""
    bits = 8 * ((curve.n.bit_length() + 7) // 8 + 8)
    octets = kdf_a(CONTEXT_HASH, tpm.reset.commit_nonce, LABEL, name, counter.to_bytes(8, "big"), bits)
    return int.from_bytes(octets, "big") % (curve.n - 1) + 1
