"""The steps of the main job, one function each: what a step depends on, the files that it makes, and the work.

What a step needs is imported inside, so that a run in which everything is up to date loads neither torch nor onnx.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from export.artifacts import sha256_path, write_json
from export.engine_plan import BACKENDS, EnginePlan
from export.engine_runtime import choose_runtime
from export.errors import Failure, NotPossible
from export.interface import precision_of
from export.options import require_agreement
from export.parity import budget_for, status_of
from export.progress import Progress
from export.request import Request
from export.steps import Folder, Made, Step

WEIGHTS = "weights/weights.safetensors"
TRUTH = "parity/truth.npz"
"""The joints of the reference in FP64 (``truth``) and FP32 (``reference``), (N, J, 3) bins, and the ``images``."""
IMAGE_STATISTICS = "parity/image-statistics.json"
"""Mismatch of the parity images and the stored BatchNorm statistics, for each norm."""
PARITY_REPORT = "parity/{}.json"
"""By edition."""
INT8_PLAN = "quantize/int8-plan.json"
INT8_REFERENCE = "parity/int8-rounded.npz"
PARITY_BATCHES = (1, 5)
TRUTH_BATCH = 4
"""Images at a time in FP64; four volumes of 64³ for 18 joints are 150 MB."""


def weights_step(folder: Folder, request: Request) -> Made:
    """Read the checkpoint, grow the demo checkpoint, or make stand-in weights; decide what network it is.

    Raises:
        BadInput: the checkpoint cannot be read or contradicts itself.
        CheckFailed: ``--strict``, and the checkpoint is not what the configuration declares.
    """
    config, checkpoint, growth = request.config, request.checkpoint, request.growth
    declared = config.model_dump(mode="json", exclude={"claims", "files", "demo", "demo_head", "grown_from"})

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.claims import audit_by_file
        from export.network import build_network
        from export.verdict import judge
        from export.weights_file import save_weights

        found, file, dtypes = None, None, ["float32"]
        path = growth.checkpoint if growth else checkpoint
        if path is not None:
            from export.checkpoint import read_checkpoint
            from export.evidence import floating_dtypes

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
            from export.grown import grow_demo

            progress(f"growing the {growth.model} demo checkpoint")
            tensors = grow_demo(growth, file.tensors, verdict.architecture)
        else:
            from export.standin import stand_in_weights

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
    made = folder.perform(Step("weights", (WEIGHTS,), inputs, options, ("torch", "safetensors")), work)
    if request.strict and made.result:
        require_agreement(config.name, made.result)
    return made


def truth_step(folder: Folder, request: Request, weights: Made) -> Made:
    """Run the reference in FP64, which is the truth, and in FP32, which is the reference to be judged beside."""

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.image_statistics import judge_images, observe_norms
        from export.parity_images import parity_images
        from export.reference import run_reference
        from export.weights_file import load_network

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


def ranges_step(folder: Folder, request: Request, weights: Made, precision: str) -> Made:
    """Measure the largest values of the half graph, and run it in FP32 arithmetic with every value rounded.

    A value that does not fit is a result, not a failure: ``require_range`` refuses the precision for it.
    """
    report, rounded = request.ranges_path(precision), request.rounded_path(precision)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.parity_images import parity_images
        from export.ranges import SCHEMA_VERSION
        from export.reference import run_reference
        from export.rounding import measure_ranges, rounded_network
        from export.weights_file import load_network

        network = load_network(folder.path / WEIGHTS)
        images = parity_images(network.architecture.input_size, request.parity_images).images
        ranges = measure_ranges(network, precision, images, TRUTH_BATCH, progress)
        about = {"schema_version": SCHEMA_VERSION, "precision": precision}
        write_json(made / report, about | ranges.as_json())
        joints = run_reference(rounded_network(network, precision), images, TRUTH_BATCH, progress)
        np.savez(made / rounded, reference=joints)
        return about | {"every_layer": report} | ranges.summary()

    inputs = _input(weights, WEIGHTS) | _given(parity_images=request.parity_images)
    step = Step(f"ranges-{precision}", (report, rounded), inputs, {"precision": precision}, ("torch", "numpy"))
    return folder.perform(step, work)


def int8_plan_step(folder: Folder, request: Request, weights: Made) -> Made:
    """Find out which convolutions bear int8, and simulate the network that is quantised so."""

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.calibration import drawn_calibration, folder_calibration
        from export.deploy import deploy
        from export.fake_quant import simulate
        from export.image_statistics import measure_images, require_known
        from export.int8_plan import give_back, read_plan
        from export.int8_search import search_plan
        from export.parity_images import parity_images, require_disjoint
        from export.reference import run_reference
        from export.weights_file import load_network

        released = load_network(folder.path / WEIGHTS)
        network = deploy(released)
        statistics = None
        size = network.architecture.input_size
        judged_on = parity_images(size, request.parity_images)
        if request.int8_plan is not None:
            plan = give_back(read_plan(request.int8_plan, network), weights.outputs[WEIGHTS])
            require_disjoint(judged_on, plan.calibration)
        else:
            progress("reading the images for calibration")
            chosen = request.calibration
            images = drawn_calibration(size) if chosen is None else folder_calibration(chosen, size)
            require_disjoint(judged_on, images.record)
            statistics = measure_images(released, images.images, progress)
            if request.trained:
                require_known(statistics, images.source)
            plan = search_plan(network, images, trained=request.trained, progress=progress)
            plan = replace(plan, weights_sha256=weights.outputs[WEIGHTS])
        simulated = run_reference(simulate(network, plan), judged_on.images, TRUTH_BATCH, progress)
        (made / INT8_PLAN).parent.mkdir()
        write_json(made / INT8_PLAN, plan.as_json())
        (made / INT8_REFERENCE).parent.mkdir()
        np.savez(made / INT8_REFERENCE, reference=simulated)
        return plan.as_json() | {"calibration_statistics": statistics.summary() if statistics else None}

    given = {"parity_images": request.parity_images, "calibration": request.calibration, "plan": request.int8_plan}
    inputs, options = _input(weights, WEIGHTS) | _given(**given), {"trained": request.trained}
    return folder.perform(Step("int8-plan", (INT8_PLAN, INT8_REFERENCE), inputs, options, ("torch", "numpy")), work)


def onnx_step(folder: Folder, request: Request, weights: Made, edition: str, int8_plan: Made | None) -> Made:
    """Rewrite the network for deployment in this edition, and write it as ONNX."""
    path, precision = request.onnx_path(edition), precision_of(edition)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.int8_plan import read_plan
        from export.onnx_graph import consumer_metadata, export_onnx
        from export.precision import in_precision
        from export.quantize import export_int8
        from export.weights_file import load_network

        network = load_network(folder.path / WEIGHTS)
        progress("tracing and writing the graph")
        metadata = consumer_metadata(network.architecture, precision=precision, **about_weights(request, weights))
        graph = in_precision(network, precision, takes_pixels=edition != precision)
        if precision == "int8":
            plan = read_plan(folder.path / INT8_PLAN, graph)
            return asdict(export_int8(graph, made / path, metadata, plan))
        return asdict(export_onnx(graph, made / path, metadata, precision))

    inputs = _input(weights, WEIGHTS)
    if precision == "int8":
        assert int8_plan is not None
        inputs |= _input(int8_plan, INT8_PLAN)
    options = {"edition": edition, **about_weights(request, weights)}
    tools = ("torch", "onnx", "onnxscript", "onnx-ir")
    return folder.perform(Step(f"onnx-{edition}", (path,), inputs, options, tools), work)


def parity_step(
    folder: Folder, request: Request, onnx: Made, truth: Made, reference: tuple[Made, str] | None, edition: str
) -> Made:
    """Judge the ONNX file, run by everything that judges this precision at several batch sizes, against the truth.

    ``reference`` is the step and the file with the joints of what stands beside the candidate; None: the FP32 network.
    """
    path, report, precision = request.onnx_path(edition), PARITY_REPORT.format(edition), precision_of(edition)
    budget = budget_for(precision, trained=request.trained)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.image_statistics import unknown_reason
        from export.onnx_graph import read_metadata
        from export.parity import Parity, judge, worst_of
        from export.pose import Volume, normalise
        from export.runners import judges, run_batches

        about = read_metadata(folder.path / path)
        volume = Volume(about["heatmap_size"], about["depth_dim"], about["input_size"])
        with np.load(folder.path / TRUTH) as known:
            images, truth_joints, reference_joints = (known[name] for name in ("images", "truth", "reference"))
        if reference is not None:
            with np.load(folder.path / reference[1]) as known:
                reference_joints = known["reference"]
        inputs, runs = images if edition != precision else normalise(images), []
        judged: dict[tuple[str, int], Parity] = {}
        runners, cannot = judges(precision)
        unknown = unknown_reason(truth.result["statistics"]) if request.trained else None
        for load in runners:
            runner = load(folder.path / path)
            by_batch = {}
            for batch in PARITY_BATCHES:
                progress(f"{runner.name}, batch {batch}", len(judged) / (len(runners) * len(PARITY_BATCHES)))
                candidate = run_batches(runner, inputs, batch)
                by_batch[batch] = judge(truth_joints, reference_joints, candidate, volume, budget)
                if unknown:
                    by_batch[batch] = replace(by_batch[batch], outcome="inconclusive", reason=unknown)
                judged[runner.name, batch] = by_batch[batch]
            worst_batch, worst = worst_of(by_batch)
            runs.append(
                {
                    "runner": runner.name,
                    "runtime": runner.describe(),
                    "status": status_of(worst.outcome, budget),
                    "worst_batch": worst_batch,
                    "batches": {size: of.as_json() for size, of in by_batch.items()},
                }
            )
        (name, batch), worst = worst_of(judged)
        result = {
            "schema_version": "1.3",
            "artifact": path,
            "precision": precision,
            "edition": edition,
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

    inputs = _input(onnx, path) | _input(truth, TRUTH) | (_input(*reference) if reference is not None else {})
    options = {"batches": list(PARITY_BATCHES), "budget": asdict(budget)}
    tools = ("onnxruntime-gpu", "onnxruntime", "openvino", "numpy")
    return folder.perform(Step(f"parity-{edition}", (report,), inputs, options, tools), work)


def engine_step(folder: Folder, request: Request, onnx: Made, edition: str, int8_plan: Made | None) -> Made:
    """Build an engine of this edition with what this machine has."""
    source, plan = request.onnx_path(edition), request.engine_plan(edition)
    quantised = None
    if int8_plan is not None and plan.precision == "int8":
        quantised = sum(conv["quantised"] for conv in int8_plan.result["convs"])
    return built_engine(folder, source, onnx.outputs[source], plan, edition, quantised)


def built_engine(
    folder: Folder, source: str, sha256: str, plan: EnginePlan, edition: str, quantised: int | None = None
) -> Made:
    """Build an engine from the ONNX file ``source`` in ``folder``; where that is not possible, or fails, say so.

    ``quantised``: how many of its convolutions must be in int8. Neither end is recorded as finished: the next run
    tries again.
    """
    choice = choose_runtime(plan.runtime)
    backend = choice.backend
    if backend is None:
        return Made({}, {"not_made": "not run", "reason": choice.reason})
    names = {of.module: f"engines/{Path(source).stem}{of.suffix}" for of in BACKENDS.values()}

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.engine import build_engine, require_planned

        name = names[backend.module]
        kept = (folder.path / name).parent  # the folder in the making is gone after this step
        record = build_engine(folder.path / source, made / name, plan, progress, kept_in=kept)
        if quantised is not None:
            require_planned(record, quantised)
        return {"path": name, **asdict(record)}

    gpu = choice.tunes_on.kind if choice.tunes_on else None
    options = {"plan": asdict(plan), "gpu": gpu, "runtime": backend.module, "version": choice.version}
    outputs = tuple(name + suffix for name in names.values() for suffix in ("", ".log", ".json"))
    try:
        return folder.perform(Step(f"engine-{edition}", outputs, {source: sha256}, options), work)
    except NotPossible as failure:
        return Made({}, {"not_made": "not run", "reason": str(failure)})
    except Failure as failure:
        return Made({}, {"not_made": "failed", "reason": str(failure), "exit_code": failure.exit_code})


def about_weights(request: Request, weights: Made) -> dict[str, str]:
    """What an artefact says of the weights in it."""
    return {
        "model": request.config.name,
        "weights_origin": request.origin,
        "weights_sha256": source_sha256(request, weights),
    }


def source_sha256(request: Request, weights: Made) -> str:
    """Hash of the checkpoint as it was found; of the canonical weights where there is no checkpoint."""
    return request.checkpoint_sha256 or weights.outputs[WEIGHTS]


def _given(**paths: Path | None) -> dict[str, str]:
    """The hashes of what the user named, if anything."""
    return {name: sha256_path(path) for name, path in paths.items() if path is not None}


def _input(made: Made, name: str) -> dict[str, str]:
    return {name: made.outputs[name]}
