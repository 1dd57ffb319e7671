"""The one reader of JSON records: a file on a disk may be missing, damaged, huge, or of another version."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from export.common.errors import BadInput

LIMIT_BYTES = 64 << 20
"""No record of this project comes near to it; a larger file is not read into memory."""

Record = TypeVar("Record")


def read_record(
    path: Path, kind: type[Record], versions: Sequence[str | int], what: str, remedy: str, *, strict: bool = False
) -> Record:
    """Read the JSON record at ``path``.

    Args:
        path: the file.
        kind: the pydantic model or dataclass that it holds.
        versions: values of ``schema_version`` that ``kind`` can hold.
        what: the kind of record, for a message: ``manifest``.
        remedy: what the user can do if it is refused.
        strict: accept no conversion between types, as of a number in quotes.

    Raises:
        BadInput: the file is missing, too large, no JSON, of another schema version, or lacks or adds something.
    """
    content = _content(path, what, remedy)
    plain = _parsed(content, path, what, remedy)
    seen = plain.get("schema_version") if isinstance(plain, dict) else None
    wanted = f"{path} is no {what} of schema {' or '.join(map(str, versions))}"
    if isinstance(seen, bool) or seen not in tuple(versions):
        raise BadInput(wanted, f"schema_version {seen}", remedy)
    try:
        return TypeAdapter(kind).validate_json(content, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BadInput(wanted, f"{where}: {first['msg']}", remedy) from error


def read_json(path: Path, what: str, remedy: str) -> Any:
    """Read a JSON file that has no schema of its own.

    Raises:
        BadInput: the file is missing, too large, or no JSON.
    """
    return _parsed(_content(path, what, remedy), path, what, remedy)


def peek(path: Path, key: str) -> Any:
    """Return one value of a JSON object in a file; None if there is no such file, object or key."""
    try:
        plain = read_json(path, "record", "")
    except BadInput:
        return None
    return plain.get(key) if isinstance(plain, dict) else None


def _content(path: Path, what: str, remedy: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except FileNotFoundError as error:
        raise BadInput(f"there is no {what} at {path}", "no such file", remedy) from error
    except OSError as error:
        raise BadInput(f"cannot read the {what} {path}", error.strerror or str(error), remedy) from error
    if len(content) > LIMIT_BYTES:
        raise BadInput(f"{path} is no {what}", f"larger than {LIMIT_BYTES >> 20} MiB", remedy)
    return content


def _parsed(content: bytes, path: Path, what: str, remedy: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no {what}", "it is not JSON", remedy) from error
