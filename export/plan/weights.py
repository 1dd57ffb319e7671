"""Weights of a planned graph: rounded to half precision or INT8 with error feedback on calibration images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from export.common.progress import Progress, no_progress
from export.graph.precision import BODY, half_graph
from export.graph.segments import segment_inputs
from export.images.image_set import Images
from export.model.network import ConvNeXtPose
from export.plan.equalization import as_conv, bias_of
from export.plan.error_feedback import round_with_feedback
from export.plan.input_scaling import scale_inputs
from export.plan.patches import as_columns, conv_inputs, from_columns, input_moments
from export.plan.planned import Int8Weights, PlannedWeights, fake_quantize
from export.plan.precision_plan import PrecisionPlan
from export.plan.scales import LARGEST, stored_scale

BIAS_STEPS = 60_000
"""Largest bias in steps of input scale times weight scale. ONNX Runtime 1.31 quantizes the biases of INT8 convolutions
in FP16, which overflows at 65,504: a network with a simulated error of 4.0 mm had 10.8 mm there."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """The weights of one network in every precision of a plan."""

    exact: ConvNeXtPose
    """The FP32 graph with rescaled channels."""
    floats: dict[str, Tensor]
    """Parameter → tensor in half precision."""
    int8: dict[str, Int8Weights]
    biases: dict[str, Tensor]
    """Biases of the convolutions that may be in INT8, in FP16."""

    def weights(self, plan: PrecisionPlan) -> PlannedWeights:
        """Return the weights for the precisions of a plan."""
        floats, int8 = dict(self.floats), {}
        for conv in plan.convs:
            if conv.precision == "fp32":
                module = as_conv(self.exact.get_submodule(conv.name))
                floats[f"{conv.name}.weight"], floats[f"{conv.name}.bias"] = module.weight.data, bias_of(module).data
            elif conv.precision == "int8":
                int8[conv.name] = self.int8[conv.name]
                floats[f"{conv.name}.weight"] = torch.from_numpy(int8[conv.name].dequantized).half()
                floats[f"{conv.name}.bias"] = self.biases[conv.name]
        return PlannedWeights(floats, int8)


def prepare(
    reference: ConvNeXtPose, plan: PrecisionPlan, images: Images, progress: Progress = no_progress
) -> tuple[PrecisionPlan, Candidates]:
    """Compute the weights of a plan, and the scales of its INT8 inputs.

    Raises:
        CheckFailed: values are not finite, or FP16 cannot hold a scale.
    """
    exact = half_graph(reference, torch.float32)
    if plan.precision == "int8":
        plan = replace(plan, convs=scale_inputs(exact, plan.convs, images, progress))
    floats = _half_weights(exact, plan.precision, images, progress)
    scales = {conv.name: conv.input_scale for conv in plan.quantized if conv.input_scale is not None}
    int8, biases = _int8_weights(exact, scales, images, progress) if scales else ({}, {})
    return plan, Candidates(exact, floats, int8, biases)


def weight_scales(weights: Tensor) -> Tensor:
    """Return (O,) FP64 scales that clip no weight, rounded up to normal FP16 numbers.

    A dead channel, with weights of zero or below FP16's range, has the smallest normal number.
    """
    return _stored_scales(weights.abs().flatten(1).amax(dim=1) / LARGEST)


def _half_weights(network: ConvNeXtPose, precision: str, images: Images, progress: Progress) -> dict[str, Tensor]:
    """Round every weight of an FP32 ``half_graph`` to half precision, with error feedback.

    Returns:
        Parameter → tensor in FP16 or BF16. A weight beyond its range is infinite; ``graph.ranges`` refuses it.
    """
    dtype = BODY[precision]
    floats = {name: parameter.detach().to(dtype) for name, parameter in network.named_parameters()}
    for segment, x in segment_inputs(network, images, progress):
        for name, patches in conv_inputs(segment, x).items():
            conv = segment.convs[name]
            columns = as_columns(conv)
            if torch.isfinite(columns.to(dtype)).all():
                rounded = round_with_feedback(columns, input_moments(patches), lambda w, _: w.to(dtype).double())
                weight, bias = from_columns(conv, rounded)
                floats[f"{name}.weight"], floats[f"{name}.bias"] = weight.to(dtype), bias.to(dtype)
    return floats


def _int8_weights(
    network: ConvNeXtPose, scales: Mapping[str, float], images: Images, progress: Progress
) -> tuple[dict[str, Int8Weights], dict[str, Tensor]]:
    """Round the weights of some convolutions to INT8 with error feedback, each for its rounded input.

    Returns:
        Weights, and biases in FP16, by convolution.
    """
    weights: dict[str, Int8Weights] = {}
    biases: dict[str, Tensor] = {}
    for segment, x in segment_inputs(network, images, progress):
        names = [name for name in segment.convs if name in scales]
        for name, patches in conv_inputs(segment, x, names).items():
            patches[:, :, :-1] = fake_quantize(patches[:, :, :-1], scales[name])
            weights[name], biases[name] = _int8_conv(segment.convs[name], input_moments(patches), scales[name])
    return weights, biases


def _int8_conv(conv: nn.Conv2d, moments: Tensor, input_scale: float) -> tuple[Int8Weights, Tensor]:
    columns = as_columns(conv)
    last = columns.shape[2] - 1
    bias_scales = _stored_scales(bias_of(conv).detach().double().abs() / (BIAS_STEPS * input_scale))
    scales = torch.maximum(weight_scales(conv.weight.double()), bias_scales)

    def grid(values: Tensor, column: int) -> Tensor:
        if column == last:
            return values.half().double()
        return torch.clamp(torch.round(values / scales), -LARGEST, LARGEST) * scales

    weight, bias = from_columns(conv, round_with_feedback(columns, moments, grid))
    values = torch.round(weight / scales[:, None, None, None]).to(torch.int8)
    return Int8Weights(values.numpy(), scales.float().numpy()), bias.half()


def _stored_scales(values: Tensor) -> Tensor:
    return torch.tensor([stored_scale(float(value)) for value in values], dtype=torch.float64)
