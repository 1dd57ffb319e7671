"""A checkpoint whose FP32 reference is itself far from FP64: its export is compared with that, not refused."""

from pathlib import Path

from tests.support.checkpoints import alive_weights, spelled, write
from tests.support.command_line import in_process
from tests.support.tiny_export import manifest, tiny_config

SHARPER = 30
"""Factor of the logits: softmaxes then jump between peaks of nearly the same height, in FP32 as well."""


def test_fp32_is_asked_no_more_than_fp32_can(tmp_path: Path) -> None:
    tiny_config(tmp_path)
    weights = alive_weights()
    weights["head.final_layer.weight"] *= SHARPER
    write(tmp_path / "sharp.tar", spelled(weights))
    run = in_process("export", "tiny.yaml", "--checkpoint", "sharp.tar", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    (parity,) = manifest(tmp_path).parity
    assert parity.floor.max_mm is not None
    assert parity.floor.max_mm > 0.5
    assert "FP32 itself is not exact here" in parity.reason
