"""The overlay: a slice in grey levels, its lungs in blue and outlined."""

from __future__ import annotations

import numpy as np

from magician.ct.volume import CTVolume
from magician.errors import WrongArgument
from magician.rendering.windowing import WINDOW, window

GREY = np.arange(256)[:, None]
# a blue that leaves vessels visible
TINT = np.clip(GREY * [0.5, 0.6, 0.7] + [16, 62, 124], 0, 255).astype(np.uint8)
OUTLINE = np.array([160, 225, 255], np.uint8)  # light: visible in a grey print, too


def paint(
    hu: np.ndarray,
    labels: np.ndarray,
    center: float = WINDOW[0],
    width: float = WINDOW[1],
    opacity: float = 1,
) -> np.ndarray:
    """Return one slice in grey levels, with its lungs in blue and outlined.

    Parameters
    ----------
    hu : array, shape (rows, columns), in HU
    labels : array of uint8, same shape, 0 outside the lungs
    center, width : float, in HU
    opacity : float
        Of the blue, from 0 (none) to 1.

    Returns
    -------
    array of uint8, shape (rows, columns, 3)
    """
    kinds = pixel_kinds(labels).astype(np.uint16)
    return (
        palette(opacity)
        .reshape(-1, 3)
        .take(kinds * np.uint16(256) + window(hu, center, width), axis=0)
    )


def pixel_kinds(labels: np.ndarray) -> np.ndarray:
    """Return 0 for pixels outside the lungs, 1 inside them, 2 on their outline; array of uint8."""
    kinds = (labels > 0).astype(np.uint8)
    kinds[_border(labels)] = 2
    return kinds


def palette(opacity: float = 1) -> np.ndarray:
    """Return the colours of grey levels outside the lungs, inside them, and on their outline.

    Returns
    -------
    array of uint8, shape (3, 256, 3): kind of pixel, grey level, colour
    """
    grey = np.repeat(GREY, 3, axis=1)
    blue = [
        grey + opacity * (colour - grey) for colour in (TINT.astype(float), OUTLINE.astype(float))
    ]
    return np.rint([grey, *blue]).astype(np.uint8)


def _border(labels: np.ndarray) -> np.ndarray:
    """Return True for lung pixels with another label above, below, to the left or to the right."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (inner > 0) & np.logical_or.reduce([inner != other for other in neighbours])


def checked_labels(segmentation, volume: CTVolume) -> np.ndarray | None:
    """Return the labels of a segmentation, or an array of labels, if they fit the volume.

    Raises
    ------
    ValueError
        If they have another shape than the volume.
    """
    labels = getattr(segmentation, "labels", segmentation)
    if labels is not None and np.shape(labels) != volume.hu.shape:
        raise WrongArgument(
            f"The mask has the shape {np.shape(labels)}, the volume {volume.hu.shape}."
        )
    return labels
