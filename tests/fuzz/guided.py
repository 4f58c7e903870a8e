"""
One target in its own process, guided by coverage: `python -m tests.fuzz.guided NAME SECONDS SEED DIRECTORY`.

Needs atheris, the optional dependency `fuzz`.
"""

import importlib
import sys
from pathlib import Path

SLOWEST = 120
"""Seconds after which one input counts as a finding."""

LONGEST = 1 << 14
WORD = 64
"""The longest word that libFuzzer takes."""


def main() -> None:
    """Instrument the program, then hand the target over."""
    name, seconds, seed, directory = sys.argv[1:]
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["vtpm", "nvstore"]):
        targets = importlib.import_module("tests.fuzz.targets")
    target = targets.TARGETS[name]()
    corpus = Path(directory) / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, octets in enumerate(target.seeds()):
        (corpus / f"{number:05}").write_bytes(octets)

    words = Path(directory) / "words"
    escaped = ("".join(f"\\x{octet:02x}" for octet in word[:WORD]) for word in target.words)
    words.write_text("".join(f'"{word}"\n' for word in escaped))

    def check(octets: bytes) -> None:
        target.check(octets)

    options: dict[str, object] = {
        "max_total_time": seconds,
        "seed": seed,
        "max_len": LONGEST,
        "timeout": SLOWEST,
        "rss_limit_mb": 0,
        "artifact_prefix": f"{directory}/",
        "print_final_stats": 1,
    }
    if target.words:
        options["dict"] = words
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
