"""Smooth random fields: what makes a phantom uneven, bent and patchy."""

from __future__ import annotations

import numpy as np


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], cells: tuple[int, ...]
) -> np.ndarray:
    """Draw a random field of unit variance, with cubic splines between random nodes.

    It has about ``cells`` independent values along each axis.
    """
    values = rng.standard_normal([n + 3 for n in cells]).astype(np.float32)
    for axis, (length, n) in enumerate(zip(shape, cells, strict=True)):
        values = np.moveaxis(
            np.tensordot(_spline_basis(length, n), values, axes=(1, axis)), 0, axis
        )
    return values * (1.0 / max(float(values[:, ::3, ::3].std()), 1e-3))


def _spline_basis(length: int, cells: int) -> np.ndarray:
    position = (
        np.linspace(0, cells, length, dtype=np.float32)[:, None] - np.arange(-1, cells + 2)[None]
    )
    distance = np.abs(position)
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, inner, outer).astype(np.float32)
