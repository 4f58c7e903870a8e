"""tpm2-tools 5.4: no tool is left out of the flows."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tools that no flow can run, with the reason.
NOT_RUN: dict[str, str] = {}


def words_of_flows() -> Iterator[str]:
    """The first word of each string of the flows that is no docstring: tools are called by it."""
    for flow in Path(__file__).parent.glob("test_tools_*.py"):
        tree = ast.parse(flow.read_text())
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
                yield from node.value.split()[:1]


def test_each_tool_has_a_flow() -> None:
    """Every program of the Debian package is run by a flow, or listed with the reason why not."""
    done = subprocess.run(["dpkg", "-L", "tpm2-tools"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("tpm2-tools is no Debian package here")
    tools = set(re.findall(r"/bin/tpm2_(\w+)$", done.stdout, re.MULTILINE))
    assert len(tools) > 90

    assert tools - set(words_of_flows()) == set(NOT_RUN)
