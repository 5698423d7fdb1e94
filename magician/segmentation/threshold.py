"""Lungs by a threshold, without a network: everything inside the body that is dark enough."""

from __future__ import annotations

import numpy as np

from magician.ct.volume import CTVolume


def threshold_lungs(volume: CTVolume, *, hu: float = -400, smallest_ml: float = 100) -> np.ndarray:
    """Find the lungs as the large dark pieces inside the body.

    This method is the obvious first try; a network must do better. It can't tell right from left.
    It wrongly includes the main airways and the hollow of the scanner's table. It misses every part
    of a lung that is full of fluid or tumour.

    Parameters
    ----------
    volume : CTVolume
        Axial slices. Air must surround the body, so that its inside does not touch the edge.
    hu : float
        Voxels below it count as air.
    smallest_ml : float
        Smaller pieces are removed, such as gas in the bowel.

    Returns
    -------
    array of bool, shape of ``volume.hu``
    """
    from scipy.ndimage import label
    from skimage.segmentation import clear_border

    dark = volume.hu < hu
    # the air around the body touches the edge of the image
    inside = np.stack([clear_border(plane) for plane in dark])
    pieces, _ = label(inside)
    sizes_ml = np.bincount(pieces.ravel()) * np.prod(volume.spacing_mm) / 1000
    sizes_ml[0] = 0
    return (sizes_ml >= smallest_ml)[pieces]
