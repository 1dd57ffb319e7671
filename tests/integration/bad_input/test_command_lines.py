"""Command lines that cannot be meant, and declarations that weights refute."""

from pathlib import Path

import pytest

from tests.integration.bad_input.refusals import Here, assert_refused, left_in
from tests.support import bad_files as bad
from tests.support.command_line import assert_three_parts

EXPORT_TINY = ("export", "tiny.yaml", "--checkpoint", "good", "--out", "build")
INSPECT = ("inspect", "good", "--model", "tiny.yaml")


def with_set(*settings: str, command: tuple[str, ...] = INSPECT) -> tuple[str, ...]:
    return (*command, *(part for setting in settings for part in ("--set", setting)))


COMMAND_LINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown model": (("export", "l"), ("unknown model", "'l'; declared are XS-atto", "did you mean L?")),
    "hostile model name": (("export", "../x"), ("unknown model", r"'\.\./x'")),
    "endless name to claims": (("claims", "x" * 300), ("unknown model|cannot read",)),
    "missing configuration": (("export", "mine.yaml"), ("cannot read the configuration mine.yaml", "No such file")),
    "unknown precision": ((*EXPORT_TINY, "--precision", "fp64"), ("unknown precision", "fp64", "fp32")),
    "no precision": ((*EXPORT_TINY, "--precision", ","), ("unknown precision",)),
    "unknown field": (with_set("width=3"), ("does not know this field", "width=3", "joints, depth_dim, upsamplings")),
    "field that weights show": (with_set("dims=3"), ("--set dims is refused", "weights show this field")),
    "word": (with_set("joints=many"), ("--set joints needs a whole number", "joints=many", "from 1 to")),
    "fraction": (with_set("upsamplings=2.5"), ("needs a whole number", "from 0 to 3")),
    "too large": (with_set("upsamplings=4"), ("needs a whole number", "from 0 to 3")),
    "foreign digits": (with_set("joints=١٨"), ("needs a whole number",)),
    "endless": (with_set("joints=" + "9" * 5000), ("needs a whole number",)),
    "twice": (with_set("upsamplings=2", "upsamplings=3"), ("--set upsamplings is given twice", "one value")),
    "product": (with_set("depth_dim=64", "joints=18"), ("contradicts the weights", "576 channels", "product 576")),
    "depth_dim that does not divide": (with_set("depth_dim=50"), ("depth_dim=50 contradicts the weights", "576")),
    "depth_dim with unknown joints": (with_set("depth_dim=64"), ("would mean 9 joints", "18, 21", "joints=9")),
    "input_size": (with_set("input_size=250"), ("input_size is not possible", "multiple of 64")),
    "export: product": (with_set("depth_dim=64", "joints=18", command=EXPORT_TINY), ("contradicts the weights",)),
    "bench: budget without end": (
        ("bench", "good", "--budget", "inf"),
        ("--budget is not possible", "inf", "at least 1"),
    ),
    "bench: budget of nan": (("bench", "good", "--budget", "nan"), ("--budget is not possible", "nan")),
    "bench: budget too short": (("bench", "good", "--budget", "0.5"), ("--budget is not possible", "0.5")),
    "bench: precision of nan": (
        ("bench", "good", "--precision-wanted", "nan"),
        ("--precision-wanted is not possible", "nan", "from 0.0005 to 0.5"),
    ),
    "bench: precision too wide": (("bench", "good", "--precision-wanted", "0.6"), ("--precision-wanted", "0.6")),
    "bench: deadline of nan": (("bench", "good", "--deadline", "nan"), ("--deadline needs", "nan")),
    "fleet: wait of nan": (("fleet", "run", "matrix.yaml", "--wait", "nan"), ("--wait is not possible", "at least 0")),
    "fleet: negative wait": (("fleet", "run", "matrix.yaml", "--wait", "-1"), ("--wait is not possible", "-1")),
    "compare: budget without end": (("compare", "a", "b", "--budget", "inf"), ("--budget is not possible", "inf")),
}


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_bad_command_lines(place: Path, here: Here, case: str) -> None:
    bad.good(place / "good")
    arguments, said = COMMAND_LINES[case]
    assert_refused(here(*arguments), said)
    assert left_in(place / "build") == []


def test_a_map_of_two_bins_is_the_smallest(place: Path, here: Here) -> None:
    bad.good(place / "good")
    assert here(*with_set("input_size=64", "depth_dim=32", "upsamplings=0")).returncode == 0


@pytest.mark.parametrize("command", [["export", "L", "--sett", "a"], ["inspect"], ["nothing"]], ids=" ".join)
def test_command_lines_that_do_not_parse(here: Here, command: list[str]) -> None:
    run = here(*command)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "Usage:" in run.stderr


@pytest.mark.parametrize("command", [("inspect", "good", "--model", "M"), ("export", "M", "--checkpoint", "good")])
def test_strict_ends_with_1(place: Path, here: Here, command: tuple[str, ...]) -> None:
    bad.good(place / "good")
    run = here(*command, "--strict")
    assert_three_parts(run, 1)
    assert "depth_dim: declared 64, used 32" in run.stderr
    assert left_in(place / "build") == []


@pytest.mark.parametrize(
    "command", ["bench", "bundle", "compare", "demo", "engine", "evaluate", "parity", "report", "verify"]
)
def test_a_path_too_long_for_the_file_system_is_refused(here: Here, command: str) -> None:
    names = ["x" * 300] * (2 if command == "compare" else 1)
    assert_three_parts(here(command, *names), 2)
