"""``convnextpose bench-selftest``: whether the harness itself is to be believed on this machine."""


def command() -> None:
    """What timing adds to a call, known delays, and recorded rounds replayed with and without a slowdown."""
    from bench.selftest import selftest
    from cli.console import ConsoleNarrator, out, table
    from export.errors import CheckFailed

    narrator = ConsoleNarrator()
    try:
        findings = list(selftest(narrator.listener("bench-selftest")))
    finally:
        narrator.stop()
    shown = table("check", "read", "wanted", "")
    for finding in findings:
        shown.add_row(
            finding.check, finding.read, finding.wanted, "[green]pass[/]" if finding.passed else "[red]fail[/]"
        )
    out.print(shown)
    wrong = [f"{finding.check}: {finding.read}, wanted {finding.wanted}" for finding in findings if not finding.passed]
    if wrong:
        raise CheckFailed("the harness misreads this machine", "; ".join(wrong), "try again when nothing else runs")
