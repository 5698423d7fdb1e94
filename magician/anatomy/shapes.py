"""The shapes of anatomy, drawn slice by slice: signed distances, soft edges, random fields.

All lengths are in mm. A signed distance is negative inside. Axes: x grows to the patient's left, y
to the back, z to the head; a slice is a 2-D array (rows, columns) of float32 with ``x`` along
columns and ``y`` along rows.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

EDGE_MM = 1.6  # how far the scanner smears an edge

Box = tuple[slice, slice]
# a box of a slice and the signed distance in it, or nothing on this slice
Found = tuple[Box, np.ndarray] | None


def soft(distance: np.ndarray, edge: float | np.ndarray = EDGE_MM) -> np.ndarray:
    """Turn a signed distance into the share of each voxel that lies inside, 0 to 1."""
    share = distance * (-1.0 / edge)
    share += 0.5
    return np.clip(share, 0.0, 1.0, out=share)


def paint(hu: np.ndarray, share: np.ndarray, value: float | np.ndarray) -> None:
    """Mix ``value`` (HU) into ``hu`` in place, ``share`` of it."""
    change = value - hu
    change *= share
    hu += change


def paint_shape(hu: np.ndarray, found: Found, value: float, *, grow: float = 0.0) -> None:
    """Paint a shape that `Tube.distance` or `Ellipsoid.distance` found, ``grow`` mm larger."""
    if found is not None:
        box, distance = found
        paint(hu[box], soft(distance - grow), value)


def smooth_minimum(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Unite two shapes, and fill their crease with a fillet of about ``radius`` mm."""
    h = np.abs(a - b)
    np.subtract(radius, h, out=h)
    np.maximum(h, 0.0, out=h)
    h *= h
    h *= -0.25 / radius
    h += np.minimum(a, b)
    return h


def unite(total: np.ndarray, found: Found, radius: float, *, grow: float = 0.0) -> None:
    """Add a found shape to the signed distance ``total``, in place; fillets have ``radius`` mm."""
    if found is not None:
        box, distance = found
        total[box] = smooth_minimum(total[box], distance - grow, radius)


def curve(keys: list[float], values: list[float], at: float | np.ndarray) -> np.ndarray:
    """Interpolate key values without overshoot; constant beyond the ends."""
    return _interpolator(tuple(keys), tuple(values))(np.clip(at, keys[0], keys[-1])).astype(
        np.float32
    )


@lru_cache(maxsize=128)
def _interpolator(keys: tuple, values: tuple):
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(keys, values)


def bump(t: np.ndarray | float, centre: float, width: float) -> np.ndarray:
    """Compute a Gaussian of height 1."""
    return np.exp(-(((t - centre) / width) ** 2))


def double(half: np.ndarray) -> np.ndarray:
    """Double rows and columns by linear interpolation; even rows and columns keep their values."""
    rows, columns = half.shape
    full = np.empty((2 * rows, 2 * columns), half.dtype)
    wide = np.empty((rows, 2 * columns), half.dtype)
    wide[:, ::2] = half
    wide[:, 1:-1:2] = 0.5 * (half[:, :-1] + half[:, 1:])
    wide[:, -1] = half[:, -1]
    full[::2] = wide
    full[1:-1:2] = 0.5 * (wide[:-1] + wide[1:])
    full[-1] = wide[-1]
    return full


class Grid:
    """Coordinates of one slice in mm: ``x``, ``y`` are arrays (rows, columns), ``z`` a number."""

    def __init__(self, x: np.ndarray, y: np.ndarray, z: float) -> None:
        self.x, self.y, self.z = x, y, z

    @cached_property
    def _ranges(self) -> tuple[np.ndarray, ...]:
        # A grid may be bent, so a column has a range of x, and a row a range of y.
        return self.x.min(axis=0), self.x.max(axis=0), self.y.min(axis=1), self.y.max(axis=1)

    def window(self, x0: float, x1: float, y0: float, y1: float) -> Box | None:
        """Find the smallest box (rows, columns) that holds x0..x1 and y0..y1.

        None if no part of that is on the slice.
        """
        left, right, front, back = self._ranges
        columns = np.flatnonzero((right >= x0) & (left <= x1))
        rows = np.flatnonzero((back >= y0) & (front <= y1))
        if not len(columns) or not len(rows):
            return None
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


class Field:
    """A smooth random field in space: cubic B-splines on random nodes.

    Its mean is 0, its standard deviation about 1.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        spacing_mm: tuple,
        z: np.ndarray,
        y: np.ndarray,
        x: np.ndarray,
    ) -> None:
        """``z``, ``y``, ``x``: positions of slices, rows, columns; ``spacing_mm``: of the nodes.

        Spacings have the same order: between slices, rows, columns.
        """
        self._low = np.array([z[0], y[0], x[0]], float)
        self._spacing = np.asarray(spacing_mm, float)
        extent = np.array([z[-1], y[-1], x[-1]], float) - self._low
        shape = np.ceil(extent / self._spacing).astype(int) + 4
        self._nodes = rng.standard_normal(shape, dtype=np.float32) * np.float32(3.0)
        slices = self._basis(z, 0) @ self._nodes.reshape(shape[0], -1)
        self._slices = slices.reshape(len(z), shape[1], shape[2])
        self._rows, self._columns = self._basis(y, 1), self._basis(x, 2)

    def _basis(self, positions: np.ndarray, axis: int):
        from scipy.sparse import csr_array

        t = (np.asarray(positions, np.float64) - self._low[axis]) / self._spacing[axis] + 1.0
        u = np.abs(t[:, None] - np.arange(self._nodes.shape[axis]))
        weights = np.where(u < 1, 2 / 3 - u**2 + u**3 / 2, np.maximum(2 - u, 0) ** 3 / 6)
        return csr_array(weights.astype(np.float32))

    def plane(self, index: int) -> np.ndarray:
        """Compute the field on slice ``index``, shape (rows, columns)."""
        # Sparse products: dense ones would start BLAS threads, which cost more than they gain on
        # a busy machine.
        return self._rows @ np.ascontiguousarray((self._columns @ self._slices[index].T).T)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Compute the field at points, shape (n, 3) with axes (x, y, z)."""
        from scipy import ndimage

        place = (points[:, ::-1] - self._low) / self._spacing + 1.0
        return ndimage.map_coordinates(
            self._nodes, place.T, order=3, prefilter=False, mode="nearest"
        )


class Tube:
    """A vessel, an airway or a bone: a curve through points, round, of varying radius."""

    def __init__(self, *points: tuple[float, float, float, float]) -> None:
        """``points``: (x, y, z, radius) of each."""
        keys = np.asarray(points, np.float64)
        length = np.concatenate(
            [[0.0], np.cumsum(np.linalg.norm(np.diff(keys[:, :3], axis=0), axis=1))]
        )
        # Balls this close together look like a smooth tube.
        smallest = keys[:, 3].min()
        step = max(1.2, min(0.6 * smallest, 4 + 0.15 * smallest))
        at = np.linspace(0, length[-1], max(2, int(length[-1] / step) + 2))
        self._samples = np.stack(
            [curve(list(length), list(column), at) for column in keys.T], axis=1
        )
        heights, radii = self._samples[:, 2], self._samples[:, 3]
        self._low, self._high = float((heights - radii).min()), float((heights + radii).max())

    def distance(self, grid: Grid, margin: float = 2.0) -> Found:
        """Measure the signed distance, in a box that holds all that is nearer than ``margin``."""
        if not self._low - margin < grid.z < self._high + margin:
            return None
        height = np.abs(self._samples[:, 2] - grid.z)
        near = self._samples[height < self._samples[:, 3] + margin]
        if not len(near):
            return None
        near = self._nearest(near, np.abs(near[:, 2] - grid.z), margin)
        reach = near[:, 3:] + margin
        low, high = (near[:, :2] - reach).min(axis=0), (near[:, :2] + reach).max(axis=0)
        box = grid.window(low[0], high[0], low[1], high[1])
        if box is None:
            return None
        x, y = grid.x[box], grid.y[box]
        nearest = np.full(x.shape, np.float32(1e3))
        for px, py, pz, radius in near.tolist():
            distance = (x - px) ** 2
            distance += (y - py) ** 2
            distance += (pz - grid.z) ** 2
            np.sqrt(distance, out=distance)
            distance -= radius
            np.minimum(nearest, distance, out=nearest)
        return box, nearest

    @staticmethod
    def _nearest(samples: np.ndarray, height: np.ndarray, margin: float) -> np.ndarray:
        """Leave out balls that are hidden behind the ball nearest to the slice.

        Where a tube is upright, these are most of its balls.
        """
        first = samples[height.argmin()]
        aside = np.linalg.norm(samples[:, :2] - first[:2], axis=1) + np.abs(
            samples[:, 3] - first[3]
        )
        reach = samples[:, 3] + margin
        return samples[height**2 <= height.min() ** 2 + aside**2 + 2 * reach * aside + 1e-6]


class Ellipsoid:
    """A rotated ellipsoid; ``axis`` is the direction of its first radius."""

    def __init__(self, centre: tuple, radii: tuple, axis: tuple = (1.0, 0.0, 0.0)) -> None:
        first = np.asarray(axis, np.float64) / np.linalg.norm(axis)
        second = np.cross([0.0, 0.0, 1.0], first)
        second = second / np.linalg.norm(second)
        self._turn = np.stack([first, second, np.cross(first, second)])
        self._centre, self._radii = np.asarray(centre, np.float64), np.asarray(radii, np.float64)
        self._reach = np.sqrt(((self._turn * self._radii[:, None]) ** 2).sum(axis=0))

    def distance(self, grid: Grid, margin: float = 2.0) -> Found:
        """Measure the signed distance, as `Tube.distance` does."""
        reach = self._reach + margin
        if abs(grid.z - self._centre[2]) > reach[2]:
            return None
        low, high = self._centre - reach, self._centre + reach
        box = grid.window(low[0], high[0], low[1], high[1])
        if box is None:
            return None
        cx, cy, cz = self._centre.tolist()
        dx, dy, dz = grid.x[box] - cx, grid.y[box] - cy, grid.z - cz
        first, second = np.zeros_like(dx), np.full_like(dx, 1e-6)
        for (ax, ay, az), radius in zip(self._turn.tolist(), self._radii.tolist(), strict=True):
            along = (dx * (ax / radius) + dy * (ay / radius) + az * dz / radius) ** 2
            first += along
            second += along * (1 / radius**2)
        np.sqrt(first, out=first)
        return box, first * (first - 1) / np.sqrt(second)
