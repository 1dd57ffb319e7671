"""``convnextpose bench``: benchmark an exported model in every runtime of this machine."""

from pathlib import Path
from typing import Annotated

import typer

from cli.exclusive import exclusive_machine
from cli.options import AsJson, Verbose, lower
from cli.signals import INTERRUPTED


def command(
    model: Annotated[Path, typer.Argument(help="The folder that `export` wrote, such as build/S.")],
    publish: Annotated[
        bool, typer.Option("--publish", help="Thorough: all runtimes, 3 launches, 10 min, p99.")
    ] = False,
    runtime: Annotated[
        str | None,
        typer.Option(metavar="NAMES", callback=lower, help="Runtimes, separated by commas; the reference always runs."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="fp32,int8", callback=lower, help="Precisions, separated by commas; by default all in the export."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Threads of each runtime; by default all cores.")
    ] = None,
    half_width: Annotated[
        float, typer.Option("--precision-wanted", help="Half-width of the speed-ups' intervals, 0.0005 to 0.5.")
    ] = 0.01,
    budget: Annotated[float | None, typer.Option(metavar="S", help="Time for the rounds, at least 1 s.")] = None,
    deadline: Annotated[
        str, typer.Option(metavar="MS,MS", help="Deadlines in ms; missed ones are counted.")
    ] = "33.3,16.7",
    throughput: Annotated[
        bool, typer.Option("--throughput", help="Measure each point of throughput for 5 s, not 1 s.")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Also profile the parts of the network.")] = False,
    energy: Annotated[
        bool, typer.Option("--energy", help="Also measure energy per inference, if this machine has a meter.")
    ] = False,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Reference: pytorch or pytorch-cuda; by default the latter if the GPU is measured."
        ),
    ] = None,
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph/--no-cuda-graph", help="Launch engines as CUDA graphs.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for the order of the rounds.")] = 0,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Measure parity, latency and speed-up vs PyTorch of every runtime; results go to MODEL/bench."""
    from bench.harness.benchmark import benchmark
    from bench.harness.options import BenchOptions
    from bench.results.result import RESULT, place_for, require_valid_rows
    from bench.sessions.exported import read_export
    from cli.console import ConsoleObserver
    from cli.render.bench import print_benchmark
    from cli.render.decision import choice_of, print_decision
    from export.common.files import require_writable
    from export.pipeline.options import parse_numbers, require_range

    deadlines = parse_numbers("--deadline", ",".join("MS" for _ in deadline.split(",")), deadline)
    require_range("--precision-wanted", half_width, 0.0005, 0.5)
    if budget is not None:
        require_range("--budget", budget, 1)
    exported = read_export(model)
    out = model / "bench"
    require_writable(out)
    runtimes = names(runtime)
    options = BenchOptions(
        mode="publish" if publish else "quick",
        threads=threads,
        half_width=half_width,
        budget_s=budget,
        deadlines_ms=deadlines,
        seed=seed,
        throughput=throughput,
        profile=profile,
        energy=energy,
        reference=reference,
        cuda_graph=cuda_graph,
    )
    lock = exclusive_machine(runtimes, reference)
    with ConsoleObserver() as observer:
        progress = observer.listener("bench")
        result = benchmark(exported, options, out, runtimes, names(precision), progress=progress, machine_lock=lock)
    folder = place_for(out, complete=result.complete)
    if as_json:
        print(result.model_dump_json(indent=2))
    else:
        choice = choice_of(result, exported)
        if verbose:
            print_benchmark(choice, result)
        print_decision(choice, result, exported, folder / RESULT)
    if not result.complete:
        raise typer.Exit(INTERRUPTED)
    require_valid_rows(result)


def names(text: str | None) -> tuple[str, ...] | None:
    """Parse ``"a,b"`` to ``("a", "b")``."""
    if text is None:
        return None
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
