"""Test locks between processes."""

from pathlib import Path

import pytest
from filelock import FileLock

from export.common import locks


def test_unwritable_lock_of_another_user_is_locked_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    class Denied:
        def __init__(self, _: Path) -> None: ...

        def acquire(self, timeout: float) -> None:
            raise PermissionError(13, "Permission denied")

    path = tmp_path / ".lock"
    monkeypatch.setattr(locks, "FileLock", Denied)
    with FileLock(path):
        assert locks.is_locked(path)
    assert not locks.is_locked(path)
    assert not locks.is_locked(tmp_path / "none")
