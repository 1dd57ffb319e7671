"""A folder as one zip file whose bytes depend on the folder's contents alone.

Nothing is compressed: weights hardly shrink (S's four precisions by a tenth), and what a compressor writes differs
between its versions. Order, times and permissions are fixed.
"""

import shutil
import zipfile
from pathlib import Path

from export.common.files import whole_file

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip file can hold."""
UNIX = 3
PLAIN, EXECUTABLE = 0o100644, 0o100755


def write_archive(folder: Path, archive: Path) -> None:
    """Write ``archive`` with everything in ``folder``, under the folder's name.

    Raises:
        BadInput: it cannot be written.
    """
    with whole_file(archive) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as made:
        for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
            path = folder / name
            entry = zipfile.ZipInfo(f"{folder.name}/{name}", EPOCH)
            entry.create_system = UNIX
            entry.external_attr = (EXECUTABLE if path.stat().st_mode & 0o100 else PLAIN) << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, made.open(entry, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
