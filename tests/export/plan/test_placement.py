"""The precision of every convolution by rule, and the list of other values."""

import pytest
from torch import nn

from export.common.interface import PRECISIONS
from export.graph.deploy import deploy
from export.model.network import ConvNeXtPose
from export.plan.placement import HALF_REASON, INT8_RULE, place
from tests.support.checkpoints import TINY


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_every_convolution_is_placed_with_a_reason(network: ConvNeXtPose, precision: str) -> None:
    convs = {name for name, module in deploy(network).named_modules() if isinstance(module, nn.Conv2d)}
    placed = place(TINY, precision)
    assert {c.name for c in placed} == convs
    assert len(placed) == len(convs)
    assert all(c.macs > 0 for c in placed)
    for conv in placed:
        allowed, reason = INT8_RULE[conv.kind]
        expected = (("int8" if allowed else "fp16"), reason) if precision == "int8" else (precision, HALF_REASON)
        assert (conv.precision, conv.reason) == expected
    assert {c.kind for c in placed if c.precision == "int8"} <= {"downsampling", "pointwise", "final"}
