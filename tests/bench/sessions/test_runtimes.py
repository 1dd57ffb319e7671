"""Sessions of different runtimes agree, and their facts are read back."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bench.sessions.onnx_runtime import OnnxRuntime
from bench.sessions.openvino import OpenVino
from bench.sessions.protocol import Accountable, Bindable, Concurrent, SelfTiming, Session
from bench.sessions.pytorch import PyTorchReference, TorchChannelsLast
from export.common.interface import FP32_CONVOLUTIONS
from export.graph.deploy import deploy
from export.graph.onnx_graph import export_onnx
from export.graph.precision import in_precision
from export.model.network import build_network
from export.model.weights_file import save_weights
from export.runtime import openvino as openvino_runtime
from export.runtime.pose import normalise
from tests.support.checkpoints import TINY, alive_weights
from tests.support.drawings import drawn_images


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tiny.onnx`` and ``tiny.safetensors``."""
    folder = tmp_path_factory.mktemp("tiny")
    export_onnx(deploy(build_network(TINY, alive_weights())), folder / "tiny.onnx", {})
    save_weights(folder / "tiny.safetensors", alive_weights(), TINY)
    return folder


@pytest.fixture(scope="module")
def opened(tiny: Path) -> dict[str, Session]:
    sessions: list[Session] = [
        PyTorchReference(tiny / "tiny.safetensors", 1),
        TorchChannelsLast(tiny / "tiny.safetensors", 1),
        OnnxRuntime(tiny / "tiny.onnx", "fp32", 1),
        OpenVino(tiny / "tiny.onnx", "fp32", 1),
    ]
    return {session.runtime: session for session in sessions}


def test_all_runtimes_compute_the_same_joints(opened: dict[str, Session]) -> None:
    images = normalise(drawn_images(2, 256, 1))
    joints = {name: session.run(images) for name, session in opened.items()}
    for name, result in joints.items():
        assert np.abs(result - joints["pytorch"]).max() < 2e-3, name


def test_results_are_not_overwritten_by_the_next_run(opened: dict[str, Session]) -> None:
    first, second = (normalise(drawn_images(1, 256, seed)) for seed in (1, 2))
    for name, session in opened.items():
        kept = session.run(first)
        copy = kept.copy()
        session.run(second)
        assert (kept == copy).all(), name


def test_facts_are_read_back_and_without_problems(opened: dict[str, Session]) -> None:
    for name, session in opened.items():
        assert isinstance(session, Accountable)
        facts = session.facts()
        assert facts["problems"] == [], name
        assert (facts["device"], facts["precision_used"], facts["threads"]) == ("CPU", "fp32", 1)
        assert ("executed" in facts) == (name in ("onnxruntime", "openvino"))
        assert set(facts) - {"executed"} == {
            "device",
            "precision_used",
            "proof",
            "threads",
            "versions",
            "options",
            "problems",
        }


def test_bound_memory_and_own_clocks(opened: dict[str, Session]) -> None:
    images = normalise(drawn_images(1, 256, 1))
    for name in ("onnxruntime", "openvino"):
        session = opened[name]
        assert isinstance(session, Bindable)
        session.bind(images)()
    own = opened["openvino"]
    assert isinstance(own, SelfTiming)
    own.run(images)
    assert own.device_ms() > 0
    assert not isinstance(opened["onnxruntime"], SelfTiming)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_parallel_calls_compute_what_single_calls_compute(opened: dict[str, Session], name: str) -> None:
    session, images = opened[name], [normalise(drawn_images(1, 256, seed)) for seed in range(3)]
    assert isinstance(session, Concurrent)
    alone = [session.run(image) for image in images]
    run = session.for_callers(2)
    with ThreadPoolExecutor(3) as callers:  # one more than there are places for: it waits
        seen = list(callers.map(run, images * 4))
    for joints, expected in zip(seen, alone * 4, strict=True):
        assert np.abs(joints - expected).max() < 2e-3


def test_openvino_serves_parallel_calls_with_a_second_model(
    opened: dict[str, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    asked: list[dict[str, object]] = []
    compile_model = openvino.Core.compile_model

    def watched(core: object, model: object, device: str, options: dict[str, object]) -> object:
        asked.append(dict(options))
        return compile_model(core, model, device, options)

    monkeypatch.setattr(openvino.Core, "compile_model", watched)
    session = opened["openvino"]
    assert isinstance(session, OpenVino)
    session.for_callers(2)
    (options,) = asked
    assert (options["PERFORMANCE_HINT"], options["PERFORMANCE_HINT_NUM_REQUESTS"]) == ("THROUGHPUT", 2)
    assert (options["INFERENCE_NUM_THREADS"], options["INFERENCE_PRECISION_HINT"]) == (1, "f32")
    assert "NUM_STREAMS" not in options
    assert session.compiled.get_property("NUM_STREAMS") == 1  # what is timed stays as it was


def test_an_fp32_file_that_is_called_int8_is_a_problem(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_runtime, "saturates", lambda: False)
    for form in (OnnxRuntime, OpenVino):
        (problem,) = form(tiny / "tiny.onnx", "int8", 1).facts()["problems"]
        assert "int8" in problem or "i8" in problem


def quantised_convolution(path: Path) -> Path:
    """One convolution between int8 values, as the int8 files have it: its own output is not quantised."""
    weights = np.ones((4, 3, 1, 1), np.int8)
    constants = {"s": np.float32(0.1), "z": np.int8(0), "w": weights, "b": np.zeros(4, np.float32)}
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        onnx.helper.make_node("DequantizeLinear", ["w", "s", "z"], ["k"]),
        onnx.helper.make_node("Conv", ["x", "k", "b"], ["joints"]),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, 8, 8])
        for name, channels in (("image", 3), ("joints", 4))
    ]
    initializers = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = onnx.helper.make_graph(nodes, "quantised", ends[:1], ends[1:], initializers)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_onnx_runtime_reports_what_it_computes_in_float32(typed_files: dict[str, Path], tmp_path: Path) -> None:
    files = {"fp16": typed_files["fp16"], "int8": quantised_convolution(tmp_path / "int8.onnx")}
    for precision, path in files.items():
        facts = OnnxRuntime(path, precision, 1).facts()
        assert (facts["precision_used"], facts["problems"]) == ("fp32", []), precision


@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="needs a processor with bfloat16")
def test_bfloat16_where_float32_was_asked_for_is_a_problem(
    tiny: Path, typed_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OpenVino(typed_files["bf16"], "bf16", 1).facts()["problems"] == []
    monkeypatch.setitem(openvino_runtime.FILE_TYPES, "INFERENCE_PRECISION_HINT", "bf16")
    (problem,) = OpenVino(tiny / "tiny.onnx", "fp32", 1).facts()["problems"]
    assert "do not run in fp32" in problem


@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="needs a processor with bfloat16")
def test_openvino_keeps_a_plan_of_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planned convolution runs in FP32; the hint ``bf16`` would round it too. More in FP32 than planned is told."""
    stem = "backbone.downsample_layers.0"
    network = in_precision(build_network(TINY, alive_weights()), "bf16", in_fp32={stem})
    convolutions = [f"{stem}.0"]
    planned, silent = tmp_path / "planned.onnx", tmp_path / "silent.onnx"
    export_onnx(network, planned, {FP32_CONVOLUTIONS: json.dumps(convolutions)}, "bf16", convolutions)
    export_onnx(network, silent, {}, "bf16", convolutions)
    facts = OpenVino(planned, "bf16", 1).facts()
    assert (facts["problems"], facts["executed"]["convolutions"]["fp32"]) == ([], 1)
    assert "do not run in bf16" in OpenVino(silent, "bf16", 1).facts()["problems"][0]
    monkeypatch.setitem(openvino_runtime.FILE_TYPES, "INFERENCE_PRECISION_HINT", "bf16")
    assert "fp32" not in OpenVino(planned, "bf16", 1).facts()["executed"]["convolutions"]


def test_another_thread_count_is_a_problem(tiny: Path) -> None:
    reference = PyTorchReference(tiny / "tiny.safetensors", 1)
    reference.threads = 3
    assert reference.facts()["problems"] == ["1 threads, not 3"]
