"""Fixtures of all tests of the bundle."""

from pathlib import Path

import pytest

from export.bundle import write as bundle_writing


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the verification of bundles that are written, which takes seconds."""
    monkeypatch.setattr(bundle_writing, "prove_bundle", lambda folder: ())


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which a bundle's builder stores engines."""
    from pose_runtime import engine_cache

    monkeypatch.setenv(engine_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"
