"""The TPM in the definition of a domain (libvirt, "Domain XML format", "TPM device"), set and removed."""

import difflib
import html
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vtpm.daemon.errors import OperatorError
from vtpm.libvirt.elements import Element, parse

EXTERNAL: Final = "external"
EMULATOR: Final = "emulator"

KEY_NAMESPACE: Final = "urn:vtpm:domain:1"
KEY_PREFIX: Final = "vtpm"
NOTED_KEY: Final = f"{KEY_PREFIX}:key"
"""The element of the metadata that says which key a TPM needs."""

MODELS: Final = {"x86_64": "tpm-crb", "i686": "tpm-crb", "aarch64": "tpm-tis-device"}
"""The model that a machine of an architecture gets where none is chosen."""


class DefinitionError(OperatorError):
    """The definition of a domain cannot be used, or not be changed so; the text gives cause and remedy."""


@dataclass(frozen=True)
class DefinedTpm:
    """What a definition says of its TPM."""

    model: str
    backend: str
    socket: str = ""
    """The control socket of an external TPM that libvirt connects to."""
    state: str = ""
    """Where an emulator's state is, if the definition says so."""
    is_encrypted: bool = False


class Definition:
    """The definition of one domain; a change gives a new text, in which all else is as it was."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._octets = text.encode()
        root = parse(self._octets)
        if root.name != "domain":
            raise DefinitionError(f"this is a <{root.name}>; give the definition of a domain")
        self._root = root
        self.name = root.text_of("name")
        self._elements = list(root.all("devices/tpm"))
        if len(self._elements) > 1:
            raise DefinitionError(f"the domain {self.name} has several TPMs; leave one of them in it")

    @property
    def uuid(self) -> UUID:
        """The UUID of the domain; DefinitionError if the definition leaves it to libvirt."""
        text = self._root.text_of("uuid")
        try:
            return UUID(text)
        except ValueError:
            raise DefinitionError(
                f"the definition of {self.name} has no UUID, to which its TPM is bound; add <uuid>, "
                "as `uuidgen` makes one"
            ) from None

    @property
    def platform(self) -> tuple[str | None, str | None, str | None, str | None]:
        """Emulator, architecture, machine and kind of virtualization, where the definition names them."""
        kind = self._root.first("os/type")
        os_type = {} if kind is None else kind.attributes
        emulator = self._root.text_of("devices/emulator") or None
        return emulator, os_type.get("arch"), os_type.get("machine"), self._root.attributes.get("type")

    @property
    def tpm(self) -> DefinedTpm | None:
        """The TPM, if there is one."""
        if not self._elements:
            return None
        element = self._elements[0]
        backend = element.first("backend") or Element("backend", {}, 0, 0)
        source = backend.first("source") or Element("source", {}, 0, 0)
        is_socket = source.attributes.get("type") == "unix"
        path = source.attributes.get("path", "")
        return DefinedTpm(
            element.attributes.get("model", ""),
            backend.attributes.get("type", ""),
            path if is_socket else "",
            "" if is_socket else path,
            backend.first("encryption") is not None,
        )

    @property
    def key(self) -> tuple[str, str] | None:
        """The provider and the id of the key that the TPM needs, if its host has noted them."""
        noted = self._root.first(f"metadata/{NOTED_KEY}")
        if noted is None or noted.attributes.get(f"xmlns:{KEY_PREFIX}") != KEY_NAMESPACE:
            return None
        return noted.attributes.get("provider", ""), noted.attributes.get("id", "")

    def with_socket(self, path: str, model: str | None = None) -> str:
        """
        The text with an external TPM at a control socket; another backend is replaced, the model stays.

        DefinitionError where no model was chosen and the architecture has no usual one.
        """
        if self.tpm is None:
            return self._inserted(path, model or self._usual_model())
        if self.tpm.backend == EXTERNAL and self.tpm.socket == path and model in {None, self.tpm.model}:
            return self.text
        element = self._elements[0]
        return self._replaced(element.start, element.end, self._rewritten(element, path, model))

    def without_tpm(self) -> str:
        """The text without a TPM, and without what was noted of its key."""
        if not self._elements:
            return self.text
        gone, metadata = [self._elements[0]], self._root.first("metadata")
        if metadata is not None and self.key is not None:
            noted = next(metadata.all(NOTED_KEY))
            gone.append(metadata if metadata.children == [noted] else noted)
        octets = self._octets
        for element in sorted(gone, key=lambda element: -element.start):
            octets = octets[: element.start].rstrip(b" \t\r\n") + octets[element.end :]
        return octets.decode()

    def _usual_model(self) -> str:
        kind = self._root.first("os/type")
        architecture = "" if kind is None else kind.attributes.get("arch", "")
        if architecture not in MODELS:
            raise DefinitionError(
                f"nothing says which TPM a machine of the architecture {architecture or 'of this host'} has; "
                "choose its --model"
            )
        return MODELS[architecture]

    def _inserted(self, path: str, model: str) -> str:
        devices = self._root.first("devices")
        if devices is None or not devices.children:
            raise DefinitionError(
                f"the domain {self.name} has no devices; define it with `virsh define` first"
            )
        last = devices.children[-1]
        indent = self._indent_of(last)
        tpm = b"<tpm model='%s'>\n%s  %s\n%s</tpm>" % (
            html.escape(model).encode(),
            indent,
            backend_text(path, indent + b"  "),
            indent,
        )
        return self._replaced(last.end, last.end, b"\n" + indent + tpm)

    def _rewritten(self, tpm: Element, path: str, model: str | None) -> bytes:
        """The element of a TPM with another backend, and another model if one is given."""
        backend = tpm.first("backend")
        if backend is None:
            raise DefinitionError(f"the TPM of the domain {self.name} has no backend; detach it first")
        tag = self._octets[tpm.start : tpm.inner_start]
        if model not in {None, tpm.attributes.get("model")}:
            assert model is not None
            tag = f"<tpm model='{html.escape(model)}'>".encode()
        return (
            tag
            + self._octets[tpm.inner_start : backend.start]
            + backend_text(path, self._indent_of(backend))
            + self._octets[backend.end : tpm.end]
        )

    def _indent_of(self, element: Element) -> bytes:
        line = self._octets[self._octets.rfind(b"\n", 0, element.start) + 1 : element.start]
        return line if not line.strip() else b""

    def _replaced(self, start: int, end: int, octets: bytes) -> str:
        return (self._octets[:start] + octets + self._octets[end:]).decode()


def backend_text(path: str, indent: bytes) -> bytes:
    """The backend that connects to a control socket."""
    source = f"<source type='unix' mode='connect' path='{html.escape(path)}'/>".encode()
    return b"<backend type='external'>\n%s  %s\n%s</backend>" % (indent, source, indent)


def difference(name: str, before: str, after: str) -> str:
    """What a change does to a definition, line by line."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name} as it is", f"{name} as it would be", lineterm=""
    )
    return "\n".join(lines)
