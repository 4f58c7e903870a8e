from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.simulators import Tools, reference_chosen, simulator


# The reference does not speak the platform commands of the other protocol.
@pytest.fixture(params=["swtpm"] if reference_chosen() else ["mssim", "swtpm"])
def tcti(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The tcti configuration of a new TPM, over each of the two simulator protocols."""
    with simulator(request.param, tmp_path) as configuration:
        yield configuration


@pytest.fixture
def tools(tcti: str, tmp_path: Path) -> Tools:
    """tpm2-tools with a new TPM that is started up."""
    directory = tmp_path / "work"
    directory.mkdir()
    tools = Tools(tcti, directory)
    tools("startup -c")
    return tools
