"""The goldens of a bundle: crops, the joints that the released network has of them, and how far a file may be off.

The truth is the network as released in PyTorch FP64, as everywhere. Beside it stand the references that budgets
compare with: the FP32 network, the rounded half graphs, the simulated int8 network. The limits in mm that follow are
worked out here, once, so that a device only compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle.contents import Contents
from export.common.errors import BadInput, Inconclusive
from export.common.files import UNREADABLE_ARRAYS
from export.common.progress import Progress, no_progress
from export.images.image_set import DRAWN
from export.model.pose import Volume
from export.parity.budgets import Budget, budget_for
from export.parity.comparison import NEEDED_SPREAD_MM, Limit, error_limits, joint_spread, summarize_errors
from export.pipeline.model_steps import TRUTH, TRUTH_BATCH, WEIGHTS, plan_paths

COUNT = 16
"""Enough for every joint to be seen in many poses, and few enough for a device without a GPU."""


@dataclass(frozen=True, eq=False)
class Goldens:
    """What a device runs and compares."""

    images: NDArray[np.uint8]
    """(N, S, S, 3) RGB."""
    truth: NDArray[np.float64]
    """(N, J, 3) bins."""
    references: Mapping[str, NDArray[Any]]
    """Precision → (N, J, 3) bins of what its budget compares with."""
    source: str

    @property
    def drawn(self) -> bool:
        """By this project; otherwise they are crops of a user's."""
        return self.source.startswith(DRAWN)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As they stand in ``golden.npz``."""
        return {
            "images": self.images,
            "truth": self.truth.astype(np.float64),
            **{f"reference_{precision}": joints for precision, joints in self.references.items()},
        }


def make_goldens(contents: Contents, images: Path | None, progress: Progress = no_progress) -> Goldens:
    """The first drawn figures that parity was judged on, or crops of the user's.

    Raises:
        BadInput: too few images, or the folder cannot be read.
        Inconclusive: the network's joints hardly vary over them, so that anything would agree.
    """
    goldens = _of_export(contents) if images is None else _of_images(contents, images, progress)
    seen = joint_spread(goldens.truth, Volume.from_architecture(contents.manifest.architecture))
    if not min(seen.over_images_mm, seen.over_joints_mm) >= NEEDED_SPREAD_MM:
        told = f"joints spread {seen.over_images_mm:.3g} mm over images, {seen.over_joints_mm:.3g} mm over joints"
        raise Inconclusive("these goldens would prove nothing", told, "name crops of different poses with --images")
    return goldens


def budgets_of(contents: Contents, goldens: Goldens) -> dict[str, tuple[Budget, tuple[Limit, ...]]]:
    """Precision → its budget, and the limits that follow from it on these goldens."""
    volume = Volume.from_architecture(contents.manifest.architecture)
    count = goldens.truth.shape[0] * goldens.truth.shape[1]
    found = {}
    for artifact in contents.onnx:
        require = contents.manifest.grade_required(artifact.precision)
        budget = budget_for(artifact.precision, trained=contents.trained, require=require)
        beside, floor = (
            summarize_errors(goldens.truth, goldens.references[of], volume) for of in (artifact.precision, "fp32")
        )
        found[artifact.precision] = (budget, error_limits(budget, beside, floor, count))
    return found


def _of_export(contents: Contents) -> Goldens:
    """From what the export left of its parity."""
    try:
        with np.load(contents.folder / TRUTH, allow_pickle=False) as known:
            images, truth, fp32 = (known[name][:COUNT] for name in ("images", "truth", "reference"))
        references = {"fp32": fp32}
        for precision in (artifact.precision for artifact in contents.onnx):
            if precision != "fp32":
                with np.load(contents.folder / plan_paths(precision)[2], allow_pickle=False) as known:
                    references[precision] = known["simulation"][:COUNT]
    except UNREADABLE_ARRAYS as error:
        do = f"make it again: convnextpose export {contents.model}"
        raise BadInput(f"{contents.folder} has no images that parity was judged on", str(error), do) from error
    source = next((dict(report["images"])["source"] for report in contents.manifest.parity), "the export's parity")
    return Goldens(images, truth, references, f"{source}, the first {len(images)}")


def _of_images(contents: Contents, folder: Path, progress: Progress) -> Goldens:
    """Run the references on crops of the user's."""
    from export.images.image_set import folder_set
    from export.model.reference import run_reference
    from export.model.weights_file import load_network
    from export.plan.planned import load_planned, simulated
    from export.plan.precision_plan import read_plan

    chosen = folder_set(folder, contents.manifest.architecture.input_size, COUNT, COUNT)
    if (distinct := chosen.distinct) < COUNT:
        do = "name a folder with more crops of people, or leave --images out"
        raise BadInput(f"goldens need {COUNT} distinct images", f"{distinct} in {folder}", do)

    def run(network: Any) -> NDArray[Any]:
        return run_reference(network, chosen.images, TRUTH_BATCH, progress)

    network = load_network(contents.folder / WEIGHTS)
    references = {"fp32": run(network)}
    for precision in (artifact.precision for artifact in contents.onnx):
        progress(f"the {precision} reference")
        if precision == "fp32":
            continue
        record, planned, _ = (contents.folder / path for path in plan_paths(precision))
        plan = read_plan(record, network.architecture)
        references[precision] = run(simulated(network, plan, load_planned(planned)))
    return Goldens(chosen.images, run(network.double()), references, chosen.source)
