"""The precision of every convolution by rule, and the list of other values."""

import pytest
from torch import nn

from export.common.interface import PRECISIONS
from export.graph.deploy import deploy
from export.model.architecture import Architecture
from export.model.network import ConvNeXtPose, build_network
from export.plan.placement import HALF_REASON, INT8_RULE, other_values, place
from export.plan.planned import stored_values
from tests.support.checkpoints import TINY, alive_weights


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


def test_other_values_are_listed_with_their_reasons(network: ConvNeXtPose) -> None:
    """Check both forms of the head's end."""
    deferred = Architecture(TINY.depths, TINY.dims, TINY.head_channels, TINY.head_kernels, 18, 64, upsamplings=3)
    for graph in (deploy(network), deploy(build_network(deferred, alive_weights(deferred)))):
        rows = other_values(graph.architecture, "bf16")
        assert all(row.reason for row in rows)
        assert not any("FP16" in row.reason or "{" in row.reason for row in rows)
        kinds = [row.kind for row in rows]
        assert (kinds.count("residual sum"), kinds.count("decode")) == (sum(TINY.depths), 1)
        values = {name for name, module in stored_values(graph) if not isinstance(module, nn.Conv2d)}
        assert {row.name for row in rows} == values | {"entry", "decode"}
