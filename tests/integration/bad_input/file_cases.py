"""Files that are no checkpoint, or a wrong one, each with what is said of it."""

import re
from collections.abc import Callable
from pathlib import Path

import torch

from tests.support import bad_files as bad
from tests.support.bad_files import Builder
from tests.support.checkpoints import State, alive_weights, spelled

BLOCK = "backbone.stages.2.1"
FINAL = "head.final_layer.weight"


def put(name: str, make: Callable[[State], torch.Tensor]) -> Builder:
    """A sound file in which one tensor is another, or a new one."""
    return bad.damaged(lambda state: state.__setitem__(name, make(state)))


def value(name: str, number: float) -> Builder:
    """A sound file in which one number of a tensor is another."""
    return bad.damaged(lambda state: state[name].view(-1).__setitem__(0, number))


def lost(*patterns: str) -> Builder:
    """A sound file without the tensors whose names match."""

    def lose(state: State) -> None:
        for name in [n for n in state if any(re.match(p, n) for p in patterns)]:
            del state[name]

    return bad.damaged(lose)


def final_layer(channels: int) -> Builder:
    def resize(state: State) -> None:
        state[FINAL], state["head.final_layer.bias"] = torch.ones(channels, 16, 1, 1), torch.ones(channels)

    return bad.damaged(resize)


def renamed(*names: str) -> Builder:
    """Another network: plain tensors under its names."""
    return bad.content(lambda: {name: torch.ones(4, 4, 3, 3) for name in names})


def hollow_head(state: State) -> None:
    """Head layers without a channel, consistent with one another."""
    for name in list(state):
        if name.startswith("head.deconv_layers_3.pwconv"):
            state[name] = state[name][:0]
    state[FINAL] = state[FINAL][:, :0]


def twice(state: State) -> None:
    state["head.deconv_layers_1.0.weight"] = state["head.deconv_layers_1.dwconv.weight"]


def sparse(state: State) -> torch.Tensor:
    return state[FINAL].to_sparse()


NOT_ONE = "is not a checkpoint"
OTHER = "holds another network"
CONTRADICT = "contradict themselves"
HOSTILE_ENTRY = "hostile archive.*\n.*points outside"

FILES: dict[str, tuple[Builder, tuple[str, ...]]] = {
    # nothing, or something else
    "missing": (lambda path: path, ("cannot read", "No such file")),
    "below a file": (lambda path: bad.good(path) / "deeper.pth", ("cannot read", "Not a directory")),
    "name too long": (lambda path: path.with_name("x" * 300), ("cannot read", "too long")),
    "empty": (bad.holding(b""), ("is empty", "0 bytes", "download")),
    "web page": (bad.holding(b"\n<!DOCTYPE html><html><title>Drive"), (NOT_ONE, "web page.*<!DOCTYPE", "download")),
    "tar": (bad.tar, (NOT_ONE, "a tar archive", "tar xf")),
    "gzip": (bad.gzipped, (NOT_ONE, "gzip", "gunzip")),
    "7-Zip": (bad.holding(b"7z\xbc\xaf\x27\x1c" + bytes(99)), (NOT_ONE, "7-Zip")),
    "Git LFS pointer": (
        bad.holding(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 96"),
        (NOT_ONE, "Git LFS pointer", "git lfs pull"),
    ),
    "zeros": (bad.holding(bytes(4096)), (NOT_ONE, "00 00")),
    "foreign zip": (bad.foreign_zip, ("not one that torch.save wrote", "ConvNeXtPose_L.tar", "unpack it")),
    "folder of anything": (bad.folder_of_anything, ("no unpacked checkpoint", "photo.jpg", "data.pkl")),
    # torn
    "zip, nearly whole": (bad.truncated("zip", 0.98), ("truncated or damaged zip", "download")),
    "legacy, nearly whole": (bad.truncated("legacy", 0.98), ("torch cannot read weights", "download")),
    "safetensors, nearly whole": (bad.truncated("safetensors", 0.98), ("damaged safetensors", "download")),
    "safetensors, within the header": (bad.truncated("safetensors", 0.02), (NOT_ONE,)),
    "folder without a record": (bad.in_folder("data/0", Path.unlink), ("torch cannot read weights", "data/0")),
    "folder without its pickle": (bad.in_folder("data.pkl", Path.unlink), ("no unpacked checkpoint",)),
    # flipped
    "flip in a zip's tensor": (bad.flipped_record("data/0"), ("is damaged", "data/0.*checksum", "download")),
    "flip in a zip's pickle": (bad.flipped_record("data.pkl"), ("is damaged", r"data\.pkl.*checksum")),
    "flip in a zip's entry name": (bad.with_undecodable_name, ("truncated or damaged zip",)),
    "flip in a legacy pickle": (lambda path: bad.flipped(bad.good(path, "legacy"), 3), ("torch cannot read weights",)),
    "flip in a folder's pickle": (
        bad.in_folder("data.pkl", lambda file: bad.flipped(file, 2)),
        ("torch cannot read weights",),
    ),
    "flip in a safetensors header": (
        lambda path: bad.flipped(bad.good(path, "safetensors"), 12, 0x80),
        ("damaged safetensors",),
    ),
    # hostile archives and folders
    "zip slip": (bad.with_entry("../../evil"), (HOSTILE_ENTRY, "evil")),
    "zip slip inside": (bad.with_entry("file/data/../../../evil"), (HOSTILE_ENTRY, "evil")),
    "zip slip, backslashes": (bad.with_entry("..\\..\\evil"), (HOSTILE_ENTRY, "evil")),
    "absolute entry": (bad.with_entry("/etc/cron.d/evil"), (HOSTILE_ENTRY, "/etc/cron.d/evil")),
    "absolute entry, backslashes": (bad.with_entry("\\evil"), (HOSTILE_ENTRY, "evil")),
    "link as an entry": (bad.with_entry("file/link", bad.LINK), (HOSTILE_ENTRY, "file/link")),
    "entry twice": (bad.with_entry_twice, ("hostile archive", "two entries")),
    "bomb": (bad.bomb, ("unpacks to too much", r"8,59\d,\d+,\d+ bytes")),
    "pickle is a link outside": (
        bad.in_folder("data.pkl", bad.link_outside),
        ("is hostile", "link that leads outside"),
    ),
    "tensor is a link outside": (bad.in_folder("data/0", bad.link_outside), ("is hostile", "link that leads outside")),
    "tensors' folder is a link outside": (
        bad.in_folder("data", bad.link_outside),
        ("is hostile|torch cannot read weights",),
    ),
    "link to a system file": (bad.with_link("/etc/passwd"), ("is hostile", "'link'")),
    "link to the parent's parent": (bad.with_link("../../tiny.yaml"), ("is hostile", "'link'")),
    "link to nothing": (bad.with_link("nothing"), ("cannot read the folder|is hostile",)),
    "link to itself": (bad.with_link("link"), ("cannot read the folder|is hostile",)),
    # not a state dict
    "list": (bad.content(lambda: [torch.ones(3)]), ("no state dict", "type list", "state_dict")),
    "tensor": (bad.content(lambda: torch.ones(3)), ("no state dict", "type Tensor")),
    "empty dict": (bad.content(dict), ("no state dict", "no keys")),
    "dict of numbers": (bad.content(lambda: {"epoch": 1, "loss": 2.0}), ("no state dict", "'epoch', 'loss'")),
    "numbered tensors": (bad.content(lambda: {0: torch.ones(3)}), ("no state dict", "keys are 0")),
    "too deep": (bad.content(lambda: {"a": {"network": alive_weights()}}), ("no state dict", "'a'")),
    "several state dicts": (
        bad.content(lambda: {"teacher": alive_weights(), "student": alive_weights()}),
        ("several state dicts", "'teacher', 'student'", "network"),
    ),
    # tensors that are not what they seem
    "claims a terabyte": (
        put(FINAL, lambda s: torch.ones(1).expand(576, 1 << 29, 1, 1)),
        ("claims more than it has", "over 4 bytes"),
    ),
    "without data": (put(FINAL, lambda s: torch.ones(576, 16, 1, 1, device="meta")), ("not dense", "without data")),
    "sparse": (put(FINAL, sparse), ("not dense", "sparse")),
    "quantized": (
        put(FINAL, lambda s: torch.quantize_per_tensor(s[FINAL], 0.1, 0, torch.qint8)),
        ("not dense", "quantized"),
    ),
    # another network
    "a ResNet": (renamed("conv1.weight", "layer1.0.conv1.weight", "layer4.2.conv3.weight"), (OTHER, "a ResNet")),
    "torchvision": (renamed("features.0.0.weight", "features.1.0.block.0.weight"), (OTHER, "torchvision")),
    "timm's ConvNeXt": (renamed("stem.0.weight", "stages.0.blocks.0.conv_dw.weight"), (OTHER, "timm's ConvNeXt")),
    "a transformer": (renamed("blocks.0.attn.qkv.weight", "norm.weight"), (OTHER, "transformer")),
    "a ResNet pose network": (
        renamed("backbone.conv1.weight", "backbone.layer1.0.conv1.weight", "head.deconv_layers.0.weight"),
        (OTHER, "ResNet pose network"),
    ),
    "an HRNet": (renamed("stage2.0.branches.0.0.conv1.weight"), (OTHER, "HRNet")),
    "unheard of": (renamed("a", "b", "c"), (OTHER, "'a', 'b', 'c'")),
    "only a head": (lost(r"backbone\."), (OTHER,)),
    # contradictions inside the weights
    "missing block": (
        lost(r"backbone\.stages\.2\.0\."),
        (CONTRADICT, r"stages\.2\.0: missing \(present: 1\).*no hole"),
    ),
    "missing stage": (lost(r"backbone\.stages\.1\."), (CONTRADICT, r"stages\.1: no block at all")),
    "missing layer": (lost(r"head\.final_layer"), (CONTRADICT, r"head\.final_layer\.weight: missing")),
    "wrong shape": (
        put(f"{BLOCK}.pwconv1.weight", lambda s: torch.ones(95, 24, 1, 1)),
        (CONTRADICT, r"module\.backbone\.stages\.2\.1\.pwconv1\.weight: shape \[95, 24, 1, 1\], expected \[96, 24"),
    ),
    "wrong rank": (put(FINAL, lambda s: s[FINAL][:, :, 0, 0]), (CONTRADICT, r"module\.head\.final.*shape \[576, 16\]")),
    "wide kernel": (
        put("head.deconv_layers_2.dwconv.weight", lambda s: torch.ones(16, 1, 9, 9)),
        (CONTRADICT, r"module\.head\.deconv_layers_2\.dwconv\.weight: kernel 9, expected one of \(3, 5, 7\)"),
    ),
    "NaN": (value(FINAL, float("nan")), (CONTRADICT, rf"module\.{FINAL}: 1 of 9216 values are NaN or infinite")),
    "infinite in FP32": (
        put(FINAL, lambda s: s[FINAL].double() * 1e300),
        (CONTRADICT, rf"module\.{FINAL}: .* values are NaN or infinite"),
    ),
    "integer weights": (
        put(FINAL, lambda s: s[FINAL].to(torch.int8)),
        (CONTRADICT, rf"module\.{FINAL}: torch\.int8, expected floating-point"),
    ),
    "extra tensor": (
        put("head.uncertainty.weight", lambda s: torch.ones(3)),
        (CONTRADICT, r"module\.head\.uncertainty\.weight: an extra tensor of shape \[3\]"),
    ),
    "endless block number": (
        put(f"backbone.stages.0.{'9' * 5000}.dwconv.weight", lambda s: torch.ones(8, 1, 7, 7)),
        (CONTRADICT,),
    ),
    "endless head number": (
        put(f"head.deconv_layers.{'9' * 5000}.dwconv.weight", lambda s: torch.ones(8, 1, 7, 7)),
        (CONTRADICT,),
    ),
    "no channels": (bad.damaged(hollow_head), (CONTRADICT,)),
    "two spellings": (
        bad.damaged(twice),
        ("one layer twice", r"'module\.head\.deconv_layers_1\.dwconv\.weight' and 'module\.head\.deconv_layers_1\.0"),
    ),
    "prefixed and not": (
        bad.content(lambda: alive_weights() | spelled({FINAL: torch.ones(1)})),
        ("one layer twice", "'module.head.final_layer.weight'"),
    ),
    "no known joint set": (
        final_layer(500),
        ("does not say how many joints", r"none of.*18, 21.*divides 500", "joints=N"),
    ),
    "two joint sets": (final_layer(504), ("does not say how many joints", "18 and 21 joints both divide 504")),
    "no cube": (final_layer(18 * 48), ("upsampling count is unknown", "depth_dim 48", "upsamplings=N")),
    # names meant for the terminal
    "name with control characters": (
        put("head.\x1b]0;owned\x07\x1b[31m.weight", lambda s: torch.ones(3)),
        (CONTRADICT, "an extra tensor"),
    ),
    "name with a line break": (put("head.a\nerror: b", lambda s: torch.ones(3)), (CONTRADICT, "an extra tensor")),
    "name with markup": (
        put("head.[bold]x[/nothing]", lambda s: torch.ones(3)),
        (CONTRADICT, r"\[bold\]x\[/nothing\]"),
    ),
}

SURROGATE = put("head.\ud800", lambda s: torch.ones(3)), (CONTRADICT, "an extra tensor")
"""Torch reads a name that is no Unicode text; a terminal cannot show it."""
