from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.broker import BROKER, broker, missing_program
from tests.clients.simulators import Tools, reference_chosen, simulator

# The reference does not speak the platform commands of the other protocol.
PROTOCOLS = ["swtpm"] if reference_chosen() else ["mssim", "swtpm"]
WITH_BROKER = pytest.param("tabrmd", marks=pytest.mark.conformance)


@pytest.fixture(params=[*PROTOCOLS, WITH_BROKER])
def tcti(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The tcti configuration of a new TPM, over each simulator protocol and through tpm2-abrmd."""
    if request.param != "tabrmd":
        with simulator(request.param, tmp_path) as configuration:
            yield configuration
        return
    if (missing := missing_program()) is not None:
        pytest.skip(f"{missing} is not installed")
    with simulator("swtpm", tmp_path) as configuration, broker(configuration, tmp_path) as address:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        yield BROKER


@pytest.fixture
def tools(tcti: str, tmp_path: Path) -> Tools:
    """tpm2-tools with a new TPM that is started up."""
    directory = tmp_path / "work"
    directory.mkdir()
    tools = Tools(tcti, directory)
    tools("startup -c")
    return tools
