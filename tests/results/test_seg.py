"""The SEG: every frame, on the right side, in the right millimetres, with its algorithm."""

from __future__ import annotations

import numpy as np
from helpers import ct_series
from result_cases import make_case, saved

from magician.checks.segmentation_reader import read_segmentation
from magician.results.make import save


def test_mask_comes_back_from_the_file(turned, tmp_path):
    seg = saved(turned.results().seg, tmp_path)
    assert np.array_equal(read_segmentation(seg, turned.volume), turned.labels)


def test_highdicom_finds_the_same_mask_at_the_same_place(turned, tmp_path):
    import highdicom as hd

    path = save([turned.results().seg], tmp_path)[0]
    found = hd.seg.segread(path).get_volume(combine_segments=True)
    grid = hd.Volume(
        np.zeros(turned.volume.hu.shape, np.uint8),
        turned.volume.affine,
        coordinate_system="PATIENT",
    )
    assert np.array_equal(found.match_geometry(grid).array, turned.labels)


def test_frames_that_do_not_fill_bytes(tmp_path):
    odd = make_case(ct_series(rows=63, columns=65), tmp_path / "ct")
    assert np.array_equal(
        read_segmentation(saved(odd.results().seg, tmp_path), odd.volume), odd.labels
    )


def test_every_slice_has_a_frame_for_each_lung(case):
    assert case.results().seg.NumberOfFrames == 2 * len(case.labels)


def test_right_lung_is_segment_one(case):
    first, second = case.results().seg.SegmentSequence
    assert [first.SegmentNumber, first.SegmentedPropertyTypeCodeSequence[0].CodeValue] == [
        1,
        "3341006",
    ]
    assert [second.SegmentNumber, second.SegmentedPropertyTypeCodeSequence[0].CodeValue] == [
        2,
        "44029006",
    ]


def test_algorithm_is_named_with_its_weights(case):
    trained_on = "512 computed phantoms, no patient"
    facts = {
        "model_name": "lungs",
        "model_version": "2.1",
        "weights_sha256": "ab" * 32,
        "trained_on": trained_on,
    }
    seg = case.make(**facts).seg
    item = seg.SegmentSequence[1].SegmentationAlgorithmIdentificationSequence[0]
    assert (item.AlgorithmName, item.AlgorithmVersion) == ("lungs", "2.1")
    assert "ab" * 32 in item.AlgorithmParameters
    assert trained_on in item.AlgorithmParameters


def test_seg_slice_spacing_is_the_measured_one(small_series, tmp_path):
    for ds in small_series:
        ds.SpacingBetweenSlices = 7
    seg = make_case(small_series, tmp_path).results().seg
    assert seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices == 3


def test_source_without_slice_thickness(small_series, tmp_path):
    for ds in small_series:
        del ds.SliceThickness
    seg = make_case(small_series, tmp_path).results().seg
    assert seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 3


def test_one_lung_only(case):
    right = np.where(case.labels == 1, case.labels, 0)
    assert np.array_equal(read_segmentation(case.make(labels=right).seg, case.volume), right)
