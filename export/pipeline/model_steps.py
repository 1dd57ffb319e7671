"""The steps of the main job, one function each: what a step depends on, the files that it makes, and the work.

What a step needs is imported inside, so that a run in which everything is up to date loads neither torch nor onnx.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from export.common.errors import Failure, NotPossible
from export.common.files import sha256_path, write_json
from export.common.interface import precision_of
from export.common.progress import Progress
from export.engine.choice import choose_runtime
from export.engine.plan import EnginePlan
from export.parity.budgets import budget_for, status_of
from export.pipeline.options import require_agreement
from export.pipeline.request import ExportRequest
from export.pipeline.steps import Folder, Made, NotBuilt, Step
from export.runtime.engine_file import PRODUCTS

WEIGHTS = "weights/weights.safetensors"
TRUTH = "parity/truth.npz"
"""The joints of the reference in FP64 (``truth``) and FP32 (``reference``), (N, J, 3) bins, and the ``images``."""
IMAGE_STATISTICS = "parity/image-statistics.json"
"""Mismatch of the parity images and the stored BatchNorm statistics, for each norm."""
PARITY_REPORT = "parity/{}.json"
"""By variant."""
CALIBRATION = "plan/calibration.npz"
"""The ``images`` from which weights are rounded and INT8 scales are taken, (N, S, S, 3) RGB."""
PARITY_BATCHES = (1, 5)
TRUTH_BATCH = 4
"""Images at a time in FP64; four volumes of 64³ for 18 joints are 150 MB."""


def plan_paths(precision: str) -> tuple[str, str, str]:
    """Return the paths of a plan, of its weights, and of the joints of its simulation (``simulation``)."""
    return f"plan/{precision}.json", f"plan/{precision}.safetensors", f"parity/{precision}-simulated.npz"


def weights_step(folder: Folder, request: ExportRequest) -> Made:
    """Read the checkpoint, grow the demo checkpoint, or make stand-in weights; decide what network it is.

    Raises:
        BadInput: the checkpoint cannot be read or contradicts itself.
        CheckFailed: ``--strict``, and the checkpoint is not what the configuration declares.
    """
    config, checkpoint, growth = request.config, request.checkpoint, request.growth
    declared = config.model_dump(mode="json", exclude={"claims", "files", "demo", "demo_head", "grown_from"})

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.checkpoint.claims import audit_by_file
        from export.checkpoint.verdict import judge
        from export.model.network import build_network
        from export.model.weights_file import save_weights

        found, file, dtypes = None, None, ["float32"]
        path = growth.checkpoint if growth else checkpoint
        if path is not None:
            from export.checkpoint.evidence import floating_dtypes
            from export.checkpoint.loading import read_checkpoint

            progress(f"reading {path}")
            file = read_checkpoint(path)
            found = None if growth else file
            dtypes = floating_dtypes(file)
        verdict = judge(config, found, request.overrides)
        if request.strict:
            require_agreement(config.name, verdict.as_json())
        if found is not None:
            tensors = found.tensors
        elif growth is not None and file is not None:
            from export.synthetic.grown import grow_demo

            progress(f"growing the {growth.model} demo checkpoint")
            tensors = grow_demo(growth, file.tensors, verdict.architecture)
        else:
            from export.synthetic.random_weights import stand_in_weights

            progress("making stand-in weights")
            tensors = stand_in_weights(verdict.architecture)
        build_network(verdict.architecture, tensors)
        claims = []  # only a file from elsewhere is evidence of what others claim
        if request.origin == "checkpoint":
            claims = [asdict(finding) for finding in audit_by_file(config, verdict)]
        save_weights(made / WEIGHTS, tensors, verdict.architecture)
        return {
            "location": file.location if file else None,
            "container": file.container if file else None,
            "epoch": file.epoch if file else None,
            "dtypes": dtypes,
            **verdict.as_json(),
            "claims": claims,
        }

    inputs = {"checkpoint": request.checkpoint_sha256} if request.checkpoint_sha256 else {}
    if growth and growth.head:
        inputs["head"] = sha256_path(growth.head)
    options = {"declared": declared, "overrides": dict(request.overrides), "origin": request.origin}
    options |= {"grown_from": asdict(growth.source)} if growth else {}
    made = folder.perform(Step("weights", (WEIGHTS,), inputs, options, ("torch", "safetensors")), work)
    if request.strict and made.result:
        require_agreement(config.name, made.result)
    return made


def truth_step(folder: Folder, request: ExportRequest, weights: Made) -> Made:
    """Run the reference in FP64, which is the truth, and in FP32, which is the reference to be judged beside."""

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.images.norm_statistics import judge_images, observe_norms
        from export.model.reference import run_reference
        from export.model.weights_file import load_network
        from export.parity.images import parity_images

        network = load_network(folder.path / WEIGHTS)
        images = parity_images(network.architecture.input_size, request.parity_images)
        with observe_norms(network) as moments:
            reference = run_reference(network, images.images, TRUTH_BATCH)
        statistics = judge_images(network, moments)
        truth = run_reference(network.double(), images.images, TRUTH_BATCH, progress)
        (made / TRUTH).parent.mkdir()
        np.savez(made / TRUTH, truth=truth, reference=reference, images=images.images)
        write_json(made / IMAGE_STATISTICS, statistics.as_json())
        return images.as_json() | {"statistics": {"every_norm": IMAGE_STATISTICS, **statistics.summary()}}

    inputs = _input(weights, WEIGHTS) | _given(parity_images=request.parity_images)
    return folder.perform(Step("truth", (TRUTH, IMAGE_STATISTICS), inputs, {}, ("torch", "numpy")), work)


def calibration_step(folder: Folder, request: ExportRequest, weights: Made) -> Made:
    """Read the images from which weights are rounded and INT8 scales are taken, and see that the network knows them.

    Raises:
        BadInput: too few images, flat ones, ones that parity is judged on, or of another kind than the training's.
    """

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.images.norm_statistics import measure_images, require_known
        from export.model.weights_file import load_network
        from export.parity.images import parity_images, require_disjoint
        from export.plan.calibration import drawn_calibration, folder_calibration

        network = load_network(folder.path / WEIGHTS)
        size, chosen = network.architecture.input_size, request.calibration
        progress("reading the images for calibration")
        images = drawn_calibration(size) if chosen is None else folder_calibration(chosen, size)
        require_disjoint(parity_images(size, request.parity_images), images.record)
        statistics = measure_images(network, images.images, progress)
        if request.trained:
            require_known(statistics, images.source)
        (made / CALIBRATION).parent.mkdir()
        np.savez(made / CALIBRATION, images=images.images)
        return images.as_json() | {"statistics": statistics.summary()}

    given = {"parity_images": request.parity_images, "calibration": request.calibration}
    inputs, options = _input(weights, WEIGHTS) | _given(**given), {"trained": request.trained}
    return folder.perform(Step("calibration", (CALIBRATION,), inputs, options, ("torch", "numpy")), work)


def ranges_step(folder: Folder, request: ExportRequest, weights: Made, precision: str) -> Made:
    """Measure the largest values of the half graph.

    A value that does not fit is a result, not a failure: ``require_range`` refuses the precision for it.
    """
    report = request.ranges_path(precision)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.graph.ranges import SCHEMA_VERSION
        from export.model.weights_file import load_network
        from export.parity.images import parity_images
        from export.plan.value_ranges import measure_ranges

        network = load_network(folder.path / WEIGHTS)
        images = parity_images(network.architecture.input_size, request.parity_images).images
        ranges = measure_ranges(network, precision, images, TRUTH_BATCH, progress)
        about = {"schema_version": SCHEMA_VERSION, "precision": precision}
        (made / report).parent.mkdir()
        write_json(made / report, about | ranges.as_json())
        return about | {"every_layer": report} | ranges.summary()

    inputs = _input(weights, WEIGHTS) | _given(parity_images=request.parity_images)
    step = Step(f"ranges-{precision}", (report,), inputs, {"precision": precision}, ("torch", "numpy"))
    return folder.perform(step, work)


def plan_step(
    folder: Folder, request: ExportRequest, weights: Made, calibration: Made, truth: Made, precision: str
) -> Made:
    """Decide which convolutions are in ``precision``, round the weights, and simulate the graph on parity's images."""
    record, planned, joints = plan_paths(precision)
    given = request.plans.get(precision)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.images.image_set import ImageSet
        from export.model.pose import Volume
        from export.model.reference import run_reference
        from export.model.weights_file import load_network
        from export.parity.budgets import Grade
        from export.parity.comparison import simulation_is_within
        from export.plan.planned import PlannedWeights, save_planned, simulated
        from export.plan.precision_plan import PrecisionPlan, give_back, read_plan
        from export.plan.search import prepare, search_plan

        network = load_network(folder.path / WEIGHTS)
        with np.load(folder.path / TRUTH) as known:
            judged_on, truth_joints = known["images"], known["truth"]
        with np.load(folder.path / CALIBRATION) as known:
            images = ImageSet(known["images"], calibration.result["source"], tuple(calibration.result["notes"]))
        volume, known_joints = Volume.from_architecture(network.architecture), {}

        def simulate(plan: PrecisionPlan, chosen: PlannedWeights) -> Any:
            """Return the plan's joints on the images of parity."""
            if plan.convs not in known_joints:
                network_of_plan = simulated(network, plan, chosen)
                known_joints[plan.convs] = run_reference(network_of_plan, judged_on, TRUTH_BATCH, progress)
            return known_joints[plan.convs]

        def holds_elsewhere(plan: PrecisionPlan, chosen: PlannedWeights, grade: Grade) -> bool:
            return simulation_is_within(truth_joints, simulate(plan, chosen), volume, grade)

        if given is not None:
            plan = give_back(read_plan(given, network.architecture), weights.outputs[WEIGHTS])
            plan = replace(plan, calibration=images.record)
            plan, candidates = prepare(network, plan, images.images, progress)
            chosen = candidates.weights(plan)
        else:
            trained, require = request.trained, request.require
            plan, chosen = search_plan(
                network,
                precision,
                images,
                trained=trained,
                require=require,
                holds_elsewhere=holds_elsewhere,
                progress=progress,
            )
            plan = replace(plan, weights_sha256=weights.outputs[WEIGHTS])
        found = simulate(plan, chosen)
        for path in (record, joints):
            (made / path).parent.mkdir(exist_ok=True)
        write_json(made / record, plan.as_json())
        save_planned(made / planned, chosen)
        np.savez(made / joints, simulation=found)
        return plan.as_json()

    inputs = _input(weights, WEIGHTS) | _input(calibration, CALIBRATION) | _input(truth, TRUTH) | _given(plan=given)
    options = {"precision": precision, "trained": request.trained, "require": request.require}
    step = Step(f"plan-{precision}", (record, planned, joints), inputs, options, ("torch", "numpy", "safetensors"))
    return folder.perform(step, work)


def onnx_step(folder: Folder, request: ExportRequest, weights: Made, variant: str, plan: Made | None) -> Made:
    """Rewrite the network for deployment in this variant, and write it as ONNX."""
    path, precision = request.onnx_path(variant), precision_of(variant)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.common.interface import FP32_CONVOLUTIONS
        from export.graph.onnx_graph import consumer_metadata, export_onnx
        from export.graph.precision import in_precision
        from export.model.weights_file import load_network
        from export.plan.planned import load_planned, planned_graph
        from export.plan.precision_plan import read_plan
        from export.plan.quantize import export_int8

        network, takes_pixels = load_network(folder.path / WEIGHTS), variant != precision
        progress("tracing and writing the graph")
        metadata = consumer_metadata(network.architecture, precision=precision, **about_weights(request, weights))
        if plan is None:
            graph = in_precision(network, precision, takes_pixels=takes_pixels)
            return asdict(export_onnx(graph, made / path, metadata, precision))
        record, planned, _ = plan_paths(precision)
        decided, chosen = read_plan(folder.path / record, network.architecture), load_planned(folder.path / planned)
        graph = planned_graph(network, decided, chosen, takes_pixels=takes_pixels)
        if precision == "int8":
            return asdict(export_int8(graph, made / path, metadata, decided, chosen.int8))
        in_fp32 = [conv.name for conv in decided.convs if conv.precision == "fp32"]
        metadata |= {FP32_CONVOLUTIONS: json.dumps(in_fp32)} if in_fp32 else {}
        return asdict(export_onnx(graph, made / path, metadata, precision, in_fp32))

    inputs = _input(weights, WEIGHTS)
    if plan is not None:
        record, planned, _ = plan_paths(precision)
        inputs |= _input(plan, record) | _input(plan, planned)
    options = {"edition": variant, **about_weights(request, weights)}
    tools = ("torch", "onnx", "onnxscript", "onnx-ir")
    return folder.perform(Step(f"onnx-{variant}", (path,), inputs, options, tools), work)


def parity_step(
    folder: Folder, request: ExportRequest, onnx: Made, truth: Made, plan: Made | None, variant: str
) -> Made:
    """Judge the ONNX file, run by everything that judges this precision at several batch sizes, against the truth.

    ``plan`` is the step that simulated the graph; None for FP32.
    """
    path, report, precision = request.onnx_path(variant), PARITY_REPORT.format(variant), precision_of(variant)
    budget = budget_for(precision, trained=request.trained, require=request.require)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.graph.onnx_graph import read_metadata
        from export.images.norm_statistics import unknown_reason
        from export.model.pose import Volume, normalise
        from export.parity.comparison import Parity, compare_joints, worst_run
        from export.parity.sessions import computation, parity_runtimes, run_batches

        about = read_metadata(folder.path / path)
        volume = Volume(about["heatmap_size"], about["depth_dim"], about["input_size"])
        with np.load(folder.path / TRUTH) as known:
            images, truth_joints, floor = (known[name] for name in ("images", "truth", "reference"))
        simulation = None
        if plan is not None:
            with np.load(folder.path / plan_paths(precision)[2]) as known:
                simulation = known["simulation"]
        inputs, runs = images if variant != precision else normalise(images), []
        judged: dict[tuple[str, int], Parity] = {}
        runtimes, cannot = parity_runtimes(precision)
        unknown = unknown_reason(truth.result["statistics"]) if request.trained else None
        for runtime in runtimes:
            session = runtime.open(folder.path / path, precision)
            by_batch = {}
            for batch in PARITY_BATCHES:
                progress(f"{runtime.name}, batch {batch}", len(judged) / (len(runtimes) * len(PARITY_BATCHES)))
                candidate = run_batches(session, inputs, batch)
                by_batch[batch] = compare_joints(truth_joints, floor, candidate, volume, budget, simulation)
                if unknown:
                    by_batch[batch] = replace(by_batch[batch], outcome="inconclusive", reason=unknown)
                judged[runtime.name, batch] = by_batch[batch]
            worst_batch, worst = worst_run(by_batch)
            runs.append(
                {
                    "runner": runtime.name,
                    "runtime": computation(session),
                    "status": status_of(worst.outcome, budget),
                    "worst_batch": worst_batch,
                    "batches": {size: of.as_json() for size, of in by_batch.items()},
                }
            )
        (name, batch), worst = worst_run(judged)
        result = {
            "schema_version": "2.0",
            "artifact": path,
            "precision": precision,
            "edition": variant,
            "images": dict(truth.result),
            "runs": runs,
            "not_run": [{"runner": name, "reason": reason} for name, reason in cannot.items()],
            "runtime": next(run["runtime"] for run in runs if run["runner"] == name),
            "batches": list(PARITY_BATCHES),
            "worst_batch": batch,
            "worst_joint_name": about["joint_names"][worst.worst_joint],
            "budget": asdict(budget),
            "status": status_of(worst.outcome, budget),
            **worst.as_json(),
        }
        (made / report).parent.mkdir()
        write_json(made / report, result)
        return result

    inputs = _input(onnx, path) | _input(truth, TRUTH)
    inputs |= _input(plan, plan_paths(precision)[2]) if plan is not None else {}
    options = {"batches": list(PARITY_BATCHES), "budget": asdict(budget)}
    tools = ("onnxruntime-gpu", "onnxruntime", "openvino", "numpy")
    return folder.perform(Step(f"parity-{variant}", (report,), inputs, options, tools), work)


def engine_step(folder: Folder, request: ExportRequest, onnx: Made, variant: str, plan: Made | None) -> Made | NotBuilt:
    """Build an engine of this variant with what this machine has."""
    source, wanted, quantized = request.onnx_path(variant), request.engine_plan(variant), None
    if plan is not None and wanted.precision == "int8" and plan.result:
        quantized = sum(conv["precision"] == "int8" for conv in plan.result["convs"])
    return built_engine(folder, source, onnx.outputs[source], wanted, variant, quantized)


def built_engine(
    folder: Folder, source: str, sha256: str, plan: EnginePlan, variant: str, quantized: int | None = None
) -> Made | NotBuilt:
    """Build an engine from the ONNX file ``source`` in ``folder``; where that is not possible, or fails, say so.

    ``quantized``: how many of its convolutions must be in int8. Neither end is recorded as finished: the next run
    tries again.
    """
    choice = choose_runtime(plan.runtime)
    product = choice.product
    if product is None:
        return NotBuilt("not run", choice.reason)
    names = {library.module: f"engines/{Path(source).stem}{library.suffix}" for library in PRODUCTS.values()}

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.engine.build import build_engine
        from export.engine.record import require_planned

        name = names[product.module]
        kept = (folder.path / name).parent  # the folder in the making is gone after this step
        record = build_engine(folder.path / source, made / name, plan, progress, kept_in=kept)
        if quantized is not None:
            require_planned(record, quantized)
        return {"path": name, **asdict(record)}

    gpu = choice.tunes_on.kind if choice.tunes_on else None
    options = {"plan": asdict(plan), "gpu": gpu, "runtime": product.module, "version": choice.version}
    outputs = tuple(name + suffix for name in names.values() for suffix in ("", ".log", ".json"))
    try:
        return folder.perform(Step(f"engine-{variant}", outputs, {source: sha256}, options), work)
    except NotPossible as failure:
        return NotBuilt("not run", str(failure))
    except Failure as failure:
        return NotBuilt("failed", str(failure), failure)


def about_weights(request: ExportRequest, weights: Made) -> dict[str, str]:
    """What an artefact says of the weights in it."""
    return {
        "model": request.config.name,
        "weights_origin": request.origin,
        "weights_sha256": source_sha256(request, weights),
    }


def source_sha256(request: ExportRequest, weights: Made) -> str:
    """Hash of the checkpoint as it was found; of the canonical weights where there is no checkpoint."""
    return request.checkpoint_sha256 or weights.outputs[WEIGHTS]


def _given(**paths: Path | None) -> dict[str, str]:
    """The hashes of what the user named, if anything."""
    return {name: sha256_path(path) for name, path in paths.items() if path is not None}


def _input(made: Made, name: str) -> dict[str, str]:
    return {name: made.outputs[name]}
