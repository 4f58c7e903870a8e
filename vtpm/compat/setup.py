"""`swtpm_setup`: the manufacture of a TPM, with swtpm_setup's command line."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from nvstore import NvstoreError, Store
from vtpm.compat.arguments import ArgumentError, number
from vtpm.compat.certificates_tool import ToolCertifier
from vtpm.compat.description import spaced
from vtpm.compat.ending import LogHandler, last_value, log_to, obey
from vtpm.compat.foreign_state import take_over
from vtpm.compat.keys import Key, key_of, read_descriptor, read_file
from vtpm.compat.profiles import described, list_profiles, named, shown_name
from vtpm.compat.setup_arguments import SetupArguments, check, parse, read_configuration
from vtpm.compat.storage import StateDirectory, is_foreign, storage_of
from vtpm.compat.user_configuration import create_configuration
from vtpm.compat.version import own_version
from vtpm.daemon.authority.certifier import LocalCertifier
from vtpm.daemon.authority.local import LocalAuthority, default_directory, host_beside
from vtpm.daemon.clock import entropy
from vtpm.daemon.errors import OperatorError
from vtpm.daemon.secrecy import forbid_dumps
from vtpm.engine.tpm import Tpm
from vtpm.manufacture.certificates import Model
from vtpm.manufacture.identity import model_of, specification_of
from vtpm.manufacture.provision import Certifier, Provisioning, provision
from vtpm.manufacture.templates import EK
from vtpm.spec.constants import TPM_ALG
from vtpm.state.profile import SWTPM_COMPATIBLE, Profile

RSA_KEYS: Final = {2048: EK.RSA_2048, 3072: EK.RSA_3072, 4096: EK.RSA_4096}
"""The RSA endorsement keys by the sizes that --rsa-keysize names."""

FEATURES: Final = (
    "tpm-2.0",
    "cmdarg-keyfile-fd",
    "cmdarg-pwdfile-fd",
    "cmdarg-write-ek-cert-files",
    "cmdarg-create-config-files",
    "cmdarg-reconfigure-pcr-banks",
    *(f"tpm2-rsa-keysize-{size}" for size in RSA_KEYS if size in SWTPM_COMPATIBLE.rsa_key_bits),
    "cmdarg-profile",
)
"""What this program has of swtpm_setup's, in its words; sizes are those of the profile without --profile."""

BANKS: Final = {
    "sha1": TPM_ALG.SHA1,
    "sha256": TPM_ALG.SHA256,
    "sha384": TPM_ALG.SHA384,
    "sha512": TPM_ALG.SHA512,
}
DEFAULT_BANKS: Final = "sha256"
FILES: Final = {
    **{key: f"ek-rsa{size}.crt" for size, key in RSA_KEYS.items()},
    EK.ECC_P384: "ek-secp384r1.crt",
}
PLATFORM: Final = Model("QEMU", "QEMU", "2.1")
"""The platform's manufacturer, model and version, which nobody tells swtpm_setup."""

USAGE: Final = """\
Usage: swtpm_setup --tpm2 --tpm-state <directory> [options]

The options of swtpm_setup 0.7 to 0.10, as far as `swtpm_setup --print-capabilities` names them:
  --createek  --create-ek-cert  --create-platform-cert  --create-spk  --lock-nvram  --vmid <id>
  --pwdfile <file>  --pwdfile-fd <fd>  --keyfile <file>  --keyfile-fd <fd>  --cipher <cipher>
  --pcr-banks <banks>  --reconfigure  --overwrite  --not-overwrite  --config <file>  --logfile <file>
  --rsa-keysize <size>|max  --write-ek-cert-files <directory>  --display
  --create-config-files [skip-if-exist]
  --profile-name <name>  --profile <json>  --profile-file <file>  --profile-file-fd <fd>  --print-profiles
"""

log = logging.getLogger(__name__)


def main() -> NoReturn:
    """Run `swtpm_setup` with the process's arguments."""
    forbid_dumps()
    obey("swtpm_setup", run, (ArgumentError, OperatorError, NvstoreError), start_named_log)


def run(words: list[str]) -> int:
    """Obey a command line; the exit status."""
    arguments = parse(words)
    if arguments.has("help"):
        sys.stdout.write(f"{USAGE}\nThe default PCR banks: {DEFAULT_BANKS}\n")
    elif arguments.has("version"):
        sys.stdout.write(f"TPM emulator setup tool version {own_version()} (vtpm)\n")
    elif arguments.has("print-capabilities"):
        said = {"type": "swtpm_setup", "features": FEATURES, "version": own_version()}
        sys.stdout.write(spaced(said) + "\n")
    elif arguments.has("print-profiles"):
        sys.stdout.write(json.dumps(list_profiles()) + "\n")
    elif "create-config-files" in arguments.options:
        create_configuration(arguments.options["create-config-files"])
    else:
        start_log(arguments.options.get("logfile"))
        check(arguments)
        return set_up(arguments, read_configuration(arguments))
    return 0


def set_up(arguments: SetupArguments, configuration: Mapping[str, str]) -> int:
    """Manufacture a TPM, or change the active PCR banks of one."""
    storage = storage_of(arguments.state_uri)
    if isinstance(storage, StateDirectory) and not storage.path.is_dir():
        raise ArgumentError(f"--tpm-state {storage.path}: there is no such directory")
    key = key_from(arguments)
    profile = profile_from(arguments, configuration)
    initial: Callable[[], Mapping[str, bytes]] = partial(take_over, storage, profile, key)
    if arguments.has("overwrite"):
        storage.forget()
        initial = dict
    elif not arguments.has("reconfigure") and is_foreign(storage):
        return keep(arguments)
    for option in ("tpm", "swtpm_ioctl", "tcsd-system-ps-file"):
        if option in arguments.options:
            log.info("--%s is not needed: this program makes the TPM itself.", option)
    log.info("Starting vTPM manufacturing @ %s", time.strftime("%c"))
    store = storage.opener(key.passphrase if key else None, initial)()
    try:
        blobs = store.load()
        if blobs and not arguments.has("reconfigure"):
            return keep(arguments)
        if blobs:
            tpm = Tpm.restore(blobs, entropy)
            with Provisioning(tpm) as work:
                work.activate_banks(banks_of(arguments, configuration))
        else:
            tpm = manufactured(arguments, configuration, profile)
        commit(store, blobs, tpm)
    finally:
        store.close()
    write_certificates(arguments, tpm)
    if arguments.has("display"):
        sys.stdout.write(told_of(tpm))
    log.info("Ending vTPM manufacturing @ %s", time.strftime("%c"))
    return 0


def keep(arguments: SetupArguments) -> int:
    """Leave a TPM that is there, if --not-overwrite says so."""
    if not arguments.has("not-overwrite"):
        raise ArgumentError(f"{arguments.state_uri} holds a TPM already; give --overwrite or --not-overwrite")
    log.info("Not overwriting existing state.")
    return 0


def manufactured(arguments: SetupArguments, configuration: Mapping[str, str], profile: Profile) -> Tpm:
    """A new TPM with what the command line asks for."""
    tpm = Tpm.manufacture(entropy, profile)
    wants_keys = arguments.has("createek", "create-ek-cert", "create-platform-cert")
    wants_certificates = arguments.has("create-ek-cert", "create-platform-cert")
    provision(
        tpm,
        certifier_of(arguments, configuration, tpm) if wants_certificates else None,
        keys=(rsa_key(arguments, configuration, profile), EK.ECC_P384) if wants_keys else (),
        banks=banks_of(arguments, configuration),
        srk=arguments.has("create-spk"),
        lock=arguments.has("lock-nvram"),
        say=lambda text: log.info("Successfully created: %s.", text),
    )
    return tpm


def rsa_key(arguments: SetupArguments, configuration: Mapping[str, str], profile: Profile) -> EK:
    """The RSA endorsement key, of the size that is asked for; ArgumentError if the profile has not that."""
    sizes = [size for size in RSA_KEYS if size in profile.rsa_key_bits]
    text = arguments.options.get("rsa-keysize") or configuration.get("rsa_keysize") or "2048"
    if text == "max" and sizes:
        return RSA_KEYS[max(sizes)]
    if not text.isdecimal() or int(text) not in sizes:
        known = ", ".join(map(str, sizes)) or "none"
        raise ArgumentError(f"--rsa-keysize {text}: the profile {profile.name} has {known}")
    return RSA_KEYS[int(text)]


def told_of(tpm: Tpm) -> str:
    """--display: what is in a TPM."""
    banks = [alg.name for alg, bits in tpm.permanent.pcr_allocation.items() if bits]
    lines = [f"Profile: {shown_name(tpm.profile)}", f"Active PCR banks: {', '.join(banks)}"]
    lines += [f"Persistent object: 0x{handle:08x}" for handle in sorted(tpm.persistent)]
    lines += [f"NV Index: 0x{handle:08x}" for handle in sorted(tpm.nv)]
    return "\n".join(lines) + "\n"


def certifier_of(arguments: SetupArguments, configuration: Mapping[str, str], tpm: Tpm) -> Certifier:
    """The program that swtpm_setup.conf names, or else the local authority."""
    model, specification = model_of(tpm), specification_of(tpm)
    vm = arguments.options.get("vmid", "")
    platform = arguments.has("create-platform-cert")
    if configuration.get("create_certs_tool"):
        logfile = arguments.options.get("logfile")
        return ToolCertifier(configuration, vm, model, specification, platform=platform, logfile=logfile)
    directory = default_directory()
    authority = LocalAuthority(directory, host_beside(directory)).open()
    return LocalCertifier(authority, vm or "unknown", model, PLATFORM if platform else None, specification)


def banks_of(arguments: SetupArguments, configuration: Mapping[str, str]) -> list[TPM_ALG]:
    """The PCR banks to activate."""
    text = arguments.options.get("pcr-banks") or configuration.get("active_pcr_banks") or DEFAULT_BANKS
    if text == "-":
        return list(BANKS.values())
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in BANKS]
    if unknown or not names:
        raise ArgumentError(f"--pcr-banks {text}: give some of {', '.join(BANKS)}")
    return [BANKS[name] for name in names]


def commit(store: Store, before: Mapping[str, bytes], tpm: Tpm) -> None:
    """Make all of the TPM's state durable."""
    after = tpm.snapshot()
    store.commit({**dict.fromkeys(before), **after})


def write_certificates(arguments: SetupArguments, tpm: Tpm) -> None:
    """--write-ek-cert-files: the certificates, in DER."""
    target = arguments.options.get("write-ek-cert-files")
    if target is None:
        return
    for key, name in FILES.items():
        index = tpm.nv.get(key.value.certificate)
        if index is not None:
            (Path(target) / name).write_bytes(index.data)


def key_from(arguments: SetupArguments) -> Key | None:
    """The passphrase or key that the command line names."""
    source = arguments.passphrase_source
    if source is None:
        return None
    option, place = source
    is_passphrase = option.startswith("pwd")
    if option.endswith("fd"):
        octets = read_descriptor(option, number(option, "fd", place))
    else:
        octets = read_file(option, Path(place))
    return key_of(option, octets, is_passphrase=is_passphrase)


def profile_from(arguments: SetupArguments, configuration: Mapping[str, str]) -> Profile:
    """The profile of a new TPM."""
    options = arguments.options
    if "profile-name" in options:
        return named(options["profile-name"])
    if "profile" in options:
        return described(options["profile"])
    if "profile-file" in options:
        octets = read_file("profile-file", Path(options["profile-file"]))
        return described(octets.decode(errors="replace"))
    if "profile-file-fd" in options:
        octets = read_descriptor(
            "profile-file-fd", number("profile-file-fd", "fd", options["profile-file-fd"])
        )
        return described(octets.decode(errors="replace"))
    if configuration.get("profile"):
        return described(configuration["profile"])
    return SWTPM_COMPATIBLE


def log_file(words: list[str]) -> str | None:
    """The file that --logfile names in a command line, which may be wrong otherwise."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--logfile" and following:
            return following
        if word.startswith("--logfile="):
            return word.partition("=")[2] or None
    return None


def start_log(place: str | None) -> None:
    """Log to the file that is named, or else to standard output."""
    if place is None:
        stream = sys.stdout
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        stream = log_to(os.open(place, flags, 0o644))
    logging.basicConfig(handlers=[LogHandler(stream)], level=logging.INFO, format="%(message)s")


def start_named_log(words: list[str]) -> None:
    """Log to the file that a command line names, which need not be one that can be obeyed."""
    place = last_value("--logfile", words)
    if place is not None:
        start_log(place)
