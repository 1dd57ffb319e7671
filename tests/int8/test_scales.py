"""Scales: of activations, of weights, and as a file can store them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from export.fake_quant import dequantised, quantised_weights
from export.image_set import ImageSet
from export.network import ConvNeXtPose
from export.reference import run_reference
from export.scales import LARGEST, LARGEST_SCALE, Seen, activation_scales, stored_scale


def test_a_scale_clips_what_is_rare_and_keeps_what_is_not() -> None:
    even = Seen(10.0, np.ones(2048))
    assert even.scale == pytest.approx(10 / LARGEST, rel=0.02)
    rare = np.zeros(2048)
    rare[:200], rare[-1] = 1e6, 1
    assert Seen(10.0, rare).scale < 3 / LARGEST
    assert Seen().scale > 0


def test_scales_are_those_of_the_inputs(network: ConvNeXtPose, calibration: ImageSet) -> None:
    """Against a largest value taken another way."""
    name = "head.deconv_layers_2.pwconv"
    seen = []
    conv = network.get_submodule(name)
    handle = conv.register_forward_pre_hook(lambda _, args: seen.append(float(args[0].abs().max())))
    run_reference(network, calibration.images, 8)
    handle.remove()
    scale = activation_scales(network, [name], calibration.images)[name]
    assert 0.15 * max(seen) / LARGEST <= scale <= max(seen) / LARGEST
    assert not conv._forward_pre_hooks


@given(arrays(np.float32, (4, 3, 1, 1), elements=st.floats(-100, 100, width=32)))
def test_weights_are_rounded_to_half_a_step_and_never_clipped(weights: NDArray[np.float32]) -> None:
    values, scales = quantised_weights(weights)
    assert values.dtype == np.int8
    assert np.abs(values.astype(int)).max() <= LARGEST
    assert (scales == scales.astype(np.float16)).all()
    error = np.abs(dequantised(values, scales) - weights)
    assert (error <= scales[:, None, None, None] * 0.5001).all()


@given(st.floats(1e-9, 60000))
def test_a_stored_scale_is_a_normal_half_from_above(scale: float) -> None:
    stored = stored_scale(scale)
    assert stored >= scale
    assert stored == float(np.float16(stored))
    assert stored <= max(scale * (1 + 2**-9), 6.2e-5)


def test_a_scale_beyond_float16_is_none() -> None:
    assert stored_scale(LARGEST_SCALE) == LARGEST_SCALE
    for beyond in (65505.0, 1e6, float("inf"), float("nan")):
        assert stored_scale(beyond) == float("inf")
