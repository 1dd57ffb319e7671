"""Nearly real XS weights and photographs, from a folder beside the repository."""

from pathlib import Path

import pytest

from tests.support.command_line import ROOT

FOLDER = ROOT.parent / "shared" / "real"


def real_checkpoint() -> Path:
    """Return the path of the checkpoint: Atto, 18 joints, statistics and weights as in a released file."""
    return FOLDER / "ConvNeXtPose_XS-refitted.pth"


def real_parity() -> Path:
    """Return the folder of 64 crops for parity."""
    return FOLDER / "parity"


def real_calibration() -> Path:
    """Return the folder of 64 other crops for calibration."""
    return FOLDER / "calibration"


needs_real_weights = pytest.mark.skipif(
    not real_checkpoint().is_file(), reason=f"no {real_checkpoint().name} in {FOLDER.parent.name}/{FOLDER.name} beside"
)
"""Mark for tests that read these files."""
