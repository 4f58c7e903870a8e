"""The command line of `swtpm socket`: vtpm/compat/arguments.py."""

import pytest

from vtpm.compat.arguments import NOT_DONE, ArgumentError, check, key_source, parse, state_uri

STATE = ["--tpmstate", "dir=/s"]


@pytest.mark.parametrize(
    "line",
    [
        "--tpm2 --server port=1 --ctrl type=tcp,port=2 --flags not-need-init --tpmstate dir=D",
        "--tpm2 --server port=1 --ctrl type=tcp,port=2 --seccomp action=none --tpmstate dir=D",
        "--tpm2 -p 1 --ctrl type=tcp,port=2 --log fd=1 --tpmstate dir=D --locality allow-set-locality",
        "--tpm2 --tpmstate dir=D --server type=tcp,port=1 --ctrl type=tcp,port=2 --flags startup-clear",
        "--tpm2 --tpmstate dir=D --server type=unixio,path=d --ctrl type=unixio,path=c --flags startup-state",
        "--tpm2 --tpmstate dir=D --ctrl type=unixio,path=s",
        "--ctrl type=unixio,path=s,mode=0600 --tpmstate dir=D,mode=0600 --log file=l --terminate --tpm2",
        "--tpmstate backend-uri=dir://D,mode=0600 --ctrl type=unixio,path=s --pid file=p -d -t --tpm2",
        "--tpm2 --tpmstate dir=D,lock,fsync,backup --ctrl type=unixio,clientfd=5 --server type=tcp,fd=7",
        "--tpm2 --tpmstate dir=D,lock --ctrl type=unixio,path=s --migration release-lock-outgoing,incoming",
        "--tpm2 --tpmstate dir=D --ctrl type=unixio,path=s --key pwdfd=1 --migration-key pwdfd=2,kdf=sha512",
        "--tpm2 --tpmstate dir=D --server type=tcp,port=1,disconnect --runas tss --pcap file=p,truncate",
        "-dt --tpm2 --tpmstate=dir=D --ctrl=type=unixio,path=s --key pwdfd=31,mode=aes-256-cbc",
    ],
)
def test_command_lines_in_use(line: str) -> None:
    """The command lines of clients, libvirt, Proxmox and test suites are accepted."""
    check(parse(line.split()))


def test_values() -> None:
    """Options, switches and their values are found in every spelling."""
    arguments = parse(["-tp7", "--ctrl=type=tcp,port=8,terminate", "--tpm2"])

    assert arguments.switches == {"terminate", "tpm2"}
    assert arguments.of("port") == {"port": "7"}
    assert arguments.of("ctrl") == {"type": "tcp", "port": "8", "terminate": "true"}
    assert arguments.has("ctrl", "terminate")
    assert not arguments.has("flags", "not-need-init")


@pytest.mark.parametrize("option", sorted(NOT_DONE))
def test_not_supported(option: str) -> None:
    """An option of swtpm that is not supported is refused by name."""
    with pytest.raises(ArgumentError, match=f"--{option} is not supported"):
        parse(["--tpm2", f"--{option}"])


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--bogus"], "--bogus"),
        (["-x"], "-x"),
        (["word"], "word"),
        (["--ctrl"], "--ctrl"),
        (["--tpm2=1"], "--tpm2"),
        (["--ctrl", "type=tcp,ifname=lo"], "--ctrl ifname"),
        (["--flags", "startup-deactivated"], "--flags startup-deactivated"),
        (["--tpmstate", "dir=/s,what"], "--tpmstate what"),
        (["--ctrl", "type=tcp,port=1", *STATE], "--tpm2"),
        (["--tpm2", *STATE], "--ctrl"),
        (["--tpm2", "--ctrl", "type=tcp,port=1"], "--tpmstate"),
        (["--tpm2", "--ctrl", "type=tcp,port=1", "--tpmstate", "backend-uri=rbd://f"], "rbd://f"),
        (["--tpm2", "--ctrl", "type=tcp,port=1", "--tpmstate", "dir=/s,mode=9"], "mode=9"),
        (["--tpm2", "--ctrl", "type=tcp,port=1", *STATE, "--key", "fd=1,pwdfd=2"], "--key"),
        (["--tpm2", "--ctrl", "type=tcp,port=1", *STATE, "--key", "fd=1,remove=perhaps"], "--key remove"),
        (["--tpm2", "--ctrl", "type=tcp,port=1", *STATE, "--key", "pwdfd=1,kdf=md5"], "--key kdf=md5"),
        (["--tpm2", "--ctrl", "type=tcp,port=1", *STATE, "--migration-key", "kdf=sha512"], "--migration-key"),
        (["--tpm2", "--ctrl", "type=tcp,port=1", *STATE, "--pcap", "truncate"], "--pcap"),
        (["--pcap", "fd=7"], "--pcap fd"),
        (["--migration", "outgoing"], "--migration outgoing"),
        (["--profile", "profile={"], "--profile profile"),
        (["--tpm2", "--ctrl", "type=tcp,port=1", *STATE, "--key", "fd=1,mode=rot13"], "mode=rot13"),
    ],
)
def test_refusals(words: list[str], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be obeyed is named."""
    monkeypatch.delenv("TPM_PATH", raising=False)
    with pytest.raises(ArgumentError) as error:
        check(parse(words))
    assert named in str(error.value)


def test_state_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is --tpmstate's, or TPM_PATH."""
    monkeypatch.setenv("TPM_PATH", "/path")

    assert str(state_uri(parse([]))) == "dir:///path"
    assert str(state_uri(parse(STATE))) == "dir:///s"
    assert str(state_uri(parse(["--tpmstate", "backend-uri=dir:///u"]))) == "dir:///u"


def test_key_source() -> None:
    """A key comes from one place."""
    assert key_source("key", {}) is None
    assert key_source("key", parse(["--key", "pwdfd=31,mode=aes-256-cbc"]).of("key")) == ("pwdfd", "31")


def test_document() -> None:
    """A profile in JSON keeps its commas, and other values may follow it."""
    document = '{"Name":"null","Description":"a, b"}'
    values = parse(["--profile", f"profile={document},remove-disabled=check"]).of("profile")
    assert values == {"profile": document, "remove-disabled": "check"}
