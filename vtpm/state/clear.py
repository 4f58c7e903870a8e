"""What lasts until the next TPM Reset or Restart: Part 1, "State Clear Data"."""

from dataclasses import dataclass, field

from vtpm.state.act import Act


@dataclass(slots=True, eq=False)
class ClearData:
    """Kept by a Resume only; the enables, platform authorization and saved PCR are kept beside it."""

    ph_enable_nv: bool = True
    read_only: bool = False
    act: Act = field(default_factory=Act)
