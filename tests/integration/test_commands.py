"""Exit codes and JSON of ``claims``, ``inspect``, ``parity`` and ``doctor``."""

import json
from pathlib import Path
from typing import Any

import pytest

from export.common.interface import PRECISIONS
from export.model.config import load_config
from tests.export.checkpoint.test_claims import ATTO, MODELS, REPOSITORY, TABLE, TEXT
from tests.support.checkpoints import write
from tests.support.command_line import assert_three_parts, in_process
from tests.support.grid import blank_weights


def findings_of(output: str) -> list[dict[str, Any]]:
    document = json.loads(output)
    assert document["schema_version"] == "1.0"
    return list(document["claims"])


@pytest.fixture
def atto_file(tmp_path: Path) -> Path:
    return write(tmp_path / "snapshot_67.pth", blank_weights(ATTO), "bare")


def test_claims_of_all_models(tmp_path: Path) -> None:
    run = in_process("claims", "--json", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    found = findings_of(run.stdout)
    assert list(dict.fromkeys(finding["model"] for finding in found)) == MODELS
    assert {finding["outcome"] for finding in found} == {"agrees", "contradicted", "inconclusive"}
    assert len(found) == sum(len(claim.values()) for model in MODELS for claim in load_config(model).claims)


def test_claims_of_one_model(tmp_path: Path) -> None:
    as_json = in_process("claims", "S", "--json", cwd=tmp_path)
    found = findings_of(as_json.stdout)
    assert {finding["model"] for finding in found} == {"S"}
    depths = [(f["source"], f["claimed"], f["outcome"]) for f in found if f["field"] == "depth_dim"]
    assert depths == [(TEXT, 64, "contradicted"), (TEXT, 64, "contradicted"), ("public copy", 32, "agrees")]
    table = in_process("claims", "S", cwd=tmp_path)
    assert (table.returncode, table.stderr) == (0, "")
    assert "Claims against the arithmetic" in table.stdout
    for part in ("note's text", "depth_dim 64", "contradicted", "7,448,954", "mpjpe_mm 51.80", "needs images"):
        assert part in table.stdout


def test_claims_against_a_file(tmp_path: Path, atto_file: Path) -> None:
    run = in_process("claims", atto_file, "--json", cwd=tmp_path)
    found = findings_of(run.stdout)
    assert {finding["model"] for finding in found} == {"XS"}  # whose released file has this name
    by_source = {(f["source"], f["field"]): f["outcome"] for f in found}
    assert by_source[REPOSITORY, "dims"] == "agrees"
    assert by_source[TABLE, "dims"] == "contradicted"
    other = in_process("claims", atto_file, "--model", "L", cwd=tmp_path)
    assert "Claims of L, against" in other.stdout
    assert "contradicted" in other.stdout
    assert "agrees" not in other.stdout
    every = in_process("claims", atto_file, "--model", "L", "--all", cwd=tmp_path)
    assert "agrees" in every.stdout
    assert "inconclusive" in every.stdout


def test_inspect_names_every_model_that_fits_equally_well(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.pth", blank_weights(load_config("S").architecture), "bare")
    run = in_process("inspect", path, "--strict", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "XS (the nearest by shape); S fits equally well" in run.stdout


def test_inspect_is_not_sure_of_a_count_that_follows_from_a_rule(tmp_path: Path) -> None:
    """1152 channels are those of M, and of S as a source claims it, with two upsamplings."""
    path = write(tmp_path / "mine.pth", blank_weights(load_config("M").architecture), "bare")
    run = in_process("inspect", path, "--strict", cwd=tmp_path)
    assert_three_parts(run, 1)
    assert "XS and S would have 2" in run.stderr
    assert "a rule, here 3" in run.stdout
    as_s = in_process("inspect", path, "--model", "S", cwd=tmp_path)
    assert as_s.returncode == 0
    assert "declared S would have 2" in as_s.stdout
    assert in_process("inspect", path, "--model", "M", "--strict", cwd=tmp_path).returncode == 0


def test_inspect_tells_which_claims_the_file_contradicts(tmp_path: Path, atto_file: Path) -> None:
    run = in_process("inspect", atto_file, "--json", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    seen = json.loads(run.stdout)
    assert (seen["schema_version"], seen["container"], seen["model"]) == ("1.0", "torch zip", "XS")
    assert seen["counts"] == {"parameters": 3_528_008, "state_elements": 3_534_140, "macs": ATTO.macs}
    assert seen["nearest_models"] == [{"model": "XS-atto", "differs_in": []}]
    contradicted = {(c["source"], c["field"]) for c in seen["claims"] if c["outcome"] == "contradicted"}
    assert (TABLE, "parameters") in contradicted
    assert {source for source, _ in contradicted} == {TEXT, TABLE}


def test_parity_shows_what_export_measured(once_export: Path, tmp_path: Path) -> None:
    run = in_process("parity", once_export, "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert {result["precision"]: result["outcome"] for result in seen["parity"]} == dict.fromkeys(PRECISIONS, "pass")
    assert seen["traces"] == []


def test_parity_names_the_layers_of_a_trace(exported: Path, tmp_path: Path) -> None:
    run = in_process("parity", exported, "--precision", "fp16", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    record = json.loads((exported / "parity/trace-fp16.json").read_text())
    assert record["first_departure"] is None
    assert record["largest_jump"]["layer"] in run.stdout


@pytest.mark.parametrize("wrong", [("nowhere",), ("FOLDER", "--precision", "fp8"), ("FOLDER", "--precision", "fp32")])
def test_parity_refuses_what_it_cannot_trace(once_export: Path, tmp_path: Path, wrong: tuple[str, ...]) -> None:
    given = [str(once_export) if argument == "FOLDER" else argument for argument in wrong]
    assert_three_parts(in_process("parity", *given, cwd=tmp_path), 2)


def test_the_doctor_answers(tmp_path: Path) -> None:
    run = in_process("doctor", "--json", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    record = json.loads(run.stdout)
    assert record["schema_version"] == "1.1"
    assert {capability["available"] for capability in record["capabilities"]} <= {"yes", "no", "unknown"}
    shown = in_process("doctor", "--require", "run-pytorch-fp32", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    for capability in record["capabilities"]:
        assert capability["name"] in shown.stdout
    for name in ("run-tensorrt", "run-onnxruntime-bf16"):
        run = in_process("doctor", "--require", name, cwd=tmp_path)
        verdict = next(one["available"] for one in record["capabilities"] if one["name"] == name)
        if verdict != "yes":
            assert_three_parts(run, 4)
    assert_three_parts(in_process("doctor", "--require", "flying", cwd=tmp_path), 2)


def test_a_dry_run_of_all_precisions_needs_no_result_of_an_earlier_step(tmp_path: Path) -> None:
    arguments = ("export", "XS-atto", "--precision", "fp32,fp16,bf16,int8", "--with-preprocess", "--why")
    run = in_process(*arguments, "--out", "out", cwd=tmp_path, latency=True)
    assert run.returncode == 0, run.stderr
    steps = [line.split()[2] for line in run.stderr.splitlines() if "would run" in line]
    assert {"weights", "plan-int8", "onnx-int8", "parity-int8-pixels", "latency"} <= set(steps)
    assert not (tmp_path / "out").exists()
