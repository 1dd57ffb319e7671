"""Files by the hash of their content: what is there already need not travel again."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from export.artifacts import PARTIAL_PREFIX, sha256_file, whole_file


@dataclass(frozen=True)
class BlobCache:
    """A folder of files that are called what they hash to."""

    folder: Path

    def path(self, digest: str) -> Path:
        """Where it lies, or would lie."""
        return self.folder / digest

    def lacking(self, digests: Iterable[str]) -> list[str]:
        """Those that are not there whole; one that has been damaged is removed."""
        return [digest for digest in digests if not self._whole(digest)]

    def store(self, digest: str, content: bytes) -> bool:
        """Keep ``content``, if it is what it is called."""
        if sha256(content).hexdigest() != digest:
            return False
        with whole_file(self.path(digest)) as partial:
            partial.write_bytes(content)
        return True

    def keep(self, file: Path) -> str:
        """Take a file into the cache, which must never be changed in its place; returns its digest."""
        digest = sha256_file(file)
        if not self._whole(digest):
            _same(file, self.path(digest), digest)
        return digest

    def place(self, digest: str, path: Path) -> None:
        """Put it at ``path``; whoever changes that must replace it, as everything here does."""
        _same(self.path(digest), path, digest)

    def _whole(self, digest: str) -> bool:
        path = self.path(digest)
        if not path.is_file():
            return False
        if sha256_file(path) == digest:
            return True
        path.unlink()
        return False


def _same(source: Path, path: Path, digest: str) -> None:
    """A second name for a file where the disk has such, and a copy where not; it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL_PREFIX}{digest}-{os.getpid()}")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(path)
    partial.unlink(missing_ok=True)  # rename(2) leaves it where both are the same file already
