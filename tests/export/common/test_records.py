"""Reader of JSON records: refusals of damaged files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from export.common import records
from export.common.errors import BadInput
from export.common.records import peek, read_record


@dataclass(frozen=True)
class Known:
    schema_version: str
    size: int


GOOD = {"schema_version": "1.1", "size": 3}


def read(path: Path, **options: Any) -> Known:
    return read_record(path, Known, ("1.0", "1.1"), "thing", "make it again", **options)


def test_a_record_of_every_readable_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    for version in ("1.0", "1.1"):
        path.write_text(json.dumps(GOOD | {"schema_version": version}))
        assert read(path) == Known(version, 3)


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (json.dumps(GOOD | {"schema_version": "2.0"}), "1.0 or 1.1 — schema_version 2.0"),
        (json.dumps(GOOD | {"schema_version": None}), "schema_version None"),
        (json.dumps(GOOD | {"schema_version": ["1.1"]}), "schema_version"),
        (json.dumps(GOOD | {"size": "many"}), "size: "),
        (json.dumps({"schema_version": "1.1"}), "size: Field required"),
        ("[]", "schema_version None"),
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
    ],
)
def test_a_damaged_record_is_refused_by_name(tmp_path: Path, content: str | bytes, seen: str) -> None:
    path = tmp_path / "thing.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match=f"thing.json is no thing.*{seen}.*make it again"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_of_windows_tools_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "thing.json"
    path.write_bytes(json.dumps(GOOD).encode(encoding))
    assert read(path) == Known("1.1", 3)


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no thing at"):
        read(tmp_path / "thing.json")
    with pytest.raises(BadInput, match="cannot read the thing"):
        read(tmp_path)


def test_a_file_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LIMIT_BYTES", 20)
    (tmp_path / "thing.json").write_text(json.dumps(GOOD))
    with pytest.raises(BadInput, match="larger than"):
        read(tmp_path / "thing.json")


def test_a_strict_record_converts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    path.write_text(json.dumps(GOOD | {"size": "3"}))
    assert read(path).size == 3
    with pytest.raises(BadInput, match="size: "):
        read(path, strict=True)


def test_one_value_of_whatever_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "thing.json"
    assert peek(path, "size") is None
    for content, value in (("{", None), ("[]", None), ("{}", None), (json.dumps(GOOD), 3)):
        path.write_text(content)
        assert peek(path, "size") == value
