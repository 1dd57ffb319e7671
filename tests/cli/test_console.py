"""Text and tables on narrow terminals, the spinner, and options that all commands share."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import console
from cli.console import ConsoleObserver, Output, table
from export.common.progress import NO_RESULT
from tests.support.command_line import assert_three_parts, in_process

WORDS = ("module.head.final_layer.weight", "[576, 16, 1, 1]", "onnxruntime-tensorrt", "stand-in weights of nobody")


def printed(width: int) -> list[str]:
    text = io.StringIO()
    grid = table("tensor", "shape", "runtime", "a long heading of a column")
    grid.add_row(*(word.replace("[", r"\[") for word in WORDS))
    Output(file=text, width=width).print(grid)
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 120, 200])
def test_a_table_never_splits_a_word(width: int) -> None:
    lines = printed(width)
    words = " ".join(lines).split()
    for word in " ".join(WORDS).split():
        assert word in words, "\n".join(lines)
    longest = max(len(word) for word in words)
    assert all(len(line.rstrip()) <= max(width, longest + 4) for line in lines)


def test_a_wide_table_has_a_line_a_row() -> None:
    assert len(printed(200)) == 2


@pytest.mark.parametrize("width", [9, 23, 80])
def test_text_wraps_between_words_and_a_log_s_does_not(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = (
        "the checkpoint weights/ConvNeXtPose_S.tar is not the declared model; declare another, or leave --strict out"
    )
    text = io.StringIO()
    monkeypatch.setattr(console, "LOG_COLUMNS", None)
    Output(file=text, width=width).print(sentence)
    assert text.getvalue().split() == sentence.split()
    lines = text.getvalue().splitlines()
    assert all(len(line) <= width or " " not in line.strip() for line in lines)
    monkeypatch.setattr(console, "LOG_COLUMNS", 160)
    log = io.StringIO()
    Output(file=log, width=width).print(sentence)
    assert log.getvalue() == sentence + "\n"


def test_no_spinner_is_left_behind_a_failed_step(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(console, "err", Output(file=text, force_terminal=True, width=80))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    observer = ConsoleObserver()
    observer.model = "S"
    ends: list[Callable[[], None]] = [
        lambda: observer.failed("onnx-int8", "too [far] off"),
        lambda: observer.up_to_date("onnx-fp16"),
    ]
    for end in ends:
        observer.begin("onnx-int8", NO_RESULT)
        assert observer._status is not None
        end()
        assert observer._status is None
    plain = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", text.getvalue())
    assert "failed      S onnx-int8 (too [far] off)" in plain


def test_a_log_tells_of_long_work_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    text, seconds = io.StringIO(), iter([0, 1, 25, 30, 50])
    monkeypatch.setattr(console, "err", Output(file=text, width=80))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(console, "monotonic", lambda: next(seconds))
    progress = ConsoleObserver().begin("truth", NO_RESULT)
    for share in (0, 0.5, 0.6, 0.9):
        progress("reference [FP64]", share)
    lines = [line.split() for line in text.getvalue().splitlines()]
    assert lines == [
        ["running", "truth"],
        ["…", "truth:", "reference", "[FP64]", "50%"],
        ["…", "truth:", "reference", "[FP64]", "90%"],
    ]


def test_version(tmp_path: Path) -> None:
    run = in_process("--version", cwd=tmp_path)
    assert run.returncode == 0
    assert re.fullmatch(r"convnextpose-deploy \d+\.\d+\.\d+\S*\n", run.stdout)


@pytest.mark.parametrize("words", [(), ("export",), ("bench",), ("verify",), ("fleet",), ("fleet", "run")])
def test_help_shows_no_type_behind_flags(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "<bool>" not in in_process(*words, "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "words",
    [
        ("export", "XS-atto", "--precision", "FP64"),
        ("bench", ".", "--precision", "FP16"),
        ("predict", ".", "photo.png", "--precision", "FP16"),
        ("engine", "none.onnx", "--precision", "FP64"),
    ],
)
def test_names_of_precisions_are_read_in_any_case(tmp_path: Path, words: tuple[str, ...]) -> None:
    run = in_process(*words, cwd=tmp_path)
    assert_three_parts(run, 2)
    assert "FP" not in run.stderr.replace("give FP", "")
