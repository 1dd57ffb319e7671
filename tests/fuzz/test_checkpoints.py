"""Mutated checkpoints are read or refused, soon, and never read differently than torch reads them.

``FUZZ_CASES`` sets the number of cases of each form (``make fuzz``), ``FUZZ_SEED`` their seed.
"""

import io
import os
import random
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch

from export.checkpoint.inspection import inspect_checkpoint
from export.checkpoint.loading import read_checkpoint
from export.checkpoint.networks import canonical_name
from export.common.errors import BadInput
from tests.support.checkpoints import TINY, Form, alive_weights, spelled, write

CASES = int(os.environ.get("FUZZ_CASES", "30"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
MOST_SECONDS = 10.0

PIECES = (
    *(b"}", b"]", b")", b"(", b"0", b"1", b"2", b".", b"R", b"\x81", b"b", b"s", b"u", b"a", b"e", b"Q", b"t", b"\x85"),
    *(b"q\x00", b"h\x00", b"h\x01", b"K\xff", b"M\xff\xff", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"N", b"\x88"),
    *(b"\x8a\x09" + b"\xff" * 8 + b"\x7f", b"\x8a\xff" + b"\x7f" * 255, b"G\x7f\xf8" + bytes(6)),
    *(b"X\xff\xff\xff\xff", b"X\x03\x00\x00\x00a/b", b"X\x03\x00\x00\x00\xed\xa0\x80", b"T\xff\xff\xff\x7f"),
    *(
        b"cos\nsystem\n",
        b"cbuiltins\nset\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch\nSize\n",
        b"ctorch\nDoubleStorage\n",
    ),
    *(b"ctorch._utils\n_rebuild_parameter\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nComplexFloatStorage\n"),
    *(b"I" + b"9" * 5000 + b"\n", b"p" + b"9" * 5000 + b"\n", b"\x93", b"\x94", b"\x95" + b"\xff" * 8, b"(" * 5000),
)
"""Opcodes that are put into pickles."""


def mutate(data: bytes, draw: random.Random) -> bytes:
    """Return the data with one to four changes."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(changed) + 1)
        end = min(len(changed), start + draw.choice((1, 1, 2, 8, 100)))
        kind = draw.randrange(5)
        if kind == 0 and start < len(changed):
            changed[start] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[start:start] = draw.choice(PIECES)
        elif kind == 2:
            changed[start:end] = draw.choice(PIECES)
        elif kind == 3:
            del changed[start:end]
        else:
            changed[start:start] = changed[end : end + draw.choice((10, 200))]
    return bytes(changed)


def mutated_zip(whole: bytes, draw: random.Random) -> bytes:
    """Return the zip with another pickle and correct checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info.filename, mutate(data, draw) if info.filename.endswith("data.pkl") else data)
    return buffer.getvalue()


def mutated_bytes(whole: bytes, draw: random.Random) -> bytes:
    """Return the file with changes where its structure is: in its first and last bytes."""
    head = draw.choice((64, 4000, len(whole)))
    if draw.random() < 0.3:
        return whole[:-head] + mutate(whole[-head:], draw)
    return mutate(whole[:head], draw) + whole[head:]


def by_torch(path: Path) -> dict[str, torch.Tensor] | None:
    """Return the weights as torch reads them, or None if it does not."""
    try:
        content = torch.load(path, weights_only=True)
        state = content.get("network", content)
        return {canonical_name(name): tensor for name, tensor in state.items()}
    except BaseException:  # what torch raises at a damaged file is not the subject
        return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["zip", "zip bytes", "legacy", "bare", "safetensors"])
def test_mutated_checkpoints(tmp_path: Path, form: str) -> None:
    draw = random.Random(f"{form} {SEED}")
    kind: Form = "zip" if form == "zip bytes" else form  # type: ignore[assignment]
    path = write(tmp_path / "file", spelled(alive_weights(TINY)), kind)
    whole, change = path.read_bytes(), mutated_zip if form in ("zip", "bare") else mutated_bytes
    refused = compared = 0
    for case in range(CASES):
        path.write_bytes(change(whole, draw) if case else whole)  # the first is compared in any case
        start = time.monotonic()
        found, message = None, ""
        try:
            found = read_checkpoint(path)
            inspect_checkpoint(path, "L", {})
        except BadInput as refusal:
            message = str(refusal)
        assert time.monotonic() - start < MOST_SECONDS, case
        assert len(message) < 5000, case
        refused += bool(message)
        expected = by_torch(path) if found else None
        if found and expected and found.tensors.keys() == expected.keys():
            compared += 1
            for name, tensor in expected.items():
                assert torch.equal(found.tensors[name].nan_to_num(), tensor.nan_to_num()), (case, name)
    assert refused > 0
    assert compared > 0 or form == "safetensors"  # which torch does not read


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 30, 100])
@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x80\x02", struct.pack("<Q", 20) + b"{"])
def test_files_that_end_after_their_first_bytes(tmp_path: Path, magic: bytes, size: int) -> None:
    (tmp_path / "file").write_bytes((magic + bytes(200))[: len(magic) + size])
    with pytest.raises(BadInput):
        read_checkpoint(tmp_path / "file")
