"""Planes of a volume: the letters of their edges, and the places of voxels in their pictures."""

from __future__ import annotations

import pytest
from helpers import CORONAL, FLIPPED, OBLIQUE, PRONE, ct_series, write_series

from magician.ct.volume import read_series
from magician.rendering.planes import planes


@pytest.mark.parametrize(
    ("orientation", "axial", "coronal", "sagittal"),
    [
        (None, "RLAP", "RLHF", "APHF"),
        (PRONE, "LRPA", "RLHF", "APHF"),
        (FLIPPED, "RLPA", "RLHF", "APHF"),
        (CORONAL, "RLAP", "RLHF", "APHF"),
    ],
    ids=["axial", "prone", "flipped", "coronal"],
)
def test_the_edges_of_each_plane_are_named(tmp_path, orientation, axial, coronal, sagittal):
    series = ct_series(orientation=orientation) if orientation else ct_series()
    volume = read_series(write_series(series, tmp_path), series[0].SeriesInstanceUID)
    seen = {name: "".join(plane.letters) for name, plane in planes(volume).items()}
    assert seen == {"axial": axial, "coronal": coronal, "sagittal": sagittal}


def test_letters_of_an_oblique_volume_tell_its_tilt(tmp_path):
    volume = read_series(write_series(ct_series(orientation=OBLIQUE), tmp_path))
    assert planes(volume)["axial"].letters == ("RA", "LP", "AFL", "PHR")


@pytest.mark.parametrize(
    "orientation",
    [PRONE, FLIPPED, CORONAL, OBLIQUE],
    ids=["prone", "flipped", "coronal", "oblique"],
)
def test_a_place_in_a_picture_is_the_voxel_that_is_shown_there(tmp_path, orientation):
    series = ct_series(orientation=orientation, rows=20, columns=24)
    volume = read_series(write_series(series, tmp_path), series[0].SeriesInstanceUID)
    for plane in planes(volume).values():
        picture, down, across = plane.place_of((3, 4, 5), volume.hu.shape)
        assert plane.picture(volume.hu, picture)[down, across] == volume.hu[3, 4, 5]
        assert plane.voxel_at((picture, down, across), volume.hu.shape) == (3, 4, 5)
