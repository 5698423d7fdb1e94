"""Procedural chest CT slices with known lungs, for training only.

Every number of the anatomy is drawn at random, far beyond what is common, so that a network trained
on these pictures takes a real patient for one more variation (domain randomisation, Tobin et al.
2017, arXiv:1703.06907). Nobody's images are needed. What is drawn is a caricature: good enough to
learn from, not to look at.

A phantom is a set of axial slices. Axes of every array: slices from feet to head, rows from
anterior to posterior, columns from the patient's right to the patient's left. Coordinates are in
mm: x to the patient's left, y to posterior, z to the head; z = 0 is about the top of the right dome
of the diaphragm.

The parts of a phantom are in `phantom_parts/`, one file each.
"""

from __future__ import annotations

import numpy as np
from phantom_parts.abdomen import draw_abdomen
from phantom_parts.body import AIR, SLICES, Body
from phantom_parts.disease import draw_disease, open_airways
from phantom_parts.lungs import draw_lung_tissue, outline_lungs
from phantom_parts.mediastinum import draw_mediastinum, draw_neck
from phantom_parts.scanner import draw_surroundings, reconstruct
from phantom_parts.skeleton import draw_skeleton
from phantom_parts.trees import draw_trees
from phantom_parts.wall import draw_chest_wall, measure_outlines


class Phantom(Body):
    """One random chest. ``Phantom(seed).render()`` gives the slices and their labels."""

    @property
    def slice_distance(self) -> float:
        """Mean distance of the slices that `render` gives, in mm."""
        return float(np.ptp(self.slice_z)) / (SLICES // 3 if self.thick else SLICES)

    def render(self, disease: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Draw the slices; without ``disease``, those of the same patient in health.

        Returns
        -------
        hu : array of int16, shape (slices, 256, 256), in HU
        label : array of uint8, same shape; 0 outside, 1 right lung, 2 left lung
        """
        self.hu = np.full(self.shape, AIR, np.float32)
        measure_outlines(self)
        draw_chest_wall(self)
        draw_skeleton(self)
        draw_mediastinum(self)
        outline_lungs(self)
        draw_neck(self)
        draw_abdomen(self)
        draw_lung_tissue(self)
        draw_trees(self)
        if disease:
            draw_disease(self)
            open_airways(self)
        draw_surroundings(self)
        reconstruct(self)
        return np.rint(self.hu).astype(np.int16), self.label
