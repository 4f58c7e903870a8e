"""The command table, which `@command` fills from the signatures of the handlers (Part 2, 8.9)."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from types import FunctionType
from typing import Any, TypeVar, get_args

from vtpm.spec.attributes import TPMA_CC
from vtpm.spec.constants import TPM_CC
from vtpm.state.entity import Role
from vtpm.wire.codec import Codec
from vtpm.wire.error import TPM_RC
from vtpm.wire.structure import Record, annotations_of
from vtpm.wire.vocabulary import Handle, Sized, Tpm2b, codec_of

F = TypeVar("F", bound=Callable[..., Any])

COMMANDS: dict[int, "Command"] = {}
"""Every command of this TPM by its code; `vtpm.commands` imports the chapters that fill it."""


class Area(Enum):
    """Where a command's authorization area may not be."""

    OPTIONAL = auto()
    FORBIDDEN = auto()


@dataclass(frozen=True, slots=True)
class HandleArgument:
    """One handle of the handle area: its name, well-formed values, entity types and authorization role."""

    name: str
    codec: Handle
    entities: tuple[type, ...]
    role: Role | None
    optional: bool
    """May the handle be TPM_RH_NULL, for no entity at all?"""
    otherwise: TPM_RC
    """The response code where the handle's entity is of another type."""


@dataclass(frozen=True)
class Command:
    """A command as its handler declares it."""

    code: TPM_CC
    run: Callable[..., Any]
    handles: tuple[HandleArgument, ...]
    parameters: dict[str, Codec]
    response: Record | None
    nv: bool
    extensive: bool
    flushed: bool
    sessions: Area
    physical_presence: bool
    read_only: bool
    costly: bool

    @property
    def name(self) -> str:
        """The command's name as Part 3 gives it, without the prefix TPM2_."""
        return self.code.name

    @cached_property
    def response_handle(self) -> bool:
        """Does the response have a handle area?"""
        return self.response is not None and isinstance(
            next(iter(self.response.fields.values()), None), Handle
        )

    @cached_property
    def authorizations(self) -> int:
        """How many handles need an authorization; they come first (Part 3, 5.5)."""
        return sum(handle.role is not None for handle in self.handles)

    @cached_property
    def decrypts(self) -> bool:
        """May a session decrypt the first parameter? Only a sized buffer can be encrypted (Part 1)."""
        first = next(iter(self.parameters.values()), None)
        return isinstance(first, Tpm2b | Sized)

    @cached_property
    def encrypts(self) -> bool:
        """May a session encrypt the first parameter of the response?"""
        if self.response is None:
            return False
        fields = list(self.response.fields.values())[1 if self.response_handle else 0 :]
        return bool(fields) and isinstance(fields[0], Tpm2b | Sized)

    @property
    def tpma_cc(self) -> TPMA_CC:
        """Part 2, 8.9: what GetCapability reports."""
        return TPMA_CC(
            commandIndex=self.code & 0xFFFF,
            nv=self.nv,
            extensive=self.extensive,
            flushed=self.flushed,
            cHandles=len(self.handles),
            rHandle=self.response_handle,
        )

    def position(self, argument: str) -> dict[str, int]:
        """Where a response code points when `argument` is at fault (Part 2, 6.6.2)."""
        for number, handle in enumerate(self.handles, 1):
            if handle.name == argument:
                return {"handle": number}
        return {"parameter": 1 + list(self.parameters).index(argument)}


def handle_argument(name: str, hint: Any) -> HandleArgument:
    """
    Read the annotation of one handle: `Annotated[entity type, TPMI_x, Role, TPM_RC]`.

    An entity type with `| None` takes TPM_RH_NULL; the TPM_RC (TPM_RC_TYPE by default) refuses other types.
    """
    kind, *marks = get_args(hint)
    codec = next(c for mark in marks for c in get_args(mark) if isinstance(c, Handle))
    kinds = get_args(kind) or (kind,)
    entities = tuple(part for part in kinds if part is not type(None))
    role = next((mark for mark in marks if isinstance(mark, Role)), None)
    otherwise = next((mark for mark in marks if isinstance(mark, TPM_RC)), TPM_RC.TYPE)
    return HandleArgument(name, codec, entities, role, type(None) in kinds, otherwise)


def command(
    code: TPM_CC,
    *,
    nv: bool = False,
    extensive: bool = False,
    flushed: bool = False,
    sessions: Area = Area.OPTIONAL,
    physical_presence: bool = False,
    read_only: bool = True,
    costly: bool = False,
) -> Callable[[F], F]:
    """
    Declare a command: arguments before `/` are its handle area, those after it its parameter area.

    `nv`, `extensive` and `flushed` are the bits of TPMA_CC; `sessions` forbids an authorization area.
    `physical_presence`: may TPM2_PP_Commands make the command need physical presence?
    `read_only`: is the command permitted in Read-Only mode (Part 3, Table 207)?
    `costly`: may it take many milliseconds whatever key it uses, as the making of RSA keys does?
    """

    def declare(run: F) -> F:
        assert isinstance(run, FunctionType)
        hints = annotations_of(run)
        names = run.__code__.co_varnames[1 : run.__code__.co_argcount]  # without the TPM itself
        handles = names[: max(0, run.__code__.co_posonlyargcount - 1)]
        parameters = names[len(handles) :]
        answer = hints["return"]
        response = None if answer in {None, type(None)} else codec_of(answer)
        assert response is None or isinstance(response, Record)
        assert code not in COMMANDS, code
        COMMANDS[code] = Command(
            code=code,
            run=run,
            handles=tuple(handle_argument(name, hints[name]) for name in handles),
            parameters={name: codec_of(hints[name]) for name in parameters},
            response=response,
            nv=nv,
            extensive=extensive,
            flushed=flushed,
            sessions=sessions,
            physical_presence=physical_presence,
            read_only=read_only,
            costly=costly,
        )
        return run

    return declare
