"""Test ``convnextpose inspect --images`` on checkpoints with a known number of upsamplings.

``python -m demo.upsampling_pairs 2=demo/XS-atto-demo.pth 1=build/counts/XS-atto-demo-1.pth`` prints the tables of
docs/checkpoints.md: each checkpoint is run with every count on the same held-out figures.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from demo.accuracy import held_out_accuracy
from demo.command import run
from export.checkpoint.evidence import read_evidence
from export.checkpoint.loading import Checkpoint, read_checkpoint
from export.checkpoint.upsampling.evidence import evidence_of, possible_candidates
from export.checkpoint.upsampling.runs import Run, run_candidates
from export.common.errors import BadInput
from export.common.progress import no_progress
from export.images.figures import CROP_SIZE, EVALUATION_SEED, draw_figures
from export.model.architecture import HEAD_LAYERS, Architecture
from export.model.joint_sets import HUMAN36M
from export.model.network import build_network

SET_SIZES = (8, 16, 32)
"""Sizes of the image sets for a decision."""

PAIR_COLUMNS = (
    *("trained with", "run with", "centre off by, px", "allowed, px", "missed when turned", "when mirrored"),
    *("entropy", "mean to mode, mm", "MPJPE, mm"),
)


@dataclass(frozen=True, eq=False)
class Known:
    """A checkpoint, its true count, and its runs with every count."""

    name: str
    trained: int
    candidates: tuple[Architecture, ...]
    runs: tuple[Run, ...]
    mpjpe_mm: tuple[float, ...]


def known_checkpoint(argument: str, figures: int) -> Known:
    """Run ``COUNT=PATH`` with every count.

    Raises:
        BadInput: the argument has another form, or the file is unreadable.
    """
    count, _, path = argument.partition("=")
    if count not in map(str, range(HEAD_LAYERS + 1)) or not path:
        raise BadInput(
            "a checkpoint must be named with its count", argument, "write 2=demo/XS-atto-demo.pth, for example"
        )
    checkpoint = read_checkpoint(Path(path))
    candidates = tuple(possible_candidates(_architecture(checkpoint)))
    images = np.stack([figure.image for figure in draw_figures(figures, EVALUATION_SEED)])
    runs = run_candidates(candidates, checkpoint.tensors, images, no_progress)
    networks = (build_network(candidate, checkpoint.tensors) for candidate in candidates)
    mpjpe_mm = tuple(held_out_accuracy(network, figures).mpjpe_mm for network in networks)
    return Known(Path(path).stem, int(count), candidates, tuple(runs), mpjpe_mm)


def _architecture(checkpoint: Checkpoint) -> Architecture:
    joints, evidence = len(HUMAN36M.joints), read_evidence(checkpoint)
    return evidence.as_architecture(joints, evidence.volume_channels // joints, upsamplings=0, input_size=CROP_SIZE)


def pair_rows(known: Known) -> list[str]:
    """Return one row per count, over all figures."""
    rows = []
    evidence = evidence_of(known.candidates, known.runs)
    for row, mpjpe_mm in zip(evidence.candidates, known.mpjpe_mm, strict=True):
        cells = (
            f"{known.name}, {known.trained}",
            f"**{row.upsamplings}**" if row.upsamplings == known.trained else str(row.upsamplings),
            f"{row.offset_px:+.2f} ± {row.uncertainty_px:.2f}",
            f"{row.allowed_px:.2f}",
            f"{row.turned_missed:.2f}",
            f"{row.mirrored_missed:.2f}",
            f"{row.entropy_share:.2f}",
            f"{row.mode_distance_mm:.0f}",
            f"{mpjpe_mm:.1f}",
        )
        rows.append(_row(cells))
    return rows


def decision_row(known: Known) -> str:
    """Return how often the count was right, undecided and wrong, in separate sets of each size."""
    cells = [f"{known.name}, {known.trained}"]
    total = len(known.runs[0].entropy_share)
    for size in SET_SIZES:
        sets = [slice(first, first + size) for first in range(0, total - size + 1, size)]
        decided = [evidence_of(known.candidates, [run.select(part) for run in known.runs]).decided for part in sets]
        wrong = sum(count not in (known.trained, None) for count in decided)
        cells.append(f"{decided.count(known.trained)} / {decided.count(None)} / {wrong}")
    return _row(cells)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(columns: Sequence[str], rows: Sequence[str]) -> str:
    return "\n".join([_row(columns), _row(["---"] * len(columns)), *rows])


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m demo.upsampling_pairs", description=__doc__)
    parser.add_argument("checkpoints", nargs="+", metavar="COUNT=PATH", help="the count that PATH was trained with")
    parser.add_argument("--figures", type=int, default=256)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    all_known = [known_checkpoint(argument, options.figures) for argument in options.checkpoints]
    print(_table(PAIR_COLUMNS, [row for known in all_known for row in pair_rows(known)]))
    print()
    print(_table(("trained with", *(f"{size} images" for size in SET_SIZES)), list(map(decision_row, all_known))))
    return 0


if __name__ == "__main__":
    run(main)
