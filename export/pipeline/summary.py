"""The manifest of an export, from the results of its steps."""

from dataclasses import asdict
from typing import Any

from export.common.interface import precision_of
from export.engine.record import EngineRecord
from export.graph.onnx_record import OnnxRecord
from export.pipeline.layout import engine_path, parity_path, plan_paths
from export.pipeline.manifest import Artifact, Manifest, NotRun, Weights
from export.pipeline.reference_steps import source_sha256
from export.pipeline.reports import ParityReport
from export.pipeline.request import ExportRequest
from export.pipeline.results import ExportResults, NotBuilt
from export.pipeline.steps import Folder, StepResult, version
from export.runtime.engine_file import PRODUCTS

TOOLS = (
    *("torch", "onnx", "onnxscript", "onnx-ir"),
    *("onnxruntime-gpu", "onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"),
)
TYPES_CHECKED = "the type of every value was inferred and checked; types has the counts"


def manifest_of(folder: Folder, request: ExportRequest, results: ExportResults) -> Manifest:
    """Return the manifest: every artifact, every check, and what could not be made."""
    artifacts = [_onnx_artifact(folder, request, results, variant) for variant in results.onnx]
    sources = dict(zip(results.onnx, artifacts, strict=True))
    not_run = [
        NotRun(kind="onnx", precision=variant, status="failed", reason=str(refusal))
        for variant, refusal in results.refused.items()
    ]
    tools = {tool: version(tool) for tool in TOOLS if version(tool) != "absent"}
    for variant, engine in results.engine.items():
        if isinstance(engine, NotBuilt):
            not_run.append(NotRun(kind="engine", precision=variant, status=engine.status, reason=engine.reason))
            continue
        artifacts.append(engine_artifact(sources[variant], engine))
        record = engine.get()
        tools[record.runtime.replace("_", "-")] = record.package_version  # JetPack's library is unknown to pip
    weights = results.weights.get()
    return Manifest(
        model=request.config.name,
        weights=Weights(
            origin=request.origin,
            path=_weights_path(request),
            sha256=source_sha256(request, results.weights),
            container=weights.container,
            location=weights.location,
            epoch=weights.epoch,
            dtypes=weights.dtypes,
            other_networks=weights.other_networks,
            grown_from=request.growth.model if request.growth else None,
        ),
        architecture=weights.architecture,
        verdict=weights.verdict,
        nearest_models=weights.nearest_models,
        claims=weights.claims,
        counts=weights.counts,
        artifacts=artifacts,
        not_run=not_run,
        ranges=tuple(result.get() for result in results.ranges.values()),
        parity=[result.get() for result in results.parity.values()],
        tools=tools,
    )


def _weights_path(request: ExportRequest) -> str | None:
    """Return the checkpoint's path; that of a demo checkpoint is relative to the repository."""
    if request.growth:
        return request.growth.path
    if request.origin == "demo":
        return request.config.demo
    return str(request.checkpoint) if request.checkpoint else None


def _onnx_artifact(folder: Folder, request: ExportRequest, results: ExportResults, variant: str) -> Artifact:
    path, onnx, parity = request.onnx_path(variant), results.onnx[variant].get(), results.parity[variant].get()
    return Artifact(
        kind="onnx",
        runtime="onnx",
        precision=precision_of(variant),
        path=path,
        sha256=results.onnx[variant].outputs[path],
        size_bytes=(folder.path / path).stat().st_size,
        inputs=onnx.inputs,
        outputs=onnx.outputs,
        status=f"parity {parity.status}",
        details=_onnx_details(onnx, parity) | _plan_details(results, variant),
    )


def _onnx_details(onnx: OnnxRecord, parity: ParityReport) -> dict[str, Any]:
    """Return an ONNX file's content, its proofs, and its error."""
    plain = asdict(onnx)
    proof = {"types": TYPES_CHECKED, "weights": onnx.weights}
    return {
        **{name: plain[name] for name in ("opset", "ir_version", "nodes", "initializer_bytes", "types")},
        "proof": proof if onnx.int8 is None else proof | {"int8": plain["int8"]},
        "drift": {
            "status": parity.status,
            "grade": parity.grade,
            **parity.candidate.model_dump(include={"mean_mm", "p99_mm", "max_mm"}),
            "run_by": parity.runtime,
            "images": parity.images.model_dump(mode="json"),
            "record": parity_path(parity.variant),
        },
    }


def _plan_details(results: ExportResults, variant: str) -> dict[str, Any]:
    """Return the precision plan without the hashes of its images; nothing for FP32."""
    result = results.plan(variant)
    if result is None:
        return {}
    plan, record = result.get(), plan_paths(precision_of(variant)).record
    plain = plan.as_json()
    plain["calibration"] = {name: value for name, value in plain["calibration"].items() if name != "images"}
    return {"plan": {"record": record, "sha256": result.outputs[record], "summary": plan.summary(), **plain}}


def engine_artifact(source: Artifact, engine: StepResult[EngineRecord]) -> Artifact:
    """Return the manifest's row of an engine that was built from ``source``."""
    record = engine.get()
    path = engine_path(source.path, PRODUCTS[record.runtime])
    types = ", ".join(f"{count} {kind}" for kind, count in record.layer_types["CONVOLUTION"].items())
    network = f"strongly typed network: convolutions {types}; {record.convolutions.int8} of them take int8"
    inspector = record.not_inspected or "its layers compute in the precision; inspected has the counts"
    return Artifact(
        kind="engine",
        runtime=record.runtime,
        precision=source.precision,
        path=path,
        sha256=engine.outputs[path],
        size_bytes=record.size_bytes,
        inputs=source.inputs,
        outputs=source.outputs,
        targets=record.targets,
        status=record.status,
        details=asdict(record)
        | {
            "proof": {"network": network, "inspector": inspector},
            "drift": {"of": source.path, **source.details["drift"]},
        },
    )
