"""A renderer of slices: pictures of one volume and its overlay, for each plane and window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from magician.ct.volume import CTVolume
from magician.rendering.overlay import palette, pixel_kinds
from magician.rendering.planes import Plane, planes
from magician.rendering.value_table import ValueTable
from magician.rendering.windowing import window

if TYPE_CHECKING:
    import PIL.Image


class SliceRenderer:
    """Draws pictures of one volume; for another window of the same slice in about a millisecond.

    Attributes
    ----------
    planes : dict of str to Plane
    value_table : ValueTable
    """

    def __init__(self, volume: CTVolume, labels: np.ndarray | None) -> None:
        self._volume, self._labels = volume, labels
        self.planes, self.value_table = planes(volume), ValueTable(volume.hu)
        self._last_slice: tuple | None = None  # plane, index, overlay
        self._last_codes: np.ndarray | None = None

    def draw(
        self,
        plane: str,
        position: tuple[int, int, int],
        center: float,
        width: float,
        *,
        overlay: bool = True,
        opacity: float = 1,
        cross: bool = False,
    ) -> PIL.Image.Image:
        """Draw one slice in true proportions: in grey, or in colours if there is an overlay.

        Parameters
        ----------
        plane : str
            "axial", "coronal" or "sagittal".
        position : tuple of int
            A voxel (slice, row, column) that the slice goes through.
        center, width : float, in HU
        overlay : bool
            Whether the lungs are drawn in blue.
        opacity : float
            Of the blue, 0 to 1.
        cross : bool
            Whether a cross marks that voxel.
        """
        from PIL import Image as PillowImage

        shown = self.planes[plane]
        index, *place = shown.place_of(position, self._volume.hu.shape)
        if self._last_slice != (plane, index, overlay):
            self._last_codes = self._codes(shown, index, overlay)
            self._last_slice = (plane, index, overlay)
        grey = window(self.value_table.values, center, width)
        if overlay and self._labels is not None:
            # four bytes a pixel, as Pillow's mode RGBX; the fourth is not used
            colours = np.zeros((3, len(grey), 4), np.uint8)
            colours[..., :3] = palette(opacity)[:, grey]
            pixels = colours.view(np.uint32).ravel().take(self._last_codes)
            picture = PillowImage.frombuffer(
                "RGBX", pixels.shape[::-1], pixels, "raw", "RGBX", 0, 1
            )
        else:
            picture = PillowImage.fromarray(grey.take(self._last_codes))
        scale = [spacing / min(shown.spacing_mm) for spacing in shown.spacing_mm]
        size = [
            round(count * factor) for count, factor in zip(picture.size, scale[::-1], strict=True)
        ]
        if picture.size != tuple(size):
            picture = picture.resize(size, PillowImage.Resampling.BILINEAR)
        if cross:
            _mark(picture, *((i + 0.5) * factor for i, factor in zip(place, scale, strict=True)))
        return picture

    def _codes(self, plane: Plane, index: int, overlay: bool) -> np.ndarray:
        """Return the index of each pixel in the table of grey levels, or in that of colours."""
        codes = self.value_table.encode(plane.picture(self._volume.hu, index))
        if not overlay or self._labels is None:
            return codes
        kinds = pixel_kinds(plane.picture(self._labels, index))
        return kinds * np.uint32(len(self.value_table.values)) + codes


def _mark(picture: PIL.Image.Image, y: float, x: float) -> None:
    from PIL import ImageDraw

    pen, bands = ImageDraw.Draw(picture), len(picture.getbands())
    for grey, thick in ((0, 3), (255, 1)):  # white with a dark edge is visible on any grey
        for near, far in ((3, 12), (-12, -3)):
            pen.line([(x + near, y), (x + far, y)], fill=(grey,) * bands, width=thick)
            pen.line([(x, y + near), (x, y + far)], fill=(grey,) * bands, width=thick)
