"""YAML loader for declarations."""

from typing import Any

import yaml

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser, where PyYAML was built with it, is ten times as fast."""


class UniqueKeys(_SafeLoader):  # type: ignore[misc]
    """Safe loader that refuses a repeated key; YAML lets the later one replace the earlier one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping, as ``yaml.constructor`` does.

        Raises:
            ConstructorError: a key is repeated.
        """
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is repeated", node.start_mark)
        return dict(super().construct_mapping(node, deep))
