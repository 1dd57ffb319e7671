"""Goldens of a bundle: crops, the reference model's joints for them, and the error limits of each precision.

The ground truth is the reference model in FP64. The limits in mm depend on further references: the reference model in
FP32, and the simulated graph of every other precision. They are computed here, so that a device only compares.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle.contents import Contents
from export.common.errors import BadInput, Inconclusive
from export.common.files import UNREADABLE_ARRAYS
from export.common.plain import printable
from export.images.image_set import DRAWN
from export.model.joint_sets import joint_set
from export.parity.budgets import Budget, budget_for
from export.parity.comparison import (
    ANY_FP32_FACTOR,
    NEEDED_SPREAD_MM,
    Limit,
    error_limits,
    joint_spread,
    summarize_errors,
)
from export.pipeline.layout import TRUTH, plan_paths
from export.runtime.pose import CUBE_MM, MEAN, STD, Volume

COUNT = 16
"""Enough to show every joint in many poses, and few enough for a device without a GPU."""
GOLDEN, CPP_FOLDER = "golden.npz", "golden"

Budgets = Mapping[str, tuple[Budget, tuple[Limit, ...]]]
"""Precision → its budget, and the limits that follow from it on the goldens."""


@dataclass(frozen=True, eq=False)
class Goldens:
    """Images and joints that a device compares with."""

    images: NDArray[np.uint8]
    """(N, S, S, 3) RGB."""
    truth: NDArray[np.float64]
    """(N, J, 3) bins."""
    references: Mapping[str, NDArray[Any]]
    """Precision → (N, J, 3) bins that its budget compares with."""
    source: str

    @property
    def drawn(self) -> bool:
        """True: drawn by this project; False: a user's crops."""
        return self.source.startswith(DRAWN)


def make_goldens(contents: Contents) -> Goldens:
    """Return the first images of the export's parity with their references.

    Raises:
        BadInput: they cannot be read.
        Inconclusive: the network's joints hardly vary over them, so that any joints would agree.
    """
    goldens = _read_goldens(contents)
    spread = joint_spread(goldens.truth, Volume.from_architecture(contents.manifest.architecture))
    if not min(spread.over_images_mm, spread.over_joints_mm) >= NEEDED_SPREAD_MM:
        value = f"joints spread {spread.over_images_mm:.3g} mm over images, {spread.over_joints_mm:.3g} mm over joints"
        raise Inconclusive(
            "these goldens would prove nothing", value, "export with --images and crops of different poses"
        )
    return goldens


def budgets_of(contents: Contents, goldens: Goldens) -> Budgets:
    """Return the budget and the limits of each precision, which assume no processor's arithmetic."""
    volume, trained = (
        Volume.from_architecture(contents.manifest.architecture),
        contents.manifest.weights.origin != "stand-in",
    )
    count = goldens.truth.shape[0] * goldens.truth.shape[1]
    errors = {name: summarize_errors(goldens.truth, joints, volume) for name, joints in goldens.references.items()}
    budgets = {}
    for precision in (artifact.precision for artifact in contents.onnx):
        budget = budget_for(precision, trained=trained, require=contents.manifest.grade_required(precision))
        limits = error_limits(
            *(budget, errors[precision], errors["fp32"], count), sums_in_fp32=False, factor_to_fp32=ANY_FP32_FACTOR
        )
        budgets[precision] = budget, limits
    return budgets


def write_goldens(folder: Path, contents: Contents, goldens: Goldens, budgets: Budgets) -> None:
    """Write ``golden.npz`` for Python, and ``golden/`` for programs without a library.

    The latter holds ``images.u8`` (N, S, S, 3), ``joints.f64`` (N, J, 3), both little-endian, and ``facts.txt``.
    """
    truth = goldens.truth.astype("<f8")
    np.savez(folder / GOLDEN, images=goldens.images, truth=truth)
    (folder / CPP_FOLDER).mkdir()
    (folder / CPP_FOLDER / "images.u8").write_bytes(goldens.images.tobytes())
    (folder / CPP_FOLDER / "joints.f64").write_bytes(truth.tobytes())
    facts = "".join(f"{line}\n" for line in _facts(contents, goldens, budgets))
    (folder / CPP_FOLDER / "facts.txt").write_text(facts, encoding="utf-8")


def _facts(contents: Contents, goldens: Goldens, budgets: Budgets) -> Iterator[str]:
    architecture = contents.manifest.architecture
    yield f"weights {contents.manifest.weights.origin}"
    yield f"images {len(goldens.images)}"
    yield f"input_size {architecture.input_size}"
    yield f"heatmap_size {architecture.heatmap_size}"
    yield f"depth_dim {architecture.depth_dim}"
    yield f"cube_mm {CUBE_MM!r}"
    yield f"mean {' '.join(map(repr, MEAN))}"
    yield f"std {' '.join(map(repr, STD))}"
    yield f"joints {' '.join(joint_set(architecture.joints).joints)}"
    for onnx in contents.onnx:
        yield f"onnx {onnx.precision} {onnx.path}"
    for precision, (_, limits) in budgets.items():
        for limit in limits:
            yield f"limit {precision} {limit.statistic} {limit.allowed_mm!r}"


def _read_goldens(contents: Contents) -> Goldens:
    """Read images and references that the export's parity left."""
    try:
        with np.load(contents.folder / TRUTH, allow_pickle=False) as file:
            images, truth, fp32 = (file[name][:COUNT] for name in ("images", "truth", "reference"))
        references = {"fp32": fp32}
        for precision in (artifact.precision for artifact in contents.onnx if artifact.precision != "fp32"):
            with np.load(contents.folder / plan_paths(precision).simulation, allow_pickle=False) as file:
                references[precision] = file["simulation"][:COUNT]
    except UNREADABLE_ARRAYS as error:
        advice = f"make it again: convnextpose export {contents.model}"
        raise BadInput(f"{contents.folder} has no images of its parity", str(error), advice) from error
    source = next((report.images.source for report in contents.manifest.parity), "the export's parity")
    return Goldens(images, truth, references, printable(f"{source}, the first {len(images)}"))
