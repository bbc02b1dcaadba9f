"""A simulated table beside the one that the design was made from."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One simulated figure, with what the design report has in its place."""

    row: str
    column: str
    value: float
    reported: float | None
    tolerance: float
    """Difference that chance and rounding explain."""

    @property
    def differs(self) -> bool:
        """Whether the report's figure is another one."""
        return self.reported is not None and abs(self.value - self.reported) > self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All figures of one table, row by row."""

    name: str
    """Number and subject."""
    unit: str
    figures: tuple[Figure, ...]
    note: str = ""

    @property
    def differing(self) -> tuple[Figure, ...]:
        """The figures that differ from the report's."""
        return tuple(figure for figure in self.figures if figure.differs)

    def value(self, row: str, column: str) -> float:
        """One figure.

        Raises:
            KeyError: If there is none.
        """
        for figure in self.figures:
            if (figure.row, figure.column) == (row, column):
                return figure.value
        raise KeyError(f"{self.name} has no {column} of {row}")


def figures(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    reported: Sequence[Sequence[float | None]],
    *,
    tolerance: float,
) -> tuple[Figure, ...]:
    """Figures from two tables of the same shape."""
    return tuple(
        Figure(row=row, column=column, value=value, reported=known, tolerance=tolerance)
        for row, found, told in zip(rows, values, reported, strict=True)
        for column, value, known in zip(columns, found, told, strict=True)
    )


def show(table: Table, console: Console) -> None:
    """Print a table; a figure that differs from the report's has that one in brackets."""
    rows = list(dict.fromkeys(figure.row for figure in table.figures))
    columns = list(dict.fromkeys(figure.column for figure in table.figures))
    printed = RichTable("", *columns, title=f"{table.name} ({table.unit})", title_justify="left")
    known = {(figure.row, figure.column): figure for figure in table.figures}
    for row in rows:
        cells = [known.get((row, column)) for column in columns]
        printed.add_row(row, *("" if cell is None else _text(cell) for cell in cells))
    console.print(printed)
    if table.note:
        console.print(table.note)
    count = sum(figure.reported is not None for figure in table.figures)
    console.print(f"{len(table.differing)} of {count} figures differ from the report's.\n")


def _text(figure: Figure) -> str:
    shown = f"{figure.value:.3g}" if abs(figure.value) < 1 else f"{figure.value:.1f}"
    return f"{shown} [{figure.reported:g}]" if figure.differs else shown
