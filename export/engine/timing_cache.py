"""Kernel timings that TensorRT measured on a GPU, kept for the next build.

A builder times kernels on its GPU, which takes most of a build. A cache belongs to one GPU and one version of TensorRT,
so its file name has both. TensorRT-RTX times nothing.
"""

import re
from pathlib import Path

from export.common.errors import CheckFailed
from export.common.files import whole_file
from export.runtime.tensorrt_api import IBuilderConfig


def timing_cache_path(folder: Path, gpu: str, version: str) -> Path:
    """Return ``timing/Orin-8.7-10.3.0.cache`` for ``("timing", "Orin, 8.7", "10.3.0")``."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{gpu} {version}").strip("-")
    return folder / f"{name}.cache"


def use_timing_cache(config: IBuilderConfig, path: Path, errors: list[str]) -> None:
    """Begin the build with the timings of earlier builds; with none where there is no file or the builder refuses it.

    Args:
        config: the builder's configuration.
        path: file of the timings.
        errors: the logger's errors; a refused file leaves none there.

    Raises:
        CheckFailed: the builder does not take even an empty cache.
    """
    content, before = path.read_bytes() if path.is_file() else b"", len(errors)
    if config.set_timing_cache(config.create_timing_cache(content), False):
        return
    if not config.set_timing_cache(config.create_timing_cache(b""), False):
        detail = "; ".join([str(path), *errors[before:]])
        raise CheckFailed("the builder takes no timing cache", detail, "remove it and build again")
    del errors[before:]


def keep_timing_cache(config: IBuilderConfig, path: Path) -> None:
    """Write the builder's timings, whole."""
    with whole_file(path) as partial:
        partial.write_bytes(config.get_timing_cache().serialize())
