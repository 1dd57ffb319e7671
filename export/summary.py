"""What was made, as the manifest says it."""

from export.interface import precision_of
from export.manifest import Artifact, Counts, Manifest, NotRun, VerdictRow, Weights
from export.model_steps import source_sha256
from export.pipeline import Exported
from export.request import Request
from export.steps import Folder, Made, version

TOOLS = (
    *("torch", "onnx", "onnxscript", "onnx-ir"),
    *("onnxruntime-gpu", "onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"),
)
ONNX_DETAILS = ("opset", "ir_version", "nodes", "initializer_bytes", "types")


def path_of_weights(request: Request) -> str | None:
    """Where the checkpoint lies; the project's own within its repository, since that is where it is looked for."""
    if request.origin == "demo":
        return request.config.demo
    return str(request.checkpoint) if request.checkpoint else None


def engine_artifact(source: Artifact, engine: Made) -> Artifact:
    """What the manifest says of an engine that was built from ``source``."""
    built = dict(engine.result)
    path = built.pop("path")
    return Artifact(
        kind="engine",
        runtime=built["runtime"],
        precision=source.precision,
        path=path,
        sha256=engine.outputs[path],
        size_bytes=built["size_bytes"],
        inputs=source.inputs,
        outputs=source.outputs,
        targets=built["targets"],
        status=built["status"],
        details=built,
    )


def manifest_of(folder: Folder, request: Request, exported: Exported) -> Manifest:
    """Every artefact, every judgement, and what could not be made."""
    weights = exported.weights.result
    artifacts, not_run = [], []
    for edition, onnx in exported.onnx.items():
        path, details = request.onnx_path(edition), {name: onnx.result[name] for name in ONNX_DETAILS}
        if precision_of(edition) == "int8" and exported.int8_plan is not None:
            details["int8_plan"] = dict(exported.int8_plan.result)
        artifacts.append(
            Artifact(
                kind="onnx",
                runtime="onnx",
                precision=precision_of(edition),
                path=path,
                sha256=onnx.outputs[path],
                size_bytes=(folder.path / path).stat().st_size,
                inputs=onnx.result["inputs"],
                outputs=onnx.result["outputs"],
                status=f"parity {exported.parity[edition].result['outcome']}",
                details=details,
            )
        )
    for edition, refusal in exported.refused.items():
        not_run.append(NotRun(kind="onnx", precision=edition, status="failed", reason=str(refusal)))
    for edition, engine in exported.engine.items():
        built = dict(engine.result)
        if "not_made" in built:
            status, reason = built["not_made"], built["reason"]
            not_run.append(NotRun(kind="engine", precision=edition, status=status, reason=reason))
            continue
        source = next(a for a in artifacts if a.path == request.onnx_path(edition))
        artifacts.append(engine_artifact(source, engine))
    return Manifest(
        model=request.config.name,
        weights=Weights(
            origin=request.origin,
            path=path_of_weights(request),
            sha256=source_sha256(request, exported.weights),
            container=weights["container"],
            location=weights["location"],
            epoch=weights["epoch"],
            dtypes=weights["dtypes"],
        ),
        architecture=weights["architecture"],
        verdict=[VerdictRow(**row) for row in weights["verdict"]],
        nearest_models=weights["nearest_models"],
        claims=weights["claims"],
        counts=Counts(**weights["counts"]),
        artifacts=artifacts,
        not_run=not_run,
        ranges=[dict(made.result) for made in exported.ranges.values()],
        parity=[dict(made.result) for made in exported.parity.values()],
        tools={tool: version(tool) for tool in TOOLS if version(tool) != "absent"},
    )
