"""What devices say of one model: a section of that model's own page."""

from collections.abc import Sequence

from bench.report.devices.settings import differing
from bench.report.devices.tables import model_table, what_they_are
from bench.report.devices.told import Told
from bench.report.figures.devices import devices as speed_ups
from bench.report.views import Section

FIGURE = "devices"
"""What the figures' names begin with; on the page of devices a number of the model follows."""


def on_devices(told: Sequence[Told], reference: str) -> Section:
    """The same of one model, as a section of its own page."""
    figure = speed_ups(told, FIGURE, told[0].model)
    lead = (
        f"What devices reported about bundles of this export. Speed-ups are over {reference}. Their ms do not compare."
    )
    tables = (model_table(told), what_they_are(told))
    return Section(
        "devices",
        "On devices",
        (lead, *differing(told), *reasons(told)),
        tables=tables,
        figures=(figure,) if figure else (),
    )


def reasons(told: Sequence[Told]) -> tuple[str, ...]:
    """Why this row, of each device; and what was passed over there."""
    found = []
    for one in told:
        choice = one.recommended
        found.append(" ".join([f"{one.device.name}: {choice.reason}", *(f"{said}." for said in choice.passed_over)]))
    return tuple(found)
