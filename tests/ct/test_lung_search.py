"""The search for lungs: the share of lung in slices of known content."""

from __future__ import annotations

import numpy as np
import pytest

from magician.ct.lung_search import lung_share


def slice_of(width: int = 200, **areas: tuple[slice, slice, float]) -> np.ndarray:
    """Make one slice of 2 mm pixels in HU: air around a body of 260 x 200 mm with these areas."""
    hu = np.full((width, width), -1000.0)
    hu[50:150, 35:165] = 40
    for rows, columns, value in areas.values():
        hu[rows, columns] = value
    return hu + np.random.default_rng(0).normal(0, 30, hu.shape)


RIGHT, LEFT = (slice(70, 130), slice(45, 85), -850), (slice(70, 130), slice(115, 155), -850)
BOWEL_GAS = (slice(70, 110), slice(60, 110), -1000)
FOAM = (slice(150, 190), slice(20, 180), -900)
STOOL = (slice(100, 112), slice(60, 72), -600)


@pytest.mark.parametrize(
    ("areas", "low", "high"),
    [
        ({"right": RIGHT, "left": LEFT}, 0.3, 0.4),
        ({"right": RIGHT}, 0.15, 0.2),  # the other one is full of fluid
        ({}, 0, 0),
        ({"gas": BOWEL_GAS}, 0, 0.01),
        ({"foam": FOAM}, 0, 0.01),  # the table below the patient
        ({"stool": STOOL}, 0, 0.02),
    ],
    ids=lambda value: ", ".join(value) or "nothing" if isinstance(value, dict) else None,
)
def test_what_looks_like_lung(areas, low, high):
    assert low <= lung_share(slice_of(**areas), (2.0, 2.0)) <= high


def test_lungs_in_a_field_of_view_within_the_chest():
    inside = slice_of(right=RIGHT, left=LEFT)[60:140, 60:140]
    assert lung_share(inside, (2.0, 2.0)) > 0.4


@pytest.mark.parametrize("hu", [-1000.0, 40.0, -850.0])
def test_a_slice_of_one_thing_shows_no_lung(hu):
    assert lung_share(np.full((64, 64), hu), (1.0, 1.0)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 3)])
def test_a_slice_too_small_to_average(shape):
    assert lung_share(np.zeros(shape), (0.5, 0.5)) == 0
