"""What an engine says of itself: types, options, the time of each layer."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.sessions.parts import attribute
from bench.sessions.protocol import LayerTime
from bench.sessions.tensorrt import read_origins
from export.common.errors import CheckFailed
from export.engine.plan import TENSORRT_RTX, EnginePlan
from export.engine.worker import inspect
from export.runtime.engine_network import Convolutions
from export.runtime.registry import load_library
from export.runtime.tensorrt_log import make_logger
from tests.export.engine.fakes import World, images, opened
from tests.export.engine.files import VERSIONS
from tests.export.engine.gpu import ADA


def test_what_it_says_of_itself(world: World) -> None:
    engine = opened(world)
    assert (
        engine.describe() == f"{world.backend.product} {VERSIONS[world.backend.module]}, {ADA.in_full}, no CUDA graph"
    )
    assert (engine.precision, engine.takes_pixels) == ("fp32", False)
    assert engine.runtime.replace("-", "_") == world.backend.module


def test_facts_of_an_engine(world: World) -> None:
    world.plant("INSPECTED", "")
    facts = opened(world, graph=True).facts()
    assert facts["problems"] == []
    assert (facts["device"], facts["precision_used"]) == (f"{ADA.name} (8.9)", None)  # the inspector told nothing
    assert facts["proof"].endswith("the strongly typed network had: CONVOLUTION: 65 FLOAT")
    tensors = [{"Name": "t", "DataType": "Float"}]
    world.plant("INSPECTED", json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]}))
    facts = opened(world, graph=True).facts()
    assert (facts["precision_used"], facts["proof"]) == ("fp32", "the engine's inspector: conv: 1 fp32")
    assert (facts["options"]["cuda_graph"], facts["options"]["tf32"]) == (True, False)
    assert ("cold" in facts["options"].get("runtime_cache", "")) == (world.backend == TENSORRT_RTX)
    world.write(tf32=True)
    assert opened(world).facts()["problems"] == ["the engine was built with TF32"]


@pytest.mark.parametrize("graph", [False, True])
def test_layers_are_timed_one_by_one(world: World, graph: bool) -> None:
    stem, fused = "backbone.downsample_layers.0.0/Conv + entry.0/Mul", "__myl_Mul_myl0_1"
    made_of = "[ONNX Layer: decode/Softmax]\x1e[ONNX Layer: decode/Mul]"
    world.plant("INSPECTED", json.dumps({"Layers": [{"Name": stem}, {"Name": fused, "Metadata": made_of}]}))
    world.note_driver()
    engine = opened(world, graph=graph)
    engine.run(images(1))
    world.calls.clear()
    profiler = engine.profiler()
    world.plant("LAYER_MS", json.dumps({stem: 99.0, fused: 99.0}))
    profiler.run(images(1))  # warms up
    profiler.start()
    for ms in (2.0, 4.0):
        world.plant("LAYER_MS", json.dumps({stem: ms, fused: ms / 2}))
        profiler.run(images(1))
    assert not {"capture", "replay"} & {*world.calls}
    assert not world.configs or world.configs[-1].cuda_graph_strategy is None
    layers = profiler.layers()
    assert layers == [LayerTime(stem, 3.0), LayerTime(fused, 1.5, "decode/Softmax, decode/Mul")]
    assert attribute([(layer.name, layer.origin) for layer in layers]) == ["stem", "decode"]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Layers": ["stem"]}', '{"Layers": [{"Name": "stem"}]}'])
def test_an_engine_without_details_tells_no_origins(text: str) -> None:
    assert read_origins(text) == {}


def test_an_engine_that_computes_in_another_type_is_not_run(world: World) -> None:
    layer: dict[str, Any] = {"Name": "stem", "LayerType": "CaskConvolution"}
    layer["Inputs"] = [{"Format/Datatype": "Row major linear FP32"}]
    world.plant("INSPECTED", json.dumps({"Layers": [layer]}))
    assert opened(world).layers.types == {"CaskConvolution": {"fp32": 1}}
    layer["Inputs"] = [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]
    world.plant("INSPECTED", json.dumps({"Layers": [layer]}))
    with pytest.raises(CheckFailed, match="stem computes in fp16"):
        opened(world)


def test_a_builder_looks_at_its_new_engine(world: World) -> None:
    """As the builder's process does where there is a GPU."""
    trt: Any = load_library(world.backend.module)
    logger, blob, plan = make_logger(trt, []), world.path.read_bytes(), EnginePlan(precision="int8")
    tensors = [{"Format/Datatype": "Row major linear FP32"}]
    counts = Convolutions(1, 1)
    world.plant("INSPECTED", json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]}))
    with pytest.raises(CheckFailed, match="no layer computes in int8"):
        inspect(trt, logger, blob, plan, Path("e"), counts)
    tensors.append({"Format/Datatype": "Row major Int8 format"})
    world.plant("INSPECTED", json.dumps({"Layers": [{"Name": "stem", "LayerType": "conv", "Inputs": tensors}]}))
    assert inspect(trt, logger, blob, plan, Path("e"), counts)["types"] == {"conv": {"fp32+int8": 1}}
    world.plant("LOADS_NOTHING")
    with pytest.raises(CheckFailed, match="does not load"):
        inspect(trt, logger, blob, plan, Path("e"), counts)
