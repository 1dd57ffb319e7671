"""What the weights themselves prove: every field that shapes show, with the tensor that shows it.

Nothing is declared here and nothing is assumed. A contradiction inside the weights is a ``Problem``;
all of them are collected, because a user who mends one wants to know of the others.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from export.checkpoint.loading import Checkpoint
from export.common.errors import BadInput
from export.model.architecture import HEAD_LAYERS, KERNEL_SIZES, Architecture

FieldName = Literal["depths", "dims", "head_channels", "head_kernels", "volume_channels"]

STAGES = 4
MAX_DEPTH = 100
"""No ConvNeXt has stages this deep; a larger block number is damage."""

BLOCK_NAME = re.compile(r"backbone\.stages\.([0-9]{1,9})\.([0-9]{1,9})\.")
COUNTER = ".num_batches_tracked"
"""Each norm counts its training batches. Inference does not use it, so a file may lack it."""

OTHER_NETWORKS = (
    (r"(stem\.0|stages\.\d+\.blocks)\.", "timm's ConvNeXt"),
    (r"features\.\d+\.", "a torchvision classifier"),
    (r"layer[1-4]\.\d+\.conv\d", "a ResNet"),
    (r"blocks\.\d+\.attn\.", "a vision transformer"),
    (r"backbone\.(layer|conv1|bn1)", "a ResNet pose network (3DMPPE, for example)"),
    (r"stage\d\.\d+\.branches", "an HRNet"),
)


@dataclass(frozen=True)
class Problem:
    """A contradiction inside the weights."""

    where: str
    """The tensor or layer, as the file spells it."""
    seen: str
    expected: str


@dataclass(frozen=True)
class Evidence:
    """The fields that shapes show, the tensor that shows each, and what contradicts them."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    head_channels: tuple[int, ...]
    head_kernels: tuple[int, ...]
    volume_channels: int
    """joints * depth_dim; the two factors cannot be told apart by shape."""
    read_from: Mapping[FieldName, str]
    problems: tuple[Problem, ...]

    def as_architecture(self, joints: int, depth_dim: int, upsamplings: int, input_size: int) -> Architecture:
        """These fields with those that weights do not show."""
        return Architecture(
            depths=self.depths,
            dims=self.dims,
            head_channels=self.head_channels,
            head_kernels=self.head_kernels,
            joints=joints,
            depth_dim=depth_dim,
            upsamplings=upsamplings,
            input_size=input_size,
        )


def read_evidence(checkpoint: Checkpoint) -> Evidence:
    """Read the architecture from shapes, and check every tensor against it.

    Raises:
        BadInput: the names are those of another network altogether.
    """
    tensors = checkpoint.tensors
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    _refuse_other_network(checkpoint)
    keys = {
        "stem": "backbone.downsample_layers.0.0.weight",
        **{f"down{i}": f"backbone.downsample_layers.{i}.1.weight" for i in range(1, STAGES)},
        **{f"pw{k}": f"head.deconv_layers_{k}.pwconv.weight" for k in range(1, HEAD_LAYERS + 1)},
        **{f"dw{k}": f"head.deconv_layers_{k}.dwconv.weight" for k in range(1, HEAD_LAYERS + 1)},
        "final": "head.final_layer.weight",
    }

    def spelled(name: str) -> str:
        return checkpoint.names_in_file.get(name, name)

    problems = []
    for name in keys.values():
        shape = shapes.get(name, ())
        if len(shape) != 4 or 0 in shape:
            seen = f"shape {list(shape)}" if name in shapes else "missing"
            problems.append(Problem(spelled(name), seen, "the weight of a convolution"))
    if problems:  # without these nothing else can be judged
        raise contradiction(checkpoint, problems)

    dims = tuple(shapes[keys["stem" if i == 0 else f"down{i}"]][0] for i in range(STAGES))
    depths, holes = _depths(shapes)
    kernels = tuple(shapes[keys[f"dw{k}"]][-1] for k in range(1, HEAD_LAYERS + 1))
    head = tuple(shapes[keys[f"pw{k}"]][0] for k in range(1, HEAD_LAYERS + 1))
    problems += holes
    problems += [
        Problem(spelled(keys[f"dw{k}"]), f"kernel {kernel}", f"one of {KERNEL_SIZES}")
        for k, kernel in enumerate(kernels, start=1)
        if kernel not in KERNEL_SIZES
    ]
    volume_channels = shapes[keys["final"]][0]
    expected = Architecture(depths, dims, head, kernels, joints=1, depth_dim=volume_channels, upsamplings=0)
    hollow = tuple(problem.where for problem in holes)
    problems += [
        Problem(spelled(p.where), p.seen, p.expected)
        for p in (*_shape_problems(shapes, expected.tensor_shapes(), hollow), *_value_problems(tensors))
    ]
    return Evidence(
        depths=depths,
        dims=dims,
        head_channels=head,
        head_kernels=kernels,
        volume_channels=volume_channels,
        read_from={
            "depths": "blocks present in backbone.stages.0 to .3",
            "dims": f"{spelled(keys['stem'])} {list(shapes[keys['stem']])} and the downsamplings",
            "head_channels": f"{spelled(keys['pw1'])} {list(shapes[keys['pw1']])} and the layers after it",
            "head_kernels": f"{spelled(keys['dw1'])} {list(shapes[keys['dw1']])} and the layers after it",
            "volume_channels": f"{spelled(keys['final'])} {list(shapes[keys['final']])}",
        },
        problems=tuple(problems),
    )


def floating_dtypes(checkpoint: Checkpoint) -> list[str]:
    """The types that the weights are stored in."""
    return sorted({str(t.dtype).removeprefix("torch.") for t in checkpoint.tensors.values() if t.is_floating_point()})


class Contradiction(BadInput):
    """Weights that contradict themselves, with everything that was found."""

    checkpoint: Checkpoint
    problems: tuple[Problem, ...]

    def as_json(self) -> dict[str, Any]:
        """The file and all that was found wrong in it, as plain data."""
        return {
            "schema_version": "1.0",
            "path": str(self.checkpoint.path),
            "sha256": self.checkpoint.sha256,
            "container": self.checkpoint.container,
            "problems": [asdict(problem) for problem in self.problems],
        }


def contradiction(checkpoint: Checkpoint, problems: Sequence[Problem]) -> Contradiction:
    """The error for weights that contradict themselves: the first problems in words, all of them as data."""
    shown = "; ".join(f"{p.where}: {p.seen}, expected {p.expected}" for p in problems[:8])
    more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
    error = Contradiction(
        f"the weights in {checkpoint.path} contradict themselves",
        shown + more,
        "no configuration can mend this; get the file again, or find out what was done to it",
    )
    error.checkpoint, error.problems = checkpoint, tuple(problems)
    return error


def _refuse_other_network(checkpoint: Checkpoint) -> None:
    names = list(checkpoint.tensors)
    ours = [name for name in names if name.startswith(("backbone.downsample_layers.", "backbone.stages.", "head."))]
    if len(ours) >= len(names) / 2 and any(name.startswith("backbone.") for name in ours):
        return
    alike = [network for pattern, network in OTHER_NETWORKS if any(re.match(pattern, name) for name in names)]
    guess = f"; they look like {alike[0]}" if alike else ""
    raise BadInput(
        f"{checkpoint.path} holds another network",
        f"{len(names)} tensors named {', '.join(repr(n) for n in names[:4])}, …{guess}",
        "name a ConvNeXtPose checkpoint: tensors backbone.downsample_layers.*, backbone.stages.*, head.*",
    )


def _depths(shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, ...], list[Problem]]:
    present: dict[int, set[int]] = defaultdict(set)
    for name in shapes:
        if match := BLOCK_NAME.match(name):
            present[int(match[1])].add(int(match[2]))
    problems = []
    for stage in range(STAGES):
        blocks = present[stage]
        if not blocks:
            problems.append(Problem(f"backbone.stages.{stage}", "no block at all", "at least one"))
        if max(blocks, default=0) >= MAX_DEPTH:
            problems.append(Problem(f"backbone.stages.{stage}.{max(blocks)}", "a block number", f"below {MAX_DEPTH}"))
            present[stage] = blocks = {b for b in blocks if b < MAX_DEPTH}
        for block in sorted(set(range(max(blocks, default=-1))) - blocks):
            there = ", ".join(map(str, sorted(blocks)))
            problems.append(Problem(f"backbone.stages.{stage}.{block}", f"missing (present: {there})", "no hole"))
    return tuple(max(present[stage], default=-1) + 1 for stage in range(STAGES)), problems


def _shape_problems(
    shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], hollow: tuple[str, ...]
) -> Iterator[Problem]:
    """Tensors missing, superfluous or of the wrong shape; blocks in ``hollow`` were told of already."""
    in_hole = tuple(f"{block}." for block in hollow)
    for name, shape in expected.items():
        if name in shapes:
            if shapes[name] != shape:
                yield Problem(name, f"shape {list(shapes[name])}", f"{list(shape)}")
        elif not name.endswith(COUNTER) and not name.startswith(in_hole):
            partner = name.removesuffix("weight") + "bias"
            alone = name.endswith(".weight") and partner in shapes
            yield Problem(name, "missing, though its bias is there" if alone else "missing", f"shape {list(shape)}")
    for name in shapes.keys() - expected.keys():
        yield Problem(name, f"an extra tensor of shape {list(shapes[name])}", "nothing of that name")


def _value_problems(tensors: Mapping[str, torch.Tensor]) -> Iterator[Problem]:
    for name, tensor in tensors.items():
        if name.endswith(COUNTER):
            continue
        if not tensor.is_floating_point():
            yield Problem(name, f"{tensor.dtype}", "floating-point weights")
            continue
        if tensor.numel() == 0:
            yield Problem(name, f"shape {list(tensor.shape)}", "at least one value")
            continue
        tensor = tensor.float()  # as it will be used: what is finite in FP64 may not be
        finite = torch.isfinite(tensor)
        if not bool(finite.all()):
            bad = int(tensor.numel() - finite.sum())
            yield Problem(name, f"{bad} of {tensor.numel()} values are NaN or infinite", "finite values")
        elif name.endswith(".running_var") and bool((tensor < 0).any()):
            yield Problem(name, f"a variance of {tensor.min().item():.4g}", "none below zero")
