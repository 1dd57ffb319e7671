"""All that can be said of one checkpoint, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from export.checkpoint import read_checkpoint
from export.claims import audit_by_file
from export.config import declared_models, load_config
from export.evidence import floating_dtypes
from export.verdict import judge, nearest_models

SCHEMA_VERSION = "1.0"
FALLBACK_MODEL = "L"


def inspect_checkpoint(path: Path, model: str | None, overrides: Mapping[str, int]) -> dict[str, Any]:
    """Container, verdict, counts and audited claims.

    Without ``model`` the file is compared with the declared model whose released file has this name,
    otherwise with the nearest one.

    Raises:
        BadInput: the file cannot be read, is another network, or contradicts itself.
    """
    checkpoint = read_checkpoint(path)
    chosen_by = "asked for"
    if model is None:
        model, chosen_by = model_by_name(path), "by its file name"
    if model is None:
        architecture = judge(load_config(FALLBACK_MODEL), checkpoint, overrides).architecture
        model, chosen_by = nearest_models(architecture)[0].model, "the nearest by shape"
    config = load_config(model)
    verdict = judge(config, checkpoint, overrides)
    return {
        "schema_version": SCHEMA_VERSION,
        "path": str(path),
        "sha256": checkpoint.sha256,
        "container": checkpoint.container,
        "location": checkpoint.location or None,
        "epoch": checkpoint.epoch,
        "dtypes": floating_dtypes(checkpoint),
        "model": config.name,
        "chosen_by": chosen_by,
        **verdict.as_json(),
        "claims": [asdict(finding) for finding in audit_by_file(config, verdict)],
    }


def model_by_name(path: Path) -> str | None:
    """The declared model whose released file or folder is called like ``path``."""
    for name in reversed(declared_models()):  # XS before XS-atto: both expect the same file
        if path.name in {spelling for file in load_config(name).files for spelling in (file, Path(file).stem)}:
            return name
    return None
