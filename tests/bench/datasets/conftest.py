"""Small datasets: sound ones, and copies to spoil."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.bench.datasets.readers import READERS
from tests.support.tiny_datasets import Truth


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Truth]]]:
    """Sound datasets, which no test changes."""
    folders = {name: tmp_path_factory.mktemp(name) for name in READERS}
    return {name: (folder, READERS[name][0](folder)) for name, folder in folders.items()}


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest, written: dict[str, Any]) -> Path:
    """A copy to spoil; the test's parameter says of which dataset."""
    return Path(shutil.copytree(written[request.param][0], tmp_path / "dataset"))
