"""Slots and places of the mark that somebody overwrites: nothing older opens in silence."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvstore import Host, MarkDamaged, NvstoreError
from nvstore.state.mark import PLACE
from nvstore.state.ring import read_ring
from tests.nvstore.conftest import VM, host_at

GARBAGE = {
    "zeros": bytes,
    "noise": lambda size: (b"\xa5\x5a" * size)[:size],
    "torn": lambda size: (b"nvsmark2" + b"\xa5" * size)[:size],
}
"""What is written over; the last looks like a place that was torn."""

NEWEST = 11


def end(host: Host, *, closed: bool) -> None:
    """Write eleven generations in two openings; the second ends, or is killed."""
    with host.create_state(VM, "guest", {"a": b"1"}) as store:
        for number in range(2, 7):
            store.commit({"a": b"%d" % number})
    store = host.open_state(VM)
    for number in range(7, NEWEST + 1):
        store.commit({"a": b"%d" % number})
    if closed:
        store.close()
    else:
        store._release()


def overwritten(state: Path, mark: Path, fill: Callable[[int], bytes]) -> Iterator[str]:
    """Overwrite every combination of slots and places, one after the other."""
    ring = read_ring(state.read_bytes())
    whole = state.read_bytes(), mark.read_bytes()
    parts = [("slot", n) for n in range(ring.slots)] + [("place", n) for n in range(3)]
    for count in range(1, len(parts) + 1):
        for chosen in itertools.combinations(parts, count):
            contents = [bytearray(octets) for octets in whole]
            for kind, number in chosen:
                at, size, which = (
                    (ring.offset(number), ring.slot_size, 0) if kind == "slot" else (number * PLACE, PLACE, 1)
                )
                contents[which][at : at + size] = fill(size)
            state.write_bytes(contents[0])
            mark.write_bytes(contents[1])
            yield str(chosen)
    state.write_bytes(whole[0])
    mark.write_bytes(whole[1])


@pytest.mark.parametrize("fill", GARBAGE)
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
def test_every_combination(host: Host, directory: Path, fill: str, *, closed: bool) -> None:
    """What opens is the newest generation, or a named error comes, or the audit log says what may be lost."""
    end(host, closed=closed)
    state, mark = directory / f"states/{VM}.state", directory / f"marks/{VM}.mark"
    audit = directory / "audit"
    kept = directory.parent / "kept"
    shutil.copytree(audit, kept)
    older = refused = 0
    for chosen in overwritten(state, mark, GARBAGE[fill]):
        try:
            with host_at(directory).open_state(VM) as store:
                generation = store.generation
        except NvstoreError:
            refused += 1
            continue
        if generation != NEWEST:
            notices = [entry for entry in host_at(directory).audit.entries() if entry["op"] == "notice"]
            assert not closed, chosen
            assert notices, chosen
            assert str(generation) in notices[-1]["notice"], chosen
            older += 1
        shutil.rmtree(audit)
        shutil.copytree(kept, audit)
    assert refused > 100
    assert older == 0 or (fill == "torn" and not closed)
    with host_at(directory).open_state(VM) as store:
        assert store.generation == NEWEST


def test_places_copied_over_others(host: Host, directory: Path) -> None:
    """An older place put over the newer ones is no way back after a run that was closed."""
    end(host, closed=True)
    mark = directory / f"marks/{VM}.mark"
    content = mark.read_bytes()
    places = [content[n * PLACE : (n + 1) * PLACE] for n in range(3)]
    for chosen in itertools.product(range(3), repeat=3):
        mark.write_bytes(b"".join(places[n] for n in chosen))
        try:
            with host_at(directory).open_state(VM) as store:
                assert store.generation == NEWEST
        except MarkDamaged:
            continue


def test_a_place_lowered(host: Host, directory: Path) -> None:
    """Places whose checksum is right and that do not authenticate count as lost, two of them as damage."""
    import zlib  # noqa: PLC0415 - only here

    end(host, closed=False)
    mark = directory / f"marks/{VM}.mark"
    content = bytearray(mark.read_bytes())
    newest = sorted(range(3), key=lambda n: content[n * PLACE + 8 : n * PLACE + 16])[1:]
    for number in newest:
        at = number * PLACE
        content[at + 8 : at + 16] = bytes(8)
        content[at + 216 : at + 220] = zlib.crc32(content[at : at + 216]).to_bytes(4)
    mark.write_bytes(content)
    with pytest.raises(MarkDamaged, match="places"):
        host.open_state(VM)
