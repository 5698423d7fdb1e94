"""The anatomy of the teaching study, as a radiologist would check it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from magician.anatomy.abdomen import diaphragm_height
from magician.anatomy.section import Build, Section
from magician.anatomy.shapes import Grid
from magician.anatomy.spine import HEADS_Z, Spine
from magician.anatomy.trees import Tree, grow_tree, sample_branches


@pytest.fixture(scope="module")
def tree():
    """A tree that grows from the corner of a block of lung into all of it."""
    rng = np.random.default_rng(3)
    return grow_tree(rng, np.zeros(3), rng.uniform(5, 105, (800, 3)), 4.0, 0.44)


def test_vessels_taper_towards_the_periphery(tree):
    branches = np.arange(1, len(tree.parent))
    assert (tree.radius[branches] <= tree.radius[tree.parent[branches]]).all()
    distance = np.linalg.norm(tree.position, axis=1)
    assert tree.radius[distance < 40].max() > 3
    assert tree.radius[distance > 140].max() < 1.5


def test_vessels_reach_the_periphery_without_detours(tree):
    branches = np.arange(1, len(tree.parent))
    way = np.zeros(len(tree.parent))
    for node in branches:  # parents come before their children
        way[node] = way[tree.parent[node]] + np.linalg.norm(
            tree.position[node] - tree.position[tree.parent[node]]
        )
    ends = np.setdiff1d(branches, tree.parent)
    assert len(ends) == 800
    assert np.median(way[ends] / np.linalg.norm(tree.position[ends], axis=1)) < 1.25


def test_branch_leaves_in_the_direction_in_which_its_stem_arrives():
    where = np.array([[0.0, 0, 0], [20, 0, 0], [30, 20, 0]])
    heading = np.array([[1.0, 0, 0], [0.8, 0.6, 0], [0, 1, 0]])
    points, radius = sample_branches(
        Tree(np.array([0, 0, 1]), where, heading, np.array([3.0, 2.0, 1.0]))
    )
    second = points[np.flatnonzero((points == where[1]).all(axis=1))[0] :]
    step = second[1] - second[0]
    assert np.dot(step / np.linalg.norm(step), heading[1]) > 0.99
    assert (np.diff(radius) <= 0).all()


# ---------------------------------------------------------------------------------------- the spine

Y_MM, X_MM = (
    np.arange(0, 130, dtype=np.float32)[:, None],
    np.arange(-50, 51, dtype=np.float32)[None, :],
)
T1, T6, T12 = 2, 7, 13  # numbers in HEADS_Z


def build():
    return Build(
        sex="F",
        width=1.0,
        depth=1.0,
        fat=10.0,
        contrast=False,
        dome=(104.0, 96.0),
        heart=1.0,
        density=-870.0,
    )


def slice_at(z):
    """An empty slice in which nothing is bent, one pixel a millimetre."""
    shape = np.broadcast_shapes(Y_MM.shape, X_MM.shape)
    names = "hu", "fine", "coarse", "cleft", "around", "skin", "muscle", "rho"
    parts = {name: np.zeros(shape, np.float32) for name in names}
    grid = Grid(np.broadcast_to(X_MM, shape), np.broadcast_to(Y_MM, shape), float(z))
    return Section(index=0, grid=grid, edge=1.5, **parts)


def bone_of(spine, heights):
    """Give the mask of bone, axes (z, y, x), one voxel a cubic millimetre."""
    slices = [slice_at(z) for z in heights]
    for s in slices:
        spine.draw(s)
    return np.stack([s.hu > 250 for s in slices])


@pytest.mark.parametrize("number", range(T1, T12 + 1))
def test_vertebra_is_one_bone_whose_spinous_process_falls_backwards(number):
    spine = Spine(build())
    spine._vertebrae = [spine._vertebrae[number]]
    heights = np.arange(HEADS_Z[number] - 75, HEADS_Z[number] + 20)
    bone = bone_of(spine, heights)
    pieces, _ = ndimage.label(bone)
    sizes = np.bincount(pieces.ravel())[1:]
    assert sizes.max() / sizes.sum() > 0.99
    blade = bone[:, :, 49:52].any(axis=2)
    tip = np.flatnonzero(blade.any(axis=0)).max()
    rows = np.arange(tip - 10, tip - 1)
    fall = -np.polyfit(rows, [heights[blade[:, row]].mean() for row in rows], 1)[0]
    low, high = {T6: (1.0, 2.0), T12: (0.1, 0.6)}.get(number, (0.1, 2.0))
    assert low < fall < high


def test_spinal_canal_is_open_from_neck_to_loin():
    spine = Spine(build())
    heights = range(0, 250, 3)
    for z, bone in zip(heights, bone_of(spine, heights), strict=True):
        behind = slice(int(spine.y(z)) + 12, int(spine.y(z)) + 42)
        for free in (~bone[behind, 50], ~bone[behind, 46], ~bone[behind, 54]):
            runs, _ = ndimage.label(free)
            assert np.bincount(runs)[1:].max() >= 10, z


# ---------------------------------------------------------------------------------------- the heart


def test_heart_lies_in_a_bed_of_the_diaphragm_left_of_the_mid_line():
    """Heights along a line from right to left through the heart, well inside the ribs."""
    x = np.arange(-80, 81, dtype=np.float32)[None, :]
    line = {name: np.zeros_like(x) for name in ("hu", "fine", "coarse", "cleft", "skin", "muscle")}
    line |= {"around": np.full_like(x, 2.0), "rho": np.full_like(x, -72.0)}
    section = Section(index=0, grid=Grid(x, np.full_like(x, -40.0), 90.0), edge=1.5, **line)
    height = diaphragm_height(build(), section)[0]
    between = slice(40, 140)  # from x = -40 to 60 mm
    right, bed, left = height[:40].max(), height[between].min(), height[140:].max()
    assert right > left > bed
    assert 25 < x[0, between][height[between].argmin()] < 55  # under the left ventricle
