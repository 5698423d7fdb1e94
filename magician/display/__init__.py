"""Display: figures and viewers for notebooks."""

from magician.display.figures import (
    compare,
    contact_sheet,
    density_histogram,
    lung_surface,
    montage,
    three_planes,
    window_viewer,
)
from magician.display.viewer import ct_viewer

__all__ = [
    "compare",
    "contact_sheet",
    "ct_viewer",
    "density_histogram",
    "lung_surface",
    "montage",
    "three_planes",
    "window_viewer",
]
