"""Weights of a planned graph: rounded to half precision or INT8 with error feedback on calibration images."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from export.common.progress import Progress, no_progress
from export.graph.precision import BODY, half_graph
from export.images.image_set import Images
from export.model.network import ConvNeXtPose
from export.plan.equalization import as_conv, bias_of
from export.plan.error_feedback import round_with_feedback
from export.plan.input_scaling import scale_inputs
from export.plan.patches import as_columns, from_columns, input_moments, sampled_inputs
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
    scales = {conv.name: conv.input_scale for conv in plan.quantized if conv.input_scale is not None}
    floats = {name: parameter.detach().to(BODY[plan.precision]) for name, parameter in exact.named_parameters()}
    int8: dict[str, Int8Weights] = {}
    biases: dict[str, Tensor] = {}
    for segment, _, samples in sampled_inputs(exact, images, progress=progress):
        for name, patches in samples.items():
            floats |= _half_conv(segment.convs[name], name, input_moments(patches), BODY[plan.precision])
            if name in scales:
                patches[:, :, :-1] = fake_quantize(patches[:, :, :-1], scales[name])
                int8[name], biases[name] = _int8_conv(segment.convs[name], input_moments(patches), scales[name])
    return plan, Candidates(exact, floats, int8, biases)


def weight_scales(weights: Tensor) -> Tensor:
    """Return (O,) FP64 scales that clip no weight, rounded up to normal FP16 numbers.

    A dead channel, with weights of zero or below FP16's range, has the smallest normal number.
    """
    return _stored_scales(weights.abs().flatten(1).amax(dim=1) / LARGEST)


def _half_conv(conv: nn.Conv2d, name: str, moments: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Round weight and bias to half precision with error feedback.

    Returns:
        Parameter → tensor; none for weights beyond the range of FP16, which ``graph.ranges`` refuses.
    """
    columns = as_columns(conv)
    if not torch.isfinite(columns.to(dtype)).all():
        return {}
    rounded = round_with_feedback(columns, moments, lambda w, _: w.to(dtype).double())
    weight, bias = from_columns(conv, rounded)
    return {f"{name}.weight": weight.to(dtype), f"{name}.bias": bias.to(dtype)}


def _int8_conv(conv: nn.Conv2d, moments: Tensor, input_scale: float) -> tuple[Int8Weights, Tensor]:
    """Round weights to INT8 and the bias to FP16 with error feedback, for the rounded input."""
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
