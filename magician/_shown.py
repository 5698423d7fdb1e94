"""What a notebook shows when it is the last line of a cell: a table, or a picture with a sentence about it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Table:
    """Rows and columns that a notebook shows as a table, and anything else as text."""

    def __init__(self, columns: Sequence[str], cells: list[list[str]]) -> None:
        self.columns, self.cells = list(columns), cells

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.cells, strict=True)]
        lines = [self.columns, ["-" * width for width in widths], *self.cells]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row) + "</tr>"
            for row in self.cells
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Picture:
    """A figure that a notebook shows, with a sentence that says what is to be seen.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    description : str
        What the figure shows, whatever the numbers in it are.
    numbers : str
        What it says in numbers. Together they are the text for those who can't see the figure (``alt``).
    drawn : bool
        Lines and few colours, and therefore a PNG; a JPEG otherwise, as for everything that holds pixels of a CT.
    """

    def __init__(self, figure: Figure, description: str, numbers: str = "", *, drawn: bool = False) -> None:
        self.figure, self.description, self.numbers, self.drawn = figure, description, numbers, drawn

    def __repr__(self) -> str:
        return self.description

    def _repr_jpeg_(self) -> tuple[bytes, dict] | None:
        if self.drawn:
            return None
        buffer = BytesIO()
        self.figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": 75, "optimize": True})
        return buffer.getvalue(), self._metadata()

    def _repr_png_(self) -> tuple[bytes, dict] | None:
        if not self.drawn:
            return None
        from PIL import Image

        buffer, smaller = BytesIO(), BytesIO()
        self.figure.savefig(buffer, format="png")
        Image.open(buffer).convert("RGB").quantize(64).save(smaller, format="png", optimize=True)
        return smaller.getvalue(), self._metadata()

    def _metadata(self) -> dict:
        return {"alt": f"{self.description} {self.numbers}".strip()}
