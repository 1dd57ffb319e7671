"""Every wrapping, spelling and layout in which weights are found leads to the same tensors."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import save_file

from export.checkpoint.containers import FOLDER_DEPTH
from export.checkpoint.evidence import floating_dtypes, read_evidence
from export.checkpoint.loading import read_checkpoint
from export.checkpoint.networks import STATE_DICT_KEYS, canonical_name
from export.common.errors import BadInput
from export.model.network import build_network
from tests.support.checkpoints import (
    FORMS,
    TINY,
    Form,
    HeadSpelling,
    State,
    alive_weights,
    spelled,
    write,
)

CONTAINER: Mapping[Form, str] = {
    "zip": "torch zip",
    "legacy": "torch legacy",
    "folder": "unpacked folder",
    "rezipped": "torch zip",
    "bare": "torch zip",
    "safetensors": "safetensors",
}
WITH_TRAINING_STATE = [form for form in FORMS if form not in ("bare", "safetensors")]


def assert_same(tensors: Mapping[str, torch.Tensor], expected: State) -> None:
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor), name
        assert tensors[name].dtype == tensor.dtype, name


# ── container × spelling × prefix ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prefix", ["", "_orig_mod.module."])
@pytest.mark.parametrize("head", get_args(HeadSpelling))
@pytest.mark.parametrize("form", FORMS)
def test_all_lead_to_the_same_tensors(tmp_path: Path, form: Form, head: HeadSpelling, prefix: str) -> None:
    state = alive_weights()
    in_file = spelled(state, head, prefix)
    found = read_checkpoint(write(tmp_path / "snapshot_83.pth.tar", in_file, form))
    assert_same(found.tensors, state)
    assert found.container == CONTAINER[form]
    bare = form not in WITH_TRAINING_STATE
    assert (found.location, found.epoch) == (("", None) if bare else ("network", 83))
    assert found.names_in_file == {canonical_name(name): name for name in in_file}
    assert found.names_in_file.keys() == state.keys()
    assert read_evidence(found).problems == ()


# ── where the file lies, and what it is called ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("levels", range(FOLDER_DEPTH + 2))
def test_unpacked_folders_are_found_some_levels_down(tmp_path: Path, levels: int) -> None:
    named = tmp_path / "ConvNeXtPose_L"
    inner = named.joinpath(*["deeper"] * levels)
    write(inner, alive_weights(), "folder")
    packed = next(inner.glob("*/data.pkl")).parent  # the archive's own folder
    if levels < FOLDER_DEPTH:
        assert_same(read_checkpoint(named).tensors, alive_weights())
        assert read_checkpoint(packed).container == "unpacked folder"
        return
    with pytest.raises(BadInput, match="found none"):
        read_checkpoint(named)
    assert_same(read_checkpoint(packed).tensors, alive_weights())


@pytest.mark.parametrize("beside", ["__MACOSX/snapshot_83/data.pkl", ".DS_Store", "readme.txt", "other/notes"])
def test_what_unzip_tools_leave_beside_a_folder_is_passed_over(tmp_path: Path, beside: str) -> None:
    named = write(tmp_path / "snapshot_83", alive_weights(), "folder")
    (named / beside).parent.mkdir(parents=True, exist_ok=True)
    (named / beside).write_bytes(b"\0\5\x16\7")
    assert_same(read_checkpoint(named).tensors, alive_weights())


def test_two_checkpoints_in_one_folder_are_not_chosen_between(tmp_path: Path) -> None:
    for name in ("snapshot_67", "snapshot_83"):
        write(tmp_path / "weights" / name, alive_weights(), "folder")
    with pytest.raises(BadInput, match="found 2"):
        read_checkpoint(tmp_path / "weights")


def test_a_link_to_the_folder_or_the_file_itself_is_followed(tmp_path: Path) -> None:
    for form in ("zip", "folder"):
        there = write(tmp_path / "elsewhere" / form, alive_weights(), form)
        here = tmp_path / f"link to {form}"
        here.symlink_to(there)
        assert_same(read_checkpoint(here).tensors, alive_weights())


@pytest.mark.parametrize("form", FORMS)
def test_the_hash_is_of_the_content(tmp_path: Path, form: Form) -> None:
    first = write(tmp_path / "first", alive_weights(), form)
    second = tmp_path / "second"
    first.rename(second)
    found = read_checkpoint(second)
    if second.is_file():
        assert found.sha256 == hashlib.sha256(second.read_bytes()).hexdigest()
    else:
        assert len(found.sha256) == 64
        next(second.rglob("version")).write_text("4\n")
        assert read_checkpoint(second).sha256 != found.sha256


@pytest.mark.parametrize(("magic", "step"), [(b"\x80", 8), (b"PK", 8)], ids=["as a pickle begins", "as a zip begins"])
def test_safetensors_whose_length_field_looks_like_another_container(tmp_path: Path, magic: bytes, step: int) -> None:
    path, state = tmp_path / "weights.safetensors", alive_weights()
    save_file(state, path)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    modulus = 256 ** len(magic)
    padding = (int.from_bytes(magic, "little") - length) % modulus
    for room in range(padding, 0, -step):  # the metadata's own frame takes some of it
        save_file(state, path, metadata={"pad": "x" * room})
        if path.read_bytes().startswith(magic):
            break
    assert path.read_bytes().startswith(magic)
    found = read_checkpoint(path)
    assert found.container == "safetensors"
    assert_same(found.tensors, state)


# ── where in the file the weights lie ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", [*STATE_DICT_KEYS, "weights_of_my_own"])
def test_weights_under_any_usual_key_or_a_single_one(tmp_path: Path, key: str) -> None:
    torch.save({"epoch": 7, key: alive_weights(), "best": 51.8, "args": {"lr": 1e-3}}, tmp_path / "file")
    found = read_checkpoint(tmp_path / "file")
    assert (found.location, found.epoch) == (key, 7)
    assert_same(found.tensors, alive_weights())


def test_parameters_are_weights_too(tmp_path: Path) -> None:
    state = {n: torch.nn.Parameter(t) if t.is_floating_point() else t for n, t in alive_weights().items()}
    found = read_checkpoint(write(tmp_path / "file", state, "bare"))
    assert_same(found.tensors, alive_weights())
    assert not any(t.requires_grad for t in found.tensors.values())


def sliced(tensor: torch.Tensor) -> torch.Tensor:
    """The same values as every second element of a larger storage."""
    return torch.stack([tensor, torch.zeros_like(tensor)], dim=-1)[..., 0]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "safetensors"])
def test_views_of_larger_storages_become_plain_tensors(tmp_path: Path, form: Form) -> None:
    state = {name: sliced(tensor) for name, tensor in alive_weights().items()}
    assert not state["backbone.downsample_layers.0.0.weight"].is_contiguous()
    found = read_checkpoint(write(tmp_path / "file", state, form))
    assert_same(found.tensors, alive_weights())
    assert all(tensor.is_contiguous() for tensor in found.tensors.values())


# ── what stays in memory ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", WITH_TRAINING_STATE)
def test_the_optimizers_state_is_not_kept(tmp_path: Path, form: Form) -> None:
    for name, tensor in read_checkpoint(write(tmp_path / "file", alive_weights(), form)).tensors.items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name


@pytest.mark.parametrize("form", FORMS)
def test_the_file_is_let_go(tmp_path: Path, form: Form) -> None:
    path = write(tmp_path / "file", alive_weights(), form)
    found = read_checkpoint(path)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(path) not in maps.read_text()
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        file.write_bytes(bytes(file.stat().st_size))  # overwritten in place: a view of it would change
    assert_same(found.tensors, alive_weights())


# ── types ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("form", ["bare", "legacy", "safetensors"])
def test_other_floating_types(tmp_path: Path, form: Form, dtype: torch.dtype) -> None:
    largest = torch.finfo(torch.float16).max  # the first norms' variances are larger, since pixels reach 1100
    state = {n: t.clamp(max=largest).to(dtype) if t.is_floating_point() else t for n, t in alive_weights().items()}
    found = read_checkpoint(write(tmp_path / "file", spelled(state), form))
    assert_same(found.tensors, state)
    assert floating_dtypes(found) == (str(dtype).removeprefix("torch."),)
    assert read_evidence(found).problems == ()
    network = build_network(TINY, found.tensors)
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert torch.equal(network.head.final_layer.weight, state["head.final_layer.weight"].float())


# ── archives that were packed again ──────────────────────────────────────────────────────────────────────────────────


def repack(path: Path, rename: Callable[[str], str], **options: Any) -> Path:
    """The zip's records under other names."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in records.items():
            archive.writestr(rename(name), data)
    return path


@pytest.mark.parametrize(
    "rename",
    [
        pytest.param(lambda name: name.split("/", 1)[1], id="records at the root"),
        pytest.param(lambda name: "weights/deep/down/" + name, id="records far down"),
        pytest.param(lambda name: "übung/" + name, id="name with an accent"),
    ],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_LZMA])
def test_archives_packed_again(tmp_path: Path, rename: Callable[[str], str], compression: int) -> None:
    path = write(tmp_path / "snapshot_83", alive_weights())
    assert_same(read_checkpoint(repack(path, rename, compression=compression)).tensors, alive_weights())


def test_what_a_packer_leaves_beside_the_records_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "snapshot_83", alive_weights())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/snapshot_83/._data.pkl", b"\0")
        archive.writestr("__MACOSX/snapshot_83/data.pkl", b"\0")
        archive.writestr("empty/", b"")
    assert_same(read_checkpoint(path).tensors, alive_weights())
