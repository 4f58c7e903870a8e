"""
A store for the state of virtual machines: named blobs, encrypted, durable, never silently old or another's.

Everything of one host hangs on a `Host`:

    host = Host("/var/lib/vtpm")
    host.providers.init("main")                                  # a key, sealed by a key file of this host
    host.providers.backup("main", Path("main.backup"), b"passphrase")
    host.providers.verify(Path("main.backup"), b"passphrase")    # before that, no state is made under it

    store = host.create_state(uuid, "guest", {"permanent": b"…"})
    store.commit({"nv/01800001": b"…", "old": None})             # durable, all or nothing
    store.close()

    with host.open_state("guest") as store:                     # by name or UUID; nobody else can meanwhile
        blobs = store.load()

A `Store` is what its user sees of a state; `FileStore` is the real one and `MemoryStore` its twin for tests.
Creating and opening are different operations, and neither turns into the other:
a state that is missing, foreign, damaged, altered, rolled back or forked is an error with that name.
Every error is an `NvstoreError` with `code`, `cause` and `remedy`.

The package knows nothing of what the blobs mean.
FORMAT.md specifies the files octet by octet.
Files written by a released version can be read by every later one.
"""

from nvstore.audit import Audit
from nvstore.doctor import Checkup, Finding, examine
from nvstore.drill import DrillReport
from nvstore.errors import (
    AlteredState,
    AnchorLeft,
    AnchorMissing,
    AnchorUnavailable,
    ArrivalFailed,
    AuditBroken,
    AuditFailed,
    AuditIntact,
    AuditUnwritable,
    BadName,
    BundleAltered,
    BundleDamaged,
    BundleExists,
    BundleMissing,
    BundleOfOther,
    CorruptState,
    ForeignState,
    Forked,
    GenerationMissing,
    InTheClear,
    Locked,
    MarkDamaged,
    MarkMissing,
    NameDiffers,
    NothingToRepair,
    NotNewer,
    NvstoreError,
    PassphraseNeeded,
    RevertRefused,
    RolledBack,
    StateError,
    StateExists,
    StateMissing,
    StoreClosed,
    StoreUnavailable,
    StreamAltered,
    StreamDamaged,
    StreamKeyRefused,
    StreamOfOther,
    SuiteRefused,
    TctiRefused,
    UnknownState,
    UnsafeFile,
)
from nvstore.host import Host
from nvstore.provider.backup import BackupReport
from nvstore.provider.backup_file import Format
from nvstore.provider.exchange import Identity, Received, read_identity
from nvstore.provider.providers import Providers
from nvstore.provider.shares import Share, draw_passphrase, load_share, recover_passphrase, save_share
from nvstore.provider.status import ProviderStatus
from nvstore.provider_errors import (
    BackupDamaged,
    BackupExists,
    BackupMissing,
    DrillFailed,
    ExtraMissing,
    HostTpmRequired,
    IdentityExists,
    IdentityMissing,
    KeyFileDamaged,
    KeyFileMissing,
    KeyInUse,
    KeyMissing,
    KeyUncertified,
    NoSealOpens,
    PackageRefused,
    ProviderAltered,
    ProviderDamaged,
    ProviderExists,
    ProviderInUse,
    ProviderLocked,
    ProviderMissing,
    ProviderNotActive,
    ProviderUnverified,
    RotationRefused,
    SealFailed,
    SecretAltered,
    SecretDamaged,
    SecretMissing,
    ShareRefused,
    StepRefused,
    TooEarly,
    TooExpensive,
    UnfitPassphrase,
    WeakPassphrase,
    WrongKey,
    WrongPassphrase,
)
from nvstore.rekeying import RekeyReport, ShredReport
from nvstore.seal.kmip import KmipSealer, KmipServer, read_kmip_server
from nvstore.seal.passphrase import Cost, passphrase_from_fd, passphrase_from_file
from nvstore.seal.sealer import Sealer
from nvstore.seal.systemd import SystemdSealer
from nvstore.seal.tpm import TpmSealer
from nvstore.state.file import FileStore
from nvstore.state.history import Entry
from nvstore.state.store import MemoryStore, Store
from nvstore.state.vm import StateStatus
from nvstore.vault import SecretStatus, Vault

__all__ = [
    "AlteredState",
    "AnchorLeft",
    "AnchorMissing",
    "AnchorUnavailable",
    "ArrivalFailed",
    "Audit",
    "AuditBroken",
    "AuditFailed",
    "AuditIntact",
    "AuditUnwritable",
    "BackupDamaged",
    "BackupExists",
    "BackupMissing",
    "BackupReport",
    "BadName",
    "BundleAltered",
    "BundleDamaged",
    "BundleExists",
    "BundleMissing",
    "BundleOfOther",
    "BundleReport",
    "Checkup",
    "CorruptState",
    "Cost",
    "DrillFailed",
    "DrillReport",
    "Entry",
    "ExtraMissing",
    "FileStore",
    "Finding",
    "ForeignState",
    "Forked",
    "Format",
    "GenerationMissing",
    "Host",
    "HostTpmRequired",
    "Identity",
    "IdentityExists",
    "IdentityMissing",
    "InTheClear",
    "KeyFileDamaged",
    "KeyFileMissing",
    "KeyInUse",
    "KeyMissing",
    "KeyUncertified",
    "KmipSealer",
    "KmipServer",
    "Locked",
    "MarkDamaged",
    "MarkMissing",
    "MemoryStore",
    "NameDiffers",
    "NoSealOpens",
    "NotNewer",
    "NothingToRepair",
    "NvstoreError",
    "PackageRefused",
    "PassphraseNeeded",
    "ProviderAltered",
    "ProviderDamaged",
    "ProviderExists",
    "ProviderInUse",
    "ProviderLocked",
    "ProviderMissing",
    "ProviderNotActive",
    "ProviderStatus",
    "ProviderUnverified",
    "Providers",
    "Received",
    "RekeyReport",
    "RevertRefused",
    "RolledBack",
    "RotationRefused",
    "SealFailed",
    "Sealer",
    "SecretAltered",
    "SecretDamaged",
    "SecretMissing",
    "SecretStatus",
    "Share",
    "ShareRefused",
    "ShredReport",
    "StateError",
    "StateExists",
    "StateMissing",
    "StateStatus",
    "StepRefused",
    "Store",
    "StoreClosed",
    "StoreUnavailable",
    "StreamAltered",
    "StreamDamaged",
    "StreamKeyRefused",
    "StreamOfOther",
    "SuiteRefused",
    "SystemdSealer",
    "TctiRefused",
    "TooEarly",
    "TooExpensive",
    "TpmSealer",
    "UnfitPassphrase",
    "UnknownState",
    "UnsafeFile",
    "Vault",
    "WeakPassphrase",
    "WrongKey",
    "WrongPassphrase",
    "draw_passphrase",
    "examine",
    "load_share",
    "passphrase_from_fd",
    "passphrase_from_file",
    "read_identity",
    "read_kmip_server",
    "recover_passphrase",
    "save_share",
]
