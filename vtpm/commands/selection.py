"""The commands of one profile: those of the table that it has, with the types that it has."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from vtpm.commands.table import COMMANDS, Command
from vtpm.state.narrowed import Narrowing, narrowing_of
from vtpm.state.profile import Profile


@cache
def commands_of(profile: Profile) -> Mapping[int, Command]:
    """A profile's commands by their codes, in ascending order; TPMs of the same profile share them."""
    narrowing = narrowing_of(profile)
    return {
        code: _narrowed(COMMANDS[code], narrowing) for code in sorted(COMMANDS) if code in profile.commands
    }


def _narrowed(command: Command, narrowing: Narrowing) -> Command:
    parameters = {name: narrowing.of(codec) for name, codec in command.parameters.items()}
    codecs: list[Any] = [narrowing.of(argument.codec) for argument in command.handles]
    if parameters == command.parameters and all(
        codec is argument.codec for codec, argument in zip(codecs, command.handles, strict=True)
    ):
        return command
    handles = tuple(
        replace(argument, codec=codec) for argument, codec in zip(command.handles, codecs, strict=True)
    )
    return replace(command, handles=handles, parameters=parameters)
