"""Checks of an engine file against its record and this machine, before it is loaded.

TensorRT answers an unsuitable file with None and a line in its log, or, without a driver, with a crash.
"""

from pathlib import Path

from export.common.errors import BadInput, NotPossible
from export.common.files import sha256_file
from export.engine.record import EngineRecord, beside, read_engine_record
from export.runtime.engine_file import HEADER_BYTES, PRODUCTS, Product, wrong_gpu, wrong_version
from export.runtime.gpu import Gpu

REBUILD = "build the engine again: convnextpose export, or the commands of recipe.md"


def check_engine(path: Path, product: Product) -> EngineRecord:
    """Compare an engine with its record, and return the record.

    Raises:
        BadInput: no engine, another runtime's, without a record, truncated, or changed since it was built.
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        size = path.stat().st_size
    except OSError as error:
        raise BadInput(f"cannot read the engine {path}", error.strerror or str(error), REBUILD) from error
    builder = next((other for other in PRODUCTS.values() if other.magic == header[:4]), None)
    if builder is None:
        raise BadInput(f"{path} is no engine", f"it begins with {header[:4]!r}", REBUILD)
    if builder != product:
        advice = f"run it with --runtime {builder.option}, or build one for {product.name}"
        raise BadInput(f"{path} is an engine of {builder.name}, not of {product.name}", f"magic {header[:4]!r}", advice)
    record = read_engine_record(beside(path, ".json"))
    version = ".".join(str(byte) for byte in header[24:HEADER_BYTES])
    if len(header) < HEADER_BYTES or size != record.size_bytes:
        raise BadInput(f"{path} is truncated", f"{size} bytes in place of {record.size_bytes}", REBUILD)
    if (record.runtime, record.plan_version) != (product.module, version):
        detail = f"{record.runtime} {record.plan_version} in the record, {product.module} {version} in the file"
        raise BadInput(f"{path} does not match its record", detail, REBUILD)
    if sha256_file(path) != record.engine_sha256:
        raise BadInput(f"{path} does not match its record", "another sha256", REBUILD)
    return record


def require_version(path: Path, record: EngineRecord, product: Product, installed: str) -> None:
    """Check that the installed library loads engines of the version in the record and in the file's header.

    Raises:
        NotPossible: it does not.
    """
    for version in (record.package_version, record.plan_version):
        reason = wrong_version(product, version, installed, compatible=record.version_compatible)
        if reason:
            raise NotPossible(f"{path} needs another {product.name}", reason, f"install that version, or {REBUILD}")


def require_gpu(path: Path, record: EngineRecord, gpu: Gpu) -> None:
    """Check that the engine was built for this GPU.

    Raises:
        NotPossible: it was built for another.
    """
    reason = wrong_gpu(gpu, record.targets, record.gpu, hardware_compatible=record.hardware_compatible)
    if reason:
        advice = f"on this machine {REBUILD}"
        if record.targets:
            advice = f"build it with --targets {gpu.compute_capability}, or use TensorRT if TensorRT-RTX lacks this GPU"
        raise NotPossible(f"{path} was not built for this GPU", reason, advice)
