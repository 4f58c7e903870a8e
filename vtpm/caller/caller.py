"""The commands of the table as methods: `caller.nv_write(owner, index, data=b"x", offset=0)`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from inspect import Parameter, Signature
from typing import Any, Protocol

from vtpm.caller.messages import Reply, parameters_of, reply_of, request_of
from vtpm.commands import COMMANDS, Command
from vtpm.engine.tpm import Tpm
from vtpm.spec.constants import TPM_RH
from vtpm.state.clock import Instant

BY_HANDLER: dict[str, Command] = {command.run.__name__: command for command in COMMANDS.values()}
"""The commands by the names of the methods: TPM2_PCR_Extend is `pcr_extend`."""


class Authorization(Protocol):
    """What the authorization area of a command is made of: a password, or the caller's side of a session."""

    def octets(self, command: Command, names: list[bytes], parameters: bytes) -> bytes:
        """The TPMS_AUTH_COMMAND; `names` and `parameters` are what cpHash is made of."""


class Password:
    """Part 1, "Password Authorizations": the authValue in the clear."""

    def __init__(self, password: bytes = b"") -> None:
        self.password = password

    def octets(self, command: Command, names: list[bytes], parameters: bytes) -> bytes:  # noqa: ARG002
        """The session's part of the authorization area."""
        size = len(self.password).to_bytes(2, "big")
        return TPM_RH.TPM_RS_PW.to_bytes(4, "big") + b"\0\0" + b"\x01" + size + self.password


def signature_of(command: Command) -> Signature:
    """How a command's method is called."""
    arguments = [
        *(Parameter(handle.name, Parameter.POSITIONAL_OR_KEYWORD) for handle in command.handles),
        *(Parameter(name, Parameter.KEYWORD_ONLY) for name in command.parameters),
        Parameter("auths", Parameter.KEYWORD_ONLY, default=()),
        Parameter("sessions", Parameter.KEYWORD_ONLY, default=()),
        Parameter("locality", Parameter.KEYWORD_ONLY, default=0),
    ]
    return Signature(arguments, return_annotation=Reply)


class Method:
    """One command, to be called as `signature_of` says."""

    def __init__(self, caller: "Caller", command: Command) -> None:
        self._caller = caller
        self._command = command
        self.__name__ = command.run.__name__
        self.__doc__ = command.run.__doc__

    @property
    def __signature__(self) -> Signature:
        return signature_of(self._command)

    def __call__(
        self,
        *handles: int,
        auths: Iterable[bytes] = (),
        sessions: Iterable[Authorization] = (),
        locality: int = 0,
        **given: Any,
    ) -> Reply:
        """Send the command."""
        rest = [handle.name for handle in self._command.handles[len(handles) :] if handle.name in given]
        handles += tuple(given.pop(name) for name in rest)
        return self._caller.call(self._command, handles, list(auths), list(sessions), locality, given)


class Caller(ABC):
    """
    The commands of the table as methods, for a TPM that `send` reaches; a subclass says how.

    A method has the name of its command and takes the arguments that Part 3 gives it, in snake case.
    `caller.nv_write(owner, index, data=b"x", offset=0)` sends TPM2_NV_Write.
    Handles are given by position or by name, parameters by name, as the values of `vtpm.spec`.
    `auths` are passwords, one for each authorization that the command needs, empty ones if not given.
    `sessions` take their place: `Password` or other objects that give their octets.
    `locality` is the locality of the command.
    A refused command is a `Reply` with another code than 0, not an exception.
    """

    @abstractmethod
    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are."""

    @abstractmethod
    def name_of(self, handle: int) -> bytes:
        """The Name of an entity, as cpHash needs it."""

    def __getattr__(self, name: str) -> Callable[..., Reply]:
        command = BY_HANDLER.get(name)
        if command is None:
            raise AttributeError(f"{name} is no command of this TPM")
        return Method(self, command)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *BY_HANDLER]

    def call(
        self,
        command: Command,
        handles: tuple[int, ...],
        auths: list[bytes],
        sessions: list[Authorization],
        locality: int,
        given: dict[str, Any],
    ) -> Reply:
        """Build the command, have it executed and take the response apart."""
        if len(handles) != len(command.handles):
            names = ", ".join(handle.name for handle in command.handles) or "none"
            raise TypeError(f"TPM2_{command.name} takes the handles {names}; {len(handles)} are given")
        parameters = parameters_of(command, given)
        if not sessions:
            auths += [b""] * (command.authorizations - len(auths))
            sessions = [Password(auth) for auth in auths]
        entities = [self.name_of(handle) for handle in handles] if sessions else []
        area = b"".join(session.octets(command, entities, parameters) for session in sessions)
        return reply_of(command, self.send(request_of(command, handles, area, parameters), locality))


class Direct(Caller):
    """The TPM `tpm` in this process, for which it is always `now`, in milliseconds; its changes are lost."""

    def __init__(self, tpm: Tpm, now: int = 0) -> None:
        self.tpm = tpm
        self.now = now

    def send(self, request: bytes, locality: int = 0) -> bytes:
        """Send octets as they are."""
        return self.tpm.execute(request, locality, Instant(self.now)).response

    def name_of(self, handle: int) -> bytes:
        """The Name of an entity, as cpHash needs it."""
        if handle in self.tpm.nv:
            return self.tpm.nv[handle].name
        item = self.tpm.volatile.objects.get(handle) or self.tpm.persistent.get(handle)
        return item.name if item is not None else handle.to_bytes(4, "big")
