"""Checks and their outcomes: a sentence and a table, in a notebook and as text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from pydicom import Dataset
from pydicom.multival import MultiValue

OK, NOT_OK = "ok", "NOT OK"


class TableOfChecks:
    """What a result of checks shows; its class adds ``summary``, ``_columns`` and ``_cells``.

    A cell may have several lines.
    """

    summary: str
    _columns: Sequence[str]

    def _cells(self) -> list[list[str]]:
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = [[cell.split("\n") for cell in row] for row in [self._columns, *self._cells()]]
        widths = [
            max(len(line) for row in rows for line in row[i]) for i in range(len(self._columns))
        ]
        rows.insert(1, [["-" * width] for width in widths])
        lines = [
            "  ".join(
                (cell[i] if i < len(cell) else "").ljust(width)
                for cell, width in zip(row, widths, strict=True)
            )
            for row in rows
            for i in range(max(map(len, row)))
        ]
        return "\n".join([self.summary, *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        def line(tag: str, cells: Sequence[str]) -> str:
            style = "text-align:left; vertical-align:top"
            made = (
                f'<{tag} style="{style}">{"<br>".join(map(html.escape, c.split(chr(10))))}</{tag}>'
                for c in cells
            )
            return f"<tr>{''.join(made)}</tr>"

        body = "".join(line("td", cells) for cells in self._cells())
        head = line("th", self._columns)
        return f"<p>{html.escape(self.summary)}</p><table><thead>{head}</thead><tbody>{body}</tbody></table>"


class Table:
    """Rows and columns that a notebook shows as a table, and anything else as text."""

    def __init__(self, columns: Sequence[str], cells: list[list[str]]) -> None:
        self.columns, self.cells = list(columns), cells

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.cells, strict=True)]
        lines = [self.columns, ["-" * width for width in widths], *self.cells]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(
            f'<th style="text-align:left">{html.escape(name)}</th>' for name in self.columns
        )
        body = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row)
            + "</tr>"
            for row in self.cells
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def show_table(rows: Iterable, columns: Sequence[str] | Mapping[str, str]) -> Table:
    """Show some attributes of some objects as a table.

    Parameters
    ----------
    rows : iterable of Dataset, dict, or any object with attributes
    columns : sequence of str, or dict
        Keywords or attribute names, such as ``"StudyDate"``; as a dict, with the headings to use
        for them.
    """
    headings = list(columns.values()) if isinstance(columns, Mapping) else list(columns)
    return Table(headings, [[_cell(row, name) for name in columns] for row in rows])


def _cell(row, name: str) -> str:
    value = row.get(name, "") if isinstance(row, (Dataset, Mapping)) else getattr(row, name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, MultiValue):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
