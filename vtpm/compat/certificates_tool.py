"""
The program that signs certificates for `swtpm_setup`: `create_certs_tool` of its configuration.

It is called as swtpm's is, and leaves ek.cert or platform.cert in a directory (swtpm_setup.conf.5).
"""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vtpm.daemon.errors import OperatorError
from vtpm.manufacture.certificates import Model, Specification, is_valid
from vtpm.spec.algorithms import TPMS_ECC_POINT
from vtpm.spec.objects import TPMS_ECC_PARMS, TPMT_PUBLIC

CURVES: Final = {3: "secp256r1", 4: "secp384r1", 5: "secp521r1"}
LIMIT: Final = 60.0
"""Seconds that the program may take."""


class ToolError(OperatorError):
    """The program did not make a certificate; the text gives cause and remedy."""


def parameter_of(key: TPMT_PUBLIC) -> str:
    """An endorsement key as --ek has it: the modulus, or the coordinates and the curve."""
    if isinstance(key.unique, TPMS_ECC_POINT):
        assert isinstance(key.parameters, TPMS_ECC_PARMS)
        return f"x={key.unique.x.hex()},y={key.unique.y.hex()},id={CURVES[key.parameters.curve_id]}"
    return key.unique.hex()


class ToolCertifier:
    """Has a program sign the certificates of one VM's TPM."""

    def __init__(
        self,
        configuration: Mapping[str, str],
        vm: str,
        model: Model,
        specification: Specification,
        *,
        platform: bool,
        logfile: str | None,
    ) -> None:
        self._program = configuration["create_certs_tool"]
        self._platform = platform
        self._fixed = [
            *(("--vmid", vm) if vm else ()),  # without it swtpm_localca names the subject itself
            *("--tpm-spec-family", specification.family),
            *("--tpm-spec-level", str(specification.level)),
            *("--tpm-spec-revision", str(specification.revision)),
            *("--tpm-manufacturer", model.manufacturer),
            *("--tpm-model", model.model),
            *("--tpm-version", model.version),
            "--tpm2",
        ]
        for option, setting in (
            ("--configfile", "create_certs_tool_config"),
            ("--optsfile", "create_certs_tool_options"),
        ):
            if configuration.get(setting):
                self._fixed += [option, configuration[setting]]
        if logfile:
            self._fixed += ["--logfile", logfile]

    def certify_ek(self, key: TPMT_PUBLIC) -> bytes:
        """The certificate of an endorsement key."""
        return self._certificate("ek", key)

    def certify_platform(self, key: TPMT_PUBLIC) -> bytes:
        """The platform certificate; empty if none is asked for."""
        return self._certificate("platform", key) if self._platform else b""

    def _certificate(self, kind: str, key: TPMT_PUBLIC) -> bytes:
        with tempfile.TemporaryDirectory(prefix="vtpm-certificates-") as directory:
            command = [
                self._program,
                "--type",
                kind,
                "--ek",
                parameter_of(key),
                "--dir",
                directory,
                *self._fixed,
            ]
            try:
                done = subprocess.run(  # noqa: S603 - the program is the operator's choice
                    command, capture_output=True, text=True, timeout=LIMIT, check=False
                )
                octets = (Path(directory) / f"{kind}.cert").read_bytes() if done.returncode == 0 else b""
            except (OSError, subprocess.TimeoutExpired) as error:
                raise ToolError(f"create_certs_tool: {error}; correct swtpm_setup.conf") from None
        if done.returncode != 0:
            said = done.stderr.strip()[-500:]
            raise ToolError(f"create_certs_tool: {self._program} ended with {done.returncode}: {said}")
        if not is_valid(octets):
            raise ToolError(f"create_certs_tool: {self._program} wrote no X.509 certificate in DER")
        return octets
