"""Part 3, clause 21: command audit."""

from typing import Annotated

from vtpm.commands.table import command
from vtpm.spec.constants import TPM_ALG, TPM_CC
from vtpm.spec.handles import TPMI_RH_PROVISION
from vtpm.spec.interface import TPMI_ALG_HASH_NULL
from vtpm.spec.structures import TPML_CC
from vtpm.state.entity import Role
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.tpm import TpmState
from vtpm.wire.error import TPM_RC, TpmError

ALWAYS = TPM_CC.SetCommandCodeAuditStatus
NEVER = TPM_CC.Shutdown


@command(TPM_CC.SetCommandCodeAuditStatus, nv=True, physical_presence=True, read_only=False)
def set_command_code_audit_status(
    tpm: TpmState,
    auth: Annotated[Hierarchy, TPMI_RH_PROVISION, Role.USER],
    /,
    audit_alg: TPMI_ALG_HASH_NULL,
    set_list: TPML_CC,
    clear_list: TPML_CC,
) -> None:
    """21.2: choose either the hash of the command audit, or the commands that are audited."""
    permanent = tpm.permanent
    if audit_alg not in (TPM_ALG.NULL, permanent.audit_alg):
        if set_list or clear_list:
            raise TpmError(TPM_RC.VALUE, at="audit_alg")
        permanent.audit_alg = audit_alg
        tpm.reset.command_audit_digest = b""
        tpm.volatile.audit_restarted = True
        tpm.touch_permanent()
        return
    audited = permanent.audited | {code for code in set_list if code in tpm.commands and code != NEVER}
    audited -= {code for code in clear_list if code != ALWAYS}
    if audited != permanent.audited:
        permanent.audited = audited
        tpm.touch_permanent()
