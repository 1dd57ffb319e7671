"""The report in a few lines: what to ship, what comes next, what is open, and where the page is."""

from bench.report.commands import next_step
from bench.report.gaps import gaps_of
from bench.report.recommend import CAVEATS
from bench.report.reports import Report
from cli.render.decision import CHOICE_COLUMNS, choice_cells, choice_reasons, describe_choice
from cli.render.screen import Screen, shorten
from cli.render.text import safe


def print_report(report: Report) -> None:
    """Print one page's decision: of one measurement with its reason, of several as a table."""
    choices, gaps = report.choices, gaps_of(report.choices)
    single = choices[0] if len(choices) == 1 else None
    title = single.measurement.label if single else report.page.title
    open_points = [
        f"{where + ': ' if single is None else ''}{gap.item}: {gap.reason}" for where, gap in gaps if gap.possible
    ]
    page, *siblings = report.files
    Screen(
        head=[f"[bold]{safe(title)}[/]", *(describe_choice(single) if single else [])],
        columns=() if single else CHOICE_COLUMNS,
        rows=[] if single else [choice_cells(choice) for choice in choices],
        tail=[
            *(
                f"[yellow]note[/] {safe(shorten(notice))}"
                for notice in report.page.notices
                if not notice.endswith(tuple(CAVEATS.values()))  # the choice says it
            ),
            *(choice_reasons(choices) if single is None else []),
            *(f"[dim]not tested[/] {safe(shorten(text))}" for text in open_points),
        ],
        details=f"{page} (beside it: {', '.join(path.name for path in siblings)})",
        commands=[text for choice in choices if (text := next_step(choice))],
    ).show()
