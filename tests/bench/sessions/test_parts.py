"""Parts of the network by the names that runtimes give to layers, and the work of each part."""

from collections import Counter

import pytest
import torch
from torch import nn

from bench.sessions.parts import DECODE, FINAL, HEAD, OTHER, PARTS, STEM, attribute, macs_of_parts, part_of
from export.graph.deploy import deploy
from export.model.architecture import Architecture, Layer
from export.model.network import ConvNeXtPose, Doubling
from tests.support.checkpoints import TINY, declared


@pytest.mark.parametrize(
    ("name", "part"),
    [
        # modules, ONNX Runtime
        ("backbone.downsample_layers.0", STEM),
        ("backbone.downsample_layers.1", "stage 1"),
        ("backbone.stages.2", "stage 2"),
        ("backbone.norm.1/Add", "stage 3"),
        ("backbone.stages.0.0.pwconv1/Conv_bias_int32", "stage 0"),
        ("InsertedPrecisionFreeCast_backbone.stages.3.0.pwconv2.weight.dequantized", "stage 3"),
        ("head.deconv_layers_1.upsample/Resize", HEAD),
        ("decode/MatMul_2", DECODE),
        ("decode/Cast", DECODE),
        ("conv2d_1_nchwc", None),
        ("graph/Cast", None),
        # OpenVINO
        ("backbone.stages.0.0.dwconv/Conv/WithoutBiases", "stage 0"),
        ("image_abcd_acdb_backbone.downsample_layers.0.0/Conv/WithoutBiases", STEM),
        ("head.final_layer/Conv/WithoutBiases_acdb_abcd_decode/Reshape", OTHER),
        ("joints", DECODE),
        # casts and what undoes the normalisation are nobody's
        ("entry.0/Mul", OTHER),
        # fused: the convolution decides
        ("backbone.stages.3.1.pwconv2/Conv,Multiply_7119,backbone.norm/BatchNormalization", "stage 3"),
        ("backbone.stages.0.1.pwconv2/Conv + backbone.downsample_layers.1.1/QuantizeLinear", "stage 0"),
        ("entry.0/Mul + backbone.downsample_layers.0.0/Conv", STEM),
        ("backbone.stages.0.1.pwconv2/Conv + backbone.downsample_layers.1.1/Conv", OTHER),
        # no such part of the network
        ("backbone.stages.12.0.dwconv/Conv", None),
        ("decoder/Softmax", None),
        ("__myl_MulAddRelu_myl0_3", None),
        ("", None),
    ],
)  # fmt: skip
def test_names_of_runtimes(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_a_layer_without_a_name_belongs_to_the_part_around_it() -> None:
    conv, final = "backbone.stages.1.0.dwconv/Conv", "head.final_layer/Conv"
    layers = [("reorder", ""), (conv, ""), ("Max_1", ""), (conv, ""), ("entry.0/Mul", ""), ("cast", ""), (conv, "")]
    layers += [("ReorderOutput", ""), ("conv2d_9_nchwc", final), ("myl_7", ""), ("decode/Softmax", ""), ("end", "")]
    assert attribute(layers) == [
        *(OTHER, "stage 1", "stage 1", "stage 1", OTHER, "stage 1", "stage 1"),
        *(OTHER, FINAL, OTHER, DECODE, OTHER),
    ]
    assert attribute([("a", ""), ("b", "c")]) == [OTHER, OTHER]


@pytest.mark.parametrize("model", ["XS-atto", "XS", "S", "M", "L"])
def test_the_macs_of_all_parts_are_those_of_the_network(model: str) -> None:
    architecture = declared(model)
    macs = macs_of_parts(architecture.layers())
    assert list(macs) == list(PARTS)
    assert sum(macs.values()) == architecture.macs
    assert all(macs[part] > 0 for part in PARTS if part not in (DECODE, OTHER))
    assert macs[DECODE] == macs[OTHER] == 0
    assert macs[FINAL] == architecture.head_channels[-1] * architecture.volume_channels * architecture.heatmap_size**2


def test_the_rewritten_graph_computes_its_last_convolution_on_the_small_map() -> None:
    large = declared("L")
    released, exported = macs_of_parts(large.layers()), macs_of_parts(large.deployed_layers())
    assert released[FINAL] == 4 * exported[FINAL]
    assert exported[HEAD] < released[HEAD]  # the decode doubles the logits
    small = declared("S")
    assert macs_of_parts(small.layers())[FINAL] == macs_of_parts(small.deployed_layers())[FINAL]


def test_a_layer_of_no_part_is_refused() -> None:
    with pytest.raises(ValueError, match=r"neck\.conv belongs to no part"):
        macs_of_parts([Layer("conv", "neck.conv", 1, 1, 1)])


KINDS = {nn.Conv2d: "conv", nn.BatchNorm2d: "norm", Doubling: "upsample"}


@pytest.mark.parametrize("upsamplings", range(4))
def test_the_deployed_layers_are_those_of_the_rewritten_network(upsamplings: int) -> None:
    fields = {name: getattr(TINY, name) for name in TINY.__dataclass_fields__}
    architecture = Architecture(**fields | {"upsamplings": upsamplings, "input_size": 64})
    network = deploy(ConvNeXtPose(architecture).eval())
    seen: dict[str, tuple[str, int, int]] = {}

    def look(name: str, kind: str) -> None:
        def hook(_module: nn.Module, given: tuple[torch.Tensor], out: torch.Tensor) -> None:
            seen[name] = kind, given[0].shape[1], out.shape[-1]

        network.get_submodule(name).register_forward_hook(hook)

    for name, module in network.named_modules():
        if type(module) in KINDS:
            look(name, KINDS[type(module)])
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    layers = list(architecture.deployed_layers())
    assert {layer.name: (layer.kind, layer.inputs, layer.size) for layer in layers} == seen
    assert max(Counter(layer.name for layer in layers).values()) == 1
