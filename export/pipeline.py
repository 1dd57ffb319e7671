"""The main job: from a model's name, and a checkpoint if there is one, to a folder of proven artefacts.

    weights ──► onnx ──► parity
       └──► truth ──────────┘
                 onnx ──► engine

Each step is a function below; what it needs is imported inside, so that a run in which everything is
up to date loads neither torch nor onnx.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from export.artifacts import sha256_path, write_json
from export.config import ModelConfig
from export.drawings import PARITY_SEED
from export.engine import BACKENDS, EnginePlan, choose_runtime
from export.errors import BadInput, NotPossible
from export.manifest import Artifact, Counts, Manifest, NotRun, VerdictRow, Weights
from export.options import require_agreement
from export.parity import BUDGETS, require
from export.progress import Progress
from export.steps import Folder, Made, Step, version

WEIGHTS = "weights/weights.safetensors"
TRUTH = "parity/truth.npz"
PARITY_IMAGES = 20
PARITY_BATCHES = (1, 2, 5)
TRUTH_BATCH = 4
"""Images at a time in FP64; four volumes of 64³ for 18 joints are 150 MB."""

PRECISIONS = tuple(BUDGETS)
TOOLS = ("torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    config: ModelConfig
    checkpoint: Path | None
    overrides: Mapping[str, int]
    precisions: tuple[str, ...] = ("fp32",)
    strict: bool = False
    plan: EnginePlan = field(default_factory=EnginePlan)


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


def find_checkpoint(config: ModelConfig, folder: Path) -> Path | None:
    """The released file, or the folder unpacked from it, in ``folder``; None if there is none."""
    for name in config.files:
        for path in (folder / name, folder / Path(name).stem):
            if path.exists() and path != folder:
                return path
    return None


def parse_precisions(text: str) -> tuple[str, ...]:
    """``"fp32"`` → ``("fp32",)``.

    Raises:
        BadInput: an unknown precision, or none.
    """
    asked = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [precision for precision in asked if precision not in PRECISIONS]
    if unknown or not asked:
        raise BadInput("unknown precision", text or "nothing", f"choose of {', '.join(PRECISIONS)}")
    return asked


def export_model(folder: Folder, request: Request) -> Exported:
    """Do every step that is not up to date. Call it while the folder is held.

    A parity that fails ends the run before an engine is built; the result says so.
    """
    weights = weights_step(folder, request)
    truth = truth_step(folder, weights)
    onnx, parity, engine = {}, {}, {}
    for precision in request.precisions:
        onnx[precision] = onnx_step(folder, request, weights, precision)
        parity[precision] = parity_step(folder, request, onnx[precision], truth, precision)
        if parity[precision].result.get("outcome", "pass") == "pass":
            engine[precision] = engine_step(folder, request, onnx[precision], precision)
    return Exported(weights, onnx, parity, engine)


def require_parity(exported: Exported) -> None:
    """End with the exit code of the first parity that is not a pass.

    Raises:
        CheckFailed, Inconclusive: see ``export.parity.require``.
    """
    for failed in exported.failed:
        require(failed["outcome"], failed["reason"], failed["artifact"])


def weights_step(folder: Folder, request: Request) -> Made:
    """Read the checkpoint, or make stand-in weights; decide what network it is.

    Raises:
        BadInput: the checkpoint cannot be read or contradicts itself.
        CheckFailed: ``--strict``, and the checkpoint is not what the configuration declares.
    """
    config, checkpoint = request.config, request.checkpoint
    declared = config.model_dump(mode="json", exclude={"claims", "files"})

    def work(made: Path, progress: Progress) -> dict[str, Any]:
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
        save_weights(made / WEIGHTS, tensors, verdict.architecture)
        return {
            "location": found.location if found else None,
            "container": found.container if found else None,
            "epoch": found.epoch if found else None,
            "dtypes": dtypes,
            **verdict.as_json(),
        }

    origin = {"checkpoint": sha256_path(checkpoint)} if checkpoint else {}
    options = {"declared": declared, "overrides": dict(request.overrides), "origin": origin_of(request)}
    made = folder.perform(Step("weights", (WEIGHTS,), origin, options, ("torch", "safetensors")), work)
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
    path = onnx_path(request, precision)

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
    path, report = onnx_path(request, precision), f"parity/{precision}.json"

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        import numpy as np
        import onnxruntime

        from export.onnx_graph import read_metadata, run_onnx
        from export.parity import Volume, judge, worst_of

        about = read_metadata(folder.path / path)
        volume = Volume(about["heatmap_size"], about["depth_dim"], about["input_size"])
        images = parity_images(volume.input_size)
        with np.load(folder.path / TRUTH) as joints:
            truth_joints, reference_joints = joints["truth"], joints["reference"]
        judged = {}
        for batch in PARITY_BATCHES:
            progress(f"batch {batch}", PARITY_BATCHES.index(batch) / len(PARITY_BATCHES))
            candidate = run_onnx(folder.path / path, _normalised(images), batch)
            judged[batch] = judge(truth_joints, reference_joints, candidate, volume, BUDGETS[precision])
        batch, worst = worst_of(judged)
        result = {
            "schema_version": "1.0",
            "artifact": path,
            "precision": precision,
            "runtime": f"onnxruntime {onnxruntime.__version__}, CPU",
            "images": {"count": len(images), "source": "drawn shapes", "seed": PARITY_SEED},
            "batches": list(PARITY_BATCHES),
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
    """Build an engine with what this machine has; where it has nothing, say so and go on."""
    source, plan, choice = onnx_path(request, precision), replace(request.plan, precision=precision), choose_runtime()

    def stem(suffix: str) -> str:
        return f"engines/{request.config.name}-{precision}{suffix}"

    engines = tuple(stem(backend.suffix) for backend in BACKENDS.values())

    def work(made: Path, progress: Progress) -> dict[str, Any]:
        from export.engine import build_engine

        if choice.backend is None:
            return {"not_run": choice.reason}
        name = stem(choice.backend.suffix)
        try:
            return {"path": name, **asdict(build_engine(folder.path / source, made / name, plan, progress))}
        except NotPossible as error:
            return {"not_run": str(error)}

    options = {"plan": asdict(plan), "gpu": choice.gpu, "runtime": choice.backend.module if choice.backend else None}
    outputs = tuple(name + suffix for name in engines for suffix in ("", ".log", ".json"))
    tools = ("tensorrt", "tensorrt-rtx")
    return folder.perform(Step(f"engine-{precision}", outputs, _input(onnx, source), options, tools), work)


def manifest_of(folder: Folder, request: Request, exported: Exported) -> Manifest:
    """What was made, as the manifest says it."""
    weights = exported.weights.result
    artifacts, not_run = [], []
    for precision, onnx in exported.onnx.items():
        path = onnx_path(request, precision)
        artifacts.append(
            Artifact(
                kind="onnx",
                runtime="onnx",
                precision=precision,
                path=path,
                sha256=onnx.outputs[path],
                size_bytes=(folder.path / path).stat().st_size,
                inputs=onnx.result["inputs"],
                outputs=onnx.result["outputs"],
                status=f"parity {exported.parity[precision].result['outcome']}",
                details={name: onnx.result[name] for name in ("opset", "ir_version", "nodes", "initializer_bytes")},
            )
        )
    for precision, engine in exported.engine.items():
        built = dict(engine.result)
        if "not_run" in built:
            not_run.append(NotRun(kind="engine", precision=precision, reason=built["not_run"]))
            continue
        onnx = exported.onnx[precision]
        path = built.pop("path")
        artifacts.append(
            Artifact(
                kind="engine",
                runtime=built["runtime"],
                precision=precision,
                path=path,
                sha256=engine.outputs[path],
                size_bytes=built["size_bytes"],
                inputs=onnx.result["inputs"],
                outputs=onnx.result["outputs"],
                targets=built["targets"],
                status=built["status"],
                details=built,
            )
        )
    return Manifest(
        model=request.config.name,
        weights=Weights(
            origin=origin_of(request),
            path=str(request.checkpoint) if request.checkpoint else None,
            sha256=source_sha256(request, exported.weights),
            container=weights["container"],
            location=weights["location"],
            epoch=weights["epoch"],
            dtypes=weights["dtypes"],
        ),
        architecture=weights["architecture"],
        verdict=[VerdictRow(**row) for row in weights["verdict"]],
        nearest_models=weights["nearest_models"],
        counts=Counts(**weights["counts"]),
        artifacts=artifacts,
        not_run=not_run,
        parity=[dict(made.result) for made in exported.parity.values()],
        tools={tool: version(tool) for tool in TOOLS if version(tool) != "absent"},
    )


def origin_of(request: Request) -> Any:
    """``checkpoint`` or ``stand-in``."""
    return "checkpoint" if request.checkpoint else "stand-in"


def about_weights(request: Request, weights: Made) -> dict[str, str]:
    """What an artefact says of the weights in it."""
    return {
        "model": request.config.name,
        "weights_origin": origin_of(request),
        "weights_sha256": source_sha256(request, weights),
    }


def source_sha256(request: Request, weights: Made) -> str:
    """Hash of the checkpoint as it was found; of the canonical weights where there is no checkpoint."""
    return sha256_path(request.checkpoint) if request.checkpoint else weights.outputs[WEIGHTS]


def onnx_path(request: Request, precision: str) -> str:
    """Where the ONNX file lies within the folder."""
    return f"onnx/{request.config.name}-{precision}.onnx"


def parity_images(size: int) -> Any:
    """(N, size, size, 3) the images that parity is judged on."""
    from export.drawings import drawn_images

    return drawn_images(PARITY_IMAGES, size, PARITY_SEED)


def _normalised(images: Any) -> Any:
    from export.pose import normalise

    return normalise(images)


def _input(made: Made, name: str) -> dict[str, str]:
    return {name: made.outputs[name]}
