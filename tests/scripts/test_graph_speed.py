"""The graphs that are timed beside each other compute the same joints."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import scripts.graph_speed
from bench.stats.stopping import StopRule
from export.graph.deploy import MatrixDecode
from scripts.graph_speed import BASE, DEPLOY, ResizedDecode, compare, write_graphs
from tests.support.checkpoints import TINY


@pytest.mark.parametrize("upsamplings", [2, 3])
def test_the_earlier_decode_has_the_same_function(upsamplings: int) -> None:
    size = replace(TINY, upsamplings=upsamplings)
    doubles, edge = upsamplings == 3, size.heatmap_size
    decode = MatrixDecode(size.joints, size.depth_dim, edge, doubles=doubles).float()
    small = edge // 2 if doubles else edge
    logits = 10 * torch.randn(2, size.volume_channels, small, small)
    assert torch.allclose(ResizedDecode(decode)(logits), decode(logits), rtol=0, atol=1e-3)


def test_a_folder_without_an_export_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["graph_speed", str(tmp_path / "nowhere")])
    assert scripts.graph_speed.main() == 2
    assert "no such folder" in capsys.readouterr().err


def test_every_graph_of_an_export_is_timed(tiny_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts.graph_speed, "RULE", StopRule(budget_s=0.1))
    files = write_graphs(tiny_copy / "build/tiny", "fp32", tmp_path)
    assert {BASE, DEPLOY} < files.keys()
    timed = dict(compare(files, "fp32"))
    assert "onnxruntime" in timed
    for rounds in timed.values():
        assert all((rounds.samples_ms(name) > 0).all() for name in files)
