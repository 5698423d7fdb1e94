"""A procedural chest: every patient of the teaching study, in Hounsfield units, with the truth about the lungs.

Anatomy is described once, in the millimetres of an average chest (x to the patient's left, y to the back, z to the
head, 0 at the lowest slice). A patient is that chest with other proportions, bent by smooth random fields. Slices are
drawn one by one, from the skin inwards; then trees of vessels and bronchi are grown into the lungs that resulted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magician import _lungs
from magician._chest_wall import Build, ChestWall, Section
from magician._organs import INLET_Z, Organs, diaphragm
from magician._shapes import Field, Grid, bump, double, paint, soft

SLICES, MATRIX, PIXEL_MM, SLICE_MM = 93, 512, 0.78125, 3.0
_AXIS = ((np.arange(MATRIX) - (MATRIX - 1) / 2) * PIXEL_MM).astype(np.float32)
_ROWS = slice(66, 432)  # the rows that a patient can reach


@dataclass(frozen=True)
class Chest:
    """What `make_chest` gives.

    Attributes
    ----------
    hu : array of int16, shape (slices, rows, columns), slices from feet to head, in HU
    labels : array of uint8, same shape; 0 outside, 1 right lung, 2 left lung
    contrast : bool
        Whether the blood is enhanced, as after an injection of contrast medium.
    """

    hu: np.ndarray
    labels: np.ndarray
    contrast: bool


def make_chest(seed: int, *, sex: str) -> Chest:
    """Make the chest of one patient.

    Parameters
    ----------
    seed : int, not negative
    sex : "F" or "M"

    Returns
    -------
    Chest
    """
    return _Patient(seed, sex).scan()


class _Patient:
    def __init__(self, seed: int, sex: str) -> None:
        # Parts draw from generators of their own, so that a change to one leaves the others as they were.
        rng, self.tree_rng, self.disease_rng, self.noise_rng = np.random.default_rng(seed).spawn(4)
        small = 0.97 if sex == "F" else 1.02
        self.build = Build(
            sex=sex,
            width=small * rng.uniform(0.95, 1.05),
            depth=small * rng.uniform(0.95, 1.06),
            fat=rng.uniform(8, 20),
            contrast=bool(rng.random() < 0.6),
            dome=(rng.uniform(98, 110), rng.uniform(91, 101)),
            heart=rng.uniform(0.92, 1.08),
            density=rng.uniform(-885, -860),
        )
        self.z = (np.arange(SLICES) * SLICE_MM).astype(np.float32)
        nodes = {
            "dx": (90, 90, 90), "dy": (90, 90, 90), "coarse": (40, 22, 22), "cleft": (60, 26, 26),
            "fine": (7, 6, 6), "blob": (12, 12, 12),
        }  # fmt: skip
        self.fields = {
            name: Field(rng, spacing, self.z, _AXIS[_ROWS], _AXIS) for name, spacing in nodes.items()
        }
        self.wall = ChestWall(self.build, self.z, self.fields)
        self.organs = Organs(self.build, self.wall)
        self.air = self._table()

    def scan(self) -> Chest:
        shape = (SLICES, MATRIX, MATRIX)
        self.hu = np.empty(shape, np.float32)
        self.lung = np.zeros(shape, np.uint8)  # share of lung, 255 is all
        self.tissue = np.zeros(shape, np.int16)  # HU of lung without its vessels
        self.lobe = np.zeros(shape, np.uint8)
        for index in range(SLICES):
            self._draw(index)
        labels = self._labels()
        self._fill_lungs(labels)
        noise = _Noise(self.noise_rng)
        hu = np.empty(shape, np.int16)
        for index in range(SLICES):
            plane = self.hu[index] + noise.plane(float(self.z[index]))
            hu[index] = np.clip(np.round(plane), -1024, 3071)
        return Chest(hu, labels, self.build.contrast)

    # ----------------------------------------------------------------------------------------- body and organs

    def _grid(self, index: int) -> Grid:
        """Where the pixels of a slice lie in the average chest: bent by a few millimetres."""
        x = _AXIS[None, :] + 3.5 * self.fields["dx"].plane(index)
        y = _AXIS[_ROWS, None] + 2.5 * self.fields["dy"].plane(index)
        return Grid(x, y, float(self.z[index]))

    def _to_world(self, points: np.ndarray) -> np.ndarray:
        """Where points (n, 3) of the average chest lie in this patient."""
        moved = points.copy()
        moved[:, 0] -= 3.5 * self.fields["dx"].at(points)
        moved[:, 1] -= 2.5 * self.fields["dy"].at(points)
        return moved

    def _draw(self, index: int) -> None:
        self.hu[index] = self.air
        s = self.wall.section(index, self._grid(index), self.hu[index][_ROWS])
        self.wall.draw(s)
        if s.grid.z > INLET_Z:
            self.organs.draw_inlet(s)
            box = slice(None), slice(112, 400)
        else:
            rows, columns = (np.flatnonzero((s.rho < 3).any(axis=axis)) for axis in (1, 0))
            box = _even(rows), _even(columns)
        lung, tissue, lobe = self._draw_cavity(s.crop(box))
        self.lung[index][_ROWS][box] = lung * 255
        self.tissue[index][_ROWS][box] = tissue
        self.lobe[index][_ROWS][box] = lobe
        self.wall.draw_spine(s)

    def _draw_cavity(self, s: Section) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw what lies inside the ribs but for the lungs; returns their share in each pixel, their HU, the lobe."""
        half = s.crop((slice(None, None, 2), slice(None, None, 2)))  # enough for what is smooth
        height = double(diaphragm(self.build, half))
        between = double(self.organs.envelope(half))
        major, minor = (double(distance) for distance in _lungs.fissures(half.grid, half.coarse))
        paint(s.hu, soft(s.rho + 1.8, s.edge), -100 + 6 * s.fine)
        self.organs.draw_abdomen(s, height)
        self.organs.draw_mediastinum(s)
        share = (
            soft(s.rho + 1.6, s.edge) * np.clip(0.5 + (s.grid.z - height) / SLICE_MM, 0, 1) * soft(-between)
        )
        tissue = _lungs.density(s.grid, self.build.density, s.fine, s.coarse)
        tissue += _lungs.fissure_haze(s.grid, major, minor)
        air = self.organs.draw_airways(s)
        return share * (1 - air), tissue, _lungs.lobes(s.grid, major, minor)

    def _table(self) -> np.ndarray:
        """An empty slice (HU): the scanner's table, a curved shell filled with foam, and a mattress."""
        plane = np.full((MATRIX, MATRIX), np.float32(-1000))
        x, y = _AXIS[None, :], _AXIS[:, None]
        top, bottom = self.wall.back_y(x) + 14, self.wall.table_y + 44 - 0.0016 * x**2
        paint(plane, soft(np.maximum(top - 13 - y, y - top)) * (np.abs(x) < 190), -940.0)
        shell = np.maximum(top - y, y - bottom)
        paint(plane, soft(shell), -250.0)
        paint(plane, soft(shell + 2.2), -955.0)
        return plane

    def _labels(self) -> np.ndarray:
        labels = np.where(self.lobe > 3, np.uint8(2), np.uint8(1))
        labels[self.lung < 128] = 0
        return labels

    # ------------------------------------------------------------------------------------------- inner lungs

    def _fill_lungs(self, labels: np.ndarray) -> None:
        rng = self.tree_rng
        inside = self._points()
        wanted = {"RUL": 1800, "RML": 800, "RLL": 2200, "LUL": 2100, "LLL": 1900}
        ends = {lobe: points[rng.permutation(len(points))[: wanted[lobe]]] for lobe, points in inside.items()}
        tree = _lungs.LungTree(rng, ends, self._to_world)
        sick = ("LLL", "LUL", "RUL", "RLL", "RLL", "LLL")[self.disease_rng.integers(6)]
        voxel_ml = (4 * PIXEL_MM) ** 2 * SLICE_MM / 1000
        disease = _lungs.Consolidation(self.disease_rng, sick, inside[sick], voxel_ml, self.fields["blob"])
        tree.keep_near(disease.centre, 60)
        healthy = [lobe for lobe in _lungs.LOBES if lobe != sick]
        elsewhere = inside[healthy[self.disease_rng.integers(len(healthy))]]
        nodule = _lungs.Nodule(self.disease_rng, elsewhere)
        self._composite(tree, disease, nodule)

    def _points(self) -> dict[str, np.ndarray]:
        """Points (n, 3), in mm, that fill each lobe evenly, some millimetres from its surface."""
        lobe = np.where(self.lung[:, ::4, ::4] > 250, self.lobe[:, ::4, ::4], 0)
        core = lobe.copy()
        for axis in range(3):
            for step in (-1, 1):
                core[np.roll(lobe, step, axis) != lobe] = 0
        points = {}
        for number, name in enumerate(_lungs.LOBES, start=1):
            k, i, j = np.nonzero(core == number)
            points[name] = np.stack([_AXIS[::4][j], _AXIS[::4][i], self.z[k]], axis=1).astype(float)
        return points

    def _composite(self, tree: _lungs.LungTree, disease: _lungs.Consolidation, nodule: _lungs.Nodule) -> None:
        thirds = 3  # each slice is the mean of three thinner ones, as a thick slice blurs small vessels
        rows, columns = (np.flatnonzero(self.lung.any(axis=axis)) for axis in ((0, 2), (0, 1)))
        box = (slice(rows[0] - 6, rows[-1] + 7), slice(columns[0] - 6, columns[-1] + 7))
        size = (SLICES * thirds, box[0].stop - box[0].start, box[1].stop - box[1].start)
        origin = np.array([_AXIS[box[1].start], _AXIS[box[0].start], -SLICE_MM / thirds])
        step = np.array([PIXEL_MM, PIXEL_MM, SLICE_MM / thirds])
        layers = {}
        for name in ("vessels", "walls", "lumens", "fine_lumens"):
            layers[name] = np.zeros(size, np.uint8)
            for points, radius in getattr(tree, name):
                _lungs.splat(layers[name], points, radius, origin, step)
        blood = 150.0 if self.build.contrast else 40.0
        for index in range(SLICES):
            share = self.lung[index][box].astype(np.float32) / 255
            if not share.any():
                continue
            part = {
                name: layer[index * thirds : (index + 1) * thirds].sum(axis=0, dtype=np.float32)
                / (255 * thirds)
                for name, layer in layers.items()
            }
            plane = self.hu[index][box]
            tissue = self.tissue[index][box].astype(np.float32)
            noise = self.fields["blob"].plane(index)[
                box[0].start - _ROWS.start : box[0].stop - _ROWS.start, box[1]
            ]
            dense, haze = disease.share(_AXIS[None, box[1]], _AXIS[box[0], None], float(self.z[index]), noise)
            sick = self.lobe[index][box] == disease.lobe
            dense, haze = dense * sick, haze * sick
            paint(tissue, 0.28 * haze, 0.0)
            paint(tissue, dense, 35.0)
            paint(tissue, part["vessels"], blood)
            nodule.draw(tissue, _AXIS[None, box[1]], _AXIS[box[0], None], float(self.z[index]), noise)
            paint(tissue, part["walls"] * (1 - dense), -250.0)
            paint(tissue, part["lumens"], -960.0)
            paint(tissue, part["fine_lumens"] * dense, -900.0)
            plane += share * (tissue - plane)


class _Noise:
    """Quantum noise of a soft reconstruction kernel: grainy, coarser than one pixel, streaked at the shoulders."""

    def __init__(self, rng: np.random.Generator, blocks: int = 6) -> None:
        self._rng = rng
        along_y, along_x = np.fft.fftfreq(MATRIX)[:, None], np.fft.rfftfreq(MATRIX)[None, :]
        frequency = np.hypot(along_y, along_x)
        ramp = np.sqrt(frequency) * np.exp(-((frequency / 0.22) ** 2))  # ramp filter times a soft roll-off
        # X-rays that run from arm to arm are the weakest: their noise is drawn out from side to side.
        streaks = ramp * np.exp(-((along_x / 0.02) ** 2))
        self._grains = [self._texture(ramp) for _ in range(blocks)]
        self._streaks = self._texture(streaks)
        self._strength = 4.9 + 6.0 * bump(_AXIS[None, :], 0, 130) * bump(_AXIS[:, None], 5, 100)

    def _texture(self, spectrum: np.ndarray) -> np.ndarray:
        white = np.fft.rfft2(self._rng.standard_normal((MATRIX, MATRIX), dtype=np.float32))
        texture = np.fft.irfft2(white * spectrum, s=(MATRIX, MATRIX)).astype(np.float32)
        return texture / texture.std()

    def plane(self, z: float) -> np.ndarray:
        """Noise (HU) for one slice, stronger behind much tissue."""
        first, second = self._rng.choice(len(self._grains), 2, replace=False)
        grain = self._moved(self._grains[first]) + self._moved(self._grains[second])
        shoulders = float(bump(z, 285, 38))
        grain *= self._strength * np.float32(1 + 0.4 * shoulders)
        if shoulders > 0.02:
            grain += self._moved(self._streaks) * self._strength * np.float32(1.3 * shoulders)
        return grain

    def _moved(self, texture: np.ndarray) -> np.ndarray:
        return np.roll(texture, self._rng.integers(0, MATRIX, 2), (0, 1))


def _even(used: np.ndarray) -> slice:
    """The range of used rows or columns, with even ends so that it can be halved and doubled."""
    return slice(int(used[0]) // 2 * 2, int(used[-1] + 2) // 2 * 2)
