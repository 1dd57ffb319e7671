"""Reader of declarations in YAML: bounded in size, time and messages."""

import reprlib
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from export.common.errors import BadInput

LIMIT_BYTES = 1 << 20
"""Largest file that is read; a declaration has a few kilobytes."""
SHOWN_PROBLEMS = 5
SHOWN_CHARACTERS = 300
"""Length of a part of a message that quotes the file."""

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser, where PyYAML was built with it, is ten times as fast."""
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring, _SHORT.maxother = 2, 4, 4, 60, 60


class _UniqueKeys(_SafeLoader):  # type: ignore[misc]
    """Safe loader that refuses a repeated key; YAML lets the later one replace the earlier one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping, as ``yaml.constructor`` does.

        Raises:
            ConstructorError: a key is repeated.
        """
        keys = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # refused below
            if key in keys:
                problem = f"key {short(key)} is repeated"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
            keys.add(key)
        return dict(super().construct_mapping(node, deep))


def read_yaml(path: Path, name: str) -> Any:
    """Read a YAML file; ``name`` is its name in a message.

    Raises:
        BadInput: the file is unreadable, too large, or not YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
        if len(content) > LIMIT_BYTES:
            raise BadInput(f"{path} is no {name}", f"larger than {LIMIT_BYTES >> 20} MiB", "name another file")
        return yaml.load(content.decode("utf-8-sig"), _UniqueKeys)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the {name} {path}", str(error), "name a readable YAML file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an invalid date or number
        detail = " ".join(str(error).split())[:SHOWN_CHARACTERS]
        raise BadInput(f"{path} is not valid YAML", detail, "correct the named line") from error


def problems(error: ValidationError, name: str) -> str:
    """Return the first problems of a declaration; ``name`` is that of the whole file."""
    errors = error.errors(include_url=False)
    texts = [_problem(problem, name) for problem in errors[:SHOWN_PROBLEMS]]
    return "; ".join(texts) + f"; and {len(errors) - SHOWN_PROBLEMS} more" * (len(errors) > SHOWN_PROBLEMS)


def short(value: Any) -> str:
    """Return a representation of bounded length: aliases nest without end, and an integer may have too many digits."""
    try:
        return _SHORT.repr(value)
    except ValueError:
        return f"a number of {type(value).__name__} with too many digits"


def _problem(error: Mapping[str, Any], name: str) -> str:
    place = ".".join(map(str, error["loc"]))[:SHOWN_CHARACTERS] or name
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown key"
    return f"{place}: {error['msg'][:SHOWN_CHARACTERS]} (found: {short(error['input'])})"
