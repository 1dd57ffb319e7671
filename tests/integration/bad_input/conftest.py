"""The command, within this process."""

from pathlib import Path

import pytest

from tests.integration.bad_input.refusals import Here
from tests.support.command_line import in_process


@pytest.fixture
def here(place: Path) -> Here:
    return lambda *arguments: in_process(*arguments, cwd=place)
