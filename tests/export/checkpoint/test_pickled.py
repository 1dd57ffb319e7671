"""Pickles are read as data, as torch reads them; hostile ones end soon, in a refusal."""

import argparse
import io
import json
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.checkpoint import pickled
from export.checkpoint.loading import read_checkpoint
from export.checkpoint.pickled import PickledTensor, PickleReader
from export.common.errors import BadInput
from export.common.files import PROJECT
from tests.support.bad_files import Calls, in_folder, with_pickle
from tests.support.checkpoints import FORMS, Form, alive_weights, released, write

FINAL = "head.final_layer.weight"


def data_pickle(content: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as archive:
        return io.BytesIO(next(archive.read(n) for n in archive.namelist() if n.endswith("data.pkl")))


def test_plain_data_is_that_of_torch() -> None:
    content = {
        "epoch": 83,
        "best": 51.8,
        "large": 2**70,
        "flags": [True, False, None],
        "nested": {"lr": (1e-3,), "name": "übung"},
        3: "number",
        "names": OrderedDict(a=[1, [2, (3, 4)]]),
    }
    assert PickleReader(data_pickle(content)).read() == content


def test_a_tensor_is_described() -> None:
    view = torch.arange(24.0).reshape(4, 6)[1:3, ::2]
    tensor = PickleReader(data_pickle({"view": view})).read()["view"]
    assert isinstance(tensor, PickledTensor)
    assert (tensor.dtype, tensor.offset, tensor.shape, tensor.strides) == ("float32", 6, (2, 3), (6, 2))
    assert tensor.storage.size_bytes == 96


def test_a_released_file_is_far_below_the_limits() -> None:
    reader = PickleReader(data_pickle(released(alive_weights())))
    reader.read()
    assert reader.opcodes < pickled.MAX_OPCODES / 100


def test_a_pickle_of_too_many_opcodes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MAX_OPCODES", 50)
    with pytest.raises(ValueError, match="more than 50 opcodes"):
        PickleReader(data_pickle({"list": list(range(100))})).read()


# ── values beside the weights ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.float64(36.2), r"numpy\.(_core|core)\.multiarray\.scalar"),
        (np.zeros(3), "_reconstruct"),
        (argparse.Namespace(lr=1e-3), r"argparse\.Namespace"),
        (Path("x"), r"pathlib\.\w*Path"),
    ],
)
def test_harmless_values_are_named_and_not_called_code(tmp_path: Path, value: Any, name: str, legacy: bool) -> None:
    content = {"network": alive_weights(), "best": value}
    torch.save(content, tmp_path / "file", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(BadInput, match=name) as refused:
        read_checkpoint(tmp_path / "file")
    assert "execute" not in str(refused.value)
    assert "save network.state_dict() alone" in refused.value.advice


def test_a_harmless_value_beside_code_does_not_hide_it(tmp_path: Path) -> None:
    torch.save({"network": alive_weights(), "a": np.float64(1), "b": Calls(os.getcwd)}, tmp_path / "file")
    with pytest.raises(BadInput, match="would execute code"):
        read_checkpoint(tmp_path / "file")


# ── hostile pickles and containers ───────────────────────────────────────────────────────────────────────────────────


def doubled_key(path: Path) -> Path:
    """A key that is a tuple of itself, doubled 40 times: its hash would visit 2**40 items."""
    steps = b"".join(b"r" + struct.pack("<I", i) + b"j" + struct.pack("<I", i) + b"\x86" for i in range(40))
    return with_pickle(b"\x80\x02})" + steps + b"K\x01s.")(path)


def deep_key(path: Path) -> Path:
    return with_pickle(b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s.")(path)


def large_arrays(path: Path) -> Path:
    array = b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R"
    return with_pickle(b"\x80\x02](" + array * 4 + b"e.")(path)


def many_entries(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"f{number}", b"")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"f19998", b"f19999"))
    return path


def compressed_zeros(path: Path) -> Path:
    write(path, alive_weights())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as entry:
        for _ in range(65):
            entry.write(bytes(1 << 24))
    return path


def one_storage_many_times(path: Path) -> Path:
    storage = torch.zeros(16 << 20)
    torch.save(alive_weights() | {f"backbone.x{i}": storage for i in range(33)}, path)
    return path


def many_tensors(path: Path) -> Path:
    tensor = torch.zeros(1)
    torch.save(alive_weights() | {f"head.{i}": tensor for i in range(10_000)}, path)
    return path


def of_type(dtype: torch.dtype) -> Callable[[Path], Path]:
    def build(path: Path) -> Path:
        value = torch.zeros(8, dtype=torch.uint8).view(dtype) if dtype.itemsize == 1 else torch.zeros(8, dtype=dtype)
        torch.save(alive_weights() | {FINAL: value}, path)
        return path

    return build


def counter_of_type(dtype: torch.dtype) -> Callable[[Path], Path]:
    def build(path: Path) -> Path:
        state = alive_weights()
        name = next(name for name in state if name.endswith("num_batches_tracked"))
        torch.save(state | {name: state[name].to(dtype)}, path)
        return path

    return build


def nested_tensor(path: Path) -> Path:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    torch.save(alive_weights() | {FINAL: nested}, path)
    return path


def folder_for_pickle(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl/", b"")
    return path


def replaced_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replaced_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "doubled key": (doubled_key, "no state dict"),
    "deep key": (deep_key, "no state dict"),
    "large arrays": (large_arrays, "no state dict"),
    "entries, two of one name": (many_entries, "two entries"),
    "compressed zeros": (compressed_zeros, "unpacks to too much"),
    "one storage many times": (one_storage_many_times, "too large weights"),
    "many tensors": (many_tensors, "too many tensors"),
    "float4": (of_type(torch.float4_e2m1fn_x2), "type that weights do not have"),
    "complex": (of_type(torch.complex64), "type that weights do not have"),
    "complex counter": (counter_of_type(torch.complex128), "type that weights do not have"),
    "nested tensor": (nested_tensor, "not dense.*nested"),
    "zip with a folder for a pickle": (folder_for_pickle, r"no data\.pkl"),
    "folder with a folder for a pickle": (in_folder("data.pkl", replaced_by_folder), "no unpacked checkpoint"),
    "folder with a pipe for a pickle": (in_folder("data.pkl", replaced_by_pipe), "neither a file nor a folder"),
    "folder with a pipe": (
        in_folder("data.pkl", lambda file: os.mkfifo(file.with_name("pipe"))),
        "'pipe' is neither a file nor a folder",
    ),
    "sparse file of 20 GiB": (
        in_folder(
            "data.pkl", lambda file: os.truncate(os.open(file.with_name("more"), os.O_CREAT | os.O_RDWR), 20 << 30)
        ),
        "too large",
    ),
}


READ_WITH_LIMITS = """
import json, resource, sys
from pathlib import Path
from export.checkpoint.loading import read_checkpoint
from export.common.errors import BadInput
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 30),) * 2)
for path in sys.argv[1:]:
    try:
        read_checkpoint(Path(path))
        print('"it was read"')
    except BadInput as refusal:
        print(json.dumps(str(refusal)))
"""


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hostile_files_are_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    """One process reads all of them, since each would import torch for seconds."""
    paths = [tmp_path / case / "file" for case in HOSTILE]
    for path, (build, _) in zip(paths, HOSTILE.values(), strict=True):
        path.parent.mkdir()
        build(path)
    command = [sys.executable, "-c", READ_WITH_LIMITS, *map(str, paths)]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    for (case, (_, words)), line in zip(HOSTILE.items(), run.stdout.splitlines(), strict=True):
        assert len(line) < 3000, case
        assert re.search(words, json.loads(line)), (case, line)


class WithState(OrderedDict[str, torch.Tensor]):
    """A state dict with attributes that shadow its methods, as BUILD would set them."""

    def __reduce__(self) -> Any:
        return OrderedDict, (), {"items": 5, "get": 5, "keys": 5}, None, iter(dict(self).items())


@pytest.mark.parametrize("legacy", [False, True])
def test_attributes_of_a_state_dict_are_not_set(tmp_path: Path, legacy: bool) -> None:
    content = {"network": WithState(alive_weights())}
    torch.save(content, tmp_path / "file", _use_new_zipfile_serialization=not legacy)
    assert torch.load(tmp_path / "file", weights_only=True)["network"].get == 5  # else nothing is shown below
    assert read_checkpoint(tmp_path / "file").tensors.keys() == alive_weights().keys()


# ── files as other machines leave them ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_is_no_utf8(tmp_path: Path, form: Form) -> None:
    path = write(tmp_path / "file", alive_weights(), form)
    renamed = path.rename(tmp_path / os.fsdecode(b"caf\xe9.pth"))
    assert read_checkpoint(renamed).tensors.keys() == alive_weights().keys()


def test_a_record_with_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "file", alive_weights(), "folder")
    (path / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    assert read_checkpoint(path).tensors.keys() == alive_weights().keys()


def test_a_folder_that_is_deeply_nested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "file", alive_weights(), "folder")
    monkeypatch.chdir(path)
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    monkeypatch.chdir(tmp_path)
    try:
        assert read_checkpoint(path).tensors.keys() == alive_weights().keys()
    finally:
        subprocess.run(["rm", "-r", path / "d"], check=True)  # shutil.rmtree is recursive


@pytest.mark.parametrize("form", ["folder", "rezipped"])
def test_the_clock_of_1970(tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "file", alive_weights(), form)
    for file in [path, *path.rglob("*")]:
        os.utime(file, (86_400, 86_400))
    monkeypatch.setattr("time.time", lambda: 86_400.0)
    assert read_checkpoint(path).tensors.keys() == alive_weights().keys()


def test_backslashes_in_a_zip_are_slashes(tmp_path: Path) -> None:
    path, source = tmp_path / "file", write(tmp_path / "source", alive_weights())
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in [*((info.filename, old.read(info)) for info in old.infolist()), ("source\\", b"")]:
            info = zipfile.ZipInfo("x")
            info.filename = name.replace("/", "\\")
            new.writestr(info, data)
    assert read_checkpoint(path).tensors.keys() == alive_weights().keys()


def test_one_name_in_both_spellings_is_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "file", alive_weights())
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "file\\version"
        archive.writestr(info, b"4\n")
    with pytest.raises(BadInput, match="two entries"):
        read_checkpoint(path)


def test_weights_of_a_big_endian_machine(tmp_path: Path) -> None:
    state = alive_weights()
    path = write(tmp_path / "file", state, "bare")
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                size = list(state.values())[int(name.rsplit("/", 1)[1])].element_size()
                data = np.frombuffer(data, np.uint8).reshape(-1, size)[:, ::-1].tobytes()
            archive.writestr(name, data)
    tensors = read_checkpoint(path).tensors
    assert all(torch.equal(tensors[name], state[name]) for name in state)


@pytest.mark.parametrize("shape", [(1,) * 65, (-1,), (1 << 63,), ("a",), (1.0,)])
def test_an_impossible_shape_is_refused(shape: Any) -> None:
    tensor = torch.zeros(1)
    call = Calls(torch._utils._rebuild_tensor_v2, tensor.untyped_storage(), 0, shape, shape, False, OrderedDict())
    with pytest.raises(ValueError, match="impossible shape"):
        PickleReader(data_pickle(call)).read()
