"""The invariants of ARCHITECTURE.md that can be read off the source: layers, I/O, names."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    "wire",
    "spec",
    "crypto",
    "state",
    "commands",
    "engine",
    "caller",
    "libtpms",
    "manufacture",
    "control",
    "daemon",
    "libvirt",
    "trace",
    "testing",
    "compat",
    "cli",
]
"""Lowest first: a module imports only its own layer and those below."""

PUBLIC_NAMES = LAYERS.index("engine")
"""What `vtpm` itself offers comes from this layer and below, so only higher ones may import it from there."""

WRITES_DATES = {"manufacture"}
"""A certificate says from when it is valid; the time is given to it."""

DOES_IO = {"daemon", "compat", "cli"}
USES_THE_STORE = {"daemon", "compat", "cli"}
PACKAGES_OF_STORE = {"seal": {"seal"}, "provider": {"seal", "provider"}, "state": {"seal", "state"}}
"""The packages of nvstore, and what each may import; the modules beside them are above or below all."""

STORE_IO = {
    "nvstore/courier.py",
    "nvstore/files.py",
    "nvstore/host.py",
    "nvstore/owned.py",
    "nvstore/seal/programs.py",
    "nvstore/tcti.py",
    "nvstore/testing.py",
}
"""The modules of nvstore through which all else there reaches files, time and entropy, and their double."""

SYSTEM = {
    "asyncio",
    "datetime",
    "fcntl",
    "mmap",
    "multiprocessing",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
"""Modules for I/O, clocks, entropy and concurrency."""

SYSTEM_OF_STORE = SYSTEM - {"datetime"}
NAMELESS = {"base", "common", "helpers", "manager", "misc", "util", "utils"}
"""Names for a module that has no home yet."""

MODULES = sorted((ROOT / "vtpm").glob("*/**/*.py"))
STORE = sorted((ROOT / "nvstore").glob("**/*.py"))
COMMANDS = sorted((ROOT / "vtpm" / "commands").glob("*.py"))
TREES = {path: ast.parse(path.read_text(), path.name) for path in [*MODULES, *STORE]}


def label(path: Path) -> str:
    """The path of a module as a test's name."""
    return str(path.relative_to(ROOT))


def layer_of(path: Path) -> str:
    """The package of `vtpm` that a module belongs to."""
    return path.relative_to(ROOT).parts[1]


def imported(path: Path) -> set[str]:
    """The modules that a module imports anywhere; what comes from `vtpm` itself is `vtpm.name`."""
    names = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            assert node.module
            if node.module == "vtpm":
                names |= {f"vtpm.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def roots(path: Path) -> set[str]:
    """The top-level packages that a module imports."""
    return {name.partition(".")[0] for name in imported(path)}


class TestLayers:
    """ARCHITECTURE.md: the layers"""

    def test_every_package_is_a_layer(self) -> None:
        """No package stands outside of the order."""
        assert {layer_of(path) for path in MODULES} <= set(LAYERS)

    @pytest.mark.parametrize("path", MODULES, ids=label)
    def test_imports_point_downwards(self, path: Path) -> None:
        """A module imports its own layer and those below."""
        here = LAYERS.index(layer_of(path))
        ranks = {}
        for name in imported(path):
            package, _, rest = name.partition(".")
            if package == "vtpm":
                part = rest.partition(".")[0]
                ranks[name] = LAYERS.index(part) if part in LAYERS else PUBLIC_NAMES + 1

        assert {name for name, rank in ranks.items() if rank > here} == set()

    def test_no_module_needs_itself(self) -> None:
        """Modules do not import each other in a circle, neither at once nor later."""
        names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in TREES}
        graph = {name: imported(path) & set(names.values()) for path, name in names.items()}
        assert set(TopologicalSorter(graph).static_order()) == set(names.values())

    @pytest.mark.parametrize("path", STORE, ids=label)
    def test_store_knows_no_tpm(self, path: Path) -> None:
        """Nvstore imports nothing of vtpm."""
        assert "vtpm" not in roots(path)

    @pytest.mark.parametrize("path", STORE, ids=label)
    def test_layers_of_store(self, path: Path) -> None:
        """Seals, then providers and states beside each other, then the host that has both."""
        package = path.relative_to(ROOT / "nvstore").parts[0]
        below = {f"nvstore.{name}" for name in PACKAGES_OF_STORE.get(package, PACKAGES_OF_STORE)}
        packages = {f"nvstore.{name}" for name in PACKAGES_OF_STORE}
        used = {name for name in imported(path) if name.rpartition(".")[0] in packages}
        assert {name for name in used if name.rpartition(".")[0] not in below} == set()

    @pytest.mark.parametrize("path", MODULES, ids=label)
    def test_store_is_used_at_the_top(self, path: Path) -> None:
        """Only the packages that do I/O import nvstore."""
        assert "nvstore" not in roots(path) or layer_of(path) in USES_THE_STORE


class TestPurity:
    """ARCHITECTURE.md: the invariants"""

    @pytest.mark.parametrize("path", MODULES, ids=label)
    def test_io(self, path: Path) -> None:
        """Nothing below the daemon reaches a file, a socket, a clock or a source of entropy."""
        if layer_of(path) not in DOES_IO:
            dates = {"datetime"} if layer_of(path) in WRITES_DATES else set()
            assert roots(path) & (SYSTEM | {"pathlib"}) - dates == set()
            assert not {"open", "input", "print"} & called(path)

    @pytest.mark.parametrize("path", STORE, ids=label)
    def test_io_of_store(self, path: Path) -> None:
        """Nvstore reaches the system through a few modules, so that tests can put another in their place."""
        if label(path) not in STORE_IO:
            assert roots(path) & SYSTEM_OF_STORE == set()
            assert "open" not in called(path)

    @pytest.mark.parametrize("path", MODULES, ids=label)
    def test_constructs_are_interpreted(self, path: Path) -> None:
        """`Construct.compile` accepts truncated octets, so nothing calls it."""
        calls = [node.func for node in ast.walk(TREES[path]) if isinstance(node, ast.Call)]
        methods = [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "compile"]

        assert [ast.unparse(call) for call in methods if ast.unparse(call.value) != "re"] == []


def called(path: Path) -> set[str]:
    """The plain names that a module calls."""
    return {
        node.func.id
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


BLOCKING = {
    "accept",
    "recv",
    "recv_fds",
    "recv_into",
    "recvfrom",
    "recvmsg",
    "recvmsg_into",
    "send_fds",
    "sendall",
    "sendmsg",
    "sendto",
    "sock_accept",
    "sock_recv",
    "sock_recv_into",
    "sock_sendall",
}
"""What a socket, or a loop with one, can be asked to do, and may wait for where flags say so."""

ONE_WAY = "vtpm/daemon/nowait.py"
CLIENTS = {
    "vtpm/daemon/admin.py",
    "vtpm/daemon/readiness.py",
    "vtpm/daemon/replacement/successor.py",
    "vtpm/daemon/witness.py",
}
"""What asks the daemon, and tells the service manager and the system log, over sockets of its own."""


class TestSockets:
    """What serves clients touches their sockets in one way, which never waits."""

    @staticmethod
    def uses(path: Path) -> list[str]:
        """The calls of a module that could wait for a peer."""
        found = []
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name, owner = node.func.attr, ast.unparse(node.func.value)
            is_socket = owner.endswith(("sock", "socket", "listener"))
            if name in BLOCKING - {"accept"} or (name in {"send", "accept"} and is_socket):
                found.append(f"{owner}.{name} in line {node.lineno}")
        return found

    def test_one_way(self) -> None:
        """Only one module of the daemon sends to a client, receives from it and accepts it."""
        for path in sorted((ROOT / "vtpm/daemon").rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name in CLIENTS:
                continue
            if name == ONE_WAY:
                assert self.uses(path), "the calls are not found where they are"
                continue
            found = [use for use in self.uses(path) if not use.startswith("nowait.")]
            assert not found, f"{name}: {found}; use {ONE_WAY}"

    def test_never_waits(self) -> None:
        """There every call says that it must not wait."""
        for node in ast.walk(ast.parse((ROOT / ONE_WAY).read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in {"send", "sendmsg", "recv", "recvmsg"}:
                assert ast.unparse(node.args[-1]) in {"SEND_FLAGS", "RECEIVE_FLAGS"}, ast.unparse(node)


@dataclass(frozen=True)
class Blame:
    """One `at="x"`: name, line, arguments of the functions around it, and whether one is a handler."""

    name: str
    line: int
    arguments: frozenset[str]
    in_handler: bool


def arguments_of(function: ast.FunctionDef | ast.Lambda) -> frozenset[str]:
    """The names of a function's arguments."""
    given = function.args
    return frozenset(argument.arg for argument in [*given.posonlyargs, *given.args, *given.kwonlyargs])


def is_handler(node: ast.AST) -> bool:
    """Is it a function that `@command` declares?"""
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(mark, ast.Call) and ast.unparse(mark.func) == "command" for mark in node.decorator_list
    )


def blames(
    tree: ast.AST, arguments: frozenset[str] = frozenset(), *, inside: bool = False
) -> Iterator[Blame]:
    """Every `at="x"` of a module."""
    for node in ast.iter_child_nodes(tree):
        around, handler = arguments, inside or is_handler(node)
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            around = arguments | arguments_of(node)
        if isinstance(node, ast.keyword) and node.arg == "at" and isinstance(node.value, ast.Constant):
            yield Blame(str(node.value.value), node.value.lineno, around, handler)
        yield from blames(node, around, inside=handler)


HANDLER_ARGUMENTS = frozenset(
    name
    for path in COMMANDS
    for node in ast.walk(TREES[path])
    if isinstance(node, ast.FunctionDef) and is_handler(node)
    for name in arguments_of(node)
)


class TestCommands:
    """The positions of response codes"""

    @pytest.mark.parametrize("path", COMMANDS, ids=label)
    def test_blamed_argument_exists(self, path: Path) -> None:
        """`at="x"` names an argument of the handler; elsewhere, of the function or of some handler."""
        wrong = [
            (blame.line, blame.name)
            for blame in blames(TREES[path])
            if blame.name not in blame.arguments and (blame.in_handler or blame.name not in HANDLER_ARGUMENTS)
        ]

        assert wrong == []

    def test_blames_are_found(self) -> None:
        """The walk tells a handler from another function, and sees the arguments around a nested one."""
        source = "@command(A)\ndef f(a, /, b):\n def g(c):\n  raise E(at='a')\n raise E(at='c')\n"
        source += "def h(d):\n raise E(at='a')\n"

        found = [(b.name, b.line, b.name in b.arguments, b.in_handler) for b in blames(ast.parse(source))]

        assert found == [("a", 4, True, True), ("c", 5, False, True), ("a", 7, False, False)]


class TestNames:
    """A module is called after what is in it"""

    @pytest.mark.parametrize("path", [*MODULES, *STORE], ids=label)
    def test_module_has_a_name(self, path: Path) -> None:
        """A name such as `utils` says nothing."""
        assert path.stem not in NAMELESS

    @pytest.mark.parametrize("path", [*MODULES, *STORE], ids=label)
    def test_module_says_what_it_is(self, path: Path) -> None:
        """Every module begins with a docstring."""
        tree = TREES[path]
        assert ast.get_docstring(tree) or not tree.body
