"""The main job: from a model's name, and a checkpoint if there is one, to a folder of proven artefacts.

    weights ──► onnx ──► parity
       └──► truth ──────────┘
                 onnx ──► engine

Each step is a function below; what it needs is imported inside, so that a run in which everything is
up to date loads neither torch nor onnx.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from export.artifacts import write_json
from export.drawings import PARITY_SEED
from export.engine import BACKENDS, choose_runtime
from export.errors import CheckFailed, NotPossible
from export.options import require_agreement
from export.parity import BUDGETS, require
from export.progress import Progress
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
    """The steps' results, in the order in which they were made."""

    weights: Made
    onnx: Mapping[str, Made]
    parity: Mapping[str, Made]
    engine: Mapping[str, Made]

    @property
    def failed(self) -> tuple[Mapping[str, Any], ...]:
        """Parity results that are not a pass."""
        return tuple(made.result for made in self.parity.values() if made.result.get("outcome", "pass") != "pass")


def export_model(folder: Folder, request: Request, weights: Made) -> Exported:
    """Do every step after ``weights_step`` that is not up to date. Call it while the folder is held.

    A parity that fails ends the run before an engine is built; the result says so.
    """
    truth = truth_step(folder, weights)
    onnx, parity, engine = {}, {}, {}
    for precision in request.precisions:
        onnx[precision] = onnx_step(folder, request, weights, precision)
        parity[precision] = parity_step(folder, request, onnx[precision], truth, precision)
        if parity[precision].result.get("outcome", "pass") == "pass":
            engine[precision] = engine_step(folder, request, onnx[precision], precision)
    return Exported(weights, onnx, parity, engine)


def require_success(exported: Exported) -> None:
    """End with the exit code of the first parity that is not a pass, or of an engine that could not be built.

    Raises:
        CheckFailed, Inconclusive: see ``export.parity.require``.
    """
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


def onnx_step(folder: Folder, request: Request, weights: Made, precision: str) -> Made:
    """Rewrite the network for deployment and write it as ONNX."""
    path = request.onnx_path(precision)

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.deploy import deploy
        from export.onnx_graph import consumer_metadata, export_onnx
        from export.weights_file import load_network

        network = load_network(folder.path / WEIGHTS)
        progress("tracing and writing the graph")
        metadata = consumer_metadata(network.architecture, precision=precision, **about_weights(request, weights))
        return asdict(export_onnx(deploy(network), made / path, metadata))

    options = {"precision": precision, **about_weights(request, weights)}
    tools = ("torch", "onnx", "onnxscript", "onnx-ir")
    return folder.perform(Step(f"onnx-{precision}", (path,), _input(weights, WEIGHTS), options, tools), work)


def parity_step(folder: Folder, request: Request, onnx: Made, truth: Made, precision: str) -> Made:
    """Judge the ONNX file, run by ONNX Runtime at several batch sizes, against the truth."""
    path, report = request.onnx_path(precision), f"parity/{precision}.json"

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np
        import onnxruntime

        from export.onnx_graph import read_metadata, run_onnx
        from export.parity import judge, worst_of
        from export.pose import Volume, normalise

        about = read_metadata(folder.path / path)
        volume = Volume(about["heatmap_size"], about["depth_dim"], about["input_size"])
        images = parity_images(volume.input_size)
        with np.load(folder.path / TRUTH) as joints:
            truth_joints, reference_joints = joints["truth"], joints["reference"]
        judged = {}
        for batch in PARITY_BATCHES:
            progress(f"batch {batch}", PARITY_BATCHES.index(batch) / len(PARITY_BATCHES))
            candidate = run_onnx(folder.path / path, normalise(images), batch)
            judged[batch] = judge(truth_joints, reference_joints, candidate, volume, BUDGETS[precision])
        batch, worst = worst_of(judged)
        result = {
            "schema_version": "1.0",
            "artifact": path,
            "precision": precision,
            "runtime": f"onnxruntime {onnxruntime.__version__}, CPU",
            "images": {"count": len(images), "source": "drawn shapes", "seed": PARITY_SEED},
            "batches": {size: of.as_json() for size, of in judged.items()},
            "worst_batch": batch,
            "worst_joint_name": about["joint_names"][worst.worst_joint],
            "budget": asdict(BUDGETS[precision]),
            **worst.as_json(),
        }
        (made / report).parent.mkdir()
        write_json(made / report, result)
        return result

    inputs = _input(onnx, path) | _input(truth, TRUTH)
    options = {"batches": list(PARITY_BATCHES), "budget": asdict(BUDGETS[precision])}
    tools = ("onnxruntime-gpu", "onnxruntime", "numpy")
    return folder.perform(Step(f"parity-{precision}", (report,), inputs, options, tools), work)


def engine_step(folder: Folder, request: Request, onnx: Made, precision: str) -> Made:
    """Build an engine with what this machine has; where it has nothing, or fails, say so and go on.

    Neither is recorded as finished: the next run tries again.
    """
    source, plan, choice = request.onnx_path(precision), replace(request.plan, precision=precision), choose_runtime()
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
