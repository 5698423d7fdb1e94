"""The anatomy of the teaching study, as a radiologist would check it."""

from __future__ import annotations

import numpy as np
import pytest

from magician._anatomy.trees import Tree, grow, sample


@pytest.fixture(scope="module")
def tree():
    """A tree that grows from the corner of a block of lung into all of it."""
    rng = np.random.default_rng(3)
    return grow(rng, np.zeros(3), rng.uniform(5, 105, (800, 3)), 4.0, 0.44)


def test_vessels_taper_towards_the_periphery(tree):
    branches = np.arange(1, len(tree.parent))
    assert (tree.radius[branches] <= tree.radius[tree.parent[branches]]).all()
    distance = np.linalg.norm(tree.where, axis=1)
    assert tree.radius[distance < 40].max() > 3
    assert tree.radius[distance > 140].max() < 1.5


def test_vessels_reach_the_periphery_without_detours(tree):
    branches = np.arange(1, len(tree.parent))
    way = np.zeros(len(tree.parent))
    for node in branches:  # parents come before their children
        way[node] = way[tree.parent[node]] + np.linalg.norm(tree.where[node] - tree.where[tree.parent[node]])
    ends = np.setdiff1d(branches, tree.parent)
    assert len(ends) == 800
    assert np.median(way[ends] / np.linalg.norm(tree.where[ends], axis=1)) < 1.25


def test_branch_leaves_in_the_direction_in_which_its_stem_arrives():
    where = np.array([[0.0, 0, 0], [20, 0, 0], [30, 20, 0]])
    heading = np.array([[1.0, 0, 0], [0.8, 0.6, 0], [0, 1, 0]])
    points, radius = sample(Tree(np.array([0, 0, 1]), where, heading, np.array([3.0, 2.0, 1.0])))
    second = points[np.flatnonzero((points == where[1]).all(axis=1))[0] :]
    step = second[1] - second[0]
    assert np.dot(step / np.linalg.norm(step), heading[1]) > 0.99
    assert (np.diff(radius) <= 0).all()
