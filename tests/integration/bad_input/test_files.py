"""Whatever is wrong with a file: three parts, the right exit code, nothing executed, nothing left."""

import os
import re
from pathlib import Path

import pytest

from tests.integration.bad_input.file_cases import FILES, SURROGATE
from tests.integration.bad_input.refusals import Here, assert_refused, left_in
from tests.support import bad_files as bad
from tests.support.checkpoints import FORMS, Form
from tests.support.command_line import convnextpose


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about pickles of strange protocols and odd tensors
@pytest.mark.parametrize("case", FILES)
def test_bad_files(place: Path, here: Here, case: str) -> None:
    build, said = FILES[case]
    path = build(place / "file")
    before = {p: p.lstat().st_mtime_ns for p in place.rglob("*")}
    for command in (["inspect", path], ["export", "tiny.yaml", "--checkpoint", path, "--out", "build"]):
        run = here(*command)
        assert_refused(run, said)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", run.stderr), "control characters reached the terminal"
    assert left_in(place / "build") == []
    assert {p: p.lstat().st_mtime_ns for p in place.rglob("*") if p in before} == before
    assert {p.name for p in place.iterdir()} <= {"tiny.yaml", "file", "outside", "build"}


def test_a_name_that_is_no_unicode_in_a_process_of_its_own(place: Path) -> None:
    build, said = SURROGATE
    path = build(place / "file")
    run = convnextpose("export", "tiny.yaml", "--checkpoint", path, "--out", "build", cwd=place)
    assert_refused(run, said)
    assert left_in(place / "build") == []


@pytest.mark.parametrize("form", FORMS)
def test_the_sound_file_that_the_others_were_made_of(place: Path, here: Here, form: Form) -> None:
    bad.good(place / "good", form)
    run = here("inspect", "good", "--model", "tiny.yaml", "--strict")
    assert (run.returncode, run.stderr) == (0, "")
    assert "module.head.final_layer.weight [576, 16, 1, 1]" in re.sub(r"\s+", " ", run.stdout)


def test_a_pipe_is_refused_and_not_waited_for(place: Path, here: Here) -> None:
    os.mkfifo(place / "pipe")
    for command in (["inspect", "pipe"], ["export", "L", "--checkpoint", "pipe"]):
        assert_refused(here(*command), ("cannot read pipe", "neither a file nor a folder"))
