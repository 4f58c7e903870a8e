"""What `swtpm socket` prints of itself and of its state, in JSON (swtpm.8)."""

import json
from typing import Any, Final

from vtpm.compat.arguments import ArgumentError, Arguments, state_uri
from vtpm.compat.version import own_version

FEATURES: Final = (
    "tpm-2.0",
    "tpm-send-command-header",
    "flags-opt-startup",
    "flags-opt-disable-auto-shutdown",
    "ctrl-opt-terminate",
    "cmdarg-key-fd",
    "cmdarg-pwd-fd",
    "cmdarg-print-states",
    "cmdarg-migration",
    "nvram-backend-dir",
    "nvram-backend-file",
)
"""What this program has of swtpm's, in swtpm's words and order."""

SECCOMP_AT: Final = FEATURES.index("cmdarg-key-fd")
"""Where the filter of system calls is named, if it is installed."""

LATER_FEATURES: Final = (
    "cmdarg-profile",
    "cmdarg-print-profiles",
    "cmdarg-print-info",
    "tpmstate-opt-lock",
    "tpmstate-dir-backend-opt-backup",
    "tpmstate-dir-backend-opt-fsync",
    "cmdarg-pcap",
)
"""What comes after the sizes of keys."""

ACTIVE_PROFILE: Final = 0x20
AVAILABLE_PROFILES: Final = 0x40
"""Bits of --print-info that ask for profiles."""


def spaced(document: dict[str, Any]) -> str:
    """JSON with the spaces that swtpm puts, by which some scripts recognize it."""
    text = json.dumps(document)
    return f"{{ {text[1:-1]} }}".replace("[", "[ ").replace("]", " ]").replace("[  ]", "[]")


def capabilities(*, tpm2: bool) -> str:
    """What this program can do."""
    from vtpm.compat.seccomp import binding  # noqa: PLC0415 - a server binds its sockets before
    from vtpm.state.profile import SWTPM_COMPATIBLE  # noqa: PLC0415

    sizes = [f"rsa-keysize-{size}" for size in SWTPM_COMPATIBLE.rsa_key_bits] if tpm2 else []
    first, rest = FEATURES[:SECCOMP_AT], FEATURES[SECCOMP_AT:]
    seccomp = ["cmdarg-seccomp"] if binding() is not None else []
    features = [*first, *seccomp, *rest, *sizes, *LATER_FEATURES]
    return spaced({"type": "swtpm", "features": features, "version": own_version()})


def states(arguments: Arguments) -> str:
    """The states that there are: this TPM's, or else swtpm's."""
    from vtpm.compat.storage import storage_of  # noqa: PLC0415 - as above

    storage = storage_of(state_uri(arguments))
    own = storage.size()
    if own is not None:
        return spaced({"type": "swtpm", "states": [{"name": "permall", "size": own}]})
    foreign = storage.foreign()
    states = {"permall": foreign.permanent, "volatilestate": foreign.volatile}
    found = [{"name": name, "size": len(state)} for name, state in states.items() if state is not None]
    return spaced({"type": "swtpm", "states": found})


def profiles() -> str:
    """The profiles that --profile may name."""
    from vtpm.compat.profiles import list_profiles  # noqa: PLC0415 - as above

    return json.dumps(list_profiles(), separators=(",", ":"))


def info(arguments: Arguments) -> str:
    """The description of a new TPM, or of the one in the directory if there is one."""
    from vtpm.compat.keys import read_key  # noqa: PLC0415 - as above
    from vtpm.compat.profiles import list_profiles, profile_of, shown_name  # noqa: PLC0415
    from vtpm.compat.storage import storage_of  # noqa: PLC0415
    from vtpm.daemon.info import describe  # noqa: PLC0415

    text = arguments.of("print-info")["print-info"]
    try:
        flags = int(text, 0)
    except ValueError:
        raise ArgumentError(f"--print-info {text}: not a number") from None
    profile = profile_of(arguments.of("profile"))
    if arguments.of("tpmstate"):
        key = read_key("key", arguments.of("key"))
        profile = stored_profile(storage_of(state_uri(arguments)), key) or profile
    parts = json.loads(describe(flags, profile))
    if flags & ACTIVE_PROFILE and arguments.of("tpmstate"):
        parts["ActiveProfile"] = {"Name": shown_name(profile)}
    if flags & AVAILABLE_PROFILES:
        parts |= list_profiles()
    return json.dumps(parts, separators=(",", ":"))


def stored_profile(storage: Any, key: Any) -> Any:
    """The profile of the TPM in a storage; None if there is none."""
    from nvstore import NvstoreError  # noqa: PLC0415 - as above
    from vtpm.daemon.clock import entropy  # noqa: PLC0415
    from vtpm.engine.tpm import Tpm  # noqa: PLC0415

    if storage.size() is None:
        return None
    try:
        store = storage.opener(key.passphrase if key else None)()
        try:
            blobs = store.load()
        finally:
            store.close()
    except NvstoreError as error:
        raise ArgumentError(f"the state cannot be opened: {error}") from None
    return Tpm.restore(blobs, entropy).profile if blobs else None
