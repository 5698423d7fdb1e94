"""The page of a class: a table with one row for each learner, which follows by itself.

What the table says is handed in as a function. This module knows how to show it, and nothing of
teaching. Every text may come from a stranger's object, so `Markup.format` escapes each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from markupsafe import Markup

from magician.web.pages import make_page

STATES = ("done", "part", "open", "wrong")  # the classes in page.css


class Cell(Protocol):
    """One cell of the table.

    Attributes
    ----------
    text : str
        What it says; the meaning is in these words, and never in the colour alone.
    state : str
        One of `STATES`, for the colour.
    why : str
        A sentence in small letters below it; empty for none.
    """

    @property
    def text(self) -> str: ...

    @property
    def state(self) -> str: ...

    @property
    def why(self) -> str: ...


class State(Protocol):
    """What a class has done so far.

    Attributes
    ----------
    columns : sequence of str
        The heading of each column; the first column names the learner.
    rows : sequence of sequences of Cell
    remarks : sequence of str
        Sentences below the table.
    """

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def rows(self) -> Sequence[Sequence[Cell]]: ...

    @property
    def remarks(self) -> Sequence[str]: ...


ClassView = Callable[[], State]


def show_class(ae_title: str, state: State) -> str:
    """Return the page of a class."""
    body = Markup('<main><div id="class" data-refresh="rows">{}</div></main>').format(
        show_rows(state)
    )
    hint = Markup("This table follows by itself.")
    return make_page(f"{ae_title}: the class", "../", [("../", ae_title)], body, hint=hint)


def show_rows(state: State) -> Markup:
    """Return the table alone, with its remarks."""
    head = Markup().join(Markup('<th scope="col">{}</th>').format(name) for name in state.columns)
    rows = Markup().join(_row(state.columns, row) for row in state.rows)
    remarks = Markup().join(Markup("<p>{}</p>").format(remark) for remark in state.remarks)
    return Markup(
        '<table class="class"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}'
    ).format(head, rows, remarks)


def _row(columns: Sequence[str], row: Sequence[Cell]) -> Markup:
    first, *others = (_content(cell) for cell in row)
    cells = [Markup('<th scope="row" data-label="{}">{}</th>').format(columns[0], first)]
    cells += [
        Markup('<td class="{}" data-label="{}">{}</td>').format(cell.state, column, content)
        for column, cell, content in zip(columns[1:], row[1:], others, strict=True)
    ]
    return Markup("<tr>{}</tr>").format(Markup().join(cells))


def _content(cell: Cell) -> Markup:
    why = Markup("<small>{}</small>").format(cell.why) if cell.why else ""
    return Markup("<span>{}</span>{}").format(cell.text, why)
