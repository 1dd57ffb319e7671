"""A folder to call the command in, and the command, most often within this process."""

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from tests.integration.bad_input.refusals import Here
from tests.support.checkpoints import TINY
from tests.support.command_line import in_process


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to call the command in, with the configuration ``tiny.yaml``."""
    shapes = {name: value for name, value in asdict(TINY).items() if name not in ("upsamplings", "input_size")}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in shapes.items()}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({"name": "tiny", "backbone": "tiny", **plain}))
    return tmp_path


@pytest.fixture
def here(place: Path) -> Here:
    return lambda *arguments: in_process(*arguments, cwd=place)
