"""The scanner of the teaching phantom: its table, the reconstruction kernel, and noise."""

from __future__ import annotations

import numpy as np

from magician.anatomy.shapes import bump, paint, soft

# Kernels by name: the frequency (cycles per pixel) at which a soft roll-off cuts the noise, how
# strong the noise is, and how much of the finest detail is added to the picture once more.
KERNEL_SETTINGS = {"soft": (0.22, 1.0, 0.0), "sharp": (0.40, 4.0, 1.2)}
KERNELS = tuple(KERNEL_SETTINGS)


def draw_table(axis: np.ndarray, top_y: np.ndarray, middle_y: float) -> np.ndarray:
    """Draw an empty slice: a mattress on the scanner's table, a curved shell filled with foam.

    Parameters
    ----------
    axis : array, shape (n,), in mm; positions of the columns, and of the rows
    top_y : array, shape (n,), in mm; where the patient's back lies, for every column
    middle_y : float, in mm; the lowest point of that

    Returns
    -------
    array of float32, shape (n, n), in HU
    """
    plane = np.full((len(axis), len(axis)), np.float32(-1000))
    x, y = axis[None, :], axis[:, None]
    top, bottom = top_y[None, :] + 14, middle_y + 44 - 0.0016 * x**2
    paint(plane, soft(np.maximum(top - 13 - y, y - top)) * (np.abs(x) < 190), -940.0)
    shell = np.maximum(top - y, y - bottom)
    paint(plane, soft(shell), -250.0)
    paint(plane, soft(shell + 2.2), -955.0)
    return plane


class Reconstruction:
    """A reconstruction kernel: a sharp one shows finer detail, and more noise.

    The noise has streaks at the shoulders.
    """

    def __init__(
        self, rng: np.random.Generator, axis: np.ndarray, kernel: str, textures: int = 6
    ) -> None:
        """``axis``: positions of rows and columns, mm, shape (n,); ``kernel``: one of `KERNELS`."""
        self._rng, self._size = rng, len(axis)
        cut, noise, self._detail = KERNEL_SETTINGS[kernel]
        along_y, along_x = np.fft.fftfreq(self._size)[:, None], np.fft.rfftfreq(self._size)[None, :]
        frequency = np.hypot(along_y, along_x)
        # ramp filter times a soft roll-off
        ramp = np.sqrt(frequency) * np.exp(-((frequency / cut) ** 2))
        # X-rays that run from arm to arm are the weakest: their noise is drawn out sideways.
        streaks = ramp * np.exp(-((along_x / 0.02) ** 2))
        self._grains = [self._make_texture(ramp) for _ in range(textures)]
        self._streaks = self._make_texture(streaks)
        self._strength = noise * (
            4.9 + 6.0 * bump(axis[None, :], 0, 130) * bump(axis[:, None], 5, 100)
        )

    def _make_texture(self, spectrum: np.ndarray) -> np.ndarray:
        white = np.fft.rfft2(self._rng.standard_normal((self._size, self._size), dtype=np.float32))
        texture = np.fft.irfft2(white * spectrum, s=(self._size, self._size)).astype(np.float32)
        return texture / texture.std()

    def reconstruct(self, plane: np.ndarray, z: float) -> np.ndarray:
        """Give one slice (HU) as the scanner would show it."""
        if self._detail:
            from scipy.ndimage import gaussian_filter

            plane = plane + np.float32(self._detail) * (plane - gaussian_filter(plane, 1.0))
        return plane + self._make_noise(z)

    def _make_noise(self, z: float) -> np.ndarray:
        """Make noise (HU) for one slice, stronger behind much tissue."""
        first, second = self._rng.choice(len(self._grains), 2, replace=False)
        grain = self._shift(self._grains[first]) + self._shift(self._grains[second])
        shoulders = float(bump(z, 285, 38))
        grain *= self._strength * np.float32(1 + 0.4 * shoulders)
        if shoulders > 0.02:
            grain += self._shift(self._streaks) * self._strength * np.float32(1.3 * shoulders)
        return grain

    def _shift(self, texture: np.ndarray) -> np.ndarray:
        return np.roll(texture, self._rng.integers(0, self._size, 2), (0, 1))
