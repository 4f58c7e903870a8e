"""Documents that no version of this program wrote are refused where they are read."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nvstore import Host, NvstoreError
from nvstore.audit import Audit
from nvstore.document import BadDocument, pretty, read_document, seconds_of, timestamp
from nvstore.errors import AuditBroken, BundleDamaged
from nvstore.files import OsFiles
from nvstore.provider.shares import Share
from nvstore.provider_errors import ProviderDamaged
from nvstore.state.bundle import open_bundle
from nvstore.state.vm import read_vm

KIND = "nvstore test"


@pytest.mark.parametrize(
    "value", ["1e999", "Infinity", "-Infinity", "NaN", "0.5", '"\\ud800"', "[" * 100_000]
)
def test_values_that_no_document_has(value: str) -> None:
    """Numbers that are not whole, text that is no text, and lists without end are refused."""
    with pytest.raises(BadDocument, match="it is"):
        read_document(pretty(KIND, {"field": 1}).replace(b" 1\n", value.encode() + b"\n"), KIND)


def test_share_of_an_infinite_number() -> None:
    """A share's number may be no number."""
    fields = {"threshold": 2, "index": float("inf"), "value": "", "commitments": ["00"], "set": ""}
    with pytest.raises(NvstoreError, match="Infinity is no whole number"):
        Share.decode(pretty("nvstore recovery share", fields), "a share")


@pytest.mark.parametrize("uuid", [5, [], None, "no UUID"])
def test_uuid_of_another_type(uuid: object) -> None:
    """What should be a UUID may be anything."""
    fields = {
        "uuid": uuid,
        "vm": uuid,
        "name": "a",
        "provider": "a",
        "created": "a",
        "allow_unverified": False,
    }
    with pytest.raises(NvstoreError, match="missing or malformed"):
        read_vm(pretty("nvstore vm", fields), "a VM")
    bundle = {
        **fields,
        "kdk_id": "00",
        "incarnation": "00",
        "generation": 1,
        "exported": "",
        "host": "",
        "box": "",
    }
    with pytest.raises(BundleDamaged, match="missing or malformed"):
        open_bundle(pretty("nvstore state bundle", bundle), Path("bundle"), None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"verified": "2', b'"verified": "x2'),
        (b'"verified": "', b'"verified": [], "was": "'),
        (b'Z"', b'"'),
        (b'"kind"', b'"other"'),
    ],
)
def test_provider_with_malformed_fields(host: Host, directory: Path, before: bytes, after: bytes) -> None:
    """A provider with a field that cannot be read is refused as a whole, and not where the field is used."""
    (path,) = directory.rglob("main.provider")
    octets = path.read_bytes()
    assert before in octets
    path.write_bytes(octets.replace(before, after))

    with pytest.raises(ProviderDamaged, match="missing or malformed"):
        host.providers.list()


@pytest.mark.parametrize("line", [b"[" * 100_000 + b"\n", b"5\n", b"\xff\n"])
def test_audit_log_with_another_line(directory: Path, line: bytes) -> None:
    """A line that is no entry is named."""
    audit = Audit(directory, OsFiles(), lambda: 0.0, bytes)
    (directory / "log.jsonl").write_bytes(line)

    with pytest.raises(AuditBroken):
        audit.verify()


def test_time_beyond_the_calendar() -> None:
    """A record may say that it was written after the year 9999; people are told the last second of it."""
    assert timestamp(1e17) == "9999-12-31T23:59:59Z"
    assert datetime.fromtimestamp(seconds_of(timestamp(1e17)), UTC).year == 9999
