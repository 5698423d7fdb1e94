"""Tables of text, drawn for a notebook (HTML) and for everything else (plain text)."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from pydicom import Dataset
from pydicom.multival import MultiValue

OK, NOT_OK = "ok", "NOT OK"


class Table:
    """Rows and columns that a notebook shows as a table, and anything else as text.

    Parameters
    ----------
    columns : sequence of str
        The headings; empty for a table without any.
    cells : list of list of str
        One list for each row. A cell may have several lines.
    summary : str
        A sentence to show above the table.
    cell_style : str
        The CSS of each cell in HTML.
    """

    def __init__(
        self,
        columns: Sequence[str],
        cells: list[list[str]],
        *,
        summary: str = "",
        cell_style: str = "text-align:left",
    ) -> None:
        self.columns, self.cells, self.summary = list(columns), cells, summary
        self._cell_style = cell_style

    def __repr__(self) -> str:
        headings = [self.columns] if self.columns else []
        rows = [[cell.split("\n") for cell in row] for row in [*headings, *self.cells]]
        widths = [max(map(len, sum(column, []))) for column in zip(*rows, strict=True)]
        if headings:
            rows.insert(1, [["-" * width] for width in widths])
        lines = [line for row in rows for line in _text_lines(row, widths)]
        return "\n".join([self.summary, *lines] if self.summary else lines)

    def _repr_html_(self) -> str:
        body = "".join(self._html_row("td", row) for row in self.cells)
        if self.columns:
            body = f"<thead>{self._html_row('th', self.columns)}</thead><tbody>{body}</tbody>"
        summary = f"<p>{html.escape(self.summary)}</p>" if self.summary else ""
        return f"{summary}<table>{body}</table>"

    def _html_row(self, tag: str, row: Sequence[str]) -> str:
        cells = (html.escape(cell).replace("\n", "<br>") for cell in row)
        drawn = (f'<{tag} style="{self._cell_style}">{cell}</{tag}>' for cell in cells)
        return f"<tr>{''.join(drawn)}</tr>"


def _text_lines(row: list[list[str]], widths: list[int]) -> list[str]:
    """Draw one row, as many lines as its longest cell has."""
    height = max(map(len, row))
    padded = [cell + [""] * (height - len(cell)) for cell in row]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in zip(*padded, strict=True)]


class TableOfChecks:
    """Shows the result of some checks: a sentence, and a `Table` below it.

    A class of this kind adds `summary`, `_columns` and `_cells`.
    """

    summary: str
    _columns: Sequence[str]

    def _cells(self) -> list[list[str]]:
        """Return the text of each row; a cell may have several lines."""
        raise NotImplementedError

    def _table(self) -> Table:
        style = "text-align:left; vertical-align:top"
        return Table(self._columns, self._cells(), summary=self.summary, cell_style=style)

    def __repr__(self) -> str:
        return repr(self._table())

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()


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
