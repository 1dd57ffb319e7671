"""What holds for all tests of the bundle."""

from pathlib import Path

import pytest

from export.bundle import write as bundle_writing
from tests.bundles import copied


@pytest.fixture
def exported(once_export: Path, tmp_path: Path) -> Path:
    """A copy of that network's export, to be changed."""
    return copied(once_export, tmp_path)


@pytest.fixture
def bundle(once_bundle: Path, tmp_path: Path) -> Path:
    """A copy of that network's bundle, to be changed."""
    return copied(once_bundle, tmp_path)


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are not run, which takes seconds: for tests of what comes before."""
    monkeypatch.setattr(bundle_writing, "verify_here", lambda folder: {"results": []})


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a bundle's builder keeps engines."""
    from pose_runtime import engine_cache

    monkeypatch.setenv(engine_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"
