"""How wrong it is: parity of every file, joint by joint, and what evaluations say."""

from bench import cells
from bench.report import commands
from bench.report.figures import skeleton
from bench.report.subject import Interval, Subject
from bench.report.views import Cell, Line, Missing, Section, Table, parity_tone


def joints(subject: Subject) -> Section:
    """A picture and a line of every exported file, and a line of everything that was evaluated."""
    lead = (
        "The largest distance of each joint from the network as released, in FP64, over all parity images. A dot's "
        "area grows with the logarithm, from 0.001 to 100 mm, the same in all pictures. The person faces you."
    )
    drawn = [skeleton.skeleton(of, subject.joint_names, subject.bones) for of in subject.parity]
    missing = () if subject.parity else (Missing("parity", "the manifest holds none", commands.export(subject)),)
    return Section(
        *("joints", "Parity, joint by joint", (lead,), missing),
        tables=(*_parity_table(subject), *_accuracy_table(subject)),
        figures=tuple(figure for figure in drawn if figure),
    )


def _parity_table(subject: Subject) -> list[Table]:
    columns = ("file", "verdict", "mean mm", "p99 mm", "max mm", "worst joint", "over", "run by")
    lines = [
        Line(
            (
                Cell(of.edition, of.file),
                Cell(of.status, of.reason, parity_tone(of.status)),
                *(Cell("not finite" if mm is None else f"{mm:.3g}") for mm in (of.mean_mm, of.p99_mm, of.max_mm)),
                Cell(of.worst_joint),
                Cell(of.images),
                Cell(of.run_by),
            )
        )
        for of in subject.parity
    ]
    return [Table("Parity of every exported file: its worst run.", columns, tuple(lines), wide=True)] if lines else []


def _accuracy_table(subject: Subject) -> list[Table]:
    columns = ("evaluated", "MPJPE mm", "price mm [95 %]", "on", "run by")
    lines = [
        Line(
            (
                Cell(name),
                Cell(f"{of.mpjpe_mm:.2f}" if of.mpjpe_mm is not None else "n/a"),
                Cell(_price(of.price_mm)),
                Cell(f"{of.samples:,} samples of {of.dataset}"),
                Cell(of.run_by),
            )
        )
        for evaluation in subject.evaluations
        for name, of in evaluation.rows
    ]
    caption = "Accuracy on annotated images; the price is the mean error beyond the reference's, on the same images."
    return [Table(caption, columns, tuple(lines), wide=True)] if lines else []


def _price(of: Interval | None) -> str:
    if of is None:
        return cells.NOTHING
    return f"{of.value:+.3f}" + (f" [{of.low:+.3f}, {of.high:+.3f}]" if of.low is not None else "")
