"""The CT viewer for notebooks: mouse and keys as at a workstation where the page can run scripts.

The page gets the pixels once and then draws by itself, so that the window follows the mouse however
far away the kernel is. Where the page can't do that, the viewer with sliders takes its place and
says why.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import numpy as np

from magician.ct.volume import CTVolume
from magician.rendering.overlay import checked_labels
from magician.segmentation.lungs import LungSegmentation

if TYPE_CHECKING:
    from magician.display.page_viewer import PageViewer
    from magician.display.slider_viewer import SliderViewer

__all__ = ["ct_viewer"]


def ct_viewer(
    volume: CTVolume,
    segmentation: LungSegmentation | np.ndarray | None = None,
    *,
    center: float = 40,
    width: float = 400,
) -> PageViewer | SliderViewer:
    """Show a CT to scroll and window with the mouse or the keyboard, in three planes.

    Parameters
    ----------
    volume : CTVolume
    segmentation : LungSegmentation, or array of uint8 on the grid of ``volume.hu``, optional
        Its lungs can be shown in blue.
    center, width : float, in HU
        The window to begin with, and to come back to.

    Returns
    -------
    PageViewer or SliderViewer
        The `SliderViewer`, which `window_viewer` makes, too, where anywidget is missing, on Colab
        and in VS Code; it says why. The ``slice``, ``center``, ``width`` and ``plane`` of a
        `PageViewer` follow the page, and the page follows them.

    Raises
    ------
    ValueError
        If the mask has another shape than the volume, or the width is less than 1.
    """
    labels = checked_labels(segmentation, volume)
    if reason := _reason_for_sliders():
        from magician.display.slider_viewer import SliderViewer

        note = (
            f"The viewer with sliders: {reason} Windowing by mouse needs JupyterLab or "
            f"Jupyter Notebook, and anywidget."
        )
        return SliderViewer(volume, labels, center, width, note=note)
    from magician.display.page_viewer import PageViewer

    return PageViewer(volume, labels, center, width)


def _reason_for_sliders() -> str:
    """Return the reason why the page can't run the page viewer, as far as a kernel can tell.

    The text is empty if there is none.
    """
    if importlib.util.find_spec("anywidget") is None:
        return "the package anywidget is not installed beside this kernel."
    if "google.colab" in sys.modules:
        return "on Colab, the viewer with the mouse would have to fetch scripts."
    if "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if shell is not None and "__vsc_ipynb_file__" in shell.user_ns:  # which only VS Code sets
            return "in VS Code, the viewer with the mouse would have to fetch scripts."
    return ""
