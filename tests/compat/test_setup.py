"""`swtpm_setup`, as libvirt and Proxmox call it."""

import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from vtpm.compat.arguments import ArgumentError
from vtpm.compat.directory import make_directory
from vtpm.compat.keys import Key
from vtpm.compat.setup_arguments import check, parse
from vtpm.compat.storage import StateDirectory
from vtpm.daemon.authority.local import LocalAuthority
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.templates import EK, PLATFORM_CERTIFICATE
from vtpm.spec.constants import TPM_ALG

LIBVIRT = ["--createek", "--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--not-overwrite"]
LIMIT = 60


class Setup:
    """A directory and the program."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.program = make_directory([place / "programs"]) / "swtpm_setup"
        self.state = place / "state"
        self.state.mkdir()

    def run(self, *words: str, status: int = 0, state: bool = True) -> str:
        """Run it to its expected end; what it said."""
        where = ["--tpm2", "--tpm-state", str(self.state)] if state else []
        done = subprocess.run(
            [self.program, *where, *words],
            env={"VTPM_AUTHORITY_DIR": str(self.place / "authority"), "XDG_CONFIG_HOME": str(self.place)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout

    def tpm(self, key: Key | None = None) -> Tpm:
        """The TPM that it made."""
        store = StateDirectory(self.state).opener(key.passphrase if key else None)()
        try:
            return Tpm.restore(store.load(), bytes)
        finally:
            store.close()


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    (tmp_path / "swtpm_setup.conf").write_text("# no tool: the local authority\nactive_pcr_banks = sha256\n")
    return Setup(tmp_path)


@pytest.mark.slow
class TestManufacture:
    """A TPM as a PC Client platform expects it"""

    def test_libvirt(self, setup: Setup) -> None:
        """The call of libvirt makes keys, certificates and banks; called again it changes nothing."""
        log = setup.place / "log"
        words = [*LIBVIRT, "--vmid", "guest:1234", "--logfile", str(log)]
        setup.run(*words, "--write-ek-cert-files", str(setup.place))
        tpm = setup.tpm()
        assert set(tpm.persistent) == {EK.RSA_2048.value.handle, EK.ECC_P384.value.handle}
        assert set(tpm.nv) == {
            EK.RSA_2048.value.certificate,
            EK.ECC_P384.value.certificate,
            PLATFORM_CERTIFICATE,
        }
        assert tpm.permanent.pcr_allocation[TPM_ALG.SHA256]
        assert not tpm.permanent.pcr_allocation[TPM_ALG.SHA1]
        authority = LocalAuthority(setup.place / "authority", None).open().certificate
        for index in tpm.nv.values():
            x509.load_der_x509_certificate(index.data).verify_directly_issued_by(authority)
        assert (setup.place / "ek-rsa2048.crt").read_bytes() == tpm.nv[EK.RSA_2048.value.certificate].data
        assert (setup.place / "authority" / "authority.key").stat().st_mode & 0o777 == 0o600

        setup.run(*words)
        assert setup.tpm().owner.seed == tpm.owner.seed
        assert "Not overwriting existing state" in log.read_text()

    def test_overwrite(self, setup: Setup) -> None:
        """Without permission an existing TPM is an error; with it a new one is made."""
        setup.run()
        seed = setup.tpm().owner.seed
        assert "--overwrite" in setup.run(status=1)
        setup.run("--overwrite")
        assert setup.tpm().owner.seed != seed

    def test_reconfigure(self, setup: Setup) -> None:
        """Other banks, the same TPM."""
        setup.run("--createek")
        before = setup.tpm()
        setup.run("--reconfigure", "--pcr-banks", "sha1,sha384")
        after = setup.tpm()
        assert after.owner.seed == before.owner.seed
        assert set(after.persistent) == set(before.persistent)
        active = {alg for alg, bits in after.permanent.pcr_allocation.items() if bits}
        assert active == {TPM_ALG.SHA1, TPM_ALG.SHA384}

    def test_encryption(self, setup: Setup) -> None:
        """The passphrase opens the state."""
        password = setup.place / "password"
        password.write_text("the password")
        password.chmod(0o600)
        setup.run("--pwdfile", str(password), "--cipher", "aes-256-cbc", "--createek")
        assert setup.tpm(Key(b"the password", is_passphrase=True)).persistent

    def test_tool(self, setup: Setup) -> None:
        """The configured program signs; what it says when it fails is passed on."""
        tool = setup.place / "tool"
        tool.write_text("#!/bin/sh\necho $@ > $(dirname $0)/called\necho not today >&2\nexit 3\n")
        tool.chmod(0o755)
        (setup.place / "swtpm_setup.conf").write_text(f"create_certs_tool = {tool}\n")
        assert "ended with 3: not today" in setup.run(*LIBVIRT, "--vmid", "guest", status=1)
        called = (setup.place / "called").read_text()
        assert "--type ek --ek " in called
        assert "--vmid guest --tpm-spec-family 2.0" in called
        setup.run(*LIBVIRT, status=1)
        assert "--vmid" not in (setup.place / "called").read_text()

    def test_errors(self, setup: Setup) -> None:
        """Each names the option, and leaves no TPM."""
        assert "--pcr-banks md5" in setup.run("--pcr-banks", "md5", status=1)
        assert "no such directory" in setup.run("--tpm2", "--tpm-state", "/nowhere", state=False, status=1)

    def test_capabilities(self, setup: Setup) -> None:
        """In the JSON that libvirt reads."""
        said = json.loads(setup.run("--print-capabilities", state=False))
        assert said["type"] == "swtpm_setup"
        assert {"tpm-2.0", "cmdarg-pwdfile-fd", "cmdarg-reconfigure-pcr-banks"} <= set(said["features"])
        assert setup.run("--create-config-files", "skip-if-exist,root", state=False) == ""


class TestArguments:
    """Nothing is ignored"""

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--tpm-state", "x"], "--tpm2 is required"),
            (["--tpm2"], "--tpm-state is required"),
            (["--tpm2", "--tpm-state", "rbd://x"], "only dir:// and file://"),
            (["--tpm2", "--tpm-state", "x", "--take-ownership"], "--take-ownership is not supported"),
            (["--tpm2", "--tpm-state", "x", "--colour"], "--colour is not an option"),
            (["--tpm2", "--tpm-state", "x", "--cipher", "rot13"], "not a cipher"),
            (["--tpm2", "--tpm-state", "x", "--rsa-keysize", "512"], "give 2048, 3072, 4096 or max"),
            (["--tpm2", "--tpm-state", "x", "--pwdfile", "a", "--keyfile", "b"], "give one of"),
            (["--tpm2", "--tpm-state", "x", "--overwrite", "--reconfigure"], "contradicts"),
            (["--tpm2", "--tpm-state"], "needs a value"),
            (["x"], "not an option"),
        ],
    )
    def test_refusals(self, words: list[str], said: str) -> None:
        """Each names the option."""
        with pytest.raises(ArgumentError, match=said):
            check(parse(words))


class TestHostile:
    """What swtpm's own program survives, and where its failures are to be found"""

    @pytest.mark.slow
    def test_configuration_of_another_user(self, setup: Setup) -> None:
        """Where the usual places cannot be looked into, the next ones are; HOME may be another user's."""
        (setup.place / "file").write_text("no directory")
        environment = {
            "VTPM_AUTHORITY_DIR": str(setup.place / "authority"),
            "XDG_CONFIG_HOME": str(setup.place / "file"),
            "HOME": str(setup.place / "file"),
        }
        words = [str(setup.program), "--tpm2", "--tpm-state", str(setup.state), *LIBVIRT]
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )

        assert done.returncode == 0, done.stderr
        assert setup.tpm().nv

    @pytest.mark.parametrize(
        "words",
        [
            ["--nonsense"],
            ["--pcr-banks", "sha9"],
            ["--config", "/nowhere"],
            ["--rsa-keysize", "7"],
            ["--pwdfile", "/nowhere"],
            ["--tpm-state", "/nowhere"],
        ],
    )
    @pytest.mark.parametrize("joined", [False, True])
    def test_failures_are_logged(self, setup: Setup, words: list[str], *, joined: bool) -> None:
        """A failure stands in the log, whatever it is, and where the option stands."""
        log = setup.place / "log"
        option = [f"--logfile={log}"] if joined else ["--logfile", str(log)]
        said = setup.run(*words, *option, status=1)

        assert said.startswith("swtpm_setup: ")
        assert said.removeprefix("swtpm_setup: ") in log.read_text()
