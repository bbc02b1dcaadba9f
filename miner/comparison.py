"""Several results side by side: ranked where they share a cell, and only there. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from miner.result import Figure, Json, Label, Result, result_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One result among others."""

    name: str
    """What the reader calls it: its file."""
    result: Result
    ranks: range | None = None
    """Places that its interval allows, 1 for the lowest energy; None where the results must not
    be ranked, or it has no energy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All results, lowest energy first where they may be ranked, else as they were given."""

    rows: tuple[Compared, ...]
    differing: tuple[str, ...]
    """Parts of the cell that are not equal; ranking stops at the first."""

    @property
    def ranked(self) -> bool:
        """Whether the results share one cell."""
        return not self.differing


def compare(named: Sequence[tuple[str, Result]]) -> Comparison:
    """Results side by side, in Wh per 1,000 queries.

    Args:
        named: What the reader calls each result, and the result.
    """
    differing = differing_parts([result for _, result in named])
    if differing:
        rows = tuple(Compared(name=name, result=result) for name, result in named)
        return Comparison(rows=rows, differing=differing)
    figures = [(name, result, result.per_1k(result.query_count)) for name, result in named]
    known = [(value.value, name, result, value) for name, result, value in figures if value]
    known.sort(key=lambda row: row[:2])
    ordered = [value for *_, value in known]
    ranked = [
        Compared(name=name, result=result, ranks=_ranks(value, ordered))
        for _, name, result, value in known
    ]
    without = [
        Compared(name=name, result=result) for name, result, value in figures if value is None
    ]
    return Comparison(rows=(*ranked, *without), differing=())


def differing_parts(results: Sequence[Result]) -> tuple[str, ...]:
    """The parts of the cell in which results differ, and the weights and labels beside it."""
    cells = [
        result.cell.model_dump()
        | {"weights": result.report.model.weights_digest, "status": _status(result)}
        for result in results
    ]
    return tuple(
        name for name in (cells[0] if cells else ()) if len({cell[name] for cell in cells}) > 1
    )


def comparison_json(comparison: Comparison) -> Json:
    """The documented JSON form."""
    return {
        "schema": "carbonbench-compare/1",
        "ranked": comparison.ranked,
        "differing": list(comparison.differing),
        "results": [
            {
                "name": row.name,
                "rank_low": row.ranks[0] if row.ranks else None,
                "rank_high": row.ranks[-1] if row.ranks else None,
                "signed_by": row.result.report.hotkey,
                "cell": row.result.cell.model_dump(mode="json"),
                "result": result_json(row.result),
            }
            for row in comparison.rows
        ],
    }


def figure_text(value: Figure | None) -> str:
    """A figure, its interval on a second line, for a table."""
    if value is None:
        return "-"
    shown = asdict(value)
    return "{value:.4g}\n{low:.4g} to {high:.4g}".format(**shown)


def _status(result: Result) -> Label | None:
    """The label; a refusal has no figure that could be mistaken, so it stands with any."""
    return None if result.label is Label.REFUSED else result.label


def _ranks(mine: Figure, all_figures: Sequence[Figure]) -> range:
    """Behind all that are surely lower, before all that are surely higher."""
    lower = sum(other.high < mine.low for other in all_figures)
    higher = sum(other.low > mine.high for other in all_figures)
    return range(lower + 1, len(all_figures) - higher + 1)
