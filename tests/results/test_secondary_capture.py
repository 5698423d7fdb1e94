"""The overlay series: one image for each slice, with lungs in blue and a legend."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import ORIENTATIONS, ct_series, lung_segmentation
from pydicom.pixels import pixel_array
from result_cases import make_case

from magician.rendering.overlay import TINT
from magician.rendering.windowing import window
from magician.results import secondary_capture
from magician.results.legend import legend_strip
from magician.segmentation.lungs import volumes_ml


def test_overlay_has_one_image_for_each_slice_from_feet_to_head(turned):
    sources = [
        image.SourceImageSequence[0].ReferencedSOPInstanceUID for image in turned.results().overlay
    ]
    assert sources == [header.SOPInstanceUID for header in turned.volume.headers]


def test_overlay_is_numbered_from_feet_to_head(case):
    assert [image.InstanceNumber for image in case.results().overlay] == list(range(1, 13))


def slice_of_overlay(case):
    """The picture of slice 5 without the legend below it."""
    return pixel_array(case.results().overlay[5])[: case.labels.shape[1]]


def test_outside_the_lungs_is_the_windowed_ct(case):
    rgb = slice_of_overlay(case)
    outside = case.labels[5] == 0
    grey = window(case.volume.hu[5], 40, 400)
    assert (rgb[outside] == grey[outside][:, None]).all()


def test_lungs_are_blue(case):
    red, green, blue = slice_of_overlay(case)[case.labels[5] > 0].astype(int).T
    assert ((blue > red + 30) & (blue > green)).all()


def test_border_of_the_lungs_shows_in_grey_too(case):
    luma = slice_of_overlay(case) @ [0.299, 0.587, 0.114]
    lung = case.labels[5] > 0
    inner = (
        lung
        & np.roll(lung, 1, 0)
        & np.roll(lung, -1, 0)
        & np.roll(lung, 1, 1)
        & np.roll(lung, -1, 1)
    )
    assert luma[lung & ~inner].min() > luma[~lung].max() + 30
    assert luma[lung & ~inner].min() > luma[inner].max() + 100


def test_a_legend_below_each_image_gives_volumes_model_and_warning(case, monkeypatch):
    drawn = []

    def strip(columns, lines):
        drawn.append((columns, lines))
        return legend_strip(columns, lines)

    monkeypatch.setattr(secondary_capture, "legend_strip", strip)
    overlay = case.make().overlay
    volumes = volumes_ml(lung_segmentation(case.volume, case.labels))
    rows, columns = case.labels.shape[1:]
    assert drawn == [
        (
            columns,
            [
                f"lungs: right {volumes['right']:.0f} mL, left {volumes['left']:.0f} mL",
                "by test-model 1.0",
                "RESEARCH - NOT FOR DIAGNOSIS",
            ],
        )
    ]
    expected = legend_strip(*drawn[0])
    for image in overlay:
        assert image.Columns == columns
        np.testing.assert_array_equal(pixel_array(image)[rows:], expected)


@pytest.mark.parametrize("columns", [256, 512, 1024])
def test_a_line_of_the_legend_fits_in_its_width_and_shows_the_blue_of_lungs(columns):
    strip = legend_strip(columns, ["Volumes of both lungs, right and left, in millilitres 56"])
    assert strip.shape[1:] == (columns, 3)
    assert (strip[:, -2:] == 0).all()  # nothing is cut off
    assert (strip == TINT[0]).all(-1).any()
    assert (strip > 150).all(-1).any()  # letters


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        ("axial", ["L", "P"]),
        ("prone", ["R", "A"]),
        ("flipped", ["L", "A"]),
        ("coronal", ["L", "F"]),
        ("oblique", ["LP", "PHR"]),
    ],
)
def test_patient_orientation_of_the_overlay(orientation, expected, tmp_path):
    overlay = (
        make_case(ct_series(orientation=ORIENTATIONS[orientation]), tmp_path).results().overlay
    )
    assert list(overlay[0].PatientOrientation) == expected


def test_what_was_lossy_stays_lossy(small_series, tmp_path):
    for ds in small_series:
        ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", 8
        ds.LossyImageCompressionMethod = "ISO_10918_1"
    assert make_case(small_series, tmp_path).results().overlay[3].LossyImageCompression == "01"


def test_nothing_is_burned_in(case):
    assert {image.BurnedInAnnotation for image in case.results(learner="Ada").overlay} == {"NO"}
