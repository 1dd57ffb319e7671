"""Steps that prepare a lower precision: calibration images, value ranges, and the precision plan."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.checkpoint.records import CheckpointRecord
from export.common.files import write_json
from export.common.progress import Progress
from export.pipeline.layout import CALIBRATION, TRUTH, WEIGHTS, plan_paths, ranges_path
from export.pipeline.onnx_steps import PARITY_TOOLS
from export.pipeline.reference_steps import REFERENCE_BATCH, hashes_of
from export.pipeline.reports import ImagesReport, RangesReport
from export.pipeline.request import ExportRequest
from export.pipeline.results import ExportResults
from export.pipeline.steps import Folder, Step, StepResult

if TYPE_CHECKING:
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
        from export.pipeline.plan_trials import ParityImages, PlanTrials
        from export.plan.planned import save_planned
        from export.plan.precision_plan import accept_plan, read_plan
        from export.plan.search import search_plan
        from export.plan.weights import prepare

        network = load_network(folder.path / WEIGHTS)
        with np.load(folder.path / CALIBRATION) as arrays:
            report = calibration.get()
            images = ImageSet(arrays["images"], report.source, report.notes)
        with np.load(folder.path / TRUTH) as arrays:
            parity = ParityImages(
                arrays["images"], arrays["truth"], results.truth.get().statistics.verdict != "unknown"
            )
        trials = PlanTrials(network, parity, target / "trial.onnx", progress)
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
