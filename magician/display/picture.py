"""A picture: a figure that a notebook shows, with a sentence that says what is to be seen."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Picture:
    """A figure that a notebook shows, with a sentence that says what is to be seen.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    description : str
        What the figure shows, whatever the numbers in it are.
    numbers : str
        What it says in numbers. Together they are the text for those who can't see the figure
        (``alt``).
    drawn : bool
        Lines and few colours, and therefore a PNG; a JPEG otherwise, as for everything that holds
        pixels of a CT.
    """

    def __init__(
        self, figure: Figure, description: str, numbers: str = "", *, drawn: bool = False
    ) -> None:
        self.figure, self.description, self.numbers, self.drawn = (
            figure,
            description,
            numbers,
            drawn,
        )

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
