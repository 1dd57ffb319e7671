"""What an engine says of itself: types, options, the time of each layer."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.backends.protocol import LayerTime
from bench.backends.tensorrt_profile import read_origins
from bench.parts import attribute
from export.engine_network import Convolutions
from export.engine_plan import TENSORRT_RTX, EnginePlan
from export.engine_worker import inspect, make_logger
from export.errors import CheckFailed
from tests.engines.files import write_engine
from tests.engines.gpu import ADA
from tests.engines.stand_in import World, images, opened


def test_what_it_says_of_itself(world: World, tmp_path: Path) -> None:
    engine = opened(world, tmp_path)
    assert engine.describe() == f"{world.backend.product} 1.7.1.116, {ADA.name} (8.9), no CUDA graph"
    assert (engine.precision, engine.takes_pixels) == ("fp32", False)
    assert engine.runtime.replace("-", "_") == world.backend.module


def test_facts_of_an_engine(world: World, tmp_path: Path) -> None:
    facts = opened(world, tmp_path, graph=True).facts()
    assert facts["problems"] == []
    assert (facts["device"], facts["precision_used"]) == (f"{ADA.name} (8.9)", None)  # the inspector told nothing
    assert facts["proof"].endswith("the strongly typed network had: CONVOLUTION: 65 FLOAT")
    tensors = [{"Name": "t", "DataType": "Float"}]
    world.inspected = json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]})
    facts = opened(world, tmp_path, graph=True).facts()
    assert (facts["precision_used"], facts["proof"]) == ("fp32", "the engine's inspector: conv: 1 fp32")
    assert (facts["options"]["cuda_graph"], facts["options"]["tf32"]) == (True, False)
    assert ("cold" in facts["options"].get("runtime_cache", "")) == (world.backend == TENSORRT_RTX)
    write_engine(tmp_path / "e", world.backend, tf32=True)
    assert opened(world, tmp_path).facts()["problems"] == ["the engine was built with TF32"]


@pytest.mark.parametrize("graph", [False, True])
def test_layers_are_timed_one_by_one(world: World, tmp_path: Path, graph: bool) -> None:
    stem, fused = "backbone.downsample_layers.0.0/Conv + entry.0/Mul", "__myl_Mul_myl0_1"
    made_of = "[ONNX Layer: decode/Softmax]\x1e[ONNX Layer: decode/Mul]"
    world.inspected = json.dumps({"Layers": [{"Name": stem}, {"Name": fused, "Metadata": made_of}]})
    engine = opened(world, tmp_path, graph=graph)
    engine.run(images(1))
    world.calls.clear()
    world.config.cuda_graph_strategy = None
    profiler = engine.profiler()
    world.layer_times = {stem: 99.0, fused: 99.0}
    profiler.run(images(1))  # warms up
    profiler.start()
    for ms in (2.0, 4.0):
        world.layer_times = {stem: ms, fused: ms / 2}
        profiler.run(images(1))
    assert not {"capture", "replay"} & {*world.calls}
    assert world.config.cuda_graph_strategy is None
    layers = profiler.layers()
    assert layers == [LayerTime(stem, 3.0), LayerTime(fused, 1.5, "decode/Softmax, decode/Mul")]
    assert attribute([(layer.name, layer.origin) for layer in layers]) == ["stem", "decode"]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Layers": ["stem"]}', '{"Layers": [{"Name": "stem"}]}'])
def test_an_engine_without_details_tells_no_origins(text: str) -> None:
    assert read_origins(text) == {}


def test_an_engine_that_computes_in_another_type_is_not_run(world: World, tmp_path: Path) -> None:
    layer: dict[str, Any] = {"Name": "stem", "LayerType": "CaskConvolution"}
    layer["Inputs"] = [{"Format/Datatype": "Row major linear FP32"}]
    world.inspected = json.dumps({"Layers": [layer]})
    assert opened(world, tmp_path).layers.types == {"CaskConvolution": {"fp32": 1}}
    layer["Inputs"] = [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]
    world.inspected = json.dumps({"Layers": [layer]})
    with pytest.raises(CheckFailed, match="stem computes in fp16"):
        opened(world, tmp_path)


def test_a_builder_looks_at_its_new_engine(world: World) -> None:
    """As the builder's process does where there is a GPU."""
    trt: Any = world.module
    logger, blob, plan = (
        make_logger(trt, lambda _: None, []),
        world.backend.magic.encode(),
        EnginePlan(precision="int8"),
    )
    tensors = [{"Format/Datatype": "Row major linear FP32"}]
    counts = Convolutions(1, 1)
    world.inspected = json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]})
    with pytest.raises(CheckFailed, match="no layer computes in int8"):
        inspect(trt, logger, blob, plan, Path("e"), counts)
    tensors.append({"Format/Datatype": "Row major Int8 format"})
    world.inspected = json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]})
    assert inspect(trt, logger, blob, plan, Path("e"), counts)["types"] == {"conv": {"fp32+int8": 1}}
    world.loads = False
    with pytest.raises(CheckFailed, match="does not load"):
        inspect(trt, logger, blob, plan, Path("e"), counts)
