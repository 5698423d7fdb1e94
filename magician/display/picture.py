"""A picture: a figure that a notebook shows, with its description in words."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Picture:
    """A figure that a notebook shows, with its description in words.

    A notebook gets it as HTML, because that carries the description (``alt``) to JupyterLab, to
    exported pages and to GitHub. JupyterLab shows an ``image/png`` without any.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    description : str
        What the figure shows, without the numbers in it.
    numbers : str
        The numbers in the figure.
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

    def _repr_html_(self) -> str:
        return image_element(self.encode(), self.alt)

    @property
    def alt(self) -> str:
        """Return description and numbers: the text for those who can't see the figure."""
        return f"{self.description} {self.numbers}".strip()

    def encode(self) -> bytes:
        """Return the figure as a PNG of 64 colours or as a JPEG."""
        from PIL import Image

        buffer = BytesIO()
        if self.drawn:
            whole = BytesIO()
            self.figure.savefig(whole, format="png")
            few_colours = Image.open(whole).convert("RGB").quantize(64)
            few_colours.save(buffer, format="png", optimize=True)
        else:
            self.figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": 75, "optimize": True})
        return buffer.getvalue()


def image_element(image: bytes, alt: str) -> str:
    """Return a PNG or JPEG as an HTML element that holds all of it, and its text (``alt``)."""
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{b64encode(image).decode()}"
    return f'<img style="max-width: 100%" alt="{escape(alt)}" src="{source}">'
