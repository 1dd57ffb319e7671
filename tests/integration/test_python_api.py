"""The example of the package's docstring runs as it is, with a small network in place of XS-atto."""

import doctest
from pathlib import Path

import pytest

import export
from export.model.config import load_config
from tests.support.command_line import FEW_IMAGES
from tests.support.tiny_export import tiny_config


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(str(tiny_config(tmp_path))).model_copy(update={"name": "XS-atto"})
    monkeypatch.setattr("export.model.config.load_config", {"XS-atto": config}.__getitem__)
    monkeypatch.setattr("export.parity.images.COUNT", FEW_IMAGES)
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(export)
    assert (results.failed, results.attempted) == (0, 5)
    assert (tmp_path / "build/XS-atto/manifest.json").is_file()
