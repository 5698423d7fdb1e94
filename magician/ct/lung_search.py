"""A look at a few slices of a CT series: are there lungs in it, and over which height?

This is for choosing a series, not for measuring: it costs some hundredths of a second for each
slice that is decoded, and the height is right to about half a centimetre at either end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

EVERY_MM = 40.0  # how far apart the first slices are that are looked at: no lung is lower than that
MOST_SLICES = 15  # of a first look, however long the series
PRECISION_MM = 5.0  # of both ends
# Aerated lung, averaged over a few pixels. Air outside, in the airways and in the bowel is darker,
# and smooth; stool and the foam of a scanner's table are as grey as lung, but small, or outside the
# body.
LUNG_HU = (-970.0, -500.0)
TISSUE_HU = -400.0
# of the area of the body: a slice through lungs has 20 to 50 percent, the bases in an abdomen often
# less
SURE = 0.10
EDGE = 0.03  # where lungs were seen, a slice with this much is still part of them
_COARSE_MM = 2.5
_AROUND = 0.2  # of what surrounds the patient is at least plain air


@dataclass(frozen=True)
class Lungs:
    """Where the lungs are in a series.

    Attributes
    ----------
    height_mm : float
        From the lowest to the highest slice that shows lung; 0 if none does.
    looked_at : int
        How many slices were decoded.
    cut_below, cut_above : bool
        Whether the very first or last slice shows lung, so that they go on beyond it.
    """

    height_mm: float
    looked_at: int
    cut_below: bool = False
    cut_above: bool = False


def look_for_lungs(
    plane: Callable[[int], np.ndarray], count: int, spacing_mm: tuple[float, float, float]
) -> Lungs:
    """Look at some slices of an axial series, and closer where the lungs begin and end.

    Parameters
    ----------
    plane : function of an index
        Decodes one slice: (rows, columns) in HU. Slices are counted from the feet.
    count : int
        How many slices there are.
    spacing_mm : tuple of float
        (slice, row, column).
    """
    step = spacing_mm[0]
    shares: dict[int, float] = {}

    def share(index: int) -> float:
        if index not in shares:
            shares[index] = lung_share(plane(index), spacing_mm[1:])
        return shares[index]

    wanted = int(np.clip(np.ceil((count - 1) * step / EVERY_MM) + 1, 5, MOST_SLICES))
    samples = sorted(set(np.linspace(0, count - 1, wanted).round().astype(int).tolist()))
    best = max(samples, key=share)
    if share(best) < SURE:
        return Lungs(0.0, len(shares))
    low = _edge(share, samples[: samples.index(best) + 1][::-1], step)
    high = _edge(share, samples[samples.index(best) :], step)
    return Lungs((high - low + 1) * step, len(shares), low == 0, high == count - 1)


def _edge(share: Callable[[int], float], way: list[int], step: float) -> int:
    """Return the last slice with lung on the way from a slice that surely has some, to the
    precision wanted.
    """
    inside = way[0]
    for outside in way[1:]:
        if share(outside) < EDGE:
            break
        inside = outside
    else:
        return inside
    while abs(outside - inside) > max(1, PRECISION_MM / step):
        middle = (inside + outside) // 2
        if share(middle) < EDGE:
            outside = middle
        else:
            inside = middle
    return inside


def lung_share(hu: np.ndarray, pixel_mm: tuple[float, float]) -> float:
    """Return how much of the body's area in one axial slice looks like lung, from 0 to 1.

    Parameters
    ----------
    hu : array, shape (rows, columns), in HU
    pixel_mm : tuple of float
        (row, column).
    """
    from scipy.ndimage import binary_opening, label

    coarse = _average(hu, [max(1, int(_COARSE_MM / mm)) for mm in pixel_mm])
    square = np.ones((3, 3))
    tissue = binary_opening(coarse > TISSUE_HU, square)  # loses the thin shell of the table
    if not tissue.any():
        return 0.0
    # What is around the patient touches the edge of the image, and is mostly plain air. Lungs that
    # a small field of view cuts off touch the edge, too, but hold little that is as dark.
    gaps, _ = label(~tissue)
    sizes = np.bincount(gaps.ravel())
    airy = np.bincount(gaps[coarse <= LUNG_HU[0]], minlength=len(sizes)) > _AROUND * sizes
    edge = np.concatenate([gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]])
    around = [gap for gap in set(edge.tolist()) if gap and airy[gap]]
    body = ~np.isin(gaps, around)
    lung = (coarse > LUNG_HU[0]) & (coarse < LUNG_HU[1]) & body
    return float(binary_opening(lung, square).sum() / body.sum())


def _average(hu: np.ndarray, blocks: list[int]) -> np.ndarray:
    """Return the means of blocks of so many rows and columns; what is left over at the far edges is
    left out.
    """
    blocks = [min(block, size) for block, size in zip(blocks, hu.shape, strict=True)]
    rows, columns = (size // block for size, block in zip(hu.shape, blocks, strict=True))
    whole = hu[: rows * blocks[0], : columns * blocks[1]]
    return whole.reshape(rows, blocks[0], columns, blocks[1]).mean(axis=(1, 3))
