"""The viewer with sliders; a file of its own because a class of widgets needs ipywidgets when it is defined."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from ipywidgets import Checkbox, Image, IntSlider, Layout, VBox

from magician._overlay import paint
from magician.volume import CTVolume, window


class WindowViewer(VBox):
    """Sliders, and a JPEG that is drawn anew whenever one of them moves.

    Core widgets only: `interact` and Output widgets hang notebook runners, ipympl does not work on Colab.

    Attributes
    ----------
    slice, center, width : ipywidgets.IntSlider
        Slices are counted from 1 at the feet, as in a montage.
    overlay : ipywidgets.Checkbox
        Whether the lungs are drawn; not shown without a segmentation.
    image : ipywidgets.Image
    """

    def __init__(self, volume: CTVolume, labels: np.ndarray | None, center: float, width: float) -> None:
        self._volume, self._labels = volume, labels
        layout, style = Layout(width="480px"), {"description_width": "90px"}
        options = {"layout": layout, "style": style, "continuous_update": True}
        count = len(volume.hu)
        self.slice = IntSlider(value=(count + 1) // 2, min=1, max=count, description="slice", **options)
        self.center = IntSlider(value=round(center), min=-1200, max=1200, description="centre (WC)", **options)
        self.width = IntSlider(value=round(width), min=1, max=3000, description="width (WW)", **options)
        self.overlay = Checkbox(value=labels is not None, description="lungs in blue")
        self.image = Image(format="jpeg", layout=Layout(width="512px"))
        overlay = [] if labels is None else [self.overlay]
        super().__init__([self.slice, self.center, self.width, *overlay, self.image])
        for control in (self.slice, self.center, self.width, self.overlay):
            control.observe(self._redraw, names="value")
        self._redraw()

    def __repr__(self) -> str:
        return f"Viewer: {len(self._volume.hu)} slices; sliders for slice, window centre and window width"

    def _redraw(self, change=None) -> None:
        buffer = BytesIO()
        self._picture().save(buffer, format="jpeg", quality=90)
        self.image.value = buffer.getvalue()

    def _picture(self):
        from PIL import Image as PillowImage

        index, center, width = self.slice.value - 1, self.center.value, self.width.value
        if self.overlay.value and self._labels is not None:
            return PillowImage.fromarray(paint(self._volume.hu[index], self._labels[index], center, width))
        return PillowImage.fromarray(window(self._volume.hu[index], center, width))
