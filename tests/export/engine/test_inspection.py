"""Inspection of a new engine, where a GPU loads it."""

import json
from pathlib import Path
from typing import Any

import pytest

from export.common.errors import CheckFailed
from export.engine import build as engine
from export.engine import choice as choosing
from export.engine.build import build_engine
from export.engine.plan import BuildJob, EnginePlan
from export.engine.worker import inspect
from export.runtime.engine_network import Convolutions
from export.runtime.gpu import Gpu
from export.runtime.registry import load_library
from export.runtime.tensorrt_log import make_logger
from tests.support.fake_engines import FakeEngines
from tests.support.planted_worker import plant

INSPECTION = """
import tensorrt_rtx
class Runtime:
    def __init__(self, logger): pass
    def deserialize_cuda_engine(self, blob): return self
    def create_engine_inspector(self): return self
    def get_engine_information(self, format): return LAYERS
tensorrt_rtx.Runtime = Runtime
"""
"""A runtime in place of NVIDIA's, which needs a GPU."""


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(
    ("gpu", "kind", "inspected"),
    [("8.6", "Float", True), ("8.6", "", True), ("8.6", "Half", True), ("9.0", "Half", False)],
)
def test_rtx_engines_are_inspected_on_a_gpu_that_they_were_built_for(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: str, kind: str, inspected: bool
) -> None:
    monkeypatch.setattr(choosing, "default_gpu", lambda: (Gpu("Planted", gpu, 1, 16), ""))
    layer = {"Name": "conv", "LayerType": "conv", "Inputs": [{"Name": "t", "DataType": kind}]}
    text = json.dumps({"Layers": [layer] if kind else ["conv"]})
    monkeypatch.setattr(engine, "WORKER", plant(INSPECTION.replace("LAYERS", repr(text))))
    plan = EnginePlan(runtime="tensorrt-rtx", targets=("8.6",))
    if inspected and kind == "Half":
        with pytest.raises(CheckFailed, match="conv computes in fp16"):
            build_engine(tiny, tmp_path / "e", plan)
        assert not (tmp_path / "e").exists()
        return
    record = build_engine(tiny, tmp_path / "e", plan)
    assert (record.inspected is not None) == inspected
    if not inspected:
        assert record.not_inspected == "Planted (9.0) is none of the GPUs that it was built for"
    else:
        assert record.inspected is not None
        assert record.not_inspected == ("" if kind else "the inspector names no types")
        assert record.inspected.types == ({"conv": {"fp32": 1}} if kind else {})
    assert record.not_run == "building runs nothing; `convnextpose bench` and `predict` do"


def test_the_builder_checks_its_new_engine(engines: FakeEngines) -> None:
    """The builder process does so where there is a GPU."""
    trt: Any = load_library(engines.product.module)
    logger, blob, counts = make_logger(trt, []), engines.path.read_bytes(), Convolutions(1, 1)
    plan = EnginePlan(precision="int8")
    job = BuildJob(engines.product.module, Path("e.onnx"), Path("e"), plan, inspect=True)
    types = [{"Format/Datatype": "Row major linear FP32"}]
    engines.plant_layers({"Name": "stem", "LayerType": "conv", "Inputs": types})
    with pytest.raises(CheckFailed, match="no layer computes in int8"):
        inspect(trt, logger, blob, job, counts)
    types.append({"Format/Datatype": "Row major Int8 format"})
    engines.plant_layers({"Name": "stem", "LayerType": "conv", "Inputs": types})
    assert inspect(trt, logger, blob, job, counts).types == {"conv": {"fp32+int8": 1}}
    engines.plant("LOADS_NOTHING")
    with pytest.raises(CheckFailed, match="does not load"):
        inspect(trt, logger, blob, job, counts)
