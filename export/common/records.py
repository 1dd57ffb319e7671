"""JSON records: their base class, and the reader of files that may be missing, damaged, huge or of another version."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from export.common.errors import BadInput

LIMIT_BYTES = 64 << 20
"""Largest file that is read; every record of this project is far smaller."""

Kind = TypeVar("Kind")


class Record(BaseModel):
    """A frozen record without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


def read_record(
    path: Path, kind: type[Kind], versions: Sequence[str | int], name: str, remedy: str, *, strict: bool = False
) -> Kind:
    """Read and validate the JSON record at ``path``.

    Args:
        path: the file.
        kind: the pydantic model or dataclass that it holds.
        versions: values of ``schema_version`` that ``kind`` can hold.
        name: the record's name in a message: ``manifest``.
        remedy: advice for an error message.
        strict: accept no conversion between types, such as a number in quotes.

    Raises:
        BadInput: the file is missing, too large, not JSON, of another version, or its fields are wrong.
    """
    content = _content(path, name, remedy)
    plain = _parse(content, path, name, remedy)
    version = plain.get("schema_version") if isinstance(plain, dict) else None
    problem = f"{path} is no {name} of schema {' or '.join(map(str, versions))}"
    if isinstance(version, bool) or version not in tuple(versions):
        raise BadInput(problem, f"schema_version {version}", remedy)
    try:
        return TypeAdapter(kind).validate_json(content, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BadInput(problem, f"{where}: {first['msg']}", remedy) from error


def read_json(path: Path, name: str, remedy: str) -> Any:
    """Read a JSON file that has no schema of its own.

    Raises:
        BadInput: the file is missing, too large, or not JSON.
    """
    return _parse(_content(path, name, remedy), path, name, remedy)


def peek(path: Path, key: str) -> Any:
    """Return one value of a JSON object in a file; None if there is no such file, object or key."""
    try:
        plain = read_json(path, "record", "")
    except BadInput:
        return None
    return plain.get(key) if isinstance(plain, dict) else None


def as_utf8(content: bytes) -> bytes:
    """Return JSON in UTF-8 without a byte order mark, as Windows tools write it; UTF-16 and UTF-32 are converted.

    Raises:
        ValueError: the text is not valid in its encoding.
    """
    encoding = json.detect_encoding(content)
    return content if encoding == "utf-8" else content.decode(encoding).encode()


def _content(path: Path, name: str, remedy: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except FileNotFoundError as error:
        raise BadInput(f"there is no {name} at {path}", "no such file", remedy) from error
    except OSError as error:
        raise BadInput(f"cannot read the {name} {path}", error.strerror or str(error), remedy) from error
    if len(content) > LIMIT_BYTES:
        raise BadInput(f"{path} is no {name}", f"larger than {LIMIT_BYTES >> 20} MiB", remedy)
    try:
        return as_utf8(content)
    except ValueError as error:
        raise BadInput(f"{path} is no {name}", "it is not JSON", remedy) from error


def _parse(content: bytes, path: Path, name: str, remedy: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no {name}", "it is not JSON", remedy) from error
