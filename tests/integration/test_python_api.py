"""The example of the package's docstring runs as it is."""

import doctest
from pathlib import Path

import pytest

import export


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(export)
    assert (results.failed, results.attempted) == (0, 5)
    assert (tmp_path / "build/XS-atto/manifest.json").is_file()
