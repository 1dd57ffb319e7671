"""The audit: what sources claim against the arithmetic, and against a file."""

from dataclasses import replace
from typing import Any

import pytest

from export.checkpoint.claims import audit_by_arithmetic, audit_by_file, published_networks
from export.checkpoint.records import Finding
from export.model.architecture import Architecture
from export.model.config import Claim, ModelConfig, load_config
from tests.support.checkpoints import declared
from tests.support.grid import seen_in

TEXT, TABLE, REPOSITORY, PAPER = "note's text", "note's table", "repository's documentation", "paper"
COPY = "public copy"
MODELS = ["XS-atto", "XS", "S", "M", "L"]


def outcomes(findings: list[Finding]) -> dict[tuple[str, str], tuple[set[str], str]]:
    """(source, field) → outcomes, and by what."""
    found: dict[tuple[str, str], tuple[set[str], str]] = {}
    for finding in findings:
        seen, by = found.get((finding.source, finding.field), (set(), ""))
        found[finding.source, finding.field] = (seen | {finding.outcome}, by + finding.by)
    return found


@pytest.mark.parametrize(
    ("model", "source", "field", "outcome", "by"),
    [
        # "depth_dim 64 for all four", against the note's own counts
        ("XS", TEXT, "depth_dim", "contradicted", ["note's table", "7.45M", "depth_dim 32", "7,448,954"]),
        # the published XS against the note's count
        ("XS", REPOSITORY, "backbone", "inconclusive", ["note's table", "7.45M", "only a file can"]),
        ("L", REPOSITORY, "head_channels", "agrees", ["8.39M", "head_channels 512"]),
        # the paper's figures
        ("L", PAPER, "gflops", "agrees", ["upsamplings 3", "depth_dim 64", "4.305"]),
        ("M", PAPER, "parameters", "agrees", ["7,587,008"]),
        ("M", TEXT, "joints", "agrees", ["joints 18"]),
        # the public copy
        ("M", COPY, "upsamplings", "agrees", ["paper, gflops 2.82", "upsamplings 3"]),
        ("XS", COPY, "upsamplings", "inconclusive", ["no printed count shows it"]),
        # what arithmetic cannot know
        *((model, PAPER, "mpjpe_mm", "inconclusive", ["needs images"]) for model in MODELS),
        *((model, PAPER, "pa_mpjpe_mm", "inconclusive", ["needs images"]) for model in ("M", "L")),
    ],
)
def test_against_the_arithmetic(model: str, source: str, field: str, outcome: str, by: list[str]) -> None:
    found, reasons = outcomes(audit_by_arithmetic(load_config(model)))[source, field]
    assert found == {outcome}
    assert all(reason in reasons for reason in by), reasons


@pytest.mark.parametrize("model", MODELS)
def test_every_claim_is_judged(model: str) -> None:
    config = load_config(model)
    said = [(claim.source, field, value) for claim in config.claims for field, value in claim.values().items()]
    for findings in (audit_by_arithmetic(config), audit_by_file(config, seen_in(config, declared(model)))):
        assert [(f.source, f.field, f.claimed) for f in findings] == said
        assert all(f.model == model and f.by and f.words for f in findings)


def claiming(**said: Any) -> ModelConfig:
    claim = Claim(source="paper", words="w", **said)
    return ModelConfig(**{**load_config("M").model_dump(exclude={"claims"}), "claims": [claim]})


@pytest.mark.parametrize(
    ("gflops", "upsamplings"), [("2.82", {3}), ("4.30", {3}), ("1.90", {2}), ("2.47", {2}), ("1.75", {2})]
)
def test_a_published_figure_fits_one_count_of_upsamplings_only(gflops: str, upsamplings: set[int]) -> None:
    [finding] = audit_by_arithmetic(claiming(gflops=gflops, backbone="Femto-L", joints=18))[-1:]
    assert (finding.field, finding.outcome) == ("gflops", "agrees")
    assert f"upsamplings {min(upsamplings)}" in finding.by
    fitting = [a for a in published_networks() if a.backbone == "Femto-L" and f"{a.macs / 1e9:.2f}" == gflops]
    assert {a.upsamplings for a in fitting if a.joints == 18} == upsamplings


@pytest.mark.parametrize(
    ("printed", "outcome"),
    [
        *((printed, "agrees") for printed in ("7.59M", "7.60M", "7587008", "7596986")),
        *((printed, "contradicted") for printed in ("7.58M", "7.61M", "7587009", "7")),
    ],
)
def test_counts_are_of_parameters_or_all_elements_to_the_printed_digit(printed: str, outcome: str) -> None:
    config = claiming(parameters=printed)
    [finding] = audit_by_file(config, seen_in(config, declared("M")))
    assert finding.outcome == outcome
    assert "7,587,008 parameters, 7,596,986 state elements" in finding.by


def test_a_count_of_no_network_is_contradicted_with_the_nearest_one() -> None:
    *_, finding = audit_by_arithmetic(claiming(backbone="Femto-L", parameters="9.99M"))
    assert finding.outcome == "contradicted"
    assert "no network of the claimed structure has it" in finding.by
    assert "nearest: backbone Femto-L, head_channels 512" in finding.by


def test_without_a_count_structure_cannot_be_judged() -> None:
    assert {f.outcome for f in audit_by_arithmetic(claiming(backbone="Atto", depth_dim=64))} == {"inconclusive"}


# ── against a file ───────────────────────────────────────────────────────────────────────────────────────────────────

ATTO = declared("XS-atto")


@pytest.mark.parametrize(
    ("architecture", "contradicted"),
    [
        (declared("M"), set()),
        (
            declared("S"),
            {(TEXT, "depth_dim"), (COPY, "depth_dim"), *((source, "parameters") for source in (TABLE, PAPER, COPY))},
        ),
        (
            replace(declared("M"), joints=21),
            {(TEXT, "joints"), *((source, "parameters") for source in (TABLE, PAPER, COPY))},
        ),
    ],
    ids=["as claimed", "depth_dim 32", "21 joints"],
)
def test_claims_of_m_against_files(architecture: Architecture, contradicted: set[tuple[str, str]]) -> None:
    config = load_config("M")
    found = outcomes(audit_by_file(config, seen_in(config, architecture)))
    assert {claim for claim, (seen, _) in found.items() if "contradicted" in seen} == contradicted
    assert found[PAPER, "gflops"][0] == found[PAPER, "mpjpe_mm"][0] == {"inconclusive"}
    assert "weights do not show upsamplings" in found[PAPER, "gflops"][1]


def test_what_was_only_said_proves_nothing() -> None:
    config = load_config("M")
    found = outcomes(audit_by_file(config, seen_in(config, declared("M"), {"joints": 36})))
    assert found[TEXT, "joints"][0] == found[TEXT, "depth_dim"][0] == {"inconclusive"}
    assert "used is 36 (command line)" in found[TEXT, "joints"][1]
