"""Engine files of no content, and how they are damaged."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from export.common.files import sha256_file
from export.engine.build import EngineRecord, Profile
from export.engine.plan import BACKENDS, Backend
from export.pipeline.manifest import Artifact
from tests.export.engine.gpu import ADA
from tests.export.engine.records import RECORD

SHAPE, JOINTS = (3, 4, 4), (2, 3)
VERSIONS = {"tensorrt": "10.3.0.26", "tensorrt_rtx": "1.7.1.116"}


def write_engine(path: Path, backend: Backend, content: bytes = b"content", **change: Any) -> EngineRecord:
    """An engine file whose header and record agree."""
    version = VERSIONS[backend.module]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(backend.magic.encode() + bytes(20) + bytes(map(int, version.split("."))) + content)
    made: dict[str, Any] = {
        "runtime": backend.module,
        "plan_magic": backend.magic,
        "package_version": version,
        "plan_version": version,
        "profile": Profile("image", (1, *SHAPE), (1, *SHAPE), (4, *SHAPE)),
        "size_bytes": path.stat().st_size,
        "engine_sha256": sha256_file(path),
        "targets": ("8.9",) if backend.takes_targets else (),
        "gpu": None if backend.takes_targets else ADA,
    }
    record = replace(RECORD, **(made | change))
    Path(f"{path}.json").write_text(json.dumps(asdict(record)))
    return record


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def overwrite(path: Path, at: int, data: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:at] + data + content[at + len(data) :])


def entry(folder: Path, kind: str, runtime: str) -> Artifact:
    path = "onnx/L-fp32.onnx" if kind == "onnx" else f"engines/L-fp32{BACKENDS[runtime].suffix}"
    about: dict[str, Any] = {"kind": kind, "runtime": runtime, "precision": "fp32", "path": path, "status": "built"}
    about |= {"sha256": sha256_file(folder / path), "size_bytes": (folder / path).stat().st_size}
    return Artifact(**about, inputs=[], outputs=[], details={})
