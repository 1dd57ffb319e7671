"""Nothing in a file is executed: pickles that would call something are refused, and what they call is named."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from export.checkpoint.loading import read_checkpoint
from export.common.errors import BadInput
from tests.integration.bad_input.file_cases import NOT_ONE
from tests.integration.bad_input.refusals import assert_refused, left_in
from tests.support import bad_files as bad
from tests.support.command_line import convnextpose

PAYLOADS = ["os.system", "eval", "exec", "Path.touch", "shutil.copy"]


@pytest.fixture
def marker(place: Path) -> Iterator[Path]:
    path = place / "executed"
    yield path
    assert not path.exists(), "code from the file was executed"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("pack", bad.PACKS)
def test_malicious_pickles(place: Path, marker: Path, pack: str, payload: str, protocol: int) -> None:
    calls, named = bad.payloads(marker)[payload]
    path = bad.PACKS[pack](place / "file", bad.hostile_content([calls]), protocol)
    with pytest.raises(BadInput, match=named) as caught:
        read_checkpoint(path)
    assert "would execute code" in caught.value.problem
    assert "do not trust" in caught.value.advice


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_malicious_pickle_in_a_process_of_its_own(place: Path, marker: Path) -> None:
    calls, named = bad.payloads(marker)["os.system"]
    path = bad.as_zip(place / "file", bad.hostile_content([calls]), 2)
    run = convnextpose("export", "tiny.yaml", "--checkpoint", path, "--out", "build", cwd=place)
    assert_refused(run, ("would execute code", named, "do not trust"))
    assert left_in(place / "build") == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_payloads_would_work(tmp_path: Path, payload: str) -> None:
    left = tmp_path / "executed"
    path = bad.as_zip(tmp_path / "file", bad.hostile_content([bad.payloads(left)[payload][0]]), 2)
    assert not left.exists()
    torch.load(path, weights_only=False)
    assert left.exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("pack", ["zip", "legacy", "folder"])
def test_every_blocked_global_is_named(place: Path, marker: Path, pack: str, protocol: int) -> None:
    payloads = bad.payloads(marker)
    names = ("eval", "exec", "os.system")  # the second from the module of the first
    path = bad.PACKS[pack](place / "file", bad.hostile_content([payloads[n][0] for n in names]), protocol)
    with pytest.raises(BadInput) as caught:
        read_checkpoint(path)
    for name in names:
        assert re.search(payloads[name][1], caught.value.detail), (name, caught.value.detail)


def by_hand(marker: Path) -> dict[str, bytes]:
    """Pickles of data.pkl that call ``os.system`` by less usual ways."""
    order = f"touch '{marker}'".encode()
    text = b"X" + len(order).to_bytes(4, "little") + order
    return {
        "INST": b"\x80\x02(S'touch x'\nios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + text + b"o.",
        "GLOBAL": b"\x80\x02cos\nsystem\n" + text + b"\x85R.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + text + b"\x85\x81.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "STACK_GLOBAL from the memo": (
            b"\x80\x04\x8c\x06system\x94\x8c\x02os\x94\x8c\x01x0h\x01h\x00\x93" + text + b"\x85R."
        ),
        "hidden behind an allowed name": b"\x80\x02ccollections\nOrderedDict\n)R0cos\nsystem\n" + text + b"\x85R.",
    }


@pytest.mark.parametrize("pack", ["zip", "legacy", "folder"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_harmless_file_of_a_protocol_that_torch_does_not_read_is_not_called_hostile(place: Path, pack: str) -> None:
    path = bad.PACKS[pack](place / "file", bad.hostile_content([]), 4)
    with pytest.raises(BadInput, match="torch cannot read weights"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("way", by_hand(Path("m")))
def test_pickles_written_by_hand(place: Path, marker: Path, way: str) -> None:
    path = bad.with_pickle(by_hand(marker)[way])(place / "file")
    with pytest.raises(BadInput, match=r"os\.system"):
        read_checkpoint(path)


def test_an_old_pickle_without_a_header_is_not_even_opened(place: Path, marker: Path) -> None:
    path = bad.as_plain_pickle(place / "file", bad.hostile_content([bad.payloads(marker)["eval"][0]]), 0)
    with pytest.raises(BadInput, match=NOT_ONE):
        read_checkpoint(path)
