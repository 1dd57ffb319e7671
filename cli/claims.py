"""``convnextpose claims``: what the sources say of the models, checked."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson


def command(
    subject: Annotated[str | None, typer.Argument(metavar="[MODEL | CHECKPOINT]", help="Left out: all models.")] = None,
    model: Annotated[str | None, typer.Option(help="For a file: whose claims to check.")] = None,
    as_json: AsJson = False,
) -> None:
    """Audit every source's claims against the arithmetic, or against a file."""
    import json
    import os
    from dataclasses import asdict

    from cli.render import tables as render
    from export.checkpoint.claims import audit_by_arithmetic
    from export.common.errors import BadInput
    from export.model.config import declared_models, load_config

    if subject is not None and subject not in declared_models() and os.path.exists(subject) and not _is_yaml(subject):
        from export.checkpoint.inspection import inspect_checkpoint

        findings = inspect_checkpoint(Path(subject), model, {})["claims"]
        title = f"Claims of {findings[0]['model']}, against {subject}" if findings else "The model makes no claims"
    else:
        if model is not None:
            raise BadInput("--model is for a file", f"{subject or 'no subject'}", "leave it out, or name a checkpoint")
        if subject is not None and Path(subject).suffix and not _is_yaml(subject) and subject not in declared_models():
            raise BadInput("there is no such model and no such file", subject, "name a declared model or a checkpoint")
        names = [subject] if subject is not None else declared_models()
        findings = [asdict(finding) for name in names for finding in audit_by_arithmetic(load_config(name))]
        title = "Claims against the arithmetic"
    if as_json:
        print(json.dumps({"schema_version": "1.0", "claims": findings}, indent=2))
    else:
        render.claims(findings, title)


def _is_yaml(subject: str) -> bool:
    return subject.endswith((".yaml", ".yml"))
