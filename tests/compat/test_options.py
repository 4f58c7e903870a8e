"""Every option of swtpm's programs, by the version that brought it: taken, or refused by its name."""

import pytest

from vtpm.compat import arguments, setup_arguments
from vtpm.compat.arguments import ArgumentError
from vtpm.compat.ioctl_arguments import COMMANDS, PLACES

TAKEN, REFUSED = "taken", "refused"

SWTPM = {
    # option and value: since which version, and whether it is taken here
    "--daemon": ("0.1", TAKEN),
    "--help": ("0.1", TAKEN),
    "--port 1": ("0.1", TAKEN),
    "--fd 3": ("0.1", TAKEN),
    "--server type=tcp,port=1,bindaddr=::1,disconnect": ("0.1", TAKEN),
    "--server type=tcp,port=1,ifname=lo": ("0.1", REFUSED),
    "--server type=unixio,path=p,mode=0600,uid=1,gid=1": ("0.1", TAKEN),
    "--server type=tcp,fd=3": ("0.1", TAKEN),
    "--chardev /dev/null": ("0.1", TAKEN),
    "--vtpm-proxy": ("0.1", TAKEN),
    "--runas tss": ("0.1", TAKEN),
    "--chroot /": ("0.8", REFUSED),
    "--terminate": ("0.1", TAKEN),
    "--locality reject-locality-4,allow-set-locality": ("0.1", TAKEN),
    "--log file=f,level=1,prefix=p,truncate": ("0.1", TAKEN),
    "--log fd=2": ("0.1", TAKEN),
    "--key file=f,format=hex,mode=aes-cbc,remove=true": ("0.1", TAKEN),
    "--key fd=3,format=binary": ("0.5", TAKEN),
    "--key pwdfile=f,kdf=sha512": ("0.1", TAKEN),
    "--migration-key pwdfd=3,mode=aes-256-cbc": ("0.5", TAKEN),
    "--pid file=f": ("0.1", TAKEN),
    "--pid fd=3": ("0.5", TAKEN),
    "--tpmstate dir=d,mode=0600": ("0.1", TAKEN),
    "--tpmstate backend-uri=dir://d": ("0.7", TAKEN),
    "--tpmstate backend-uri=file://f": ("0.7", TAKEN),
    "--tpmstate dir=d,lock": ("0.8", TAKEN),
    "--tpmstate dir=d,backup,fsync": ("0.10", TAKEN),
    "--ctrl type=unixio,path=p,mode=0600,uid=1,gid=1,terminate": ("0.1", TAKEN),
    "--ctrl type=unixio,clientfd=3": ("0.1", TAKEN),
    "--ctrl type=tcp,port=1,ifname=lo": ("0.1", REFUSED),
    "--flags not-need-init,startup-clear,disable-auto-shutdown": ("0.8", TAKEN),
    "--flags startup-state": ("0.2", TAKEN),
    "--flags startup-none": ("0.2", TAKEN),
    "--flags startup-deactivated": ("0.2", REFUSED),  # of a TPM 1.2
    "--tpm2": ("0.1", TAKEN),
    "--seccomp action=kill": ("0.2", TAKEN),
    "--print-capabilities": ("0.2", TAKEN),
    "--print-states": ("0.7", TAKEN),
    "--migration incoming,release-lock-outgoing": ("0.8", TAKEN),
    "--profile name=null": ("0.10", TAKEN),
    "--profile file=f": ("0.10", TAKEN),
    "--profile fd=3": ("0.10", TAKEN),
    "--print-profiles": ("0.10", TAKEN),
    "--print-info 1": ("0.10", TAKEN),
    "--pcap file=f,mode=0600,truncate": ("0.11", TAKEN),
    "--pcap fd=3": ("0.11", REFUSED),
    "--pcap file=f,checksums": ("0.11", REFUSED),
    "--version": ("0.1", TAKEN),
}

SETUP = {
    "--tpm-state d": ("0.1", TAKEN),
    "--tpmstate file://f": ("0.7", TAKEN),
    "--tpm swtpm": ("0.1", TAKEN),  # said not to be needed
    "--swtpm_ioctl p": ("0.1", TAKEN),  # said not to be needed
    "--tpm2": ("0.1", TAKEN),
    "--ecc": ("0.1", TAKEN),
    "--createek": ("0.1", TAKEN),
    "--create-spk": ("0.4", TAKEN),
    "--take-ownership": ("0.1", REFUSED),
    "--ownerpass p": ("0.1", REFUSED),
    "--owner-well-known": ("0.1", REFUSED),
    "--srkpass p": ("0.1", REFUSED),
    "--srk-well-known": ("0.1", REFUSED),
    "--create-ek-cert": ("0.1", TAKEN),
    "--create-platform-cert": ("0.1", TAKEN),
    "--lock-nvram": ("0.1", TAKEN),
    "--display": ("0.1", TAKEN),
    "--config f": ("0.1", TAKEN),
    "--vmid v": ("0.1", TAKEN),
    "--keyfile f": ("0.1", TAKEN),
    "--keyfile-fd 3": ("0.5", TAKEN),
    "--pwdfile f": ("0.1", TAKEN),
    "--pwdfile-fd 3": ("0.5", TAKEN),
    "--cipher aes-256-cbc": ("0.2", TAKEN),
    "--runas tss": ("0.1", REFUSED),
    "--logfile f": ("0.1", TAKEN),
    "--overwrite": ("0.1", TAKEN),
    "--not-overwrite": ("0.1", TAKEN),
    "--allow-signing": ("0.2", REFUSED),
    "--decryption": ("0.2", TAKEN),
    "--pcr-banks sha256": ("0.2", TAKEN),
    "--rsa-keysize 3072": ("0.4", TAKEN),
    "--write-ek-cert-files d": ("0.7", TAKEN),
    "--create-config-files skip-if-exist": ("0.7", TAKEN),
    "--tcsd-system-ps-file f": ("0.1", TAKEN),  # said not to be needed
    "--version": ("0.2", TAKEN),
    "--print-capabilities": ("0.2", TAKEN),
    "--reconfigure": ("0.7", TAKEN),
    "--profile {}": ("0.10", TAKEN),
    "--profile-name null": ("0.10", TAKEN),
    "--profile-file f": ("0.10", TAKEN),
    "--profile-file-fd 3": ("0.10", TAKEN),
    "--profile-remove-disabled fips-host": ("0.10", REFUSED),
    "--print-profiles": ("0.10", TAKEN),
    "--ek1keyalgo rsa2048": ("0.11", REFUSED),
    "--ek2keyalgo rsa2048": ("0.11", REFUSED),
    "--iakkeyalgo rsa2048": ("0.11", REFUSED),
    "--idevidkeyalgo rsa2048": ("0.11", REFUSED),
    "--no-iak": ("0.10", REFUSED),
    "--help": ("0.1", TAKEN),
}

IOCTL = [
    "c",
    "i",
    "stop",
    "s",
    "e",
    "r",
    "v",
    "C",
    "l",
    "h",
    "g",
    "b",
    "save",
    "load",
    "info",
    "lock-storage",
]


@pytest.mark.parametrize("line", [line for line, (_, what) in SWTPM.items() if what == TAKEN])
def test_swtpm_taken(line: str) -> None:
    """An option of swtpm that is obeyed."""
    taken = arguments.parse(line.split())
    name = line.split(maxsplit=1)[0].removeprefix("--")
    assert name in taken.switches | taken.options.keys()


@pytest.mark.parametrize("line", [line for line, (_, what) in SWTPM.items() if what == REFUSED])
def test_swtpm_refused(line: str) -> None:
    """An option of swtpm, or a value of one, that is refused by its name."""
    with pytest.raises(ArgumentError, match=line.split(maxsplit=1)[0]):
        arguments.parse(line.split())


@pytest.mark.parametrize("line", [line for line, (_, what) in SETUP.items() if what == TAKEN])
def test_setup_taken(line: str) -> None:
    """An option of swtpm_setup that is obeyed."""
    taken = setup_arguments.parse(line.split())
    name = line.split(maxsplit=1)[0].removeprefix("--")
    assert name in taken.switches | taken.options.keys()


@pytest.mark.parametrize("line", [line for line, (_, what) in SETUP.items() if what == REFUSED])
def test_setup_refused(line: str) -> None:
    """An option of swtpm_setup that is refused by its name."""
    with pytest.raises(ArgumentError, match=f"{line.split(maxsplit=1)[0]} is not supported"):
        setup_arguments.parse(line.split())


def test_ioctl() -> None:
    """Every command of swtpm_ioctl is there; of the places, devices are refused by name."""
    assert set(IOCTL) == set(COMMANDS)
    assert set(PLACES) == {"tcp", "unix", "tpm-device"}


def test_complete() -> None:
    """What the programs take or refuse by name is in these tables."""
    known = {line.split()[0].removeprefix("--") for line in SWTPM}
    assert known == arguments.WITHOUT_VALUE | arguments.SIMPLE | arguments.VALUES.keys() | set(
        arguments.NOT_DONE
    )
    known = {line.split()[0].removeprefix("--") for line in SETUP}
    taken = setup_arguments.WITH_VALUE | setup_arguments.WITHOUT_VALUE
    assert known == taken | setup_arguments.NOT_DONE
