"""Reader of YAML: what it refuses, with messages of bounded length and in bounded time."""

import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.common.errors import BadInput
from export.common.yaml_file import LIMIT_BYTES, problems, read_yaml, short

DOUBLED = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))


def read(path: Path, text: str | bytes) -> Any:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path, "list")


class Numbers(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(default=0, le=9)


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "a.yaml", b"\xef\xbb\xbfa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "key 'a' is repeated"),
        ("1: a\n1.0: b", "key 1.0 is repeated"),
        ("? [a]\n: 1", "unhashable"),
        ("a: " + "[" * 5000, "is not valid YAML"),
        ("a: 2001-99-99", "is not valid YAML"),
        (f"{'k' * 900}: 1\n{'k' * 900}: 2", "is repeated"),
        ("a" * (LIMIT_BYTES + 1), "larger than 1 MiB"),
        (b"\xff\xfe\xff", "cannot read the list"),
    ],
)
def test_what_is_no_declaration_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        read(tmp_path / "a.yaml", text)
    assert len(caught.value.detail) < 500


def test_many_keys_are_compared_in_linear_time(tmp_path: Path) -> None:
    start = time.monotonic()
    assert len(read(tmp_path / "a.yaml", "".join(f"k{i}: 1\n" for i in range(30_000)))) == 30_000
    assert time.monotonic() - start < 20  # two seconds; every key with every other took minutes


@pytest.mark.parametrize(
    "text", [f"size: 0x{'f' * 6000}", DOUBLED, f"size: {'x' * 100_000}", "".join(f"k{i}: 1\n" for i in range(999))]
)
def test_problems_are_bounded(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Numbers.model_validate({"size": None} | read(tmp_path / "a.yaml", text))
    assert 0 < len(problems(caught.value, "list")) < 3000


def test_an_integer_of_too_many_digits_has_a_representation() -> None:
    assert "digits" in short(10**5000)
