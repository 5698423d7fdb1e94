"""The method without a network: everything darker than a threshold, inside the body."""

from __future__ import annotations

import numpy as np

from magician.ct.volume import CTVolume


def threshold_lungs(volume: CTVolume, *, hu: float = -400, smallest_ml: float = 100) -> np.ndarray:
    """Find the lungs as the large dark pieces inside the body.

    What everybody tries first, and what a network is to be measured against: it can't tell right
    from left, takes the main airways and the hollow of the scanner's table for lung, and leaves out
    every part of a lung that is full of fluid or tumour.

    Parameters
    ----------
    volume : CTVolume
        Axial slices, the body not touching the edge of the image all around.
    hu : float
        Voxels below it count as air.
    smallest_ml : float
        Smaller pieces are left out, such as gas in the bowel.

    Returns
    -------
    array of bool, shape of ``volume.hu``
    """
    from scipy.ndimage import label
    from skimage.segmentation import clear_border

    dark = volume.hu < hu
    # the air around the body touches the edge
    inside = np.stack([clear_border(plane) for plane in dark])
    pieces, _ = label(inside)
    sizes_ml = np.bincount(pieces.ravel()) * np.prod(volume.spacing_mm) / 1000
    sizes_ml[0] = 0
    return (sizes_ml >= smallest_ml)[pieces]
