"""The page of several devices: what to ship on each, then every row, then what they are and what was not tested."""

from collections.abc import Sequence
from pathlib import Path

from bench.report import commands
from bench.report.devices.answers import answers
from bench.report.devices.section import FIGURE, reasons
from bench.report.devices.settings import differing
from bench.report.devices.tables import matrix, model_table, what_they_are
from bench.report.devices.told import Devices, Told
from bench.report.devices.untested import gaps, untested
from bench.report.figures.devices import devices as speed_ups
from bench.report.links import page_in
from bench.report.recommend import NOTICES
from bench.report.views import Cell, Figure, Line, Link, Page, Section, Table


def devices_page(of: Devices) -> Page:
    """Everything that is known of them; milliseconds are never ranked across devices."""
    weights = dict.fromkeys(
        f"{one.model}: {NOTICES[one.weights]}" for one in of.told if one.missing is None and one.weights in NOTICES
    )
    sections = [
        _decision(of),
        _figures(of),
        *(_model(index, model, of.of(model)) for index, model in enumerate(of.models)),
        Section("devices", "The devices, and what differs between them", tables=(what_they_are(of.told),)),
        untested(of),
        *_own_pages(of),
        Section("reproduce", "To make it again", commands=of.commands),
    ]
    return Page(
        title=of.title,
        subtitle=of.subtitle,
        answers=answers(of, gaps(of)),
        sections=tuple(sections),
        notices=(*of.notices, *differing(of.told), *weights),
    )


def _decision(of: Devices) -> Section:
    lead = "Each device is a measurement of its own. What to ship is chosen on each by itself; no device is ranked."
    return Section("decision", "Model by model, device by device", (lead,), tables=(matrix(of),))


def _figures(of: Devices) -> Section:
    drawn = [speed_ups(of.of(model), f"{FIGURE}-{index}", model) for index, model in enumerate(of.models)]
    shown: tuple[Figure, ...] = tuple(figure for figure in drawn if figure is not None)
    grey = " Grey: what two instances of the reference differ by on that device." * any(one.control for one in of.told)
    lead = f"Over {of.reference}. Only rows of one device compare.{grey}"
    none = "No device has a row whose speed-up may be shown: the tables say why of each."
    return Section("speed-up", "Speed-up, device by device", (lead if shown else none,), figures=shown)


def _model(index: int, model: str, told: Sequence[Told]) -> Section:
    return Section(f"model-{index}", f"{model}: every row on every device", reasons(told), tables=(model_table(told),))


def _own_pages(of: Devices) -> list[Section]:
    """Where there is more than fits here: tails, rounds, throughput, the whole environment."""
    lines = tuple(
        Line((Cell(one.device.name), Cell(one.model), _own_page(one, one.folder)))
        for one in of.told
        if one.folder is not None
    )
    if not lines:
        return []
    caption = "Tails, rounds, throughput and the whole environment stand on each device's own page."
    columns = ("device", "model", "its page, or the command that makes it")
    return [Section("pages", "Each device by itself", tables=(Table(caption, columns, lines),))]


def _own_page(one: Told, folder: Path) -> Cell:
    return Cell(commands.report(folder), link=Link(f"{one.model} on {one.device.name}", page_in(folder)))
