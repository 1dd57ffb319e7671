"""The ONNX file of a plan."""

import json
from collections.abc import Mapping
from pathlib import Path

from export.common.interface import FP32_CONVOLUTIONS
from export.graph.onnx_graph import export_onnx
from export.graph.onnx_record import OnnxRecord
from export.model.network import ConvNeXtPose
from export.plan.planned import PlannedWeights, planned_graph
from export.plan.precision_plan import PrecisionPlan
from export.plan.quantize import export_int8


def export_planned(
    reference: ConvNeXtPose,
    path: Path,
    metadata: Mapping[str, str],
    plan: PrecisionPlan,
    weights: PlannedWeights,
    *,
    takes_pixels: bool = False,
) -> OnnxRecord:
    """Write the network in the precisions of a plan as an ONNX file, and check the file.

    Raises:
        CheckFailed: a check failed.
    """
    graph = planned_graph(reference, plan, weights, takes_pixels=takes_pixels)
    if plan.precision == "int8":
        return export_int8(graph, path, metadata, plan, weights.int8)
    in_fp32 = [conv.name for conv in plan.convs if conv.precision == "fp32"]
    about = {FP32_CONVOLUTIONS: json.dumps(in_fp32)} if in_fp32 else {}
    return export_onnx(graph, path, {**metadata, **about}, plan.precision, in_fp32)
