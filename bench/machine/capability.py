"""One task that a machine can do or not, with the reason."""

from dataclasses import dataclass
from typing import Literal

Available = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Capability:
    """One task that this project may do on a machine."""

    name: str
    """Name for ``--require``."""
    about: str
    available: Available
    reason: str
    advice: str = ""
