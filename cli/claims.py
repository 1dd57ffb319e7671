"""``convnextpose claims``: audit published claims about the models."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson


def command(
    target: Annotated[str | None, typer.Argument(metavar="[MODEL | CHECKPOINT]", help="By default all models.")] = None,
    model: Annotated[str | None, typer.Option(help="For a checkpoint: the model that makes the claims.")] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="For a checkpoint: also the claims that it does not contradict.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every source's claims by arithmetic, or against a checkpoint."""
    import json
    import os
    from dataclasses import asdict

    from cli.render.checkpoint import print_claims, print_contradicted
    from export.checkpoint.claims import audit_by_arithmetic
    from export.common.errors import BadInput
    from export.model.config import declared_models, load_config

    is_file = target is not None and target not in declared_models() and os.path.exists(target) and not _is_yaml(target)
    if target is not None and is_file:
        from export.checkpoint.inspection import inspect_checkpoint

        findings = inspect_checkpoint(Path(target), model, {}).record.claims
        title = f"Claims of {findings[0].model}, against {target}" if findings else "The model makes no claims"
    else:
        if model is not None:
            raise BadInput("--model is for a file", f"{target or 'no target'}", "leave it out, or name a checkpoint")
        if target is not None and Path(target).suffix and not _is_yaml(target) and target not in declared_models():
            raise BadInput("there is no such model and no such file", target, "name a declared model or a checkpoint")
        names = [target] if target is not None else declared_models()
        findings = tuple(finding for name in names for finding in audit_by_arithmetic(load_config(name)))
        title = "Claims against the arithmetic"
    if as_json:
        print(json.dumps({"schema_version": "1.0", "claims": [asdict(finding) for finding in findings]}, indent=2))
    else:
        if is_file and not show_all:
            print_contradicted(findings, title)
        else:
            print_claims(findings, title)


def _is_yaml(path: str) -> bool:
    return path.endswith((".yaml", ".yml"))
