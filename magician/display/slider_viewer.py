"""The viewer with sliders, which needs only ipywidgets and works on Colab, too.

This module is imported when a viewer is made, because its class needs ipywidgets.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from ipywidgets import (
    HTML,
    Button,
    Checkbox,
    FloatSlider,
    HBox,
    Image,
    IntSlider,
    Label,
    Layout,
    ToggleButtons,
    VBox,
)

from magician.ct.volume import CTVolume
from magician.rendering.orientation import describe_position
from magician.rendering.slice_renderer import SliceRenderer
from magician.rendering.windowing import PRESETS

SIDE_PX = 512  # side of the square into which a picture fits


class SliderViewer(VBox):
    """Sliders, and a JPEG that is drawn anew whenever one of them moves.

    It consists of core widgets only: ``interact`` and Output widgets hang notebook runners, and
    ipympl does not work on Colab.

    Attributes
    ----------
    plane : ipywidgets.ToggleButtons
        "axial", "coronal" or "sagittal".
    slice, center, width : ipywidgets.IntSlider
        Slices are counted from 1 at the feet, as in a montage; in the other planes from the first
        row or column.
    presets : dict of str to ipywidgets.Button
    overlay : ipywidgets.Checkbox
        Whether the lungs are drawn; not shown without a segmentation.
    opacity : ipywidgets.FloatSlider
        How much of the blue covers the grey, 0 to 1.
    point : ipywidgets.Checkbox
        Whether a cross marks a point, whose value is shown.
    down, across : ipywidgets.IntSlider
        The place of the point in the picture, counted from the upper left corner.
    value : ipywidgets.HTML
        The value of the point in HU, and its place in the patient.
    image : ipywidgets.Image
    letters : list of ipywidgets.Label
        The side of the patient at the left, right, upper and lower edge of the picture.
    """

    def __init__(
        self,
        volume: CTVolume,
        labels: np.ndarray | None,
        center: float,
        width: float,
        *,
        note: str = "",
    ) -> None:
        self._volume, self._renderer = volume, SliceRenderer(volume, labels)
        self._position = tuple((count - 1) // 2 for count in volume.hu.shape)
        self._is_turning = False  # to another plane: then the sliders do not tell the position
        layout, style = Layout(width="480px"), {"description_width": "90px"}
        options = {"layout": layout, "style": style, "continuous_update": True}
        self.plane = ToggleButtons(
            options=list(self._renderer.planes), style={"button_width": "90px"}
        )
        self.slice = IntSlider(min=1, description="slice", **options)
        self.center = IntSlider(
            value=round(center), min=-1200, max=1200, description="centre (WC)", **options
        )
        self.width = IntSlider(
            value=round(width), min=1, max=3000, description="width (WW)", **options
        )
        self.presets = {
            name: Button(description=name, layout=Layout(width="90px")) for name in PRESETS
        }
        self.overlay = Checkbox(value=labels is not None, description="lungs in blue")
        self.opacity = FloatSlider(
            value=1, min=0, max=1, step=0.05, description="opacity", **options
        )
        self.point = Checkbox(value=False, description="value at a point")
        self.down = IntSlider(min=1, description="point, down", **options)
        self.across = IntSlider(min=1, description="point, across", **options)
        self.value = HTML()
        self.image = Image(format="jpeg")
        self._point_controls = VBox(
            [self.down, self.across, self.value], layout=Layout(display="none")
        )
        overlay = [] if labels is None else [self.overlay, self.opacity]
        controls = [
            self.slice,
            self.center,
            self.width,
            HBox(list(self.presets.values())),
            *overlay,
            self.point,
        ]
        notes = [HTML(note)] if note else []
        self.letters = [Label() for _ in range(4)]
        left, right, top, bottom = self.letters
        middle = HBox([left, self.image, right], layout=Layout(align_items="center"))
        framed = VBox(
            [top, middle, bottom], layout=Layout(align_items="center", width="max-content")
        )
        super().__init__([*notes, self.plane, *controls, self._point_controls, framed])

        self._turn()
        self.plane.observe(self._turn, names="value")
        for name, button in self.presets.items():
            button.on_click(lambda _, window=PRESETS[name]: self._set_window(*window))
        for slider in (self.slice, self.down, self.across):
            slider.observe(self._move, names="value")
        for control in (self.center, self.width, self.overlay, self.opacity, self.point):
            control.observe(self._redraw, names="value")

    def __repr__(self) -> str:
        count = len(self._volume.hu)
        return f"Viewer: {count} slices; sliders for slice, window centre and window width"

    def _turn(self, change=None) -> None:
        """Show the other plane through the same point."""
        plane, shape = self._renderer.planes[self.plane.value], self._volume.hu.shape
        self._is_turning = True
        places = plane.place_of(self._position, shape)
        for slider, axis, place in zip(
            (self.slice, self.down, self.across), plane.axes, places, strict=True
        ):
            slider.max = shape[axis]
            slider.value = place + 1
        self._is_turning = False
        height, width = (
            shape[axis] * spacing
            for axis, spacing in zip(plane.axes[1:], plane.spacing_mm, strict=True)
        )
        for label, letter in zip(self.letters, plane.letters, strict=True):
            label.value = letter
        self.image.layout = Layout(width=f"{SIDE_PX * width / max(height, width):.0f}px")
        self._redraw()

    def _move(self, change) -> None:
        if not self._is_turning:
            places = (self.slice.value - 1, self.down.value - 1, self.across.value - 1)
            self._position = self._renderer.planes[self.plane.value].voxel_at(
                places, self._volume.hu.shape
            )
            self._redraw()

    def _set_window(self, center: float, width: float) -> None:
        with self.image.hold_sync():  # two sliders, one picture
            self.center.value, self.width.value = center, width

    def _redraw(self, change=None) -> None:
        picture = self._renderer.draw(
            self.plane.value,
            self._position,
            self.center.value,
            self.width.value,
            overlay=self.overlay.value,
            opacity=self.opacity.value,
            cross=self.point.value,
        )
        self._point_controls.layout.display = "" if self.point.value else "none"
        if self.point.value:
            place = describe_position(self._volume, self._position)
            self.value.value = f"<b>{self._volume.hu[self._position]:.0f} HU</b> at {place}"
        buffer = BytesIO()
        picture.save(buffer, format="jpeg", quality=90)
        self.image.value = buffer.getvalue()
