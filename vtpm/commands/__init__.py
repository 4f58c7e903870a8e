"""Part 3, in its order: importing a chapter adds its commands to the table."""
# isort: skip_file

from vtpm.commands import startup  # 9 Start-up
from vtpm.commands import testing  # 10 Testing
from vtpm.commands import session  # 11 Session commands
from vtpm.commands import credential, object  # noqa: A004 - 12 Object commands
from vtpm.commands import duplication  # 13 Duplication commands
from vtpm.commands import asymmetric, ecc_encryption  # 14 Asymmetric primitives
from vtpm.commands import symmetric  # 15 Symmetric primitives
from vtpm.commands import random  # 16 Random number generator
from vtpm.commands import sequence  # 17 Hash, MAC and event sequences
from vtpm.commands import attestation, certificate  # 18 Attestation commands
from vtpm.commands import ephemeral  # 19 Ephemeral EC keys
from vtpm.commands import signature  # 20 Signing and signature verification
from vtpm.commands import audit  # 21 Command audit
from vtpm.commands import pcr  # 22 Integrity collection (PCR)
from vtpm.commands import policy, policy_authorization, policy_comparison  # 23 Enhanced authorization (EA)
from vtpm.commands import hierarchy  # 24 Hierarchy commands
from vtpm.commands import dictionary_attack  # 25 Dictionary attack functions
from vtpm.commands import management  # 26 Miscellaneous management functions
from vtpm.commands import context  # 28 Context management
from vtpm.commands import clock  # 29 Clocks and timers
from vtpm.commands import capability  # 30 Capability commands
from vtpm.commands import nv, nv_definition  # 31 Non-volatile storage
from vtpm.commands import act  # 33 Authenticated Countdown Timer
from vtpm.commands.table import COMMANDS, Command

__all__ = [
    "COMMANDS",
    "Command",
    "act",
    "asymmetric",
    "attestation",
    "audit",
    "capability",
    "certificate",
    "clock",
    "context",
    "credential",
    "dictionary_attack",
    "duplication",
    "ecc_encryption",
    "ephemeral",
    "hierarchy",
    "management",
    "nv",
    "nv_definition",
    "object",
    "pcr",
    "policy",
    "policy_authorization",
    "policy_comparison",
    "random",
    "sequence",
    "session",
    "signature",
    "startup",
    "symmetric",
    "testing",
]
