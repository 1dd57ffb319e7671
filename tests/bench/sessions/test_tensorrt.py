"""Additions of a benchmark to an engine's session: boundaries, facts, layer times."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.sessions.parts import attribute
from bench.sessions.protocol import LayerTime
from bench.sessions.tensorrt import TensorRTEngine, read_origins
from export.common.errors import BadInput, CheckFailed
from export.engine.build import build_engine
from export.engine.choice import choose_runtime
from export.engine.plan import RTX_TARGETS, EnginePlan
from export.runtime.engine_file import TENSORRT_RTX
from export.runtime.gpu import first_gpu
from tests.support.engines import ADA, has_gpu
from tests.support.fake_engines import FakeEngines, assert_joints, images, pixels
from tests.support.host_cuda import COPIES
from tests.support.small_networks import network


def opened(engines: FakeEngines, **options: Any) -> TensorRTEngine:
    return TensorRTEngine(engines.path, engines.product, **options)


def test_boundaries(engines: FakeEngines) -> None:
    """Events enclose the launch only; bound images are launched and waited for, without copies."""
    engines.note_driver()
    session = opened(engines)
    batch = session.pinned(images(1))
    np.testing.assert_array_equal(batch, images(1))
    session.run(batch)
    engines.calls.clear()
    assert_joints(session.run(batch), batch)
    up, down = COPIES
    assert engines.calls == [up, "cuEventRecord", "launch", "cuEventRecord", down, "cuStreamSynchronize"]
    assert session.device_ms() == 2.5
    run = session.bind(images(1))
    engines.calls.clear()
    run()
    assert engines.calls == ["launch", "cuStreamSynchronize"]


def test_a_bound_run_uses_the_cuda_graph(engines: FakeEngines) -> None:
    engines.note_driver()
    run = opened(engines, graph=True).bind(images(1))
    run()
    engines.calls.clear()
    run()
    launch = ["launch"] if engines.product == TENSORRT_RTX else ["replay", "launch"]
    assert engines.calls == [*launch, "cuStreamSynchronize"]


def test_bound_pixels(pixel_engines: FakeEngines) -> None:
    session = opened(pixel_engines)
    assert session.pinned(pixels(2)).dtype == np.uint8
    session.bind(pixels(2))()


def test_facts(engines: FakeEngines) -> None:
    session = opened(engines, graph=True)
    facts = session.facts()
    assert (session.runtime, session.precision) == (engines.product.option, "fp32")
    assert facts["problems"] == []
    assert (facts["device"], facts["precision_used"]) == (f"{ADA.name} (8.9)", None)  # an inspector without types
    assert facts["proof"].endswith("the strongly typed network had: CONVOLUTION: 65 FLOAT")
    engines.plant_layers({"Name": "stem", "LayerType": "conv", "Inputs": [{"Name": "t", "DataType": "Float"}]})
    facts = opened(engines, graph=True).facts()
    assert (facts["precision_used"], facts["proof"]) == ("fp32", "the engine's inspector: conv: 1 fp32")
    assert (facts["options"]["cuda_graph"], facts["options"]["tf32"]) == (True, False)
    assert ("cold" in facts["options"].get("runtime_cache", "")) == (engines.product == TENSORRT_RTX)
    engines.write(tf32=True)
    assert opened(engines).facts()["problems"] == ["the engine was built with TF32"]


@pytest.mark.parametrize("graph", [False, True])
def test_layers_are_timed_one_by_one(engines: FakeEngines, graph: bool) -> None:
    stem, fused = "backbone.downsample_layers.0.0/Conv + entry.0/Mul", "__myl_Mul_myl0_1"
    nodes = "[ONNX Layer: decode/Softmax]\x1e[ONNX Layer: decode/Mul]"
    engines.plant_layers({"Name": stem}, {"Name": fused, "Metadata": nodes})
    engines.note_driver()
    session = opened(engines, graph=graph)
    session.run(images(1))
    engines.calls.clear()
    profiler = session.profiler()
    engines.plant("LAYER_MS", json.dumps({stem: 99.0, fused: 99.0}))
    profiler.run(images(1))  # warms up
    profiler.start()
    for ms in (2.0, 4.0):
        engines.plant("LAYER_MS", json.dumps({stem: ms, fused: ms / 2}))
        profiler.run(images(1))
    assert not {"capture", "replay"} & {*engines.calls}
    assert not engines.configs or engines.configs[-1].cuda_graph_strategy is None
    layers = profiler.layers()
    assert layers == [LayerTime(stem, 3.0), LayerTime(fused, 1.5, "decode/Softmax, decode/Mul")]
    assert attribute([(layer.name, layer.origin) for layer in layers]) == ["stem", "decode"]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"Layers": ["stem"]}', '{"Layers": [{"Name": "stem"}]}'])
def test_an_engine_without_details_has_no_origins(text: str) -> None:
    assert read_origins(text) == {}


def test_an_engine_that_computes_in_another_type_is_refused(engines: FakeEngines) -> None:
    layer = {"Name": "stem", "LayerType": "CaskConvolution"}
    engines.plant_layers({**layer, "Inputs": [{"Format/Datatype": "Row major linear FP32"}]})
    assert opened(engines).layers.types == {"CaskConvolution": {"fp32": 1}}
    engines.plant_layers({**layer, "Inputs": [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}]})
    with pytest.raises(CheckFailed, match="stem computes in fp16"):
        opened(engines)


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu, reason="no NVIDIA GPU")
@pytest.mark.parametrize("graph", [False, True])
def test_an_engine_agrees_with_onnx_runtime(tmp_path: Path, graph: bool) -> None:
    import onnxruntime

    gpu, choice = first_gpu(), choose_runtime()
    product = choice.product
    if product is None or (product == TENSORRT_RTX and gpu.compute_capability not in RTX_TARGETS):
        pytest.skip(f"no engine can be built for {gpu.name}: {choice.reason}")
    source, path = tmp_path / "tiny.onnx", tmp_path / f"tiny{product.suffix}"
    source.write_bytes(network())
    build_engine(source, path, EnginePlan(targets=(gpu.compute_capability,) if product.ahead_of_time else None))
    reference = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    session = TensorRTEngine(path, product, graph=graph)
    for count in (1, 8, 3, 3, 3):
        batch = np.random.default_rng(count).normal(size=(count, 3, 32, 32)).astype(np.float32)
        np.testing.assert_allclose(session.run(batch), reference.run(None, {"image": batch})[0], atol=1e-4)
    with pytest.raises(BadInput, match="a batch of 9"):
        session.run(np.zeros((9, 3, 32, 32), np.float32))
    session.close()
