"""Files named by the hash of their content, so that no file is sent twice and none is used damaged."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from export.common.files import PARTIAL_PREFIX, sha256_file, whole_file


@dataclass(frozen=True)
class BlobCache:
    """A folder of such files."""

    folder: Path

    def path(self, digest: str) -> Path:
        """Return where the file is, or would be."""
        return self.folder / digest

    def read(self, digest: str) -> bytes:
        """Return the file's content.

        Raises:
            OSError: it cannot be read.
        """
        return self.path(digest).read_bytes()

    def lacking(self, digests: Iterable[str]) -> list[str]:
        """Return those that are missing; a damaged one is removed first."""
        return [digest for digest in digests if not self._is_whole(digest)]

    def store(self, digest: str, content: bytes) -> bool:
        """Store ``content``, unless its hash is another than ``digest``."""
        if sha256(content).hexdigest() != digest:
            return False
        with whole_file(self.path(digest)) as partial:
            partial.write_bytes(content)
        return True

    def add(self, file: Path) -> str:
        """Add a file, which must never be changed in place afterwards; return its digest."""
        digest = sha256_file(file)
        if not self._is_whole(digest):
            _link(file, self.path(digest))
        return digest

    def place(self, digest: str, path: Path) -> None:
        """Put the file at ``path``, which must never be changed in place."""
        _link(self.path(digest), path)

    def _is_whole(self, digest: str) -> bool:
        path = self.path(digest)
        if not path.is_file():
            return False
        if sha256_file(path) == digest:
            return True
        path.unlink()
        return False


def _link(source: Path, path: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links; it appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{PARTIAL_PREFIX}{path.name}-{os.getpid()}")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(path)
    partial.unlink(missing_ok=True)  # rename(2) does nothing where both names are of one file already
