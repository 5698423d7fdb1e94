"""Checks and their outcomes: a sentence and a table, in a notebook and as text."""

from __future__ import annotations

import html
from collections.abc import Sequence

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
        widths = [max(len(line) for row in rows for line in row[i]) for i in range(len(self._columns))]
        rows.insert(1, [["-" * width] for width in widths])
        lines = [
            "  ".join((cell[i] if i < len(cell) else "").ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
            for i in range(max(map(len, row)))
        ]
        return "\n".join([self.summary, *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        def line(tag: str, cells: Sequence[str]) -> str:
            style = "text-align:left; vertical-align:top"
            made = (f'<{tag} style="{style}">{"<br>".join(map(html.escape, c.split(chr(10))))}</{tag}>' for c in cells)
            return f"<tr>{''.join(made)}</tr>"

        body = "".join(line("td", cells) for cells in self._cells())
        head = line("th", self._columns)
        return f"<p>{html.escape(self.summary)}</p><table><thead>{head}</thead><tbody>{body}</tbody></table>"
