"""``convnextpose compare-trtexec``: does TensorRT's own benchmark see what this harness saw?"""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson


def command(
    result: Annotated[Path, typer.Argument(help="The result.json that `bench` wrote on the same device.")],
    times: Annotated[Path, typer.Argument(help="What trtexec --exportTimes wrote; the recipe's batch 1, gpu.")],
    row: Annotated[str | None, typer.Option(metavar="ID", help="By default the only row of TensorRT.")] = None,
    as_json: AsJson = False,
) -> None:
    """Median GPU time of both within 2 %: exit 0; not: 1; our row unstable, or too few queries: 3."""
    import json

    from bench.result import read_result
    from bench.trtexec import compare_trtexec, read_times
    from cli.console import out, table
    from export.errors import CheckFailed, Inconclusive

    found = compare_trtexec(read_result(result), read_times(times), row)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        shown = table("row", "boundary", "ours ms", "trtexec ms", "queries", "trtexec / ours", "")
        medians = (f"{found.ours_ms:.4f}", f"{found.trtexec_ms:.4f}", str(found.queries), f"{found.ratio:.4f}")
        shown.add_row(found.row, found.boundary, *medians, found.outcome)
        out.print(shown)
    if found.outcome == "disagree":
        do = "fix the clocks, see that both launch a CUDA graph and spin, and measure both again"
        raise CheckFailed("trtexec and this harness disagree", found.reason, do)
    if found.outcome == "inconclusive":
        raise Inconclusive("trtexec and this harness cannot be compared", found.reason, "measure again")
