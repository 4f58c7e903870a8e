"""
The audit log: one line of JSON for every operation on keys and states.

Each line has the hash of the line before, and a MAC under a key that changes with every line.
The key of a line is not kept: whoever takes over a host can invent what comes, and not rewrite what was.
The first key follows from a provider's KDK, so that whoever has that can verify the log from its beginning.
The log holds names, ids and results, and never a secret.
"""

from nvstore.audit.line import Root
from nvstore.audit.log import Audit, Witness
from nvstore.audit.verification import Verified

__all__ = ["Audit", "Root", "Verified", "Witness"]
