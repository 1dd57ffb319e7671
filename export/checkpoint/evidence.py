"""Detection of the architecture from the shapes of a checkpoint's tensors.

Only tensors count here, no declaration and no default. A contradiction between tensors is a ``Problem``. All problems
are collected, so that the user learns of them at once.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from export.checkpoint.loading import Checkpoint
from export.checkpoint.networks import COUNTER
from export.common.errors import BadInput
from export.common.plain import shorten
from export.model.architecture import HEAD_LAYERS, KERNEL_SIZES, Architecture

FieldName = Literal["depths", "dims", "head_channels", "head_kernels", "volume_channels"]

STAGES = 4
MAX_DEPTH = 100
"""Limit on blocks in a stage, above that of any ConvNeXt; a larger block number is damage."""

BLOCK_NAME = re.compile(r"backbone\.stages\.([0-9]{1,9})\.([0-9]{1,9})\.")
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
    """A contradiction between tensors of one checkpoint."""

    where: str
    """The tensor or layer, by its name in the file."""
    value: str
    expected: str


@dataclass(frozen=True)
class Evidence:
    """The detected fields, the tensors that show them, and contradictions."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    head_channels: tuple[int, ...]
    head_kernels: tuple[int, ...]
    volume_channels: int
    """joints * depth_dim; shapes do not show the two factors."""
    read_from: Mapping[FieldName, str]
    problems: tuple[Problem, ...]

    def fits(self, architecture: Architecture) -> bool:
        """Return whether every tensor shape is that of ``architecture``; upsamplings have no shape."""
        fields = ("depths", "dims", "head_channels", "head_kernels", "volume_channels")
        return all(getattr(self, field) == getattr(architecture, field) for field in fields)


STEM = "backbone.downsample_layers.0.0.weight"
DOWNSAMPLINGS = tuple(f"backbone.downsample_layers.{i}.1.weight" for i in range(1, STAGES))
POINTWISE = tuple(f"head.deconv_layers_{k}.pwconv.weight" for k in range(1, HEAD_LAYERS + 1))
DEPTHWISE = tuple(f"head.deconv_layers_{k}.dwconv.weight" for k in range(1, HEAD_LAYERS + 1))
FINAL = "head.final_layer.weight"


def read_evidence(checkpoint: Checkpoint) -> Evidence:
    """Detect the architecture from shapes, and check every tensor against it.

    Raises:
        BadInput: the names are those of another network.
        Contradiction: a tensor is missing without which nothing else can be checked.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    _refuse_other_network(checkpoint)

    def spelled(name: str) -> str:
        return checkpoint.names_in_file.get(name) or shorten(name)

    def shape_of(name: str) -> str:
        return f"{spelled(name)} {list(shapes[name])}"

    problems = []
    for name in (STEM, *DOWNSAMPLINGS, *POINTWISE, *DEPTHWISE, FINAL):
        shape = shapes.get(name, ())
        if len(shape) != 4 or 0 in shape:
            value = f"shape {list(shape)}" if name in shapes else "missing"
            problems.append(Problem(spelled(name), value, "the weight of a convolution"))
    if problems:
        raise Contradiction(checkpoint, problems)

    depths, holes = _depths(shapes)
    dims = tuple(shapes[name][0] for name in (STEM, *DOWNSAMPLINGS))
    kernels = tuple(shapes[name][-1] for name in DEPTHWISE)
    head = tuple(shapes[name][0] for name in POINTWISE)
    channels = shapes[FINAL][0]
    problems += holes
    problems += [
        Problem(spelled(name), f"kernel {kernel}", f"one of {KERNEL_SIZES}")
        for name, kernel in zip(DEPTHWISE, kernels, strict=True)
        if kernel not in KERNEL_SIZES
    ]
    expected = Architecture(depths, dims, head, kernels, joints=1, depth_dim=channels, upsamplings=0)
    reported = tuple(f"{problem.where}." for problem in holes)
    further = (*_shape_problems(shapes, expected.tensor_shapes(), reported), *_value_problems(checkpoint.tensors))
    problems += [Problem(spelled(p.where), p.value, p.expected) for p in further]
    return Evidence(
        depths=depths,
        dims=dims,
        head_channels=head,
        head_kernels=kernels,
        volume_channels=channels,
        read_from={
            "depths": "blocks present in backbone.stages.0 to .3",
            "dims": f"{shape_of(STEM)} and the downsamplings",
            "head_channels": f"{shape_of(POINTWISE[0])} and the layers after it",
            "head_kernels": f"{shape_of(DEPTHWISE[0])} and the layers after it",
            "volume_channels": shape_of(FINAL),
        },
        problems=tuple(problems),
    )


def floating_dtypes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the floating-point types of the tensors, sorted."""
    types = {str(t.dtype).removeprefix("torch.") for t in checkpoint.tensors.values() if t.is_floating_point()}
    return tuple(sorted(types))


class Contradiction(BadInput):
    """Weights that contradict themselves, with all problems; the message has the first ones only."""

    def __init__(self, checkpoint: Checkpoint, problems: Sequence[Problem]) -> None:
        first = "; ".join(f"{p.where}: {p.value}, expected {p.expected}" for p in problems[:8])
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        advice = "no configuration can repair this; get the file again, or find out what was done to it"
        super().__init__(f"the weights in {checkpoint.path} contradict themselves", first + more, advice)
        self.checkpoint, self.problems = checkpoint, tuple(problems)

    def as_json(self) -> dict[str, Any]:
        """Return the file and all its problems as plain data."""
        return {
            "schema_version": "1.0",
            "path": str(self.checkpoint.path),
            "sha256": self.checkpoint.sha256,
            "container": self.checkpoint.container,
            "problems": [{"where": p.where, "seen": p.value, "expected": p.expected} for p in self.problems],
        }


def _refuse_other_network(checkpoint: Checkpoint) -> None:
    names = list(checkpoint.tensors)
    known = [name for name in names if name.startswith(("backbone.downsample_layers.", "backbone.stages.", "head."))]
    if len(known) >= len(names) / 2 and any(name.startswith("backbone.") for name in known):
        return
    similar = [network for pattern, network in OTHER_NETWORKS if any(re.match(pattern, name) for name in names)]
    guess = f"; they look like {similar[0]}" if similar else ""
    raise BadInput(
        f"{checkpoint.path} holds another network",
        f"{len(names)} tensors named {', '.join(repr(shorten(n)) for n in names[:4])}, …{guess}",
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
            present_blocks = ", ".join(map(str, sorted(blocks)))
            where = f"backbone.stages.{stage}.{block}"
            problems.append(Problem(where, f"missing (present: {present_blocks})", "no hole"))
    return tuple(max(present[stage], default=-1) + 1 for stage in range(STAGES)), problems


def _shape_problems(
    shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], reported: tuple[str, ...]
) -> Iterator[Problem]:
    """Yield tensors that are missing, superfluous or of a wrong shape, but not those of blocks ``reported`` missing."""
    for name, shape in expected.items():
        if name in shapes:
            if shapes[name] != shape:
                yield Problem(name, f"shape {list(shapes[name])}", f"{list(shape)}")
        elif not name.endswith(COUNTER) and not name.startswith(reported):
            partner = name.removesuffix("weight") + "bias"
            has_bias = name.endswith(".weight") and partner in shapes
            yield Problem(name, "missing, though its bias is there" if has_bias else "missing", f"shape {list(shape)}")
    for name in shapes.keys() - expected.keys():
        yield Problem(name, f"an extra tensor of shape {list(shapes[name])}", "nothing of that name")


def _value_problems(tensors: Mapping[str, torch.Tensor]) -> Iterator[Problem]:
    for name, tensor in tensors.items():
        if name.endswith(COUNTER):
            if tensor.is_floating_point() or tensor.dtype == torch.bool:
                yield Problem(name, f"{tensor.dtype}", "an integer")
            continue
        if not tensor.is_floating_point():
            yield Problem(name, f"{tensor.dtype}", "floating-point weights")
            continue
        if tensor.numel() == 0:
            yield Problem(name, f"shape {list(tensor.shape)}", "at least one value")
            continue
        tensor = tensor.float()  # as it is used: a value that is finite in FP64 may not be
        finite = torch.isfinite(tensor)
        if not bool(finite.all()):
            bad = int(tensor.numel() - finite.sum())
            yield Problem(name, f"{bad} of {tensor.numel()} values are NaN or infinite", "finite values")
        elif name.endswith(".running_var") and bool((tensor < 0).any()):
            yield Problem(name, f"a variance of {tensor.min().item():.4g}", "none below zero")
