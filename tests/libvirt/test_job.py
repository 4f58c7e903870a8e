"""How a run has ended, from what libvirt 9.0 had in the file with the status of its domain."""

import pytest

from vtpm.libvirt.elements import XmlError
from vtpm.libvirt.job import ENDED, NEVER_CAME, WENT, end_of_run

STATUS = """<!--
WARNING: THIS IS AN AUTO-GENERATED FILE.
-->

<domstatus state='{state}' reason='{reason}' pid='92'>
  <qemuCaps>
    <flag name='kvm'/>
  </qemuCaps>
  {job}
  <blockjobs active='no'/>
  <domain type='qemu' id='1'><name>guest</name></domain>
</domstatus>
"""


def job(kind: str, phase: str = "", within: str = "none") -> str:
    """A job, as it is written down."""
    suffix = f" phase='{phase}'" if phase else ""
    return f"<job type='{within}' async='{kind}'{suffix} flags='0x20b'>\n</job>"


@pytest.mark.parametrize(
    ("state", "reason", "element", "end"),
    [
        ("paused", "migration", job("migration out", "confirm3"), WENT),
        ("paused", "postcopy", job("migration out", "confirm_resume"), WENT),
        ("paused", "migration", "", WENT),
        ("running", "booted", job("migration out", "perform3", "destroy"), ENDED),
        ("paused", "migration", job("migration out", "confirm3_cancelled"), ENDED),
        ("paused", "migration", job("migration in", "finish3"), NEVER_CAME),
        ("paused", "migration", job("migration in", "prepare"), NEVER_CAME),
        ("paused", "save", job("save"), ENDED),
        ("shutdown", "unknown", job("none", within="destroy"), ENDED),
        ("running", "booted", "", ENDED),
    ],
)
def test_end(state: str, reason: str, element: str, end: str) -> None:
    """A run went away once its destination has confirmed it, and never came if it ends as an incoming one."""
    status = STATUS.format(state=state, reason=reason, job=element)
    assert end_of_run(status.encode()) == end


def test_damaged() -> None:
    """What is no such file is an error."""
    with pytest.raises(XmlError, match="this is no XML"):
        end_of_run(b"<domstatus")
