"""Files named by the hash of their content: no file is sent twice, and a damaged one is never used."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from export.common.files import PARTIAL_PREFIX, sha256_file, whole_file


@dataclass(frozen=True)
class BlobCache:
    """A folder of such files. They must never be changed in place: other folders hold hard links to them."""

    folder: Path

    def path(self, digest: str) -> Path:
        """Return the path of a file, present or not."""
        return self.folder / digest

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return the digests without a file; a damaged file is removed first."""
        return [digest for digest in digests if not self._is_valid(digest)]

    def store(self, digest: str, content: bytes) -> bool:
        """Store ``content``; return False, and store nothing, if its hash is not ``digest``."""
        if sha256(content).hexdigest() != digest:
            return False
        with whole_file(self.path(digest)) as partial:
            partial.write_bytes(content)
        return True

    def add(self, file: Path) -> str:
        """Add a file; return its digest."""
        digest = sha256_file(file)
        if not self._is_valid(digest):
            _link(file, self.path(digest))
        return digest

    def place(self, digest: str, path: Path) -> None:
        """Put the file at ``path``."""
        _link(self.path(digest), path)

    def _is_valid(self, digest: str) -> bool:
        path = self.path(digest)
        if not path.is_file():
            return False
        if sha256_file(path) == digest:
            return True
        path.unlink()
        return False


def _link(source: Path, path: Path) -> None:
    """Give a file a second name, atomically; copy it where the file system has no hard links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL_PREFIX}{path.name}-{os.getpid()}")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(path)
    partial.unlink(missing_ok=True)  # rename(2) does nothing if both names already are one file
