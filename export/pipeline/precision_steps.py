"""Steps that prepare a lower precision: calibration images, value ranges, and the precision plan."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.checkpoint.records import CheckpointRecord
from export.common.files import write_json
from export.common.progress import Progress
from export.parity.budgets import Grade
from export.pipeline.layout import CALIBRATION, TRUTH, WEIGHTS, plan_paths, ranges_path
from export.pipeline.onnx_steps import PARITY_TOOLS
from export.pipeline.reference_steps import REFERENCE_BATCH, hashes_of
from export.pipeline.reports import ImagesReport, RangesReport
from export.pipeline.request import ExportRequest
from export.pipeline.results import ExportResults
from export.pipeline.steps import Folder, Step, StepResult

if TYPE_CHECKING:
    from export.model.network import ConvNeXtPose
    from export.parity.comparison import Joints
    from export.plan.placement import PlannedConv
    from export.plan.planned import PlannedWeights
    from export.plan.precision_plan import PrecisionPlan


def calibration_step(
    folder: Folder, request: ExportRequest, weights: StepResult[CheckpointRecord]
) -> StepResult[ImagesReport]:
    """Read the images from which weights are rounded and INT8 scales are taken.

    Raises:
        BadInput: too few images, constant ones, parity images, or images of another kind than those of the training.
    """

    def work(target: Path, progress: Progress) -> ImagesReport:
        import numpy as np

        from export.images.norm_statistics import measure_images, require_known
        from export.model.weights_file import load_network
        from export.parity.images import parity_images, require_disjoint
        from export.plan.calibration import drawn_calibration, folder_calibration

        network = load_network(folder.path / WEIGHTS)
        size, source = network.architecture.input_size, request.calibration
        progress("reading the images for calibration")
        images = drawn_calibration(size) if source is None else folder_calibration(source, size)
        require_disjoint(parity_images(size, request.parity_images), images.record)
        statistics = measure_images(network, images.images, progress)
        if request.trained:
            require_known(statistics, images.source)
        (target / CALIBRATION).parent.mkdir()
        np.savez(target / CALIBRATION, images=images.images)
        return ImagesReport.model_validate({**images.as_json(), "statistics": statistics.summary()})

    files = hashes_of(parity_images=request.parity_images, calibration=request.calibration)
    options = {"trained": request.trained}
    step = Step("calibration", (CALIBRATION,), weights.hashes(WEIGHTS) | files, options, ("torch", "numpy"))
    return folder.perform(step, work, ImagesReport)


def ranges_step(
    folder: Folder, request: ExportRequest, weights: StepResult[CheckpointRecord], precision: str
) -> StepResult[RangesReport]:
    """Measure the largest values of the half graph.

    Overflow is a result, not a failure; ``require_range`` then refuses the precision.
    """
    path = ranges_path(precision)

    def work(target: Path, progress: Progress) -> RangesReport:
        from export.graph.ranges import SCHEMA_VERSION
        from export.model.weights_file import load_network
        from export.parity.images import parity_images
        from export.plan.value_ranges import measure_ranges

        network = load_network(folder.path / WEIGHTS)
        images = parity_images(network.architecture.input_size, request.parity_images).images
        ranges = measure_ranges(network, precision, images, REFERENCE_BATCH, progress)
        header = {"schema_version": SCHEMA_VERSION, "precision": precision}
        (target / path).parent.mkdir()
        write_json(target / path, header | ranges.as_json())
        return RangesReport.model_validate({**header, "every_layer": path, **ranges.summary()})

    inputs = weights.hashes(WEIGHTS) | hashes_of(parity_images=request.parity_images)
    step = Step(f"ranges-{precision}", (path,), inputs, {"precision": precision}, ("torch", "numpy"))
    return folder.perform(step, work, RangesReport)


def plan_step(
    folder: Folder, request: ExportRequest, results: ExportResults, precision: str
) -> "StepResult[PrecisionPlan]":
    """Choose the precision of each convolution, round the weights, and simulate the graph on the parity images.

    Plans near a limit are also tried as an ONNX file, in the runtimes that check parity.
    """
    from export.plan.precision_plan import PrecisionPlan

    weights, calibration = results.weights, results.calibration
    assert calibration is not None
    paths, user_plan = plan_paths(precision), request.plans.get(precision)

    def work(target: Path, progress: Progress) -> PrecisionPlan:
        import numpy as np

        from export.images.image_set import ImageSet
        from export.model.weights_file import load_network
        from export.plan.planned import save_planned
        from export.plan.precision_plan import accept_plan, read_plan
        from export.plan.search import search_plan
        from export.plan.weights import prepare

        network = load_network(folder.path / WEIGHTS)
        with np.load(folder.path / CALIBRATION) as arrays:
            report = calibration.get()
            images = ImageSet(arrays["images"], report.source, report.notes)
        known = results.truth.get().statistics.verdict != "unknown"
        trials = _Trials(network, folder.path / TRUTH, target / "trial.onnx", progress, known=known)
        if user_plan is not None:
            plan = accept_plan(read_plan(user_plan, network.architecture), weights.outputs[WEIGHTS])
            plan = replace(plan, calibration=images.record)
            plan, candidates = prepare(network, plan, images.images, progress)
            planned = candidates.weights(plan)
        else:
            plan, planned = search_plan(
                network,
                precision,
                images,
                trained=request.trained,
                require=request.require,
                holds_on_parity_images=trials.holds,
                progress=progress,
            )
            plan = replace(plan, weights_sha256=weights.outputs[WEIGHTS])
        for path in (paths.record, paths.simulation):
            (target / path).parent.mkdir(exist_ok=True)
        write_json(target / paths.record, plan.as_json())
        save_planned(target / paths.weights, planned)
        np.savez(target / paths.simulation, simulation=trials.simulate(plan, planned))
        return plan

    inputs = (
        weights.hashes(WEIGHTS)
        | calibration.hashes(CALIBRATION)
        | results.truth.hashes(TRUTH)
        | hashes_of(plan=user_plan)
    )
    options = {"precision": precision, "trained": request.trained, "require": request.require}
    tools = ("torch", "safetensors", "onnx", "onnxscript", "onnx-ir", *PARITY_TOOLS)
    step = Step(f"plan-{precision}", tuple(paths), inputs, options, tools)
    return folder.perform(step, work, PrecisionPlan)


class _Trials:
    """Plans on the parity images: simulated, and near a limit also as a file in the runtimes that check parity.

    Images that the network does not know decide nothing.
    """

    def __init__(
        self, network: "ConvNeXtPose", truth: Path, file: Path, progress: Progress, *, known: bool = True
    ) -> None:
        import numpy as np

        from export.runtime.pose import Volume

        with np.load(truth) as arrays:
            self._images, self._truth = arrays["images"], arrays["truth"]
        self._network, self._file, self._progress, self._known = network, file, progress, known
        self._volume = Volume.from_architecture(network.architecture)
        self._joints: dict[tuple[PlannedConv, ...], Joints] = {}

    def simulate(self, plan: "PrecisionPlan", planned: "PlannedWeights") -> "Joints":
        """Return the joints of a plan's graph, (N, J, 3) bins; those of the same convolutions are computed once."""
        from export.model.reference import run_reference
        from export.plan.planned import simulated_graph

        if plan.convs not in self._joints:
            graph = simulated_graph(self._network, plan, planned)
            self._joints[plan.convs] = run_reference(graph, self._images, REFERENCE_BATCH, self._progress)
        return self._joints[plan.convs]

    def holds(self, plan: "PrecisionPlan", planned: "PlannedWeights", grade: Grade) -> bool:
        """Return whether the errors of a plan are within a grade; the simulation decides where that is sure."""
        from export.parity.comparison import SIMULATION_SHARE, SURE_SHARE, simulation_is_within

        if not self._known:
            return True
        simulation = self.simulate(plan, planned)
        if simulation_is_within(self._truth, simulation, self._volume, grade, SURE_SHARE):
            return True
        if not simulation_is_within(self._truth, simulation, self._volume, grade, SIMULATION_SHARE):
            return False
        return self._file_holds(plan, planned, grade)

    def _file_holds(self, plan: "PrecisionPlan", planned: "PlannedWeights", grade: Grade) -> bool:
        from export.graph.onnx_graph import consumer_metadata
        from export.parity.comparison import summarize_errors
        from export.parity.sessions import run_everywhere
        from export.plan.planned_file import export_planned
        from export.runtime.pose import normalise

        self._progress("writing a file to try the plan on the parity images")
        metadata = consumer_metadata(self._network.architecture, precision=plan.precision)
        export_planned(self._network, self._file, metadata, plan, planned)
        inputs = normalise(self._images)
        for _, _, joints in run_everywhere(self._file, plan.precision, inputs, self._progress):
            errors = [summarize_errors(self._truth, candidate, self._volume) for candidate in joints.values()]
            if not all(grade.holds(error.mean_mm, error.p99_mm, None) for error in errors):
                return False
        return True
