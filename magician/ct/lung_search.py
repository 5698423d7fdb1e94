"""Searches lungs in a few slices of a series, and measures their height roughly.

The search serves to choose a series, not to measure a patient. It takes some hundredths of a second
for each slice that it decodes. Each end of the lungs has an error of about half a centimetre.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SAMPLE_STEP_MM = 40.0  # between the first slices that are decoded: every lung is higher than that
MOST_SAMPLES = 15  # first slices, however long the series is
PRECISION_MM = 5.0  # of both ends
# The range of aerated lung, averaged over a few pixels. Air outside the body, in airways and in
# bowel is darker. Stool and the foam of the table are as grey as lung, but small or outside the
# body.
LUNG_HU = (-970.0, -500.0)
TISSUE_HU = -400.0
# Shares of lung in the area of the body. Through the middle of the lungs it is 0.2 to 0.5; in an
# abdomen that shows the lung bases it is often below 0.1.
SURE_SHARE = 0.10
EDGE_SHARE = 0.03  # beside slices that surely show lung, this share is still lung
COARSE_MM = 2.5
AIR_SHARE = 0.2  # of the pixels around the patient, at least so many are plain air


@dataclass(frozen=True)
class Lungs:
    """The lungs that a series shows.

    Attributes
    ----------
    height_mm : float
        From the lowest to the highest slice that shows lung; 0 if no slice does.
    decoded : int
        Number of slices that were decoded for the search.
    cut_below, cut_above : bool
        Whether the first or the last slice shows lung: then the lungs go on beyond the series.
    """

    height_mm: float
    decoded: int
    cut_below: bool = False
    cut_above: bool = False


def find_lungs(
    decode: Callable[[int], np.ndarray], count: int, spacing_mm: tuple[float, float, float]
) -> Lungs:
    """Search lungs in some slices of an axial series, then more closely around their two ends.

    Parameters
    ----------
    decode : function of an index
        Returns one slice, shape (rows, columns), in HU. Slices are counted from the feet.
    count : int
        Number of slices.
    spacing_mm : tuple of float
        (slice, row, column).
    """
    step = spacing_mm[0]
    shares: dict[int, float] = {}

    def share(index: int) -> float:
        if index not in shares:
            shares[index] = lung_share(decode(index), spacing_mm[1:])
        return shares[index]

    wanted = np.ceil((count - 1) * step / SAMPLE_STEP_MM) + 1
    wanted = int(np.clip(wanted, 5, MOST_SAMPLES))
    samples = sorted(set(np.linspace(0, count - 1, wanted).round().astype(int).tolist()))
    best = max(samples, key=share)
    if share(best) < SURE_SHARE:
        return Lungs(0.0, len(shares))
    low = _find_edge(share, samples[: samples.index(best) + 1][::-1], step)
    high = _find_edge(share, samples[samples.index(best) :], step)
    return Lungs((high - low + 1) * step, len(shares), low == 0, high == count - 1)


def _find_edge(share: Callable[[int], float], samples: list[int], step: float) -> int:
    """Return the last slice with lung, with an error of at most `PRECISION_MM`.

    `samples` begins with a slice that surely shows lung, and goes on in one direction.
    """
    inside = samples[0]
    for outside in samples[1:]:
        if share(outside) < EDGE_SHARE:
            break
        inside = outside
    else:
        return inside
    while abs(outside - inside) > max(1, PRECISION_MM / step):
        middle = (inside + outside) // 2
        if share(middle) < EDGE_SHARE:
            outside = middle
        else:
            inside = middle
    return inside


def lung_share(hu: np.ndarray, pixel_mm: tuple[float, float]) -> float:
    """Return the share of the body in one axial slice that looks like lung, from 0 to 1.

    Parameters
    ----------
    hu : array, shape (rows, columns), in HU
    pixel_mm : tuple of float
        (row, column).
    """
    from scipy.ndimage import binary_opening, label

    coarse = _average(hu, [max(1, int(COARSE_MM / mm)) for mm in pixel_mm])
    square = np.ones((3, 3))
    tissue = binary_opening(coarse > TISSUE_HU, square)  # removes the thin shell of the table
    if not tissue.any():
        return 0.0
    # The air around the patient touches the edge of the image. Lungs touch it, too, where a small
    # field of view cuts them off; but they hold little that is as dark as plain air.
    gaps, _ = label(~tissue)
    sizes = np.bincount(gaps.ravel())
    airy = np.bincount(gaps[coarse <= LUNG_HU[0]], minlength=len(sizes)) > AIR_SHARE * sizes
    edge = np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]])
    around = [gap for gap in set(edge.tolist()) if gap and airy[gap]]
    body = ~np.isin(gaps, around)
    lung = (coarse > LUNG_HU[0]) & (coarse < LUNG_HU[1]) & body
    return float(binary_opening(lung, square).sum() / body.sum())


def _average(hu: np.ndarray, blocks: list[int]) -> np.ndarray:
    """Return the means of blocks of pixels; rows and columns that fill no block are left out."""
    blocks = [min(block, size) for block, size in zip(blocks, hu.shape, strict=True)]
    rows, columns = (size // block for size, block in zip(hu.shape, blocks, strict=True))
    whole = hu[: rows * blocks[0], : columns * blocks[1]]
    return whole.reshape(rows, blocks[0], columns, blocks[1]).mean(axis=(1, 3))
