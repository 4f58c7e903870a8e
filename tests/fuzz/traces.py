"""Captures: any octets become lines that can be shown, or the error of a capture that cannot be read."""

from io import BufferedReader, BytesIO
from pathlib import Path

from tests.fuzz.target import Finding, Target
from vtpm.trace.capture import events_of
from vtpm.trace.pcap import CaptureError
from vtpm.trace.tracer import Tracer

TESTS = Path(__file__).parents[1]


class Captures(Target):
    """The first octet chooses what is shown; the others are a capture."""

    name = "captures"

    def seeds(self) -> list[bytes]:
        """Recorded conversations of every form, whole and in part."""
        paths = [*(TESTS / "vectors" / "traces").glob("*.trace"), *(TESTS / "trace" / "captures").iterdir()]
        found = []
        for path in sorted(paths):
            octets = path.read_bytes()
            lines = octets.splitlines(keepends=True)
            found += [bytes([3]) + octets[:8192]]
            if path.suffix != ".pcapng":
                found += [bytes([1]) + b"".join(lines[n : n + 20]) for n in range(0, 200, 20)]
        rows = (TESTS / "vectors" / "libtpms" / "single-commands.tsv").read_text().splitlines()[1:]
        found += [b"\3" + bytes.fromhex(row.split("\t")[0]) for row in rows]
        return found

    def check(self, octets: bytes) -> bool:
        """Explain every event."""
        choice = octets[0] if octets else 0
        tracer = Tracer(show_secrets=bool(choice & 1), whole=bool(choice & 2))
        capture = BufferedReader(BytesIO(octets[1:]))
        count = 0
        try:
            for line in tracer.lines(events_of(capture)):
                count += 1
                if not line.isprintable():
                    raise Finding(f"{line!r} cannot be shown")
        except CaptureError:
            return False
        return count > 0
