"""Trials of precision plans on the parity images, during the search."""

from dataclasses import dataclass
from pathlib import Path

from export.common.progress import Progress
from export.graph.onnx_graph import consumer_metadata
from export.images.image_set import Images
from export.model.network import ConvNeXtPose
from export.model.reference import run_reference
from export.parity.budgets import Grade
from export.parity.comparison import SIMULATION_SHARE, SURE_SHARE, Joints, simulation_is_within, summarize_errors
from export.parity.sessions import run_everywhere
from export.pipeline.reference_steps import REFERENCE_BATCH
from export.plan.placement import PlannedConv
from export.plan.planned import PlannedWeights, simulated_graph
from export.plan.planned_file import export_planned
from export.plan.precision_plan import PrecisionPlan
from export.runtime.pose import Volume, normalise


@dataclass(frozen=True, eq=False)
class ParityImages:
    """Images of parity, and the reference model's joints on them."""

    images: Images
    """(N, S, S, 3) RGB pixels."""
    truth: Joints
    """(N, J, 3) bins, FP64."""
    known: bool
    """False for images that the network does not know: they decide nothing about a plan, and parity is inconclusive."""


class PlanTrials:
    """Plans of one network on the parity images: simulated, and near a limit also run as an ONNX file."""

    def __init__(self, network: ConvNeXtPose, parity: ParityImages, file: Path, progress: Progress) -> None:
        """Try plans of the released ``network``; a plan's ONNX file is written to ``file``."""
        self._network, self._parity, self._file, self._progress = network, parity, file, progress
        self._volume = Volume.from_architecture(network.architecture)
        self._joints: dict[tuple[PlannedConv, ...], Joints] = {}

    def simulate(self, plan: PrecisionPlan, planned: PlannedWeights) -> Joints:
        """Return the joints of a plan's graph, (N, J, 3) bins; those of the same convolutions are computed once."""
        if plan.convs not in self._joints:
            graph = simulated_graph(self._network, plan, planned)
            self._joints[plan.convs] = run_reference(graph, self._parity.images, REFERENCE_BATCH, self._progress)
        return self._joints[plan.convs]

    def holds(self, plan: PrecisionPlan, planned: PlannedWeights, grade: Grade) -> bool:
        """Return whether a plan's mean and p99 errors in mm are within a grade.

        The simulation decides where it is sure (``SURE_SHARE``) or hopeless (``SIMULATION_SHARE``). Between, the file
        is run in every runtime that checks parity.

        Raises:
            CheckFailed: the file fails its own checks.
        """
        if not self._parity.known:
            return True
        simulation = self.simulate(plan, planned)
        within = [
            simulation_is_within(self._parity.truth, simulation, self._volume, grade, share)
            for share in (SURE_SHARE, SIMULATION_SHARE)
        ]
        return within[0] or (within[1] and self._file_holds(plan, planned, grade))

    def _file_holds(self, plan: PrecisionPlan, planned: PlannedWeights, grade: Grade) -> bool:
        self._progress("writing a file to try the plan on the parity images")
        metadata = consumer_metadata(self._network.architecture, precision=plan.precision)
        export_planned(self._network, self._file, metadata, plan, planned)
        inputs = normalise(self._parity.images)
        for _, _, joints in run_everywhere(self._file, plan.precision, inputs, self._progress):
            errors = [summarize_errors(self._parity.truth, candidate, self._volume) for candidate in joints.values()]
            if not all(grade.holds(error.mean_mm, error.p99_mm, None) for error in errors):
                return False
        return True
