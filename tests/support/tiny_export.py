"""Exports of a small network of the released layout."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

from export.common.files import PARTIAL_PREFIX, sha256_file
from export.model.config import ModelConfig
from export.pipeline.manifest import Manifest, read_manifest
from tests.support.checkpoints import TINY
from tests.support.command_line import in_process

Run = tuple[Path, subprocess.CompletedProcess[str]]
"""The folder that the command ran in, and what it said."""

STEPS = ["weights", "truth", "onnx-fp32", "parity-fp32", "engine-fp32", "latency"]
"""Steps of its export, in order."""


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
    """Check every artifact against the manifest; no partial file may be left."""
    for artifact in manifest(place).artifacts:
        path = place / "build/tiny" / artifact.path
        assert sha256_file(path) == artifact.sha256
        assert path.stat().st_size == artifact.size_bytes
    assert not list((place / "build").rglob(PARTIAL_PREFIX + "*"))


def export_tiny(place: Path, *options: str, latency: bool = True) -> None:
    """Export it in ``place``, and keep what the command said there."""
    tiny_config(place)
    run = in_process("export", "tiny.yaml", *options, cwd=place, latency=latency)
    assert run.returncode == 0, run.stderr
    (place / "said.json").write_text(json.dumps([run.stdout, run.stderr]))


def read_run(place: Path) -> Run:
    """Read what ``export_tiny`` has kept."""
    stdout, stderr = json.loads((place / "said.json").read_text())
    return place, subprocess.CompletedProcess([], 0, stdout, stderr)
