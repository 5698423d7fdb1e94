"""The chest of a patient of the teaching study: computed HU, with the truth about the lungs.

Anatomy is described once, in the millimetres of an average chest (x to the patient's left, y to the
back, z to the head, 0 at the lowest slice). A patient is that chest with other proportions, bent by
smooth random fields. Slices are drawn one by one, from the skin inwards; then trees of vessels and
bronchi are grown into the lungs that resulted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from magician.anatomy import lungs
from magician.anatomy.abdomen import Abdomen, diaphragm_height
from magician.anatomy.bones import Skeleton
from magician.anatomy.mediastinum import INLET_Z, Mediastinum
from magician.anatomy.scanner import Reconstruction, draw_table
from magician.anatomy.section import FAT, Build, Section
from magician.anatomy.shapes import Box, Field, Grid, double, paint, soft
from magician.anatomy.spine import Spine
from magician.anatomy.trees import LungTree, draw_balls
from magician.anatomy.wall import ChestWall

SLICES, MATRIX, PIXEL_MM, SLICE_MM = 93, 512, 0.78125, 3.0
STEPS = 2 * SLICES  # each slice is drawn, and later its lungs
AXIS_MM = ((np.arange(MATRIX) - (MATRIX - 1) / 2) * PIXEL_MM).astype(np.float32)
BODY_ROWS = slice(66, 432)  # the rows that a patient can reach
SPARSE = 4  # every fourth row and column is enough to say where a lobe is
# how far a patient is bent away from the average, in mm (standard deviation)
BEND_X_MM, BEND_Y_MM = 3.5, 2.5
# Distances (mm) between the nodes of the random fields: slices, rows, columns.
TEXTURES = {
    "dx": (90, 90, 90), "dy": (90, 90, 90), "coarse": (40, 22, 22), "cleft": (60, 26, 26),
    "fine": (7, 6, 6), "blob": (12, 12, 12),
}  # fmt: skip
# Ends of vessels, arteries and veins together
VESSEL_ENDS = {"RUL": 1800, "RML": 800, "RLL": 2200, "LUL": 2100, "LLL": 1900}


@dataclass(frozen=True)
class Chest:
    """A computed chest, as `make_chest` gives it.

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


def make_chest(
    seed: int, *, sex: str, disease: bool, kernel: str, advance: Callable[[], object]
) -> Chest:
    """Make the chest of one patient.

    Parameters
    ----------
    seed : int, not negative
    sex : "F" or "M"
    disease : bool
        Whether there are a consolidation and a nodule. Nothing else changes with it.
    kernel : one of `KERNELS`
    advance : callable
        Called `STEPS` times, at about even intervals: for a progress bar.

    Returns
    -------
    Chest
    """
    return _Patient(seed, sex).scan(disease, kernel, advance)


class _Patient:
    """One patient, and the volumes that are drawn, all (slices, rows, columns)."""

    def __init__(self, seed: int, sex: str) -> None:
        # Parts draw from generators of their own, so that a change to one leaves the others as they
        # were.
        generators = np.random.default_rng(seed).spawn(4)
        rng, self._tree_rng, self._disease_rng, self._noise_rng = generators
        small = 0.97 if sex == "F" else 1.02
        self._build = Build(
            sex=sex,
            width=small * rng.uniform(0.95, 1.05),
            depth=small * rng.uniform(0.95, 1.06),
            fat=rng.uniform(8, 20),
            contrast=bool(rng.random() < 0.6),
            dome=(rng.uniform(98, 110), rng.uniform(91, 101)),
            heart=rng.uniform(0.92, 1.08),
            density=rng.uniform(-885, -860),
        )
        self._z = (np.arange(SLICES) * SLICE_MM).astype(np.float32)
        self._fields = {
            name: Field(rng, spacing, self._z, AXIS_MM[BODY_ROWS], AXIS_MM)
            for name, spacing in TEXTURES.items()
        }
        self._wall = ChestWall(self._build, self._z, self._fields)
        self._skeleton = Skeleton(self._build)
        self._spine = Spine(self._build)
        self._mediastinum = Mediastinum(self._build, self._spine)
        self._abdomen = Abdomen(self._build, self._spine)

    def scan(self, disease: bool, kernel: str, advance: Callable[[], object]) -> Chest:
        shape = (SLICES, MATRIX, MATRIX)
        self._hu = np.empty(shape, np.float32)
        self._hu[:] = draw_table(AXIS_MM, self._wall.back_y(AXIS_MM), self._wall.table_y)
        self._lung = np.zeros(shape, np.uint8)  # share of lung, 255 is all
        self._tissue = np.zeros(shape, np.int16)  # HU of lung without its vessels
        self._lobe = np.zeros(shape, np.uint8)
        for index in range(SLICES):
            self._draw_slice(index)
            advance()
        self._fill_lungs(disease, advance)
        scanner = Reconstruction(self._noise_rng, AXIS_MM, kernel)
        hu = np.empty(shape, np.int16)
        for index in range(SLICES):
            plane = scanner.reconstruct(self._hu[index], float(self._z[index]))
            hu[index] = np.clip(np.round(plane), -1024, 3071)
        labels = np.where(self._lobe > lungs.RIGHT_LOBES, np.uint8(2), np.uint8(1))
        labels[self._lung < 128] = 0
        return Chest(hu, labels, self._build.contrast)

    def _grid(self, index: int) -> Grid:
        """Place the pixels of a slice in the average chest: bent by a few millimetres."""
        x = AXIS_MM[None, :] + BEND_X_MM * self._fields["dx"].plane(index)
        y = AXIS_MM[BODY_ROWS, None] + BEND_Y_MM * self._fields["dy"].plane(index)
        return Grid(x, y, float(self._z[index]))

    def _to_patient(self, points: np.ndarray) -> np.ndarray:
        """Turn points (n, 3) of the average chest into those of this patient."""
        bend = [
            BEND_X_MM * self._fields["dx"].at(points),
            BEND_Y_MM * self._fields["dy"].at(points),
            0 * points[:, 2],
        ]
        return points - np.stack(bend, axis=1)

    def _draw_slice(self, index: int) -> None:
        """Draw a slice from the skin inwards, without what is inside the lungs."""
        s = self._wall.section(index, self._grid(index), self._hu[index][BODY_ROWS])
        self._wall.draw(s)
        self._skeleton.draw(s)
        if s.grid.z > INLET_Z:
            self._mediastinum.draw_inlet(s)
            box = slice(None), slice(112, 400)
        else:
            rows, columns = (np.flatnonzero((s.rho < 3).any(axis=axis)) for axis in (1, 0))
            box = _even_range(rows), _even_range(columns)
        share, tissue, lobe = self._draw_cavity(s.crop(box))
        self._lung[index][BODY_ROWS][box] = share * 255
        self._tissue[index][BODY_ROWS][box] = tissue
        self._lobe[index][BODY_ROWS][box] = lobe
        self._spine.draw(s)

    def _draw_cavity(self, s: Section) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw what lies inside the ribs, without the lungs.

        Returns the share of lung in each pixel (0 to 1), the HU of lung tissue, and the lobe.
        """
        half = s.crop((slice(None, None, 2), slice(None, None, 2)))  # enough for what is smooth
        height = double(diaphragm_height(self._build, half))
        between = double(self._mediastinum.envelope(half))
        major, minor = (
            double(distance) for distance in lungs.measure_fissures(half.grid, half.coarse)
        )
        paint(s.hu, soft(s.rho + 1.8, s.edge), FAT + 6 * s.fine)
        self._abdomen.draw(s, height)
        self._mediastinum.draw(s, height)
        share = soft(s.rho + 1.6, s.edge) * soft(-between)
        share *= np.clip(0.5 + (s.grid.z - height) / SLICE_MM, 0, 1)
        tissue = lungs.compute_density(s, self._build.density) + lungs.compute_fissure_haze(
            s.grid, major, minor
        )
        share *= 1 - self._mediastinum.draw_airways(s)
        return share, tissue, lungs.choose_lobes(s.grid, major, minor)

    def _fill_lungs(self, ill: bool, advance: Callable[[], object]) -> None:
        """Grow vessels and bronchi into the lungs, make them ill where asked for, and draw them."""
        inside = self._choose_points_inside()
        ends = {
            lobe: self._tree_rng.permutation(points)[: VESSEL_ENDS[lobe]]
            for lobe, points in inside.items()
        }
        tree = LungTree(self._tree_rng, ends, self._to_patient)
        disease = self._place_disease(inside) if ill else None
        if disease:
            tree.keep_near(disease[0].centre, 60)
        else:
            tree.fine_lumens = []
        rows, columns = (np.flatnonzero(self._lung.any(axis=axis)) for axis in ((0, 2), (0, 1)))
        box = slice(rows[0] - 6, rows[-1] + 7), slice(columns[0] - 6, columns[-1] + 7)
        layers = self._draw_layers(tree, box)
        for index in range(SLICES):
            if self._lung[index].any():
                parts = {
                    name: layer[index].astype(np.float32) / 255 for name, layer in layers.items()
                }
                self._fill_slice(index, box, parts, disease)
            advance()

    def _place_disease(
        self, inside: dict[str, np.ndarray]
    ) -> tuple[lungs.Consolidation, lungs.Nodule]:
        """Place a consolidation in one lobe and a nodule in another.

        ``inside`` has points (n, 3) that fill each lobe, in mm.
        """
        rng = self._disease_rng
        sick = ("LLL", "LUL", "RUL", "RLL", "RLL", "LLL")[rng.integers(6)]
        voxel_ml = (SPARSE * PIXEL_MM) ** 2 * SLICE_MM / 1000
        consolidation = lungs.Consolidation(rng, sick, inside[sick], voxel_ml, self._fields["blob"])
        healthy = [lobe for lobe in lungs.LOBES if lobe != sick]
        return consolidation, lungs.Nodule(rng, inside[healthy[rng.integers(len(healthy))]])

    def _choose_points_inside(self) -> dict[str, np.ndarray]:
        """Choose points (n, 3), mm, that fill each lobe evenly, some mm from its surface."""
        sparse = slice(None, None, SPARSE)
        lobe = np.where(self._lung[:, sparse, sparse] > 250, self._lobe[:, sparse, sparse], 0)
        core = lobe.copy()
        for axis in range(3):
            for step in (-1, 1):
                core[np.roll(lobe, step, axis) != lobe] = 0
        points = {}
        for number, name in enumerate(lungs.LOBES, start=1):
            k, i, j = np.nonzero(core == number)
            points[name] = np.stack(
                [AXIS_MM[sparse][j], AXIS_MM[sparse][i], self._z[k]], axis=1
            ).astype(float)
        return points

    def _draw_layers(self, tree: LungTree, box: Box) -> dict[str, np.ndarray]:
        """Draw the trees into volumes of shares, uint8, 255 is all.

        Axes are (slice, row, column), rows and columns those of ``box``.
        """
        thin = 3  # a slice is the mean of three thinner ones: a thick slice blurs small vessels
        size = SLICES * thin, box[0].stop - box[0].start, box[1].stop - box[1].start
        origin = np.array([AXIS_MM[box[1].start], AXIS_MM[box[0].start], -SLICE_MM / thin])
        step = np.array([PIXEL_MM, PIXEL_MM, SLICE_MM / thin])
        layers = {}
        for name in ("vessels", "walls", "lumens", "fine_lumens"):
            fine = np.zeros(size, np.uint8)
            for points, radius in getattr(tree, name):
                draw_balls(fine, points, radius, origin, step)
            thick = sum(fine[part::thin].astype(np.uint16) for part in range(thin))
            layers[name] = (thick // thin).astype(np.uint8)
        return layers

    def _fill_slice(
        self,
        index: int,
        box: Box,
        parts: dict,
        disease: tuple[lungs.Consolidation, lungs.Nodule] | None,
    ) -> None:
        x, y, z = AXIS_MM[None, box[1]], AXIS_MM[box[0], None], float(self._z[index])
        wobble = np.zeros((MATRIX, MATRIX), np.float32)
        wobble[BODY_ROWS] = self._fields["blob"].plane(index)
        tissue = self._tissue[index][box].astype(np.float32)
        dense = np.float32(0)
        if disease:
            dense, haze = disease[0].shares(x, y, z, wobble[box])
            sick = self._lobe[index][box] == disease[0].lobe
            dense = dense * sick
            paint(tissue, 0.28 * haze * sick, 0.0)
            paint(tissue, dense, 35.0)
        paint(tissue, parts["vessels"], 150.0 if self._build.contrast else 40.0)
        if disease:
            disease[1].draw(tissue, x, y, z, wobble[box])
        paint(tissue, parts["walls"] * (1 - dense), -250.0)
        paint(tissue, parts["lumens"], -960.0)
        paint(tissue, parts["fine_lumens"] * dense, -900.0)
        paint(self._hu[index][box], self._lung[index][box] * np.float32(1 / 255), tissue)


def _even_range(used: np.ndarray) -> slice:
    """Give the range of used rows or columns, with even ends: it can be halved and doubled."""
    return slice(int(used[0]) // 2 * 2, int(used[-1] + 2) // 2 * 2)
