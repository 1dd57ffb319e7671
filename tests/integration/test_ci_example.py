"""Workflows of docs/how-to/ci-gate.md: valid YAML with command lines that this version understands."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command_line import ROOT
from tests.support.documentation import commands, parse

DOCUMENT = (ROOT / "docs/how-to/ci-gate.md").read_text(encoding="utf-8")
WORKFLOWS: list[dict[Any, Any]] = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S)]


def steps(workflow: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def all_commands() -> list[list[str]]:
    scripts = [step["run"] for workflow in WORKFLOWS for step in steps(workflow) if "run" in step]
    inline = re.findall(r"`(convnextpose [^`]+)`", DOCUMENT)
    return [command for text in scripts + [one for one in inline if len(one.split()) > 2] for command in commands(text)]


def test_there_are_two_workflows_with_commands() -> None:
    assert [workflow["name"] for workflow in WORKFLOWS] == ["gate", "jetson"]
    seen = {tuple(command[:2]) for command in all_commands()}
    assert seen >= {("convnextpose", verb) for verb in ("bench", "compare", "doctor")}
    assert seen >= {("make", "export"), ("make", "setup")}


@pytest.mark.parametrize("command", all_commands(), ids=" ".join)
def test_every_command_is_understood(command: list[str]) -> None:
    parse(command)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda of: str(of["name"]))
def test_a_workflow_is_what_the_runner_expects(workflow: dict[Any, Any]) -> None:
    assert workflow[True]  # YAML 1.1 reads `on` so; the runner does not
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert job["timeout-minutes"] > 0
    for step in steps(workflow):
        assert ("run" in step) != ("uses" in step), step
        assert "uses" not in step or re.fullmatch(r"[\w/-]+@v\d+", step["uses"])
    uploaded = [step["with"]["path"] for step in steps(workflow) if "upload-artifact" in step.get("uses", "")]
    assert ["bench/result.json" in path for path in uploaded] == [True]


@pytest.mark.parametrize("exit_code", range(5))
def test_undecided_and_refused_are_neutral_and_the_rest_is_not(tmp_path: Path, exit_code: int) -> None:
    """Each script that maps exit codes is run as the runner runs it, with a gate that ends as it is told."""
    fake = tmp_path / ".venv/bin/convnextpose"
    fake.parent.mkdir(parents=True)
    fake.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    fake.chmod(0o755)
    (tmp_path / "base/S").mkdir(parents=True)
    scripts = [step["run"] for workflow in WORKFLOWS for step in steps(workflow) if "case" in step.get("run", "")]
    assert len(scripts) == 2
    for script in scripts:
        run = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=tmp_path,
            env={"MODEL": "S", "PATH": "/usr/bin:/bin", "GITHUB_OUTPUT": str(tmp_path / "output")},
            capture_output=True,
            text=True,
            check=False,
        )
        neutral = exit_code in (3, 4)
        assert run.returncode == (0 if neutral else exit_code)
        assert ("::warning::" in run.stdout) == neutral
    assert (tmp_path / "output").is_file() == (exit_code == 0)  # only what passed is the next baseline
