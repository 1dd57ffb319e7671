"""Engines are looked into where a GPU loads them."""

import json
from pathlib import Path

import pytest

from export.common.errors import CheckFailed
from export.common.gpu import Gpu
from export.engine import build as engine
from export.engine import choice as engine_runtime
from export.engine.build import build_engine
from export.engine.plan import EnginePlan
from tests.export.engine.planted import plant

INSPECTION = """
import tensorrt_rtx
class Runtime:
    def __init__(self, logger): pass
    def deserialize_cuda_engine(self, blob): return self
    def create_engine_inspector(self): return self
    def get_engine_information(self, format): return TOLD
tensorrt_rtx.Runtime = Runtime
"""
"""In place of the runtime, which only a GPU has."""


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("gpu", "kind", "asked"), [("8.6", "Float", True), ("8.6", "", True), ("8.6", "Half", True), ("9.0", "Half", False)]
)
def test_rtx_engines_are_inspected_where_a_gpu_of_theirs_is(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: str, kind: str, asked: bool
) -> None:
    monkeypatch.setattr(engine_runtime, "default_gpu", lambda: (Gpu("Planted", gpu, 1, 16), ""))
    layer = {"Name": "conv", "LayerType": "conv", "Inputs": [{"Name": "t", "DataType": kind}]}
    told = json.dumps({"Layers": [layer] if kind else ["conv"]})
    monkeypatch.setattr(engine, "WORKER", plant(INSPECTION.replace("TOLD", repr(told))))
    plan = EnginePlan(runtime="tensorrt-rtx", targets=("8.6",))
    if asked and kind == "Half":
        with pytest.raises(CheckFailed, match="conv computes in fp16"):
            build_engine(tiny, tmp_path / "e", plan)
        assert not (tmp_path / "e").exists()
        return
    record = build_engine(tiny, tmp_path / "e", plan)
    assert (record.inspected is not None) == asked
    if not asked:
        assert record.not_inspected == "Planted (9.0) is none of the GPUs that it was built for"
    else:
        assert record.inspected is not None
        assert record.not_inspected == ("" if kind else "the inspector names no types")
        assert record.inspected.types == ({"conv": {"fp32": 1}} if kind else {})
    assert record.not_run == "building runs nothing; `convnextpose bench` and `predict` do"
