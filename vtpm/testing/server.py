"""A TPM at ports, for software under test that reaches its TPM through a TCTI."""

from typing import Self

from vtpm.daemon.background import Background
from vtpm.daemon.sockets import LOOPBACK
from vtpm.state.profile import DEFAULT, Profile
from vtpm.testing.entropy import seeded


class TpmServer:
    """
    One TPM at two pairs of ports of the loopback address, served until the context ends.

    `with TpmServer() as server: ESAPI(server.swtpm)`

    The pairs lead to the same TPM: `mssim` speaks the protocol of the TCG's simulator, `swtpm` that of swtpm.
    The TPM has been started, and has the clock of the machine; its randomness comes from the seed alone.
    It ends with the context, or when a client sends the simulator's STOP or swtpm's SHUTDOWN.
    """

    host = LOOPBACK

    def __init__(self, *, profile: Profile = DEFAULT, seed: bytes = b"test", start: bool = True) -> None:
        self._server = Background(seeded(seed), profile=profile, startup=start)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.__exit__(*exception)

    @property
    def mssim_port(self) -> int:
        """The simulator's command port; the platform port is the next one."""
        return self._server.mssim_port

    @property
    def swtpm_port(self) -> int:
        """Swtpm's data port; the control port is the next one."""
        return self._server.swtpm_port

    @property
    def mssim(self) -> str:
        """The TCTI configuration for the simulator's protocol."""
        return f"mssim:host={self.host},port={self.mssim_port}"

    @property
    def swtpm(self) -> str:
        """The TCTI configuration for swtpm's protocol."""
        return f"swtpm:host={self.host},port={self.swtpm_port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which tpm2-tools, tpm2-openssl and tpm2-pkcs11 find this TPM."""
        return {
            "TPM2TOOLS_TCTI": self.swtpm,
            "TPM2OPENSSL_TCTI": self.swtpm,
            "TPM2_PKCS11_TCTI": self.swtpm,
        }
