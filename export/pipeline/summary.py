"""What was made, as the manifest says it."""

from collections.abc import Mapping
from typing import Any

from export.common.interface import precision_of
from export.pipeline.manifest import Artifact, Counts, Manifest, NotRun, VerdictRow, Weights
from export.pipeline.model_steps import PARITY_REPORT, plan_paths, source_sha256
from export.pipeline.request import ExportRequest
from export.pipeline.step_results import StepResults
from export.pipeline.steps import Folder, Made, NotBuilt, version
from export.plan.plan_record import plan_summary

TOOLS = (
    *("torch", "onnx", "onnxscript", "onnx-ir"),
    *("onnxruntime-gpu", "onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"),
)
ONNX_DETAILS = ("opset", "ir_version", "nodes", "initializer_bytes", "types")
TYPES_WALKED = "every value's type was inferred and walked over; types has the counts"


def path_of_weights(request: ExportRequest) -> str | None:
    """Where the checkpoint lies; the project's own within its repository, since that is where it is looked for."""
    if request.growth:
        return request.growth.path
    if request.origin == "demo":
        return request.config.demo
    return str(request.checkpoint) if request.checkpoint else None


def onnx_details(results: StepResults, variant: str) -> dict[str, Any]:
    """What is in an ONNX file, how that was proven, and how far it drifts on which images."""
    onnx, parity, precision = results.onnx[variant].result, results.parity[variant].result, precision_of(variant)
    details = {name: onnx[name] for name in ONNX_DETAILS}
    details["proof"] = {"types": TYPES_WALKED, "weights": onnx["weights"]}
    if onnx["int8"] is not None:
        details["proof"]["int8"] = onnx["int8"]
    details["drift"] = drift_details(parity)
    if made := results.plans.get(precision):
        plan, record = dict(made.result), plan_paths(precision)[0]
        plan["calibration"] = {name: of for name, of in plan["calibration"].items() if name != "images"}
        details["plan"] = {"record": record, "sha256": made.outputs[record], "summary": plan_summary(plan), **plan}
    return details


def drift_details(parity: Mapping[str, Any]) -> dict[str, Any]:
    """How far an ONNX file drifts, on which images, run by what."""
    return {
        "status": parity["status"],
        "grade": parity["grade"],
        **{name: parity["candidate"][name] for name in ("mean_mm", "p99_mm", "max_mm")},
        "run_by": parity["runtime"],
        "images": parity["images"],
        "record": PARITY_REPORT.format(parity["edition"]),
    }


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
        details=built | engine_details(built, source),
    )


def engine_details(built: Mapping[str, Any], source: Artifact) -> dict[str, Any]:
    """How an engine's precision was proven, and how far the ONNX file drifts that it was built from."""
    types = ", ".join(f"{count} {kind}" for kind, count in built["layer_types"]["CONVOLUTION"].items())
    network = f"strongly typed network: convolutions {types}; {built['convolutions']['int8']} of them take int8"
    inspector = built["not_inspected"] or "its layers compute in the precision; inspected has the counts"
    return {
        "proof": {"network": network, "inspector": inspector},
        "drift": {"of": source.path, **source.details["drift"]},
    }


def manifest_of(folder: Folder, request: ExportRequest, results: StepResults) -> Manifest:
    """Every artefact, every judgement, and what could not be made."""
    weights = results.weights.result
    artifacts, not_run = [], []
    tools = {tool: version(tool) for tool in TOOLS if version(tool) != "absent"}
    for variant, onnx in results.onnx.items():
        path, parity = request.onnx_path(variant), results.parity[variant].result
        artifacts.append(
            Artifact(
                kind="onnx",
                runtime="onnx",
                precision=precision_of(variant),
                path=path,
                sha256=onnx.outputs[path],
                size_bytes=(folder.path / path).stat().st_size,
                inputs=onnx.result["inputs"],
                outputs=onnx.result["outputs"],
                status=f"parity {parity['status']}",
                details=onnx_details(results, variant),
            )
        )
    for variant, refusal in results.refused.items():
        not_run.append(NotRun(kind="onnx", precision=variant, status="failed", reason=str(refusal)))
    for variant, engine in results.engine.items():
        if isinstance(engine, NotBuilt):
            not_run.append(NotRun(kind="engine", precision=variant, status=engine.status, reason=engine.reason))
            continue
        source = next(a for a in artifacts if a.path == request.onnx_path(variant))
        artifacts.append(engine_artifact(source, engine))
        tools[engine.result["runtime"].replace("_", "-")] = engine.result["package_version"]  # which pip need not know
    return Manifest(
        model=request.config.name,
        weights=Weights(
            origin=request.origin,
            path=path_of_weights(request),
            sha256=source_sha256(request, results.weights),
            container=weights["container"],
            location=weights["location"],
            epoch=weights["epoch"],
            dtypes=weights["dtypes"],
            grown_from=request.growth.model if request.growth else None,
        ),
        architecture=weights["architecture"],
        verdict=[VerdictRow(**row) for row in weights["verdict"]],
        nearest_models=weights["nearest_models"],
        claims=weights["claims"],
        counts=Counts(**weights["counts"]),
        artifacts=artifacts,
        not_run=not_run,
        ranges=[dict(made.result) for made in results.ranges.values()],
        parity=[dict(made.result) for made in results.parity.values()],
        tools=tools,
    )
