"""The viewer that draws in the page, with the script ``page_viewer.js``.

Page and kernel exchange traits and pixels. At first the page sends the message ``{"values": true}``
and gets the table of the HU that the codes stand for (float64). Then it asks for slices, the
nearest first, by messages such as ``{"first": 40, "count": 8}``, counted from 0. The answer is the
same message with two buffers: codes (uint16, little endian, slices x rows x columns) and labels
(uint8, the same shape, deflated; empty if there are none). The page needs the kernel for nothing
else.

This module is imported when a viewer is made, because its class needs anywidget.
"""

from __future__ import annotations

import math
import zlib
from io import BytesIO
from pathlib import Path

import anywidget
import numpy as np
from traitlets import (
    Bool,
    Bytes,
    Dict,
    Enum,
    Float,
    Int,
    List,
    TraitError,
    Unicode,
    observe,
    validate,
)

from magician.ct.volume import CTVolume
from magician.display.picture import image_element
from magician.rendering.overlay import OUTLINE, TINT
from magician.rendering.slice_renderer import SliceRenderer
from magician.rendering.windowing import PRESETS, window

HERE = Path(__file__).parent
STILL_PX = 512  # width of the picture for pages that run no scripts


class PageViewer(anywidget.AnyWidget):
    """A CT that the page draws: window, slices, planes and overlay without the kernel.

    Each attribute changes when the user works in the page, and the page follows what Python sets.

    Attributes
    ----------
    plane : str
        "axial", "coronal" or "sagittal".
    slice : int
        Counted from 1; in the axial plane from the feet.
    center, width : float, in HU
    position : list of int
        The voxel (slice, row, column), counted from 0, through which all three planes go.
    overlay : bool
        Whether the lungs are drawn.
    opacity : float
        How much of the blue covers the grey, 0 to 1.
    """

    _esm = HERE / "page_viewer.js"
    _css = HERE / "page_viewer.css"

    plane = Enum(["axial", "coronal", "sagittal"], "axial").tag(sync=True)
    position = List(Int(), minlen=3, maxlen=3).tag(sync=True)
    slice = Int()  # follows plane and position, so that the page need not keep three in step
    center = Float().tag(sync=True)
    width = Float().tag(sync=True)
    overlay = Bool().tag(sync=True)
    opacity = Float(1, min=0, max=1).tag(sync=True)
    _study = Dict().tag(sync=True)
    # shown until slices come, because a kernel that runs another cell sends none
    _still = Bytes().tag(sync=True)
    _still_alt = Unicode().tag(sync=True)

    def __init__(
        self, volume: CTVolume, labels: np.ndarray | None, center: float, width: float
    ) -> None:
        window(volume.hu[:0], center, width)  # raises the same ValueError as everywhere
        self._volume, self._labels, self._renderer = volume, labels, SliceRenderer(volume, labels)
        self._planes = self._renderer.planes
        self._value_table = self._renderer.value_table
        study = {
            "shape": volume.hu.shape,
            "affine": volume.affine.tolist(),
            "planes": {
                name: {
                    "axes": plane.axes,
                    "flips": plane.flips,
                    "spacing": plane.spacing_mm,
                    "letters": plane.letters,
                }
                for name, plane in self._planes.items()
            },
            "labels": labels is not None,
            "start": [center, width],
            "presets": PRESETS,
            "tint": TINT.tolist(),
            "outline": OUTLINE.tolist(),
        }
        middle = [(count - 1) // 2 for count in volume.hu.shape]
        super().__init__(
            _study=study,
            position=middle,
            slice=middle[self._planes["axial"].axes[0]] + 1,
            center=center,
            width=width,
            overlay=labels is not None,
        )
        self.on_msg(self._answer)

    def __repr__(self) -> str:
        count = len(self._volume.hu)
        return f"Viewer: {count} slices; wheel for the slice, drag for the window, ? for all keys"

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict, dict]:
        """Add a picture, for pages that show notebooks without running them."""
        self._still, self._still_alt = self._draw_still(), self._describe_still()
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/html": image_element(self._still, self._still_alt)}, metadata

    def _describe_still(self) -> str:
        count = self._volume.hu.shape[self._planes[self.plane].axes[0]]
        lungs = ", the lungs in blue" if self.overlay else ""
        return (
            f"CT viewer: {self.plane} slice {self.slice} of {count}, "
            f"window centre {self.center:g}, width {self.width:g} HU{lungs}; "
            f"letters mark the sides of the patient."
        )

    def _draw_still(self) -> bytes:
        from PIL import ImageDraw

        picture = self._renderer.draw(
            self.plane,
            tuple(self.position),
            self.center,
            self.width,
            overlay=self.overlay,
            opacity=self.opacity,
        )
        height = round(STILL_PX * picture.height / picture.width)
        picture = picture.convert("RGB").resize((STILL_PX, height))
        pen = ImageDraw.Draw(picture)
        x, y = STILL_PX / 2, height / 2
        edges = {"lm": (8, y), "rm": (STILL_PX - 8, y), "mt": (x, 8), "mb": (x, height - 8)}
        letters = self._planes[self.plane].letters
        for letter, (anchor, edge) in zip(letters, edges.items(), strict=True):
            pen.text(
                edge,
                letter,
                "white",
                anchor=anchor,
                font_size=16,
                stroke_width=1,
                stroke_fill="black",
            )
        buffer = BytesIO()
        # with 64 colours the file has half the size
        picture.quantize(64).save(buffer, format="png", optimize=True)
        return buffer.getvalue()

    def _answer(self, _, content: dict, buffers: object) -> None:
        if content.get("values"):
            self.send({"values": True}, [self._value_table.values.astype("<f8").tobytes()])
            return
        first, count = content["first"], content["count"]
        chunk = slice(first, first + count)
        codes = self._value_table.encode(self._volume.hu[chunk]).astype("<u2", copy=False).tobytes()
        labels = (
            b""
            if self._labels is None
            else zlib.compress(self._labels[chunk].astype(np.uint8).tobytes(), 1)
        )
        self.send({"first": first, "count": count}, [codes, labels])

    @observe("plane", "position")
    def _follow(self, change: dict) -> None:
        self.slice = self.position[self._planes[self.plane].axes[0]] + 1

    @observe("slice")
    def _step(self, change: dict) -> None:
        axis = self._planes[self.plane].axes[0]
        self.position = [
            self.slice - 1 if i == axis else place for i, place in enumerate(self.position)
        ]

    @validate("slice")
    def _is_a_slice(self, proposal: dict) -> int:
        count = self._volume.hu.shape[self._planes[self.plane].axes[0]]
        if not 1 <= proposal["value"] <= count:
            raise TraitError(
                f"slice {proposal['value']}: the {self.plane} plane has slices 1 to {count}."
            )
        return proposal["value"]

    @validate("position")
    def _is_a_voxel(self, proposal: dict) -> list[int]:
        shape = self._volume.hu.shape
        if not all(
            0 <= place < count for place, count in zip(proposal["value"], shape, strict=True)
        ):
            raise TraitError(
                f"position {proposal['value']}: the volume has {shape} voxels, counted from 0."
            )
        return proposal["value"]

    @validate("center", "width")
    def _is_a_window(self, proposal: dict) -> float:
        value, name = proposal["value"], proposal["trait"].name
        if not math.isfinite(value) or (name == "width" and value < 1):
            raise TraitError(
                f"{name} {value}: a window needs a finite center and a width of at least 1."
            )
        return value
