"""What an event log means (PC Client Platform Firmware Profile, "Event Logging")."""

import hashlib

import pytest

from vtpm.trace.event_log import Event, EventType
from vtpm.trace.measured import (
    IMAGE,
    PATH_NODE,
    VARIABLE,
    events_as_facts,
    explained_pcr,
    file_of_image,
    secure_boot_of,
)

SECURE_BOOT = VARIABLE.pack(bytes(16), 10, 1) + "SecureBoot".encode("utf-16-le") + b"\1"

END = PATH_NODE.pack(0x7F, 0xFF, 4)


def node(kind: int, sub_type: int, content: bytes) -> bytes:
    """One node of a device path."""
    return PATH_NODE.pack(kind, sub_type, PATH_NODE.size + len(content)) + content


def image(*nodes: bytes) -> bytes:
    """UEFI_IMAGE_LOAD_EVENT."""
    return IMAGE.pack(1 << 20, 4096, 0, sum(map(len, nodes))) + b"".join(nodes)


LOADER = image(node(1, 1, bytes(2)), node(4, 4, "\\EFI\\BOOT\\X.EFI\0".encode("utf-16-le")), END)


class TestMeaning:
    """Types and data"""

    @pytest.mark.parametrize(
        ("kind", "data", "type_name", "says"),
        [
            (
                EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
                SECURE_BOOT,
                "EV_EFI_VARIABLE_DRIVER_CONFIG",
                "SecureBoot",
            ),
            (EventType.EV_EFI_VARIABLE_BOOT, b"short", "EV_EFI_VARIABLE_BOOT", ""),
            (
                EventType.EV_EFI_BOOT_SERVICES_APPLICATION,
                LOADER,
                "EV_EFI_BOOT_SERVICES_APPLICATION",
                "\\EFI\\BOOT\\X.EFI",
            ),
            (EventType.EV_EFI_ACTION, b"Exit Boot Services", "EV_EFI_ACTION", "Exit Boot Services"),
            (EventType.EV_S_CRTM_VERSION, "1.0\0".encode("utf-16-le"), "EV_S_CRTM_VERSION", "1.0"),
            (EventType.EV_POST_CODE, b"\xff\xfe\1", "EV_POST_CODE", ""),
            (0x1234, b"\x1b[2J", "0x00001234", ""),
            (
                EventType.EV_EFI_VARIABLE_AUTHORITY,
                VARIABLE.pack(bytes(16), 2, 0) + "\x1b[".encode("utf-16-le"),
                "EV_EFI_VARIABLE_AUTHORITY",
                "",
            ),
        ],
    )
    def test_event(self, kind: int, data: bytes, type_name: str, says: str) -> None:
        """Variables by their names, text as it is, nothing that a terminal would obey."""
        assert events_as_facts([Event(7, kind, {}, data)]) == [{"pcr": 7, "type": type_name, "says": says}]

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            IMAGE.pack(0, 0, 0, 0),
            image(PATH_NODE.pack(4, 4, 0)),
            image(node(4, 4, b"\x1b\0")),
            LOADER[:50],
        ],
        ids=["nothing", "from memory", "a node without size", "a control character", "cut off"],
    )
    def test_no_file(self, data: bytes) -> None:
        """An image whose event names no file has none, and the reading ends."""
        assert file_of_image(data) == ""

    @pytest.mark.parametrize(
        ("data", "expected"),
        [(SECURE_BOOT, True), (SECURE_BOOT[:-1] + b"\0", False), (SECURE_BOOT[:-1], False)],
        ids=["on", "off", "no value"],
    )
    def test_secure_boot(self, data: bytes, *, expected: bool) -> None:
        """It is on where firmware has measured the variable with a 1."""
        event = Event(7, EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, {}, data)

        assert secure_boot_of([event]) is expected

    def test_no_secure_boot(self) -> None:
        """Nothing is known of it from other events."""
        assert secure_boot_of([Event(4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, {}, LOADER)]) is None


class TestExplained:
    """Part 3, 22.2: the events of a PCR lead to its value"""

    def test_values(self) -> None:
        """Each PCR of the log is compared, in the banks that the TPM has."""
        events = [
            Event(number, 4, {"sha256": b"d" * 32, "sha1": b"e" * 20, "0x0012": b"f" * 32}, b"")
            for number in (0, 7)
        ]
        value = hashlib.sha256(bytes(32) + b"d" * 32).hexdigest()

        assert explained_pcr(events, {"SHA256": {"0": value, "7": "00" * 32, "8": "11" * 32}}) == {
            "SHA256": {"0": True, "7": False}
        }
