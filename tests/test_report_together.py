"""All pages of one OUT: what is damaged costs its own page and no other, and every link leads to a file."""

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import pytest

from bench.report.links import HTML, addresses_from, page_in
from bench.report.pages import read_pages
from bench.report.sources import read_sources
from bench.report.write import write_reports
from export.manifest import read_manifest, write_manifest
from tests.command_line import assert_three_parts, convnextpose_here
from tests.fleet_measured import write_run
from tests.report_folder import USUAL, artifact, write_folder

RUN = "spring 100% #1"
"""As a user may call it, and an address may not."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and a run that has measured a file of one of them, on one device; tests must leave it as it is."""
    build = tmp_path_factory.mktemp("together") / "build"
    write_run(build / "fleet" / RUN, ("orin",), ("S",))
    for model in ("S", "M"):
        write_folder(build / model, USUAL[:2], model=model, extras=False)
    travelled(build / "S", "S")
    return build


def travelled(folder: Path, model: str, precision: str = "fp16") -> None:
    """Give the model's export the file that a run has measured."""
    manifest = read_manifest(folder / "manifest.json")
    file = artifact(model, precision).model_copy(update={"sha256": sha256(model.encode()).hexdigest()})
    write_manifest(folder, manifest.model_copy(update={"artifacts": [*manifest.artifacts, file]}))


@pytest.fixture
def build(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "build"))


def links(page: Path) -> dict[str, Path]:
    """What a page says of each link → the file that it leads to."""
    found = re.findall(r'<a href="([^"#]+)">([^<]+)</a>', page.read_text())
    return {said: (page.parent / unquote(address)).resolve() for address, said in found}


def hrefs(page: Path) -> list[str]:
    """Every address on a page but those of its own parts."""
    return [of for of in re.findall(r'href="([^"]*)"', page.read_text()) if not of.startswith(("#", "data:"))]


def test_every_link_of_every_page_leads_to_a_file(build: Path) -> None:
    run = build / "fleet" / RUN
    write_reports([build])
    assert hrefs(page_in(run)) == []  # the device's own page is not there yet
    write_reports([run / "orin/S"])
    write_reports([build])
    pages = sorted(build.rglob(HTML))
    assert pages == sorted(map(page_in, (build, run, run / "orin/S")))
    for page in pages:
        assert hrefs(page)
        for address in hrefs(page):
            assert not address.startswith(("/", "file:"))
            assert (page.parent / unquote(address)).is_file()
    assert links(page_in(build)) == {"devices of run": page_in(run).resolve()}
    assert links(page_in(run)) == {"S on orin": page_in(run / "orin/S").resolve()}
    assert links(page_in(run / "orin/S")) == {"devices of run": page_in(run).resolve()}


def test_only_devices_that_have_measured_the_model_are_named_however_its_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = tmp_path / "build"
    run = build / "fleet/spring"
    write_run(run, ("orin", "box"), ("S", "L"))  # L fails on the box
    for model in ("S", "L"):
        write_folder(build / model, USUAL[:2], model=model, extras=False)
        travelled(build / model, model)
        travelled(run / "orin" / model, model, "bf16")
    assert [of.devices for of in read_sources(build / "S").runs] == [("orin", "box")]
    assert [of.devices for of in read_sources(build / "L").runs] == [("orin",)]
    assert [of.devices for of in read_sources(run / "orin/S").runs] == [("box",)]
    assert [of.devices for of in read_sources(run / "orin/L").runs] == [()]
    for place, folder, there in (("build/S", ".", "../fleet/spring"), ("build", "S", "fleet/spring")):
        monkeypatch.chdir(tmp_path / place)
        assert [of.folder for of in read_sources(Path(folder)).runs] == [Path(there)]
    monkeypatch.chdir(run / "orin")
    assert [of.folder for of in read_sources(Path("S")).runs] == [Path("..")]


def test_what_is_not_there_is_a_command_and_no_link(build: Path) -> None:
    run = build / "fleet" / RUN
    write_reports([build / "S", build / "M"])
    page = page_in(build).read_text()
    assert f"convnextpose report &#39;{run}&#39;" in page
    assert hrefs(page_in(build)) == []
    assert "Measured on other devices" in (build / "report/report.md").read_text()
    assert "| M |" not in (build / "report/report.md").read_text().split("Measured on other devices")[1]


def test_a_page_is_linked_if_it_is_there_or_about_to_be(tmp_path: Path) -> None:
    here, there = tmp_path / "a:b", tmp_path / "c"
    assert addresses_from(here, ())(there / HTML) is None
    assert addresses_from(here, [there / HTML])(there / HTML) == "../c/report.html"
    assert addresses_from(tmp_path, [here / HTML])(here / HTML) == "a%3Ab/report.html"
    there.mkdir()
    (there / HTML).touch()
    assert addresses_from(here, ())(there / HTML) == "../c/report.html"


def test_what_is_damaged_costs_no_other_page(
    build: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(build / "fleet" / RUN, build / "fleet/summer")
    spoil(build / "fleet" / RUN / "fleet.json")
    spoil(build / "M/bench/result.json")
    done = convnextpose_here(monkeypatch, capsys, "report", "build", "--json", cwd=build.parent)
    assert_three_parts(done, 2)
    assert done.stderr.count("error:") == done.stderr.count("do:") == 2
    assert f"build/fleet/{RUN}/fleet.json is not of schema" in done.stderr
    assert "build/M/bench/result.json" in done.stderr
    plain = json.loads(done.stdout)
    assert [of["model"] for of in plain["models"]] == ["S"]
    assert [of["told"][0]["device"] for of in plain["devices"]] == ["orin"]
    assert len(plain["refused"]) == 2
    assert sorted(build.rglob(HTML)) == sorted(map(page_in, (build, build / "fleet/summer")))
    assert "not on this page: build/M/bench/result.json" in page_in(build).read_text()
    assert not (build / "report/badge.json").exists()


def test_models_that_do_not_compare_cost_no_run_its_page(build: Path) -> None:
    write_folder(build / "M", USUAL[:2], model="M", extras=False, cpu="Another processor")
    pages = read_pages([build], None, None)
    assert pages.models is None
    assert [of.place for of in pages.devices] == [build / "fleet" / RUN / "report"]
    assert "were not measured alike" in pages.refused[0].what


def spoil(path: Path) -> None:
    """As a disk that was full leaves it."""
    path.write_text(path.read_text()[:-9])
