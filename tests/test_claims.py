"""The audit: what sources claim against the arithmetic, and against a file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.architecture import Architecture
from export.claims import Finding, audit_by_arithmetic, audit_by_file, published_networks
from export.config import Claim, ModelConfig, load_config
from tests.checkpoints import declared, write
from tests.command_line import convnextpose, convnextpose_here
from tests.grid import blank_weights, seen_in

TEXT, TABLE, REPOSITORY, PAPER = "note's text", "note's table", "repository's documentation", "paper"
MODELS = ["XS-atto", "XS", "S", "M", "L"]


def outcomes(findings: list[Finding]) -> dict[tuple[str, str], tuple[set[str], str]]:
    """(source, field) → outcomes, and by what."""
    told: dict[tuple[str, str], tuple[set[str], str]] = {}
    for finding in findings:
        seen, by = told.get((finding.source, finding.field), (set(), ""))
        told[finding.source, finding.field] = (seen | {finding.outcome}, by + finding.by)
    return told


@pytest.mark.parametrize(
    ("model", "source", "field", "outcome", "by"),
    [
        # "depth_dim 64 for all four", against the note's own counts
        ("XS", TEXT, "depth_dim", "contradicted", ["note's table", "7.45M", "depth_dim 32", "7,448,954"]),
        ("S", TEXT, "depth_dim", "contradicted", ["note's table", "7.45M", "depth_dim 32", "7,448,954"]),
        ("M", TEXT, "depth_dim", "agrees", ["note's table", "7.60M", "depth_dim 64", "7,596,986"]),
        ("L", TEXT, "depth_dim", "agrees", ["note's table", "8.39M", "depth_dim 64", "8,391,354"]),
        # the published XS against the note's count
        ("XS", REPOSITORY, "backbone", "cannot tell", ["note's table", "7.45M", "only a file can"]),
        ("XS", REPOSITORY, "depths", "cannot tell", ["7.45M"]),
        ("XS", REPOSITORY, "dims", "cannot tell", ["7.45M"]),
        ("XS", REPOSITORY, "head_channels", "cannot tell", ["7.45M"]),
        ("XS", TEXT, "backbone", "agrees", ["7.45M", "Femto-L"]),
        ("S", REPOSITORY, "backbone", "agrees", ["7.45M", "Femto-L"]),
        ("L", REPOSITORY, "head_channels", "agrees", ["8.39M", "head_channels 512"]),
        # the paper's figures
        ("M", PAPER, "gflops", "agrees", ["upsamplings 3", "depth_dim 64", "2.819"]),
        ("L", PAPER, "gflops", "agrees", ["upsamplings 3", "depth_dim 64", "4.305"]),
        ("M", PAPER, "parameters", "agrees", ["7,587,008"]),
        ("L", PAPER, "parameters", "agrees", ["8,380,352"]),
        ("M", TABLE, "parameters", "agrees", ["7,596,986"]),
        ("S", TABLE, "parameters", "agrees", ["7,448,954"]),
        ("M", TEXT, "joints", "agrees", ["joints 18"]),
        # what arithmetic cannot know
        *((model, PAPER, "mpjpe_mm", "cannot tell", ["needs images"]) for model in MODELS),
        *((model, PAPER, "pa_mpjpe_mm", "cannot tell", ["needs images"]) for model in ("M", "L")),
    ],
)
def test_against_the_arithmetic(model: str, source: str, field: str, outcome: str, by: list[str]) -> None:
    found, reasons = outcomes(audit_by_arithmetic(load_config(model)))[source, field]
    assert found == {outcome}
    assert all(reason in reasons for reason in by), reasons


@pytest.mark.parametrize("model", MODELS)
def test_every_claim_is_judged(model: str) -> None:
    config = load_config(model)
    said = [(claim.source, field, value) for claim in config.claims for field, value in claim.said().items()]
    for findings in (audit_by_arithmetic(config), audit_by_file(config, seen_in(config, declared(model)))):
        assert [(f.source, f.field, f.claimed) for f in findings] == said
        assert all(f.model == model and f.by and f.words for f in findings)


def claiming(**said: Any) -> ModelConfig:
    claim = Claim(source="paper", words="w", **said)
    return ModelConfig(**{**load_config("M").model_dump(exclude={"claims"}), "claims": [claim]})


@pytest.mark.parametrize(
    ("gflops", "upsamplings"),
    [("2.82", {3}), ("4.30", {3}), ("1.90", {2}), ("2.47", {2}), ("1.75", {2})],
)
def test_a_published_figure_fits_one_count_of_upsamplings_only(gflops: str, upsamplings: set[int]) -> None:
    [finding] = audit_by_arithmetic(claiming(gflops=gflops, backbone="Femto-L", joints=18))[-1:]
    assert (finding.field, finding.outcome) == ("gflops", "agrees")
    assert f"upsamplings {min(upsamplings)}" in finding.by
    fitting = [a for a in published_networks() if a.backbone == "Femto-L" and f"{a.macs / 1e9:.2f}" == gflops]
    assert {a.upsamplings for a in fitting if a.joints == 18} == upsamplings


@pytest.mark.parametrize("printed", ["7.59M", "7.60M", "7.587M", "7587008", "7.597M", "7596986"])
def test_counts_may_mean_parameters_or_all_elements(printed: str) -> None:
    config = claiming(parameters=printed)
    [finding] = audit_by_file(config, seen_in(config, declared("M")))
    assert finding.outcome == "agrees"


@pytest.mark.parametrize("printed", ["7.58M", "7.61M", "7.588M", "7587009", "7.45M", "7"])
def test_counts_are_compared_to_the_printed_digit(printed: str) -> None:
    config = claiming(parameters=printed)
    [finding] = audit_by_file(config, seen_in(config, declared("M")))
    assert finding.outcome == "contradicted"
    assert "7,587,008 parameters, 7,596,986 state elements" in finding.by


def test_a_count_of_no_network_is_contradicted_with_the_nearest_one() -> None:
    *_, finding = audit_by_arithmetic(claiming(backbone="Femto-L", parameters="9.99M"))
    assert finding.outcome == "contradicted"
    assert "no network of the claimed structure has it" in finding.by
    assert "nearest: backbone Femto-L, head_channels 512" in finding.by


def test_without_a_count_structure_cannot_be_judged() -> None:
    assert {f.outcome for f in audit_by_arithmetic(claiming(backbone="Atto", depth_dim=64))} == {"cannot tell"}


# ── against a file ───────────────────────────────────────────────────────────────────────────────────────────────────

ATTO = declared("XS-atto")


@pytest.mark.parametrize("model", ["XS", "XS-atto"])
def test_an_atto_file_agrees_with_the_repository_and_contradicts_the_note(model: str) -> None:
    config = load_config(model)
    told = outcomes(audit_by_file(config, seen_in(config, ATTO)))
    for field in ("backbone", "depths", "dims", "head_channels"):
        assert told[REPOSITORY, field][0] == {"agrees"}
        assert told[TEXT, field][0] == {"contradicted"}
    assert told[TABLE, "backbone"][0] == told[TABLE, "parameters"][0] == {"contradicted"}
    assert "3,528,008 parameters, 3,534,140 state elements" in told[TABLE, "parameters"][1]
    assert told[TEXT, "depth_dim"][0] == {"contradicted"}
    assert told[TEXT, "joints"][0] == {"agrees"}


@pytest.mark.parametrize(
    ("architecture", "contradicted"),
    [
        (declared("M"), set()),
        (declared("S"), {(TEXT, "depth_dim"), (TABLE, "parameters"), (PAPER, "parameters")}),
        (replace(declared("M"), joints=21), {(TEXT, "joints"), (TABLE, "parameters"), (PAPER, "parameters")}),
    ],
    ids=["as claimed", "depth_dim 32", "21 joints"],
)
def test_claims_of_m_against_files(architecture: Architecture, contradicted: set[tuple[str, str]]) -> None:
    config = load_config("M")
    told = outcomes(audit_by_file(config, seen_in(config, architecture)))
    assert {claim for claim, (seen, _) in told.items() if "contradicted" in seen} == contradicted
    assert told[PAPER, "gflops"][0] == told[PAPER, "mpjpe_mm"][0] == {"cannot tell"}
    assert "weights do not show upsamplings" in told[PAPER, "gflops"][1]


def test_what_was_only_said_proves_nothing() -> None:
    config = load_config("M")
    told = outcomes(audit_by_file(config, seen_in(config, declared("M"), {"joints": 36})))
    assert told[TEXT, "joints"][0] == told[TEXT, "depth_dim"][0] == {"cannot tell"}
    assert "used is 36 (command line)" in told[TEXT, "joints"][1]


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────


def findings_of(output: str) -> list[dict[str, Any]]:
    document = json.loads(output)
    assert document["schema_version"] == "1.0"
    return list(document["claims"])


@pytest.fixture
def atto_file(tmp_path: Path) -> Path:
    return write(tmp_path / "snapshot_67.pth", blank_weights(ATTO), "bare")


def test_claims_of_all_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = convnextpose_here(monkeypatch, capsys, "claims", "--json", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    found = findings_of(run.stdout)
    assert list(dict.fromkeys(finding["model"] for finding in found)) == MODELS
    assert {finding["outcome"] for finding in found} == {"agrees", "contradicted", "cannot tell"}
    assert len(found) == sum(len(claim.said()) for model in MODELS for claim in load_config(model).claims)


def test_claims_of_one_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_json = convnextpose_here(monkeypatch, capsys, "claims", "S", "--json", cwd=tmp_path)
    found = findings_of(as_json.stdout)
    assert {finding["model"] for finding in found} == {"S"}
    assert [f["outcome"] for f in found if f["field"] == "depth_dim"] == ["contradicted", "contradicted"]
    table = convnextpose_here(monkeypatch, capsys, "claims", "S", cwd=tmp_path)
    assert (table.returncode, table.stderr) == (0, "")
    assert "Claims against the arithmetic" in table.stdout
    for part in ("note's text", "depth_dim 64", "contradicted", "7,448,954", "mpjpe_mm 51.80", "needs images"):
        assert part in table.stdout


def test_claims_against_a_file(
    tmp_path: Path, atto_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = convnextpose_here(monkeypatch, capsys, "claims", atto_file, "--json", cwd=tmp_path)
    found = findings_of(run.stdout)
    assert {finding["model"] for finding in found} == {"XS"}  # whose released file has this name
    by_source = {(f["source"], f["field"]): f["outcome"] for f in found}
    assert by_source[REPOSITORY, "dims"] == "agrees"
    assert by_source[TABLE, "dims"] == "contradicted"
    other = convnextpose_here(monkeypatch, capsys, "claims", atto_file, "--model", "L", cwd=tmp_path)
    assert "Claims of L, against" in other.stdout


def test_claims_in_a_process_of_its_own(tmp_path: Path) -> None:
    run = convnextpose("claims", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    for model in MODELS:
        assert f"\n{model} " in run.stdout


def test_inspect_tells_which_claims_the_file_contradicts(
    tmp_path: Path, atto_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = convnextpose_here(monkeypatch, capsys, "inspect", atto_file, "--json", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    seen = json.loads(run.stdout)
    assert (seen["schema_version"], seen["container"], seen["model"]) == ("1.0", "torch zip", "XS")
    assert seen["counts"] == {"parameters": 3_528_008, "state_elements": 3_534_140, "macs": ATTO.macs}
    assert seen["nearest_models"] == [{"model": "XS-atto", "differs_in": []}]
    contradicted = {(c["source"], c["field"]) for c in seen["claims"] if c["outcome"] == "contradicted"}
    assert (TABLE, "parameters") in contradicted
    assert {source for source, _ in contradicted} == {TEXT, TABLE}
