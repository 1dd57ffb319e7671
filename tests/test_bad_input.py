"""Whatever is wrong with a file or a command line: three parts, the right exit code, nothing executed, nothing left.

Every case is a real file that the real command is given, most within this process, one of each class in its own.
"""

import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from export.checkpoint import read_checkpoint
from export.errors import BadInput
from export.inspection import inspect_checkpoint
from tests import bad_files as bad
from tests.bad_files import Builder
from tests.checkpoints import FORMS, TINY, Form, State, alive_weights, fresh_weights, spelled, write
from tests.command_line import assert_three_parts, convnextpose, convnextpose_here

Run = subprocess.CompletedProcess[str]
Here = Callable[..., Run]

BLOCK = "backbone.stages.2.1"
FINAL = "head.final_layer.weight"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to call the command in, with the configuration ``tiny.yaml``."""
    shapes = {name: value for name, value in asdict(TINY).items() if name not in ("upsamplings", "input_size")}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in shapes.items()}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"name": "tiny", "backbone": "tiny", **plain}))
    return tmp_path


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return lambda *arguments: convnextpose_here(monkeypatch, capsys, *arguments, cwd=place)


def left_in(out: Path) -> list[str]:
    """Everything that a run left but for the lock."""
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name != ".lock")


def assert_refused(run: Run, said: tuple[str, ...], exit_code: int = 2) -> None:
    assert_three_parts(run, exit_code)
    told = run.stderr[run.stderr.index("error:") :]
    assert len(told.strip().splitlines()) == 3, told
    assert run.stdout == "" or run.stdout.startswith("\nWhat contradicts itself in the weights")
    assert "weights_only" not in told  # torch's own advice is to switch the protection off
    for part in said:
        assert re.search(part, told), (part, told)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


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


DAMAGED_OR_TRUNCATED = "truncated or damaged|is damaged|torch cannot read weights"
NOT_ONE = "is not a checkpoint"
OTHER = "holds another network"
CONTRADICT = "contradict themselves"
HOSTILE_ENTRY = "hostile archive.*\n.*points outside"

FILES: dict[str, tuple[Builder, tuple[str, ...]]] = {
    # nothing, or something else
    "missing": (lambda path: path, ("cannot read", "No such file")),
    "missing, in a missing folder": (lambda path: path / "deeper.pth", ("cannot read", "No such file")),
    "below a file": (lambda path: bad.good(path) / "deeper.pth", ("cannot read", "Not a directory")),
    "name too long": (lambda path: path.with_name("x" * 300), ("cannot read", "too long")),
    "empty": (bad.holding(b""), ("is empty", "0 bytes", "download")),
    "one byte": (bad.holding(b"P"), (NOT_ONE,)),
    "web page": (bad.holding(b"\n<!DOCTYPE html><html><title>Drive"), (NOT_ONE, "web page.*<!DOCTYPE", "download")),
    "XML error": (bad.holding(b"<?xml version='1.0'?><Error/>"), (NOT_ONE, "web page")),
    "JSON error": (bad.holding(b'{"error": "quota exceeded"}'), (NOT_ONE, "first bytes 7b 22")),
    "tar": (bad.tar, (NOT_ONE, "real tar archive", "tar xf")),
    "gzip": (bad.gzipped, (NOT_ONE, "gzip", "gunzip")),
    "7-Zip": (bad.holding(b"7z\xbc\xaf\x27\x1c" + bytes(99)), (NOT_ONE, "7-Zip")),
    "RAR": (bad.holding(b"Rar!\x1a\x07" + bytes(99)), (NOT_ONE, "RAR")),
    "Git LFS pointer": (
        bad.holding(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 96"),
        (NOT_ONE, "Git LFS pointer", "git lfs pull"),
    ),
    "zeros": (bad.holding(bytes(4096)), (NOT_ONE, "00 00")),
    "foreign zip": (bad.foreign_zip, ("not one that torch.save wrote", "ConvNeXtPose_L.tar", "unpack it")),
    "zip with nothing in it": (bad.holding(b"PK\5\6" + bytes(18)), ("not one that torch.save wrote", "nothing")),
    "folder of anything": (bad.folder_of_anything, ("no unpacked checkpoint", "photo.jpg", "data.pkl")),
    "empty folder": (bad.empty_folder, ("no unpacked checkpoint", "nothing")),
    # torn
    "zip, nearly whole": (bad.truncated("zip", 0.98), ("truncated or damaged zip", "download")),
    "zip, half": (bad.truncated("zip", 0.5), ("truncated or damaged zip",)),
    "zip, first bytes": (bad.truncated("zip", 0.0001), ("truncated or damaged zip",)),
    "legacy, nearly whole": (bad.truncated("legacy", 0.98), ("torch cannot read weights", "download")),
    "legacy, half": (bad.truncated("legacy", 0.5), ("torch cannot read weights",)),
    "legacy, first bytes": (bad.truncated("legacy", 0.0001), ("torch cannot read weights",)),
    "safetensors, nearly whole": (bad.truncated("safetensors", 0.98), ("damaged safetensors", "download")),
    "safetensors, half": (bad.truncated("safetensors", 0.5), ("damaged safetensors",)),
    "safetensors, within the header": (bad.truncated("safetensors", 0.02), (NOT_ONE,)),
    "folder without a record": (bad.without_record("data/0"), ("torch cannot read weights", "data/0")),
    "folder without records": (bad.without_record("data/*"), ("torch cannot read weights",)),
    "folder without its pickle": (bad.without_record("data.pkl"), ("no unpacked checkpoint",)),
    # flipped
    "flip in a zip's tensor": (bad.flipped_record("data/0"), ("is damaged", "data/0.*checksum", "download")),
    "flip in a zip's pickle": (bad.flipped_record("data.pkl"), ("is damaged", r"data\.pkl.*checksum")),
    "flip in a zip's entry name": (bad.with_undecodable_name, ("truncated or damaged zip",)),
    "flip in a legacy pickle": (lambda path: bad.flipped(bad.good(path, "legacy"), 3), ("torch cannot read weights",)),
    "flip in a folder's pickle": (bad.flipped_in_folder("data.pkl", 2), ("torch cannot read weights",)),
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
    "entry twice": (bad.with_entry_twice, ("hostile archive", "stands twice")),
    "bomb": (bad.bomb, ("unpacks to too much", r"8,59\d,\d+,\d+ bytes")),
    "pickle is a link outside": (bad.linked("data.pkl"), ("is hostile", "link that leads outside")),
    "tensor is a link outside": (bad.linked("data/0"), ("is hostile", "link that leads outside")),
    "tensors' folder is a link outside": (bad.linked("data"), ("is hostile|torch cannot read weights",)),
    "link to a system file": (bad.with_link("/etc/passwd"), ("is hostile", "'link'")),
    "link to the parent's parent": (bad.with_link("../../tiny.yaml"), ("is hostile", "'link'")),
    "link to nothing": (bad.with_link("nothing"), ("cannot read the folder|is hostile",)),
    "link to itself": (bad.with_link("link"), ("cannot read the folder|is hostile",)),
    # not a state dict
    "list": (bad.content(lambda: [torch.ones(3)]), ("no state dict", "type list", "state_dict")),
    "number": (bad.content(lambda: 83), ("no state dict", "type int")),
    "tensor": (bad.content(lambda: torch.ones(3)), ("no state dict", "type Tensor")),
    "nothing": (bad.content(lambda: None), ("no state dict", "type NoneType")),
    "empty dict": (bad.content(dict), ("no state dict", "no keys")),
    "dict of numbers": (bad.content(lambda: {"epoch": 1, "loss": 2.0}), ("no state dict", "'epoch', 'loss'")),
    "numbered tensors": (bad.content(lambda: {0: torch.ones(3)}), ("no state dict", "keys are 0")),
    "state dict without weights": (bad.content(lambda: {"network": {}}), ("no state dict", "'network'")),
    "too deep": (bad.content(lambda: {"a": {"network": alive_weights()}}), ("no state dict", "'a'")),
    "several state dicts": (
        bad.content(lambda: {"teacher": alive_weights(), "student": alive_weights()}),
        ("several state dicts", "'teacher', 'student'", "network"),
    ),
    # tensors that are not what they seem
    "claims more than it has": (
        put(FINAL, lambda s: torch.ones(1).expand(576, 16, 1, 1)),
        ("claims more than it has", "module.head.final_layer.weight.*over 4 bytes"),
    ),
    "claims a terabyte": (
        put(FINAL, lambda s: torch.ones(1).expand(576, 1 << 29, 1, 1)),
        ("claims more than it has", "over 4 bytes"),
    ),
    "without data": (put(FINAL, lambda s: torch.ones(576, 16, 1, 1, device="meta")), ("not dense", "without data")),
    "sparse": (put(FINAL, sparse), ("not dense", "sparse")),
    "quantised": (
        put(FINAL, lambda s: torch.quantize_per_tensor(s[FINAL], 0.1, 0, torch.qint8)),
        ("not dense", "quantised"),
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
    "missing downsampling": (
        lost(r"backbone\.downsample_layers\.2\.1"),
        (CONTRADICT, r"layers\.2\.1\.weight: missing"),
    ),
    "missing norm": (lost(r"backbone\.norm\."), (CONTRADICT, r"backbone\.norm\.running_var: missing")),
    "missing bias": (
        lost(r".*2\.1\.dwconv\.bias"),
        (CONTRADICT, r"2\.1\.dwconv\.bias: missing, expected shape \[24\]"),
    ),
    "bias without weight": (lost(r".*2\.1\.dwconv\.weight"), (CONTRADICT, "missing, though its bias is there")),
    "wrong shape": (
        put(f"{BLOCK}.pwconv1.weight", lambda s: torch.ones(95, 24, 1, 1)),
        (CONTRADICT, r"module\.backbone\.stages\.2\.1\.pwconv1\.weight: shape \[95, 24, 1, 1\], expected \[96, 24"),
    ),
    "wrong rank": (put(FINAL, lambda s: s[FINAL][:, :, 0, 0]), (CONTRADICT, r"module\.head\.final.*shape \[576, 16\]")),
    "wrong stem": (
        put("backbone.downsample_layers.0.0.weight", lambda s: torch.ones(8, 1, 4, 4)),
        (CONTRADICT, r"0\.0\.weight: shape \[8, 1, 4, 4\]"),
    ),
    "wide kernel": (
        put("head.deconv_layers_2.dwconv.weight", lambda s: torch.ones(16, 1, 9, 9)),
        (CONTRADICT, r"module\.head\.deconv_layers_2\.dwconv\.weight: kernel 9, expected one of \(3, 5, 7\)"),
    ),
    "oblong kernel": (
        put("head.deconv_layers_2.dwconv.weight", lambda s: torch.ones(16, 1, 5, 3)),
        (CONTRADICT, r"shape \[16, 1, 5, 3\]"),
    ),
    "NaN": (value(FINAL, float("nan")), (CONTRADICT, rf"module\.{FINAL}: 1 of 9216 values are NaN or infinite")),
    "infinite": (value(f"{BLOCK}.norm.bias", float("-inf")), (CONTRADICT, "1 of 24 values are NaN or infinite")),
    "infinite in FP32": (
        put(FINAL, lambda s: s[FINAL].double() * 1e300),
        (CONTRADICT, rf"module\.{FINAL}: .* values are NaN or infinite"),
    ),
    "negative variance": (value(f"{BLOCK}.norm.running_var", -0.5), (CONTRADICT, "a variance of -0.5")),
    "integer weights": (
        put(FINAL, lambda s: s[FINAL].to(torch.int8)),
        (CONTRADICT, rf"module\.{FINAL}: torch\.int8, expected floating-point"),
    ),
    "complex weights": (put(FINAL, lambda s: s[FINAL].to(torch.complex64)), (CONTRADICT, r"torch\.complex64")),
    "extra tensor": (
        put("head.uncertainty.weight", lambda s: torch.ones(3)),
        (CONTRADICT, r"module\.head\.uncertainty\.weight: an extra tensor of shape \[3\]"),
    ),
    "fourth head layer": (
        put("head.deconv_layers_4.dwconv.weight", lambda s: torch.ones(16, 1, 3, 3)),
        (CONTRADICT, r"deconv_layers_4\.dwconv\.weight: an extra tensor"),
    ),
    "absurd block number": (
        put("backbone.stages.0.999999999.dwconv.weight", lambda s: torch.ones(8, 1, 7, 7)),
        (CONTRADICT, r"stages\.0\.999999999: a block number, expected below 100"),
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


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about pickles of strange protocols and odd tensors
@pytest.mark.parametrize("case", FILES)
def test_bad_files(place: Path, here: Here, case: str) -> None:
    build, said = FILES[case]
    path = build(place / "file")
    before = {p: p.lstat().st_mtime_ns for p in place.rglob("*")}
    for command in (["inspect", path], ["export", "tiny.yaml", "--checkpoint", path, "--out", "build"]):
        run = here(*command)
        assert_refused(run, said)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", run.stderr), "control characters reached the terminal"
    assert left_in(place / "build") == []
    assert {p: p.lstat().st_mtime_ns for p in place.rglob("*") if p in before} == before
    assert {p.name for p in place.iterdir()} <= {"tiny.yaml", "file", "outside", "build"}


SURROGATE = put("head.\ud800", lambda s: torch.ones(3)), (CONTRADICT, "an extra tensor")
"""Torch reads a name that is no Unicode text; a terminal cannot show it."""

IN_A_PROCESS = ("missing", "zip, half", "zip slip", "NaN", "several state dicts", "name that is no Unicode")


@pytest.mark.parametrize("case", IN_A_PROCESS)
def test_bad_files_in_a_process_of_their_own(place: Path, case: str) -> None:
    build, said = FILES.get(case, SURROGATE)
    path = build(place / "file")
    run = convnextpose("export", "tiny.yaml", "--checkpoint", path, "--out", "build", cwd=place)
    assert_refused(run, said)
    assert left_in(place / "build") == []


# ── nothing is executed ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def marker(place: Path) -> Iterator[Path]:
    path = place / "executed"
    yield path
    assert not path.exists(), "code from the file was executed"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("payload", ["os.system", "eval", "exec", "Path.touch", "shutil.copy"])
@pytest.mark.parametrize("pack", bad.PACKS)
def test_malicious_pickles(place: Path, marker: Path, pack: str, payload: str, protocol: int) -> None:
    calls, named = bad.payloads(marker)[payload]
    path = bad.PACKS[pack](place / "file", bad.hostile_content([calls]), protocol)
    with pytest.raises(BadInput, match=named) as caught:
        read_checkpoint(path)
    assert "would execute code" in caught.value.what
    assert "do not trust" in caught.value.do


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("pack", ["zip", "legacy", "folder"])
def test_malicious_pickles_in_a_process_of_their_own(place: Path, marker: Path, pack: str) -> None:
    calls, named = bad.payloads(marker)["os.system"]
    path = bad.PACKS[pack](place / "file", bad.hostile_content([calls]), 2)
    run = convnextpose("export", "tiny.yaml", "--checkpoint", path, "--out", "build", cwd=place)
    assert_refused(run, ("would execute code", named, "do not trust"))
    assert left_in(place / "build") == []


@pytest.mark.parametrize("pack", ["zip", "legacy"])
@pytest.mark.parametrize("payload", ["os.system", "eval", "exec", "Path.touch", "shutil.copy"])
def test_the_payloads_would_work(tmp_path: Path, pack: str, payload: str) -> None:
    left = tmp_path / "executed"
    path = bad.PACKS[pack](tmp_path / "file", bad.hostile_content([bad.payloads(left)[payload][0]]), 2)
    assert not left.exists()
    torch.load(path, weights_only=False)
    assert left.exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("pack", ["zip", "legacy", "folder"])
def test_every_blocked_global_is_named(place: Path, marker: Path, pack: str, protocol: int) -> None:
    payloads = bad.payloads(marker)
    names = ("eval", "exec", "os.system")  # the second from the module of the first
    path = bad.PACKS[pack](place / "file", bad.hostile_content([payloads[n][0] for n in names]), protocol)
    with pytest.raises(BadInput) as caught:
        read_checkpoint(path)
    for name in names:
        assert re.search(payloads[name][1], caught.value.seen), (name, caught.value.seen)


def by_hand(marker: Path) -> dict[str, bytes]:
    """Pickles of data.pkl that call ``os.system`` by less usual ways."""
    order = f"touch '{marker}'".encode()
    text = b"X" + len(order).to_bytes(4, "little") + order
    return {
        "INST": b"\x80\x02(S'touch x'\nios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + text + b"o.",
        "GLOBAL": b"\x80\x02cos\nsystem\n" + text + b"\x85R.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + text + b"\x85\x81.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "STACK_GLOBAL from the memo": b"\x80\x04\x8c\x06system\x94\x8c\x02os\x94\x8c\x01x0h\x01h\x00\x93"
        + text
        + b"\x85R.",
        "hidden behind an allowed name": b"\x80\x02ccollections\nOrderedDict\n)R0cos\nsystem\n" + text + b"\x85R.",
    }


@pytest.mark.parametrize("pack", ["zip", "legacy", "folder"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_harmless_file_of_a_protocol_that_torch_does_not_read_is_not_called_hostile(place: Path, pack: str) -> None:
    path = bad.PACKS[pack](place / "file", bad.hostile_content([]), 4)
    with pytest.raises(BadInput, match="torch cannot read weights"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("way", by_hand(Path("m")))
def test_pickles_written_by_hand(place: Path, marker: Path, way: str) -> None:
    path = bad.with_pickle(by_hand(marker)[way])(place / "file")
    with pytest.raises(BadInput, match=r"would execute code when loaded — it names os\.system"):
        read_checkpoint(path)


def test_an_old_pickle_without_a_header_is_not_even_opened(place: Path, marker: Path) -> None:
    path = bad.as_plain_pickle(place / "file", bad.hostile_content([bad.payloads(marker)["eval"][0]]), 0)
    with pytest.raises(BadInput, match=NOT_ONE):
        read_checkpoint(path)


# ── any flipped bit ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("folder", "zip")])
def test_any_flipped_bit_ends_in_a_verdict_or_a_failure(tmp_path: Path, form: Form) -> None:
    path = write(tmp_path / "file", fresh_weights(TINY), form)
    whole, draw = path.read_bytes(), random.Random(form)
    # Where structure lies, not numbers: the first and the last part of the file.
    positions = [*draw.sample(range(3000), 20), *draw.sample(range(len(whole) - 3000, len(whole)), 20)]
    refused = 0
    for position in positions:
        path.write_bytes(whole)
        bad.flipped(path, position, 1 << draw.randrange(8))
        try:
            inspect_checkpoint(path, "L", {})
        except BadInput:  # any other exception would be a traceback
            refused += 1
    assert refused > 5


# ── command lines ────────────────────────────────────────────────────────────────────────────────────────────────────

EXPORT_TINY = ("export", "tiny.yaml", "--checkpoint", "good", "--out", "build")
INSPECT = ("inspect", "good", "--model", "tiny.yaml")


def with_set(*settings: str, command: tuple[str, ...] = INSPECT) -> tuple[str, ...]:
    return (*command, *(part for setting in settings for part in ("--set", setting)))


COMMAND_LINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown model": (("export", "l"), ("unknown model", "'l'; declared are XS-atto", "did you mean L?")),
    "hostile model name": (("export", "../x"), ("unknown model", r"'\.\./x'")),
    "unknown model to inspect": (("inspect", "good", "--model", "XM"), ("unknown model", "did you mean")),
    "unknown model to claims": (("claims", "XSS"), ("unknown model", "did you mean XS?")),
    "endless name to claims": (("claims", "x" * 300), ("unknown model|cannot read",)),
    "missing configuration": (("export", "mine.yaml"), ("cannot read the configuration mine.yaml", "No such file")),
    "unknown precision": ((*EXPORT_TINY, "--precision", "fp64"), ("unknown precision", "fp64", "fp32")),
    "one unknown precision": ((*EXPORT_TINY, "--precision", "fp32,fp12"), ("unknown precision", "fp32,fp12")),
    "no precision": ((*EXPORT_TINY, "--precision", ","), ("unknown precision",)),
    "unknown field": (with_set("width=3"), ("does not know this field", "width=3", "joints, depth_dim, upsamplings")),
    "field that weights show": (with_set("dims=3"), ("--set dims is refused", "weights show this field")),
    "backbone": (with_set("backbone=Atto"), ("--set backbone is refused",)),
    "head_channels": (with_set("head_channels=256"), ("--set head_channels is refused",)),
    "head_kernels": (with_set("head_kernels=3"), ("--set head_kernels is refused",)),
    "depths": (with_set("depths=3"), ("--set depths is refused",)),
    "word": (with_set("joints=many"), ("--set joints needs a whole number", "joints=many", "from 1 to")),
    "nothing": (with_set("joints="), ("needs a whole number",)),
    "no equals sign": (with_set("joints"), ("needs a whole number",)),
    "fraction": (with_set("upsamplings=2.5"), ("needs a whole number", "from 0 to 3")),
    "negative": (with_set("upsamplings=-1"), ("needs a whole number",)),
    "too large": (with_set("upsamplings=4"), ("needs a whole number", "from 0 to 3")),
    "no joints": (with_set("joints=0"), ("needs a whole number",)),
    "foreign digits": (with_set("joints=١٨"), ("needs a whole number",)),
    "endless": (with_set("joints=" + "9" * 5000), ("needs a whole number",)),
    "twice": (with_set("upsamplings=2", "upsamplings=3"), ("--set upsamplings is given twice", "one value")),
    "product": (with_set("depth_dim=64", "joints=18"), ("contradicts the weights", "576 channels", "product is 576")),
    "depth_dim that does not divide": (with_set("depth_dim=50"), ("depth_dim=50 contradicts the weights", "576")),
    "joints that do not divide": (with_set("joints=17"), ("joints=17 contradicts the weights", "576")),
    "depth_dim with unknown joints": (with_set("depth_dim=64"), ("would mean 9 joints", "18, 21", "joints=9")),
    "input_size": (with_set("input_size=250"), ("input_size is not possible", "multiple of 64")),
    "map of one bin": (with_set("input_size=64", "depth_dim=32", "upsamplings=0"), ()),
    "export: dims": (with_set("dims=3", command=EXPORT_TINY), ("--set dims is refused",)),
    "export: product": (with_set("depth_dim=64", "joints=18", command=EXPORT_TINY), ("contradicts the weights",)),
}
DECIDED = {"map of one bin"}


@pytest.mark.parametrize("case", [case for case in COMMAND_LINES if case not in DECIDED])
def test_bad_command_lines(place: Path, here: Here, case: str) -> None:
    bad.good(place / "good")
    arguments, said = COMMAND_LINES[case]
    assert_refused(here(*arguments), said)
    assert left_in(place / "build") == []


def test_a_map_of_two_bins_is_the_smallest(place: Path, here: Here) -> None:
    bad.good(place / "good")
    assert here(*COMMAND_LINES["map of one bin"][0]).returncode == 0


@pytest.mark.parametrize("case", ["unknown model", "unknown precision", "depth_dim with unknown joints"])
def test_bad_command_lines_in_a_process_of_their_own(place: Path, case: str) -> None:
    bad.good(place / "good")
    arguments, said = COMMAND_LINES[case]
    assert_refused(convnextpose(*arguments, cwd=place), said)


@pytest.mark.parametrize(
    "command", [["export"], ["export", "L", "--sett", "a"], ["inspect"], ["nothing"]], ids=" ".join
)
def test_command_lines_that_do_not_parse(here: Here, command: list[str]) -> None:
    run = here(*command)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "Usage:" in run.stderr


STRICT = {
    "inspect": ("inspect", "good", "--model", "M", "--strict"),
    "export": ("export", "M", "--checkpoint", "good", "--strict"),
}


@pytest.mark.parametrize(("command", "own_process"), [("inspect", False), ("export", False), ("export", True)], ids=str)
def test_strict_ends_with_1(place: Path, here: Here, command: str, own_process: bool) -> None:
    bad.good(place / "good")
    run = convnextpose(*STRICT[command], cwd=place) if own_process else here(*STRICT[command])
    assert_three_parts(run, 1)
    assert "is not the declared M" in run.stderr
    assert "depth_dim: declared 64, used 32" in run.stderr
    assert left_in(place / "build") == []


# ── output folders ───────────────────────────────────────────────────────────────────────────────────────────────────


def a_file(path: Path) -> str:
    path.write_text("not a folder")
    return str(path)


OUTPUTS: dict[str, Callable[[Path], str]] = {
    "a file": lambda place: a_file(place / "out"),
    "below a file": lambda place: a_file(place / "out") + "/deeper",
    "below what cannot hold folders": lambda place: "/proc/nothing",
    "a file where the model's folder goes": lambda place: str(Path(a_file_in(place / "out" / "tiny")).parent),
    "name too long": lambda place: "x" * 300,
}


def a_file_in(path: Path) -> str:
    path.parent.mkdir()
    return a_file(path)


@pytest.mark.parametrize("case", OUTPUTS)
def test_unwritable_output_folders(place: Path, here: Here, case: str) -> None:
    bad.good(place / "good")
    before = sorted(place.rglob("*"))
    out = OUTPUTS[case](place)
    made = {path: path.read_text() for path in place.rglob("*") if path.is_file() and path not in before}
    run = here("export", "tiny.yaml", "--checkpoint", "good", "--out", out)
    assert_refused(run, ("cannot write", re.escape(out[:50]), "--out"))
    assert {path: path.read_text() for path in made} == made
    assert sorted(p for p in place.rglob("*") if p.is_file() and p not in before) == sorted(made)


def test_an_unwritable_output_folder_in_a_process_of_its_own(place: Path) -> None:
    run = convnextpose("export", "tiny.yaml", "--out", a_file(place / "out"), cwd=place)
    assert_refused(run, ("cannot write", "another folder"))


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 64 KiB; the weights alone need 170 KiB."""
    disk = place / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can only be mounted by root, where mounting is permitted")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("weights", ["checkpoint", "stand-in"])
def test_a_full_disk(place: Path, here: Here, small_disk: Path, weights: str) -> None:
    checkpoint = ["--checkpoint", bad.good(place / "good")] if weights == "checkpoint" else []
    run = here("export", "tiny.yaml", *checkpoint, "--out", small_disk)
    assert_refused(run, ("cannot write", "No space left", "make room"))
    assert left_in(small_disk) == []
    assert list(small_disk.rglob(".partial-*")) == []


# ── what must not be refused ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
def test_the_sound_file_that_the_others_were_made_of(place: Path, here: Here, form: Form) -> None:
    bad.good(place / "good", form)
    run = here("inspect", "good", "--model", "tiny.yaml", "--strict")
    assert (run.returncode, run.stderr) == (0, "")
    assert "module.head.final_layer.weight [576, 16, 1, 1]" in re.sub(r"\s+", " ", run.stdout)


def test_a_pipe_is_refused_and_not_waited_for(place: Path, here: Here) -> None:
    os.mkfifo(place / "pipe")
    for command in (["inspect", "pipe"], ["export", "L", "--checkpoint", "pipe"]):
        assert_refused(here(*command), ("cannot read pipe", "neither a file nor a folder"))
