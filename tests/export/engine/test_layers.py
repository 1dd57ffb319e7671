"""Types of an engine's layers, in the words of NVIDIA's inspector."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from export.common.errors import BadInput, CheckFailed, Inconclusive
from export.engine.layers import EngineLayers, prove_layers
from export.engine.layers import read_layers as judge_layers
from export.engine.plan import EnginePlan
from export.runtime.engine_builder import configure
from export.runtime.engine_network import Convolutions
from export.runtime.tensorrt_api import TensorRT
from export.runtime.tensorrt_log import make_logger

WORDS = {
    "fp32": ("Row major linear FP32", "Float"),
    "fp16": ("Channel major FP16 format where channel % 8 == 0", "Half"),
    "bf16": ("Row major linear BF16 format", "BFloat16"),
    "int8": ("Thirty-two wide channel vectorized row major Int8 format.", "Int8"),
}
FUSED = "head.final_layer/Conv+decode/Cast"
"""A layer of the body, although a node of the decode is part of it."""


def read_layers(
    text: str, precision: str, *, tf32: bool = False, convolutions: Convolutions | None = None
) -> EngineLayers:
    """Read layers of a network of two convolutions, one of them in int8 if that is the precision."""
    counts = convolutions or Convolutions(2, int(precision == "int8"))
    return judge_layers(text, precision, tf32=tf32, convolutions=counts)


def layer(name: str, layer_type: str, *types: str, later: bool = False, tactic: str = "") -> dict[str, Any]:
    """Return a layer in the words of TensorRT 10, or of a ``later`` version; the last type is the output's."""
    field = "DataType" if later else "Format/Datatype"
    tensors = [{"Name": "t", field: WORDS[kind][later], **({"Format": "kLINEAR"} if later else {})} for kind in types]
    fields = {"Name": name, "LayerType": layer_type, "Inputs": tensors[:-1], "Outputs": tensors[-1:]}
    return fields | ({"TacticName": tactic} if tactic else {})


def document(*layers: Any) -> str:
    return json.dumps({"Layers": layers, "Bindings": ["image", "joints"]})


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_half_engine_keeps_its_promise(precision: str, later: bool) -> None:
    described = [
        layer("in", "Reformat", "fp32", precision, later=later),
        layer("stem", "CaskConvolution", precision, precision, later=later),
        layer("decode/MatMul_2", "gemm", "fp32", "fp32", later=later),
        layer("decode", "Softmax", precision, "fp32", later=later),
    ]
    layers = read_layers(document(*described), precision)
    assert (layers.layers, layers.problems, layers.has_types) == (4, (), True)
    assert layers.types["CaskConvolution"] == {precision: 1}
    assert layers.types["Softmax"] == {"+".join(sorted((precision, "fp32"))): 1}


@pytest.mark.parametrize(
    ("precision", "planted", "problem"),
    [
        ("fp32", layer("stem", "CaskConvolution", "fp16", "fp32"), "stem computes in fp16"),
        (
            "fp32",
            layer("stem", "CaskConvolution", "fp32", "fp32", tactic="sm80_xmma_tf32f32"),
            "stem multiplies in TF32",
        ),
        ("fp16", layer("stem", "CaskConvolution", "bf16", "bf16"), "stem computes in bf16"),
        ("fp16", layer("stem", "CaskConvolution", "fp32", "fp32"), "stem does not compute in fp16"),
        ("bf16", layer("stem", "gemm", "fp32", "fp32", later=True), "stem does not compute in bf16"),
        ("bf16", layer("stem", "gemm", "int8", "bf16"), "stem computes in int8"),
        ("fp16", layer(FUSED, "conv", "fp32", "fp32"), f"{FUSED} does not compute in fp16"),
        ("int8", layer("stem", "CaskConvolution", "fp16", "fp16"), "no layer computes in int8"),
        ("int8", layer("stem", "CaskConvolution", "fp16", "int8"), "no convolution takes int8; the network has 1"),
    ],
)
def test_a_broken_promise_is_named(precision: str, planted: dict[str, Any], problem: str) -> None:
    sound = [layer("other", "CaskConvolution", precision, precision)] if precision != "int8" else []
    assert read_layers(document(*sound), precision).problems == ()
    assert problem in read_layers(document(*sound, planted), precision).problems


def test_an_fp32_engine_may_multiply_in_tf32_where_that_was_asked_for() -> None:
    text = document(layer("stem", "CaskConvolution", "fp32", "fp32", tactic="sm80_xmma_tf32f32"))
    assert read_layers(text, "fp32", tf32=True).problems == ()


@pytest.mark.parametrize(("kind", "problems"), [("CaskConvolution", 0), ("Quantize", 1)])
def test_int8_may_have_anything_around_it_but_needs_a_convolution(kind: str, problems: int) -> None:
    text = document(layer("stem", "CaskConvolution", "fp16", "fp16"), layer("in", kind, "int8", "int8"))
    assert len(read_layers(text, "int8").problems) == problems


def test_no_more_convolutions_stay_outside_int8_than_the_network_has_there() -> None:
    """A builder may fuse layers, so fewer may be in int8; more outside of int8 are a broken promise."""
    stem, dense, other = (
        layer(name, "conv", kind, "fp16") for name, kind in zip("sdo", ("fp16", "int8", "fp16"), strict=True)
    )
    assert read_layers(document(stem, dense), "int8", convolutions=Convolutions(30, 29)).problems == ()
    [problem] = read_layers(document(stem, dense, other), "int8", convolutions=Convolutions(3, 2)).problems
    assert problem == "2 convolutions do not take int8, and the network has 1 such; among them s, o"


def test_what_trtexec_wrote_is_judged(tmp_path: Path) -> None:
    path, counts = tmp_path / "layers.json", Convolutions(1, 0)
    path.write_text(document(layer("stem", "CaskConvolution", "fp16", "fp16")))
    assert prove_layers(path, "fp16", tf32=False, convolutions=counts).types == {"CaskConvolution": {"fp16": 1}}
    with pytest.raises(CheckFailed, match="stem computes in fp16"):
        prove_layers(path, "fp32", tf32=False, convolutions=counts)
    path.write_text(document("stem"))
    with pytest.raises(Inconclusive, match="1 layers, no types"):
        prove_layers(path, "fp16", tf32=False, convolutions=counts)
    with pytest.raises(BadInput, match=r"absent\.json"):
        prove_layers(tmp_path / "absent.json", "fp16", tf32=False, convolutions=counts)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", document("stem", "decode"), document({"Name": "stem"})])
def test_an_inspector_without_types_proves_nothing(text: str) -> None:
    layers = read_layers(text, "fp16")
    assert (layers.has_types, layers.problems) == (False, ())


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_a_setting_that_the_builder_ignores_is_refused() -> None:
    """TensorRT-RTX accepts the level and keeps its own."""
    pytest.importorskip("tensorrt_rtx")
    trt: TensorRT = importlib.import_module("tensorrt_rtx")
    builder = trt.Builder(make_logger(trt, []))
    config = configure(trt, builder, EnginePlan(version_compatible=True).settings)
    assert config.get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    assert not configure(trt, builder, EnginePlan().settings).get_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    with pytest.raises(CheckFailed, match="did not take hardware compatibility"):
        configure(trt, builder, EnginePlan(hardware_compatible=True).settings)
