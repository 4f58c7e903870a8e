"""Part 3, clause 26: miscellaneous management functions."""

from typing import Annotated

from vtpm.commands.table import command
from vtpm.spec.constants import TPM_CC
from vtpm.spec.handles import TPMI_RH_PLATFORM
from vtpm.spec.structures import TPML_CC
from vtpm.state.entity import Role
from vtpm.state.hierarchy import Hierarchy
from vtpm.state.tpm import TpmState
from vtpm.wire.integers import UINT32

Platform = Annotated[Hierarchy, TPMI_RH_PLATFORM, Role.USER]


@command(TPM_CC.PP_Commands, nv=True, physical_presence=True, read_only=False)
def pp_commands(tpm: TpmState, auth: Platform, /, set_list: TPML_CC, clear_list: TPML_CC) -> None:
    """26.2: which commands need physical presence; those that cannot are passed over."""
    changed = set(tpm.permanent.physical_presence)
    changed |= {code for code in set_list if can_need_presence(tpm, code)}
    changed -= {code for code in clear_list if can_need_presence(tpm, code)}
    tpm.permanent.physical_presence = changed | {TPM_CC.PP_Commands}
    tpm.touch_permanent()


def can_need_presence(tpm: TpmState, code: int) -> bool:
    """Is it a command for which physical presence can be asked?"""
    known = tpm.commands.get(code)
    return known is not None and known.physical_presence


@command(TPM_CC.SetAlgorithmSet, nv=True, read_only=False)
def set_algorithm_set(tpm: TpmState, auth: Platform, /, algorithm_set: UINT32) -> None:
    """26.3: remember the platform's choice of algorithms, which GetCapability reports."""
    tpm.permanent.algorithm_set = algorithm_set
    tpm.touch_permanent()
