"""What TensorRT has learnt about kernels on a GPU, kept for the next build.

A builder times kernels on the GPU that it builds for, which takes most of a build. The cache is of one GPU and one
version of TensorRT, so its name says both. TensorRT-RTX keeps none: there it does nothing but look for a GPU.
"""

import re
from pathlib import Path

from export.common.errors import CheckFailed
from export.common.files import whole_file
from export.runtime.tensorrt_api import IBuilderConfig


def timing_cache_path(folder: Path, gpu: str, version: str) -> Path:
    """``("timing", "Orin, 8.7, 8 multiprocessors", "10.3.0")`` → ``timing/Orin-8.7-8-multiprocessors-10.3.0.cache``."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{gpu} {version}").strip("-")
    return folder / f"{name}.cache"


def use_timing_cache(config: IBuilderConfig, path: Path, errors: list[str]) -> None:
    """Let the build begin with what earlier builds have learnt; an empty cache if there is none, or it is refused.

    ``errors`` are what the builder's logger has heard. A refusal that an empty cache mends is none of the build's.

    Raises:
        CheckFailed: the builder does not take even an empty one.
    """
    known, before = path.read_bytes() if path.is_file() else b"", len(errors)
    if config.set_timing_cache(config.create_timing_cache(known), False):
        return
    if not config.set_timing_cache(config.create_timing_cache(b""), False):
        seen = "; ".join([str(path), *errors[before:]])
        raise CheckFailed("the builder takes no timing cache", seen, "remove it and build again")
    del errors[before:]


def keep_timing_cache(config: IBuilderConfig, path: Path) -> None:
    """Write what the builder knows now, whole."""
    with whole_file(path) as partial:
        partial.write_bytes(config.get_timing_cache().serialize())
