"""Fixtures that every test can use, and hypothesis' profiles."""

import os

import pytest
from hypothesis import settings

from tests.commands.recorder import Recorder
from tests.profiles import EVERYTHING
from tests.scenarios import Client

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure(config: pytest.Config) -> None:
    """Note the response codes that the tests of commands see."""
    config.pluginmanager.register(Recorder())


@pytest.fixture
def tpm() -> Client:
    """A TPM after Startup(CLEAR)."""
    return Client(profile=EVERYTHING)
