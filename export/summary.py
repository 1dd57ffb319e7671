"""What was made, as the manifest says it."""

from export.manifest import Artifact, Counts, Manifest, NotRun, VerdictRow, Weights
from export.pipeline import Exported, source_sha256
from export.request import Request
from export.steps import Folder, version

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


def manifest_of(folder: Folder, request: Request, exported: Exported) -> Manifest:
    """Every artefact, every judgement, and what could not be made."""
    weights = exported.weights.result
    artifacts, not_run = [], []
    for precision, onnx in exported.onnx.items():
        path = request.onnx_path(precision)
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
                details={name: onnx.result[name] for name in ONNX_DETAILS},
            )
        )
    for precision, refusal in exported.refused.items():
        not_run.append(NotRun(kind="onnx", precision=precision, status="failed", reason=str(refusal)))
    for precision, engine in exported.engine.items():
        built = dict(engine.result)
        if "not_made" in built:
            status, reason = built["not_made"], built["reason"]
            not_run.append(NotRun(kind="engine", precision=precision, status=status, reason=reason))
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
