"""Engine files with a header and a record, and GPUs that this machine need not have."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from export.common.files import sha256_file
from export.engine.layers import EngineLayers
from export.engine.record import EngineRecord, Profile
from export.pipeline.manifest import Artifact
from export.runtime.engine_file import PRODUCTS, Product
from export.runtime.engine_network import Convolutions
from export.runtime.gpu import Gpu, default_gpu

ADA = Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, 128)
ORIN = Gpu("Orin", "8.7", int(7.4 * 2**30), 8)
has_gpu = default_gpu()[0] is not None
without_gpu = pytest.mark.skipif(has_gpu, reason="this machine has a GPU")

SHAPE, JOINTS = (3, 4, 4), (2, 3)
VERSIONS = {"tensorrt": "10.3.0.26", "tensorrt_rtx": "1.7.1.116"}
RECORD = EngineRecord(
    schema_version=6,
    status="built for SM 8.9; not run",
    not_run="there is no NVIDIA driver",
    runtime="tensorrt_rtx",
    chosen="tensorrt_rtx is installed",
    package_version="1.7.1.116",
    built_on="Linux x86_64",
    gpu=None,
    targets=("8.9",),
    precision="fp32",
    layer_types={"CONVOLUTION": {"FLOAT": 65}},
    convolutions=Convolutions(65, 0),
    inspected=EngineLayers(2, {"CaskConvolution": {"fp32": 2}}, ()),
    not_inspected="",
    tf32=False,
    profile=Profile("image", (1, 3, 256, 256), (1, 3, 256, 256), (8, 3, 256, 256)),
    workspace_bytes=1 << 30,
    optimization_level=3,
    hardware_compatible=False,
    version_compatible=False,
    build_seconds=0.5,
    size_bytes=31_648_260,
    warnings=("a warning",),
    onnx_sha256="0" * 64,
    engine_sha256="1" * 64,
    plan_version="1.7.1.116",
)


def write_engine(path: Path, product: Product, content: bytes = b"content", **changes: Any) -> EngineRecord:
    """Write an engine file and a record that agrees with its header."""
    version = VERSIONS[product.module]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(product.magic + bytes(20) + bytes(map(int, version.split("."))) + content)
    fields: dict[str, Any] = {
        "runtime": product.module,
        "package_version": version,
        "plan_version": version,
        "profile": Profile("image", (1, *SHAPE), (1, *SHAPE), (4, *SHAPE)),
        "size_bytes": path.stat().st_size,
        "engine_sha256": sha256_file(path),
        "targets": ("8.9",) if product.ahead_of_time else (),
        "gpu": None if product.ahead_of_time else ADA,
    }
    record = replace(RECORD, **(fields | changes))
    Path(f"{path}.json").write_text(json.dumps(asdict(record)))
    return record


def overwrite(path: Path, offset: int, data: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:offset] + data + content[offset + len(data) :])


def artifact_entry(folder: Path, kind: str, runtime: str) -> Artifact:
    """Return the manifest's entry for the ONNX file, or for an engine of it."""
    path = "onnx/L-fp32.onnx" if kind == "onnx" else f"engines/L-fp32{PRODUCTS[runtime].suffix}"
    fields: dict[str, Any] = {"kind": kind, "runtime": runtime, "precision": "fp32", "path": path, "status": "built"}
    fields |= {"sha256": sha256_file(folder / path), "size_bytes": (folder / path).stat().st_size}
    return Artifact(**fields, inputs=(), outputs=(), details={})
