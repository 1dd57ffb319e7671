"""Steps: done once, repeated for a reason that is said, whole or not at all."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from export.common.errors import BadInput, CheckFailed
from export.common.files import PARTIAL_PREFIX, sha256_path, whole_file, write_json
from export.common.progress import Progress, StepObserver, no_progress
from export.pipeline.layout import MANIFEST, STEP_RECORDS
from export.pipeline.steps import PENDING, Folder, Step, Work


@dataclass
class Heard(StepObserver):
    """An observer that remembers."""

    said: list[tuple[str, str, str]] = field(default_factory=list)

    def up_to_date(self, step: str) -> None:
        self.said.append((step, "up to date", ""))

    def begin(self, step: str, reason: str) -> Progress:
        self.said.append((step, "run", reason))
        return no_progress

    def done(self, step: str, seconds: float) -> None:
        assert seconds >= 0

    def failed(self, step: str, problem: str) -> None:
        self.said.append((step, "failed", problem))

    def would_run(self, step: str, reason: str) -> None:
        self.said.append((step, "would run", reason))

    def waiting(self, folder: str) -> None:
        self.said.append((folder, "waiting", ""))


STEP = Step("copy", ("out.txt",), {"source": "aa"}, {"times": 1, "deep": {"er": [1, 2]}}, ("pytest",))


def writing(text: str = "made") -> Work[dict[str, Any]]:
    def work(made: Path, progress: Progress) -> dict[str, Any]:
        (made / "out.txt").write_text(text)
        return {"length": len(text), "pair": (1, 2)}

    return work


def forbidden(made: Path, progress: Progress) -> dict[str, Any]:
    raise AssertionError("a step that is up to date was done again")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "out", Heard())
    with folder.locked():
        folder.perform(STEP, writing(), dict)
    return folder


def last(folder: Folder) -> tuple[str, str, str]:
    assert isinstance(folder.observer, Heard)
    return folder.observer.said[-1]


def test_a_finished_step_is_not_repeated_and_remembers_its_result(folder: Folder) -> None:
    made = folder.perform(STEP, forbidden, dict)
    assert last(folder) == ("copy", "up to date", "")
    assert made.get() == {"length": 4, "pair": [1, 2]}
    assert (folder.path / "out.txt").read_text() == "made"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"inputs": {"source": "bb"}}, "source changed"),
        ({"options": {"times": 2, "deep": {"er": [1, 2]}}}, "times changed: 1 → 2"),
        ({"options": {"times": 1}}, 'deep changed: {"er": [1, 2]} → (none)'),
        ({"tools": ("pytest", "no-such-distribution")}, "no-such-distribution changed: (none) → absent"),
        ({"code": ("bench",)}, "this project's code in bench changed; this project's code in export changed"),
    ],
)
def test_a_change_repeats_the_step_and_is_named(folder: Folder, change: Mapping[str, Any], why: str) -> None:
    changed = replace(STEP, **change)
    folder.perform(changed, writing("anew"), dict)
    assert last(folder) == ("copy", "run", why)
    folder.perform(changed, forbidden, dict)
    assert last(folder)[1] == "up to date"


def test_an_output_that_is_gone_or_changed_repeats_the_step(folder: Folder) -> None:
    (folder.path / "out.txt").unlink()
    folder.perform(STEP, writing(), dict)
    assert last(folder) == ("copy", "run", "out.txt is missing")
    (folder.path / "out.txt").write_text("tampered")
    folder.perform(STEP, writing(), dict)
    assert last(folder) == ("copy", "run", "out.txt has changed")


@pytest.mark.parametrize("damage", ["", "[]", '{"key": {}}'])
def test_a_damaged_record_repeats_the_step(folder: Folder, damage: str) -> None:
    (folder.path / ".steps" / "copy.json").write_text(damage)
    folder.perform(STEP, writing(), dict)
    assert last(folder) == ("copy", "run", "no previous result")


def test_a_result_of_another_form_repeats_the_step(folder: Folder) -> None:
    record = folder.path / STEP_RECORDS / "copy.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"result": "planted"}))
    assert folder.perform(STEP, writing(), dict).get() == {"length": 4, "pair": [1, 2]}
    assert last(folder) == ("copy", "run", "no previous result")


def test_a_failed_check_ends_the_step_for_the_observer(folder: Folder) -> None:
    def failing(made: Path, progress: Progress) -> dict[str, Any]:
        raise CheckFailed("too far off", "7 mm", "do not ship it")

    with pytest.raises(CheckFailed):
        folder.perform(replace(STEP, options={}), failing, dict)
    assert last(folder) == ("copy", "failed", "too far off")


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({"overrides": {}}, {"overrides": {"upsamplings": 2}}, "--set upsamplings changed: (none) → 2"),
        ({"plan": {"tf32": False}}, {"plan": {"tf32": True}}, "--tf32 changed: off → on"),
        ({"plan": {"batch_max": 8}}, {"plan": {"batch_max": 4}}, "--batches MAX changed: 8 → 4"),
        ({"require": None}, {"require": "near"}, "--require changed: (none) → near"),
        ({"declared": {"joints": 18}}, {"declared": {"joints": 21}}, "the declared joints changed: 18 → 21"),
    ],
)
def test_a_reason_speaks_of_options(
    folder: Folder, before: Mapping[str, Any], after: Mapping[str, Any], why: str
) -> None:
    folder.perform(replace(STEP, options=before), writing(), dict)
    folder.perform(replace(STEP, options=after), writing(), dict)
    assert last(folder) == ("copy", "run", why)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, BadInput("what", "seen", "do")])
def test_a_step_that_ends_badly_changes_nothing(folder: Folder, error: Any) -> None:
    write_json(folder.path / MANIFEST, {"whole": True})
    before = sha256_path(folder.path)

    def failing(made: Path, progress: Progress) -> dict[str, Any]:
        (made / "out.txt").write_text("half")
        raise error

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - KeyboardInterrupt among them
        folder.perform(replace(STEP, inputs={"source": "bb"}), failing, dict)
    assert caught.type is (error if isinstance(error, type) else BadInput)
    assert sha256_path(folder.path) == before


def test_replacing_files_takes_the_mark_of_wholeness_away(folder: Folder) -> None:
    write_json(folder.path / MANIFEST, {"whole": True})
    folder.perform(STEP, forbidden, dict)
    assert (folder.path / MANIFEST).is_file()
    folder.perform(replace(STEP, inputs={"source": "bb"}), writing("anew"), dict)
    assert not (folder.path / MANIFEST).exists()


def test_a_file_that_the_step_no_longer_makes_goes(folder: Folder) -> None:
    folder.perform(replace(STEP, options={}), lambda made, progress: {}, dict)
    assert not (folder.path / "out.txt").exists()


def test_asking_changes_nothing_and_passes_the_doubt_on(folder: Folder) -> None:
    before = sha256_path(folder.path)
    asking = Folder(folder.path, Heard(), dry_run=True)
    with asking.locked():
        assert asking.perform(STEP, forbidden, dict).outputs["out.txt"] != PENDING
        made = asking.perform(replace(STEP, inputs={"source": "bb"}), forbidden, dict)
        after = replace(STEP, name="after", outputs=(), inputs={"out.txt": made.outputs["out.txt"]})
        asking.perform(after, forbidden, dict)
    assert isinstance(asking.observer, Heard)
    assert [verdict for _, verdict, _ in asking.observer.said] == ["up to date", "would run", "would run"]
    assert sha256_path(folder.path) == before


def test_asking_about_a_folder_that_does_not_exist_does_not_make_it(tmp_path: Path) -> None:
    asking = Folder(tmp_path / "none", Heard(), dry_run=True)
    with asking.locked():
        asking.perform(STEP, forbidden, dict)
    assert not (tmp_path / "none").exists()


def test_a_killed_run_s_leftovers_are_swept_and_nobody_else_s(folder: Folder) -> None:
    """A bundle is made below the folder of its model, by a command that does not hold that."""
    before, here = sha256_path(folder.path), folder.path
    (here / f"{PARTIAL_PREFIX}abc").mkdir()
    (here / f"{PARTIAL_PREFIX}abc" / "e.onnx").write_text("half")
    (here / f"{PARTIAL_PREFIX}def.json").write_text("half")
    (here / STEP_RECORDS / f"{PARTIAL_PREFIX}ghi.json").write_text("half")
    with folder.locked():
        assert sha256_path(here) == before
        made = here / "bundle" / f"{PARTIAL_PREFIX}jkl"
        made.mkdir(parents=True)
    assert made.is_dir()
    with folder.locked():
        assert made.is_dir()


def test_an_interrupt_when_a_step_has_only_just_its_folder_leaves_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, made = sha256_path(folder.path), tempfile.mkdtemp

    def interrupted(*given: Any) -> str:
        made(*given)
        raise KeyboardInterrupt

    def run() -> None:
        with folder.locked():
            folder.perform(replace(STEP, inputs={"source": "bb"}), writing(), dict)

    monkeypatch.setattr(tempfile, "mkdtemp", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not list(folder.path.glob(PARTIAL_PREFIX + "*"))
    assert sha256_path(folder.path) == before


def test_a_whole_file_replaces_the_old_one_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(target) as partial:
        partial.write_text(f"new {1 / 0}")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with whole_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file.json", {"drift_mm": float("nan")})
    assert list(tmp_path.iterdir()) == []
