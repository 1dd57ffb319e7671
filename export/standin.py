"""Stand-in weights: nobody's poses, but a living network of the right shape.

Freshly initialised weights give every image the same joints, to a ten-thousandth of a bin, and any
defect agrees with that. So the norms get the statistics of what really passes through them, and the
last layer is scaled until joints spread over the volume and move with the image.
"""

import torch
from torch import Tensor, nn

from export.architecture import Architecture
from export.drawings import LIVENESS_SEED
from export.image_set import drawn_set
from export.network import ConvNeXtPose
from export.pose import normalise

SEED = 0
LIVENESS_IMAGES = 64
"""Drawn figures that the norms are fitted to: enough for `export.image_statistics` to call other figures known."""
SPREAD_IMAGES = 8
"""Of these, the ones that the logits are scaled on."""
LOGIT_SPREAD = 6.0
"""Standard deviation of a joint's logits over its volume: peaks stand out of the sum over 32³ or 64³
bins, yet several bins share the weight, as in a trained network."""
BIAS_SPREAD = 3.0
"""The same for what a joint prefers by itself along the depth axis, whatever the image."""


def stand_in_weights(architecture: Architecture, seed: int = SEED) -> dict[str, Tensor]:
    """A state dict of this architecture: deterministic from the seed, alive on images.

    Statistics are rounded to bfloat16, so that machines whose convolutions round differently
    arrive at the same numbers (but for the rare value that lies between two).
    """
    generator = torch.Generator().manual_seed(seed)
    network = ConvNeXtPose(architecture).requires_grad_(False).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            assert module.bias is not None
            module.bias.copy_(0.1 * torch.randn(module.bias.shape, generator=generator))
    images = torch.from_numpy(normalise(drawn_set(architecture.input_size, LIVENESS_IMAGES, LIVENESS_SEED).images))
    with torch.inference_mode():
        features = _with_norms_fitted(network, images)
        _scale_final_layer(network, features[:SPREAD_IMAGES], generator)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _with_norms_fitted(network: ConvNeXtPose, images: Tensor) -> Tensor:
    """Give every norm the statistics of its input, in the order of the data; returns the head's features."""
    hooks = [m.register_forward_pre_hook(_fit_norm) for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    x: Tensor = network.backbone(images)
    for layer in network.head.layers:
        x = layer(x)
    for hook in hooks:
        hook.remove()
    return x


def _fit_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
    norm.running_mean.copy_(_rounded(mean))
    norm.running_var.copy_(_rounded(variance.clamp_min(1e-3)))


def _scale_final_layer(network: ConvNeXtPose, features: Tensor, generator: torch.Generator) -> None:
    """Give each joint's logits the wanted spread, and each joint a depth that it prefers."""
    final, architecture = network.head.final_layer, network.architecture
    assert final.bias is not None
    final.bias.zero_()
    spread = final(features).reshape(len(features), architecture.joints, -1).std(dim=2).mean(dim=0)
    scale = _rounded(LOGIT_SPREAD / spread).repeat_interleave(architecture.depth_dim)
    final.weight.mul_(scale[:, None, None, None])
    depth = torch.linspace(-1, 1, architecture.depth_dim)
    centre = 1.6 * torch.rand(architecture.joints, 1, generator=generator) - 0.8
    final.bias.copy_((-BIAS_SPREAD * (depth - centre) ** 2).flatten())


def _rounded(values: Tensor) -> Tensor:
    """To the precision of bfloat16, which has the range of float32."""
    return values.bfloat16().float()
