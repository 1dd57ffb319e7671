"""The main job: from a model's name, and a checkpoint if there is one, to a folder of proven artefacts.

    weights ──► ranges ──► onnx ──► parity ──► engine
       └──► truth ────────────────────┘

``ranges`` is for half precisions only: whether they can hold the network's values, and what rounding alone costs.

Each step is a function below; what it needs is imported inside, so that a run in which everything is
up to date loads neither torch nor onnx.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from export.artifacts import write_json
from export.drawings import PARITY_SEED
from export.engine import BACKENDS, choose_runtime
from export.errors import CheckFailed, NotPossible
from export.options import require_agreement
from export.parity import budget_for, require
from export.progress import Progress
from export.ranges import HALVES, require_range
from export.request import Request
from export.steps import Folder, Made, Step

WEIGHTS = "weights/weights.safetensors"
TRUTH = "parity/truth.npz"
PARITY_IMAGES = 20
PARITY_BATCHES = (1, 2, 5)
TRUTH_BATCH = 4
"""Images at a time in FP64; four volumes of 64³ for 18 joints are 150 MB."""


@dataclass(frozen=True)
class Exported:
    """The steps' results by precision, in the order in which they were made."""

    weights: Made
    ranges: dict[str, Made] = field(default_factory=dict)
    onnx: dict[str, Made] = field(default_factory=dict)
    parity: dict[str, Made] = field(default_factory=dict)
    engine: dict[str, Made] = field(default_factory=dict)
    refused: dict[str, CheckFailed] = field(default_factory=dict)
    """Precisions of which no ONNX file was written, and why."""

    def passed(self, precision: str) -> bool:
        """Whether the ONNX file of this precision is there and its parity is a pass, as far as is known yet."""
        return precision in self.parity and self.parity[precision].result.get("outcome", "pass") == "pass"

    @property
    def failed(self) -> tuple[Mapping[str, Any], ...]:
        """Parity results that are not a pass."""
        return tuple(made.result for precision, made in self.parity.items() if not self.passed(precision))


def export_model(folder: Folder, request: Request, weights: Made) -> Exported:
    """Do every step after ``weights_step`` that is not up to date. Call it while the folder is held.

    A precision that fails a check ends there, and the others go on; ``require_success`` tells at the end.
    """
    truth = truth_step(folder, weights)
    exported = Exported(weights)
    for precision in request.precisions:
        try:
            _export_precision(folder, request, truth, precision, exported)
        except CheckFailed as failure:
            exported.refused[precision] = failure
    return exported


def _export_precision(folder: Folder, request: Request, truth: Made, precision: str, exported: Exported) -> None:
    """Add what is made of one precision to ``exported``; no engine is built from a file that fails its parity."""
    ranges = None
    if precision in HALVES:
        ranges = exported.ranges[precision] = ranges_step(folder, request, exported.weights, precision)
        require_range(ranges.result, precision)
    onnx = exported.onnx[precision] = onnx_step(folder, request, exported.weights, precision)
    exported.parity[precision] = parity_step(folder, request, onnx, truth, ranges, precision)
    if exported.passed(precision):
        exported.engine[precision] = engine_step(folder, request, onnx, precision)


def require_success(exported: Exported) -> None:
    """End with the exit code of the first precision that failed a check, or whose engine could not be built.

    Raises:
        CheckFailed, Inconclusive: see ``export.parity.require`` and ``export.ranges.require_range``.
    """
    for refusal in exported.refused.values():
        raise refusal
    for failed in exported.failed:
        require(failed["outcome"], failed["reason"], failed["artifact"])
    for precision, engine in exported.engine.items():
        if engine.result.get("not_made") == "failed":
            do = "the ONNX file is sound; mend the builder's trouble and run again"
            raise CheckFailed(f"the {precision} engine could not be built", engine.result["reason"], do)


def weights_step(folder: Folder, request: Request) -> Made:
    """Read the checkpoint, or make stand-in weights; decide what network it is.

    Raises:
        BadInput: the checkpoint cannot be read or contradicts itself.
        CheckFailed: ``--strict``, and the checkpoint is not what the configuration declares.
    """
    config, checkpoint = request.config, request.checkpoint
    declared = config.model_dump(mode="json", exclude={"claims", "files", "demo"})

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.claims import audit_by_file
        from export.network import build_network
        from export.verdict import judge
        from export.weights_file import save_weights

        found, dtypes = None, ["float32"]
        if checkpoint is not None:
            from export.checkpoint import read_checkpoint
            from export.evidence import floating_dtypes

            progress(f"reading {checkpoint}")
            found = read_checkpoint(checkpoint)
            dtypes = floating_dtypes(found)
        verdict = judge(config, found, request.overrides)
        if request.strict:
            require_agreement(config.name, verdict.as_json())
        if found is not None:
            tensors = found.tensors
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
            "location": found.location if found else None,
            "container": found.container if found else None,
            "epoch": found.epoch if found else None,
            "dtypes": dtypes,
            **verdict.as_json(),
            "claims": claims,
        }

    inputs = {"checkpoint": request.checkpoint_sha256} if request.checkpoint_sha256 else {}
    options = {"declared": declared, "overrides": dict(request.overrides), "origin": request.origin}
    made = folder.perform(Step("weights", (WEIGHTS,), inputs, options, ("torch", "safetensors")), work)
    if request.strict and made.result:
        require_agreement(config.name, made.result)
    return made


def truth_step(folder: Folder, weights: Made) -> Made:
    """Run the reference in FP64, which is the truth, and in FP32, which is the reference to be judged beside."""

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.reference import run_reference
        from export.weights_file import load_network

        network = load_network(folder.path / WEIGHTS)
        images = parity_images(network.architecture.input_size)
        reference = run_reference(network, images, TRUTH_BATCH)
        truth = run_reference(network.double(), images, TRUTH_BATCH, progress)
        (made / TRUTH).parent.mkdir()
        np.savez(made / TRUTH, truth=truth, reference=reference)
        return {"images": PARITY_IMAGES, "seed": PARITY_SEED}

    options = {"images": PARITY_IMAGES, "seed": PARITY_SEED}
    return folder.perform(Step("truth", (TRUTH,), _input(weights, WEIGHTS), options, ("torch", "numpy")), work)


def ranges_step(folder: Folder, request: Request, weights: Made, precision: str) -> Made:
    """Measure the largest values of the half graph, and run it in FP32 arithmetic with every value rounded.

    A value that does not fit is a result, not a failure: ``require_range`` refuses the precision for it.
    """
    report, rounded = request.ranges_path(precision), request.rounded_path(precision)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.reference import run_reference
        from export.rounding import measure_ranges, rounded_network
        from export.weights_file import load_network

        network = load_network(folder.path / WEIGHTS)
        images = parity_images(network.architecture.input_size)
        ranges = measure_ranges(network, precision, images, TRUTH_BATCH, progress)
        result = {"schema_version": "1.0", "precision": precision, **ranges.as_json()}
        write_json(made / report, result)
        joints = run_reference(rounded_network(network, precision), images, TRUTH_BATCH, progress)
        np.savez(made / rounded, reference=joints)
        return result

    options = {"images": PARITY_IMAGES, "seed": PARITY_SEED, "precision": precision}
    step = Step(f"ranges-{precision}", (report, rounded), _input(weights, WEIGHTS), options, ("torch", "numpy"))
    return folder.perform(step, work)


def onnx_step(folder: Folder, request: Request, weights: Made, precision: str) -> Made:
    """Rewrite the network for deployment in this precision, and write it as ONNX."""
    path = request.onnx_path(precision)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.onnx_graph import consumer_metadata, export_onnx
        from export.precision import in_precision
        from export.weights_file import load_network

        network = load_network(folder.path / WEIGHTS)
        progress("tracing and writing the graph")
        metadata = consumer_metadata(network.architecture, precision=precision, **about_weights(request, weights))
        return asdict(export_onnx(in_precision(network, precision), made / path, metadata, precision))

    options = {"precision": precision, **about_weights(request, weights)}
    tools = ("torch", "onnx", "onnxscript", "onnx-ir")
    return folder.perform(Step(f"onnx-{precision}", (path,), _input(weights, WEIGHTS), options, tools), work)


def parity_step(folder: Folder, request: Request, onnx: Made, truth: Made, ranges: Made | None, precision: str) -> Made:
    """Judge the ONNX file, run by everything that judges this precision at several batch sizes, against the truth."""
    path, report = request.onnx_path(precision), f"parity/{precision}.json"
    rounded = request.rounded_path(precision)
    budget = budget_for(precision, trained=request.trained)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np

        from export.onnx_graph import read_metadata
        from export.parity import Parity, judge, worst_of
        from export.pose import Volume, normalise
        from export.runners import RUNNERS, run_batches

        about = read_metadata(folder.path / path)
        volume = Volume(about["heatmap_size"], about["depth_dim"], about["input_size"])
        images = parity_images(volume.input_size)
        with np.load(folder.path / TRUTH) as joints:
            truth_joints, reference_joints = joints["truth"], joints["reference"]
        if ranges is not None:
            with np.load(folder.path / rounded) as joints:
                reference_joints = joints["reference"]
        inputs, runs = normalise(images), []
        judged: dict[tuple[str, int], Parity] = {}
        for load in RUNNERS[precision]:
            runner = load(folder.path / path)
            by_batch = {}
            for batch in PARITY_BATCHES:
                progress(f"{runner.name}, batch {batch}", len(judged) / (len(RUNNERS[precision]) * len(PARITY_BATCHES)))
                candidate = run_batches(runner, inputs, batch)
                by_batch[batch] = judge(truth_joints, reference_joints, candidate, volume, budget)
                judged[runner.name, batch] = by_batch[batch]
            runs.append(
                {
                    "runner": runner.name,
                    "runtime": runner.describe(),
                    "worst_batch": worst_of(by_batch)[0],
                    "batches": {size: of.as_json() for size, of in by_batch.items()},
                }
            )
        (name, batch), worst = worst_of(judged)
        result = {
            "schema_version": "1.1",
            "artifact": path,
            "precision": precision,
            "images": {"count": len(images), "source": "drawn shapes", "seed": PARITY_SEED},
            "runs": runs,
            "runtime": next(run["runtime"] for run in runs if run["runner"] == name),
            "batches": list(PARITY_BATCHES),
            "worst_batch": batch,
            "worst_joint_name": about["joint_names"][worst.worst_joint],
            "budget": asdict(budget),
            **worst.as_json(),
        }
        (made / report).parent.mkdir()
        write_json(made / report, result)
        return result

    inputs = _input(onnx, path) | _input(truth, TRUTH) | (_input(ranges, rounded) if ranges is not None else {})
    options = {"batches": list(PARITY_BATCHES), "budget": asdict(budget)}
    tools = ("onnxruntime-gpu", "onnxruntime", "openvino", "numpy")
    return folder.perform(Step(f"parity-{precision}", (report,), inputs, options, tools), work)


def engine_step(folder: Folder, request: Request, onnx: Made, precision: str) -> Made:
    """Build an engine with what this machine has; where it has nothing, or fails, say so and go on.

    Neither is recorded as finished: the next run tries again.
    """
    source, plan, choice = request.onnx_path(precision), request.engine_plan(precision), choose_runtime()
    backend = choice.backend
    if backend is None:
        return Made({}, {"not_made": "not run", "reason": choice.reason})
    engines = [request.engine_path(precision, backend.suffix) for backend in BACKENDS.values()]

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.engine import build_engine

        name = request.engine_path(precision, backend.suffix)
        return {"path": name, **asdict(build_engine(folder.path / source, made / name, plan, progress))}

    options = {"plan": asdict(plan), "gpu": choice.gpu, "runtime": backend.module}
    outputs = tuple(name + suffix for name in engines for suffix in ("", ".log", ".json"))
    tools = ("tensorrt", "tensorrt-rtx")
    try:
        return folder.perform(Step(f"engine-{precision}", outputs, _input(onnx, source), options, tools), work)
    except NotPossible as failure:
        return Made({}, {"not_made": "not run", "reason": str(failure)})
    except CheckFailed as failure:
        return Made({}, {"not_made": "failed", "reason": str(failure)})


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


def parity_images(size: int) -> Any:
    """(N, size, size, 3) the images that parity is judged on."""
    from export.drawings import drawn_images

    return drawn_images(PARITY_IMAGES, size, PARITY_SEED)


def _input(made: Made, name: str) -> dict[str, str]:
    return {name: made.outputs[name]}
