"""A small network of the released layout to export, and what is looked at afterwards."""

from dataclasses import asdict
from pathlib import Path

from export.artifacts import PARTIAL_PREFIX, sha256_file
from export.config import ModelConfig
from export.manifest import Manifest, read_manifest
from tests.checkpoints import TINY

STEPS = ["weights", "truth", "onnx-fp32", "parity-fp32", "engine-fp32", "latency"]
"""Of its export, in the order in which they are taken."""


def tiny_config(folder: Path) -> Path:
    fields = {k: v for k, v in asdict(TINY).items() if k != "upsamplings"}
    config = ModelConfig(name="tiny", backbone="tiny", files=("tiny.tar",), **fields)
    path = folder / "tiny.yaml"
    path.write_text(config.model_dump_json())  # JSON is YAML
    return path


def steps_said(stderr: str, verdict: str) -> list[str]:
    return [line.split()[len(verdict.split())] for line in stderr.splitlines() if line.strip().startswith(verdict)]


def manifest(place: Path) -> Manifest:
    return read_manifest(place / "build/tiny/manifest.json")


def assert_whole(place: Path) -> None:
    """Every artefact is what the manifest says, and nothing is in the making."""
    for artifact in manifest(place).artifacts:
        path = place / "build/tiny" / artifact.path
        assert sha256_file(path) == artifact.sha256
        assert path.stat().st_size == artifact.size_bytes
    assert not list((place / "build").rglob(PARTIAL_PREFIX + "*"))
