"""
The plugin of pytest, which every run loads: the fixtures `tpm` and `tpm_server`, and the marker `tpm`.

It imports nothing but pytest; a TPM is loaded when a test asks for one.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vtpm.state.profile import Profile
    from vtpm.testing.client import Client
    from vtpm.testing.server import TpmServer

MARKER = "tpm(seed=..., profile=..., start=True): what the fixtures `tpm` and `tpm_server` give to a test"
OPTIONS = frozenset({"seed", "profile", "start"})
FRESH_SEED = 8
"""Octets of a seed that is drawn for a run."""

SEED = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--tpm-seed` and `--tpm-profile`, and the same as lines of the configuration file."""
    group = parser.getgroup("vtpm", "virtual TPMs")
    group.addoption("--tpm-seed", metavar="SEED", help="Make the same TPMs as a run with this seed.")
    group.addoption("--tpm-profile", metavar="NAME", help="The profile of TPMs that name none.")
    parser.addini("tpm_seed", "Make the same TPMs in every run; without it, every run makes others.")
    parser.addini("tpm_profile", "The profile of TPMs that name none.")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def tpm(request: pytest.FixtureRequest) -> "Client":
    """
    A TPM 2.0 in this process, after Startup(CLEAR): `tpm.get_random(bytes_requested=8).random_bytes`.

    `@pytest.mark.tpm(seed=…, profile=…, start=False)` says otherwise.
    """
    from vtpm.testing.client import Client  # noqa: PLC0415 - loaded when a test asks for it

    return Client(**_chosen(request))


@pytest.fixture
def tpm_server(request: pytest.FixtureRequest) -> "Iterator[TpmServer]":
    """
    A TPM 2.0 at ports of this machine, after Startup(CLEAR), for one test.

    `tpm_server.mssim` and `tpm_server.swtpm` are TCTI configurations.
    The marker is that of the fixture `tpm`.
    """
    from vtpm.testing.server import TpmServer  # noqa: PLC0415 - loaded when a test asks for it

    with TpmServer(**_chosen(request)) as server:
        yield server


def _chosen(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the marker, the command line and the configuration say of a test's TPM."""
    marker = request.node.get_closest_marker("tpm")
    given: dict[str, Any] = dict(marker.kwargs) if marker else {}
    if (marker and marker.args) or given.keys() - OPTIONS:
        raise pytest.UsageError(f"the marker tpm takes {', '.join(sorted(OPTIONS))}, each by name")
    profile = given.get("profile") or _option(request.config, "tpm_profile")
    chosen = {"seed": _seed_of(request, given.get("seed")), "start": given.get("start", True)}
    return chosen | ({"profile": _profile_of(profile)} if profile else {})


def _option(config: pytest.Config, name: str) -> Any:
    return config.getoption(name) or config.getini(name)


def _seed_of(request: pytest.FixtureRequest, given: Any) -> bytes:
    """The seed of a test: the marker's, or one made of the run's seed and the name of the test."""
    if given is not None:
        return given if isinstance(given, bytes) else str(given).encode()
    config = request.config
    seed = _option(config, "tpm_seed") or config.stash.get(SEED, "")
    if not seed:
        from vtpm.daemon.clock import entropy  # noqa: PLC0415 - loaded when a test asks for a TPM

        seed = config.stash[SEED] = entropy(FRESH_SEED).hex()
    request.node.add_report_section(
        "setup", "tpm", f"To repeat this test with the same TPM: --tpm-seed={seed}"
    )
    return f"{seed} {request.node.nodeid}".encode()


def _profile_of(given: Any) -> "Profile":
    """A profile, or the one of a name."""
    from vtpm.state.profile import PROFILES, Profile  # noqa: PLC0415 - loaded when a test asks for a TPM

    if isinstance(given, Profile):
        return given
    if given not in PROFILES:
        raise pytest.UsageError(f"there is no profile {given}; there are {', '.join(sorted(PROFILES))}")
    return PROFILES[given]
