"""A picture: a figure that a notebook shows, with its description in words."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Picture:
    """A figure that a notebook shows, with its description in words.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    description : str
        What the figure shows, without the numbers in it.
    numbers : str
        The numbers in the figure. Both together are the text for those who can't see the figure
        (``alt``).
    drawn : bool
        Whether the figure consists of lines and few colours. It becomes a PNG then, and a JPEG if
        it holds pixels of a CT.
    """

    def __init__(
        self, figure: Figure, description: str, numbers: str = "", *, drawn: bool = False
    ) -> None:
        self.figure, self.drawn = figure, drawn
        self.description, self.numbers = description, numbers

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
