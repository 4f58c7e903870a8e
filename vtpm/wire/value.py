"""
Frozen values with named fields, as `dataclass(frozen=True, slots=True)` makes them, at a tenth of its cost.

A dataclass compiles several functions when it is declared; there are hundreds of structures, and a process
makes values of a few of them.
Here all share their methods, and the first value of a class compiles its `__init__`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, ClassVar, Never, Self


class DataclassFields:
    """What `dataclasses.replace` and `fields` ask a class for, made when they do."""

    def __get__(self, value: Any, cls: Any) -> Mapping[str, Any]:
        fields = [(name, object) for name in cls.__match_args__]
        made: Mapping[str, Any] = vars(dataclasses.make_dataclass(cls.__name__, fields))[
            "__dataclass_fields__"
        ]
        cls.__dataclass_fields__ = made
        return made


class Value:
    """What all values can do, and that they cannot be changed."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()
    """The names of the fields, in order."""
    _defaults: ClassVar[Mapping[str, Any]] = {}
    __dataclass_fields__: ClassVar[Any] = DataclassFields()

    def __init__(self, *args: Any, **named: Any) -> None:
        made = compile_init(type(self))
        made(self, *args, **named)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({shown})"

    def __getitem__(self, name: str) -> Any:
        """A field by its name: how a union finds its selector in what is being written."""
        return getattr(self, name)

    def __setattr__(self, name: str, value: object) -> Never:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> Never:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), tuple(getattr(self, name) for name in self.__match_args__)


def compile_init(cls: type[Value]) -> Callable[..., None]:
    """Make the `__init__` of a class, and put it in its place."""
    names = cls.__match_args__
    scope = {f"set_{name}": getattr(cls, name).__set__ for name in names}
    scope |= {f"default_{name}": value for name, value in cls._defaults.items()}
    arguments = [f"{name}=default_{name}" if name in cls._defaults else name for name in names]
    body = [f"    set_{name}(self, {name})" for name in names] or ["    pass"]
    exec("\n".join([f"def __init__({', '.join(['self', *arguments])}):", *body]), scope)  # noqa: S102 - of names
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    type.__setattr__(cls, "__init__", made)
    return made


def comparison(names: tuple[str, ...]) -> dict[str, Any]:
    """The methods by which values of one class with equal fields are equal."""
    fields_of: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()

    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807 - the methods of a class that is being made
        if other.__class__ is self.__class__:
            return fields_of(self) == fields_of(other)
        return NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(fields_of(self))

    return {"__eq__": __eq__, "__hash__": __hash__}


def value_class(cls: type, names: tuple[str, ...]) -> type[Value]:
    """The class of values with these fields, and what else the given class has."""
    namespace = {name: item for name, item in vars(cls).items() if name not in {"__dict__", "__weakref__"}}
    defaults = {name: namespace.pop(name) for name in names if name in namespace}
    namespace |= {
        "__slots__": names,
        "__match_args__": names,
        "_defaults": defaults,
        **comparison(names),
    }
    bases = tuple(base for base in cls.__bases__ if base is not object)
    made = type(cls)(cls.__name__, (*bases, Value), namespace)
    made.__qualname__ = cls.__qualname__
    return made
