"""Labels read from a SEG: its positions and codes decide, and what does not fit is refused."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from helpers import ct_series
from pydicom import Dataset
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import pack_bits
from result_cases import Case, make_case, not_read, saved

from magician.checks.read_back import frames_of
from magician.checks.segmentation_reader import read_segmentation


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return make_case(ct_series(), tmp_path_factory.mktemp("ct"))


def with_frames(seg: Dataset, frames: np.ndarray, groups: list[Dataset]) -> Dataset:
    changed = deepcopy(seg)
    changed.PixelData = pack_bits(frames.astype(np.uint8).ravel())
    changed.NumberOfFrames = len(frames)
    changed.PerFrameFunctionalGroupsSequence = groups
    return changed


@pytest.fixture
def seg(case, tmp_path) -> Dataset:
    return saved(case.results().seg, tmp_path / "seg")


@pytest.fixture
def frames(seg) -> np.ndarray:
    return pixel_array(seg)


@pytest.fixture
def groups(seg) -> list[Dataset]:
    return list(seg.PerFrameFunctionalGroupsSequence)


def test_frames_in_another_order(case, seg, frames, groups):
    order = np.random.default_rng(1).permutation(len(frames))
    shuffled = with_frames(seg, frames[order], [groups[i] for i in order])
    assert np.array_equal(read_segmentation(shuffled, case.volume), case.labels)


def test_empty_frames_left_out(case, seg, frames, groups):
    full = np.flatnonzero(frames.any(axis=(1, 2)))
    fewer = with_frames(seg, frames[full], [groups[i] for i in full])
    assert np.array_equal(read_segmentation(fewer, case.volume), case.labels)


@pytest.mark.parametrize("axis", [1, 2], ids=["front to back", "left to right"])
def test_mirrored_pixels_are_not_mended(axis, case, seg, frames, groups):
    mirrored = with_frames(seg, np.flip(frames, axis), groups)
    assert not np.array_equal(read_segmentation(mirrored, case.volume), case.labels)


def test_positions_upside_down_are_not_mended(case, seg, frames, groups):
    half = len(frames) // 2
    upside_down = with_frames(
        seg, np.concatenate([frames[:half][::-1], frames[half:][::-1]]), groups
    )
    assert np.array_equal(read_segmentation(upside_down, case.volume), case.labels[::-1])


def test_frames_written_from_the_other_side(case, seg, frames, groups):
    """Columns in reverse, and geometry that says so: the same mask in the patient."""
    flipped = with_frames(seg, frames[:, :, ::-1], groups)
    flipped.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[
        0
    ].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
    for group in flipped.PerFrameFunctionalGroupsSequence:
        x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
        group.PlanePositionSequence[0].ImagePositionPatient = [x + 71 * 1.5, y, z]
    assert np.array_equal(read_segmentation(flipped, case.volume), case.labels)


def test_segment_codes_decide_not_numbers(case, seg):
    first, second = seg.SegmentSequence
    first.SegmentNumber, second.SegmentNumber = 2, 1
    swapped = np.choose(case.labels, [0, 2, 1])
    assert np.array_equal(read_segmentation(seg, case.volume), swapped)


def test_side_given_as_a_modifier(case, seg):
    for segment, side in zip(seg.SegmentSequence, ("24028007", "7771000"), strict=True):
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        code.CodeValue = "39607008"
        modifier = Dataset()
        modifier.CodeValue = side
        code.SegmentedPropertyTypeModifierCodeSequence = [modifier]
    assert np.array_equal(read_segmentation(seg, case.volume), case.labels)


def test_segment_with_both_sides_is_neither_lung(case, seg):
    code = seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    code.CodeValue = "39607008"
    code.SegmentedPropertyTypeModifierCodeSequence = [Dataset(), Dataset()]
    for modifier, side in zip(
        code.SegmentedPropertyTypeModifierCodeSequence, ("7771000", "24028007"), strict=True
    ):
        modifier.CodeValue = side
    assert "neither right nor left lung" in not_read(seg, case)


def test_segment_that_is_neither_lung_is_refused_also_without_frames(case, seg):
    heart = deepcopy(seg.SegmentSequence[0])
    heart.SegmentNumber = 3
    heart.SegmentedPropertyTypeCodeSequence[0].CodeValue = "80891009"
    seg.SegmentSequence.append(heart)
    assert "Segment 3 of the SEG" in not_read(seg, case)
    assert {frame.side for frame in frames_of(seg)} == {"right", "left"}


@pytest.mark.parametrize("position", [None, [1.0, 2.0]])
def test_frame_without_a_whole_position(position, case, seg):
    seg.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient = position
    assert "can't be read" in not_read(seg, case)


def shift(seg: Dataset, axis: int, mm: float) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = list(map(float, group.PlanePositionSequence[0].ImagePositionPatient))
        position[axis] = round(position[axis] + mm, 6)
        group.PlanePositionSequence[0].ImagePositionPatient = position


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_frames_between_the_voxels(axis, case, seg):
    shift(seg, axis, 0.4)
    assert "does not lie on the grid" in not_read(seg, case)


@pytest.mark.parametrize("mm", [-30.0, 30.0])
def test_frames_beyond_the_volume(mm, case, seg):
    shift(seg, 2, mm)
    assert "reaches out of the CT volume" in not_read(seg, case)


def test_frames_one_slice_higher_are_one_slice_higher(case, seg):
    shift(seg, 2, 3.0)
    assert np.array_equal(read_segmentation(seg, case.volume)[1:], case.labels[:-1])


@pytest.mark.parametrize("spacing", [[1.51, 1.5], [1.5, 1.49], [3.0, 3.0], [0, 0]])
def test_frames_with_another_pixel_spacing(spacing, case, seg):
    seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = spacing
    assert "does not lie on the grid" in not_read(seg, case)


def test_frames_slightly_turned(case, seg):
    turned = [0.9998477, 0.0174524, 0, -0.0174524, 0.9998477, 0]
    seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[
        0
    ].ImageOrientationPatient = turned
    assert "does not lie on the grid" in not_read(seg, case)


def test_seg_in_another_frame_of_reference(case, seg):
    seg.FrameOfReferenceUID = "1.2.3"
    assert "another frame of reference" in not_read(seg, case)


def test_seg_with_another_matrix(case, tmp_path):
    other = make_case(ct_series(rows=48), tmp_path / "other")
    assert "48 rows and 72 columns" in not_read(other.results().seg, case)


def test_segment_of_something_else(case, seg):
    code = seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0]
    code.CodeValue, code.CodeMeaning = "10200004", "Liver"
    assert "Segment 2 of the SEG is 'Liver'" in not_read(seg, case)


def test_voxel_claimed_twice(case, seg, frames, groups):
    frames[:] = 1
    assert "claims voxels that an earlier frame has" in not_read(
        with_frames(seg, frames, groups), case
    )


def test_fractional_seg(case, seg):
    seg.SegmentationType = "FRACTIONAL"
    assert "not a binary DICOM Segmentation" in not_read(seg, case)


def test_not_a_seg(case):
    assert "not a binary DICOM Segmentation" in not_read(case.results().sr, case)


def test_seg_with_a_frame_too_few(case, seg, frames):
    seg.NumberOfFrames = len(frames) - 1
    seg.PixelData = pack_bits(frames[:-1].ravel())
    assert f"describes {len(frames)} frames and holds {len(frames) - 1}" in not_read(seg, case)


def test_seg_cut_short(case, seg):
    seg.PixelData = seg.PixelData[:100]
    assert "can't be read" in not_read(seg, case)


@pytest.mark.parametrize(
    "keyword", ["PerFrameFunctionalGroupsSequence", "SegmentSequence", "PixelData"]
)
def test_seg_with_a_part_missing(keyword, case, seg):
    del seg[keyword]
    assert "can't be read" in not_read(seg, case)


@pytest.mark.parametrize("keyword", ["SpacingBetweenSlices", "SliceThickness"])
def test_seg_without_an_optional_measure_is_read(keyword, case, seg):
    del seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0][keyword]
    assert np.array_equal(read_segmentation(seg, case.volume), case.labels)


def test_seg_that_names_no_source_images_is_read(case, seg):
    for group in seg.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    assert np.array_equal(read_segmentation(seg, case.volume), case.labels)


def test_two_segments_of_one_lung_are_read(case, seg):
    """Code, not number: what both say is one lung."""
    for segment in seg.SegmentSequence:
        segment.SegmentedPropertyTypeCodeSequence[0].CodeValue = "3341006"
    assert np.array_equal(read_segmentation(seg, case.volume), case.labels > 0)
