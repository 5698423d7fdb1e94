"""SEG, SR and overlay: conformant, in the right study, on the right side, in the right millimetres."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    ORIENTATIONS,
    ct_series,
    dcentvfy,
    dciodvfy,
    lung_segmentation,
    real_data,
    truth_labels,
    write_series,
)
from pydicom import DataElement, Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import pack_bits
from pydicom.uid import RLELossless

import magician
from magician.checks.segmentation_reader import read_segmentation
from magician.ct.volume import CTVolume, read_series
from magician.errors import ResultError
from magician.rendering.overlay import TINT
from magician.rendering.windowing import window
from magician.results import secondary_capture
from magician.results.legend import legend_strip
from magician.results.make import Results, make_results, save
from magician.segmentation.lungs import volumes_ml

NOW = datetime(2026, 1, 2, 3, 4, 5)
DISCLAIMER = "RESEARCH - NOT FOR DIAGNOSIS"


def make_case(datasets: list[Dataset], folder: Path) -> Case:
    """Write a small series into a folder and read it."""
    return Case(write_series(datasets, folder), datasets[0].SeriesInstanceUID)


class Case:
    """A CT that was read from files, and labels of its lungs; without labels, the truth of the
    small series.
    """

    def __init__(
        self, folder: Path, uid: str | None = None, labels: np.ndarray | None = None
    ) -> None:
        self.volume = read_series(folder, uid)
        self.labels = truth_labels(list(self.volume.headers)) if labels is None else labels

        self.labels.flags.writeable = False
        self._made: dict[tuple[str, bool], Results] = {}

    def make(self, *, learner: str = "", include_ct: bool = False, **changes: object) -> Results:
        """Make results afresh."""
        segmentation = lung_segmentation(self.volume, **({"labels": self.labels} | changes))
        return make_results(
            self.volume, segmentation, learner=learner, include_ct=include_ct, now=NOW
        )

    def results(self, *, learner: str = "", include_ct: bool = False) -> Results:
        """Return results that were made once, for a test that only looks at them."""
        key = (learner, include_ct)
        if key not in self._made:
            self._made[key] = self.make(learner=learner, include_ct=include_ct)
        return self._made[key]


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return make_case(ct_series(), tmp_path_factory.mktemp("ct"))


@pytest.fixture
def own_case(small_series, tmp_path) -> Case:
    """The same case for a test that changes its files."""
    return make_case(small_series, tmp_path / "ct")


@pytest.fixture(scope="module", params=ORIENTATIONS.values(), ids=ORIENTATIONS)
def turned(request, tmp_path_factory) -> Case:
    """The case in every orientation."""
    return make_case(ct_series(orientation=request.param), tmp_path_factory.mktemp("turned"))


def saved(dataset: Dataset, folder: Path) -> Dataset:
    """Return an object as another program would get it: from its file."""
    return dcmread(save([dataset], folder)[0])


def elements(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset.iterall():
        if element.VR != "SQ":
            yield element


def texts(dataset: Dataset) -> set[str]:
    """Return every value in a dataset, its sequences and its file meta, as text; pixel data left
    out.
    """
    found = set()
    for part in (dataset, dataset.file_meta):
        for element in elements(part):
            if element.keyword != "PixelData":
                values = element.value if element.VM > 1 else [element.value]
                found.update(map(str, values))
    return found


def uids(datasets: list[Dataset]) -> set[str]:
    return {str(ds.SOPInstanceUID) for ds in datasets}


def referenced(dataset: Dataset) -> set[str]:
    return {str(e.value) for e in elements(dataset) if e.keyword == "ReferencedSOPInstanceUID"}


# --------------------------------------------------------------------------------------------------------- SEG


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


# ----------------------------------------------------------------------------------------- rebuilding from a SEG


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


def shift(seg: Dataset, axis: int, mm: float) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = list(map(float, group.PlanePositionSequence[0].ImagePositionPatient))
        position[axis] = round(position[axis] + mm, 6)
        group.PlanePositionSequence[0].ImagePositionPatient = position


def not_read(seg: Dataset, case: Case) -> str:
    with pytest.raises(ResultError) as caught:
        read_segmentation(seg, case.volume)
    return str(caught.value)


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


# ---------------------------------------------------------------------------------------------------------- SR


def measured(sr_path: Path) -> dict[str, Dataset]:
    """Return highdicom's view of each measurement group, by tracking identifier."""
    import highdicom as hd

    groups = hd.sr.srread(sr_path).content.get_volumetric_roi_measurement_groups()
    return {group.tracking_identifier: group for group in groups}


@pytest.mark.parametrize(("words", "label"), [("Right lung", 1), ("Left lung", 2)])
def test_sr_volume_is_the_volume_of_the_mask(words, label, turned, tmp_path):
    group = measured(save([turned.results().sr], tmp_path)[0])[words]
    millilitres = (turned.labels == label).sum() * 3.0 * 1.5 * 1.5 / 1000
    assert group.get_measurements()[0].value == pytest.approx(millilitres, abs=1e-4)


def test_sr_volume_is_in_millilitres(case, tmp_path):
    measurement = measured(save([case.results().sr], tmp_path)[0])["Left lung"].get_measurements()[
        0
    ]
    assert (measurement.name.value, measurement.unit.value) == ("118565006", "mL")


@pytest.mark.parametrize(("words", "label"), [("Right lung", 1), ("Left lung", 2)])
def test_sr_gives_the_mean_density_of_each_lung(words, label, case, tmp_path):
    density = measured(save([case.results().sr], tmp_path)[0])[words].get_measurements()[1]
    # Attenuation Coefficient
    assert (density.name.value, density.unit.value) == ("112031", "[hnsf'U]")
    assert density.derivation.meaning == "Mean"
    assert density.value == pytest.approx(case.volume.hu[case.labels == label].mean(), abs=0.051)


def test_sr_gives_no_density_of_a_lung_that_is_not_there(case, tmp_path):
    right = np.where(case.labels == 1, case.labels, 0)
    groups = measured(save([case.make(labels=right).sr], tmp_path)[0])
    assert [len(groups[words].get_measurements()) for words in ("Right lung", "Left lung")] == [
        2,
        1,
    ]


@pytest.mark.parametrize(("words", "number"), [("Right lung", 1), ("Left lung", 2)])
def test_sr_points_at_its_segment(words, number, case, tmp_path):
    results = case.results()
    segment = measured(save([results.sr], tmp_path)[0])[words].reference_type
    assert segment.value == "121191"  # Referenced Segment
    content = [e for e in results.sr.iterall() if e.keyword == "ReferencedSegmentNumber"]
    assert [e.value for e in content] == [1, 2]
    assert results.seg.SOPInstanceUID in referenced(results.sr)


def test_sr_and_seg_share_tracking_uids(case, tmp_path):
    results = case.results()
    groups = measured(save([results.sr], tmp_path)[0])
    tracked = {segment.TrackingID: segment.TrackingUID for segment in results.seg.SegmentSequence}
    assert {words: group.tracking_uid for words, group in groups.items()} == tracked


@pytest.mark.parametrize(("words", "side"), [("Right lung", "24028007"), ("Left lung", "7771000")])
def test_sr_says_which_side(words, side, case, tmp_path):
    group = measured(save([case.results().sr], tmp_path)[0])[words]
    assert group.finding_sites[0].laterality.value == side


# ----------------------------------------------------------------------------------------------------- overlay


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


# ---------------------------------------------------------------------------------------------- whose study it is


def test_results_join_the_patient_and_study_of_the_ct(case):
    source = case.volume.headers[0]
    for result in case.results().all:
        for keyword in (
            "PatientID",
            "PatientName",
            "PatientBirthDate",
            "StudyInstanceUID",
            "AccessionNumber",
        ):
            assert result[keyword].value == source[keyword].value


def test_results_are_three_new_series(case):
    series = {result.SeriesInstanceUID for result in case.results().all}
    assert len(series) == 3
    assert case.volume.headers[0].SeriesInstanceUID not in series


def test_results_refer_to_the_ct(case):
    source = uids(case.volume.headers)
    assert source <= referenced(case.results().seg)
    assert set().union(*(referenced(image) for image in case.results().overlay)) == source


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_every_result_says_it_is_not_for_diagnosis(learner, case):
    for result in case.results(learner=learner, include_ct=bool(learner)).all:
        assert DISCLAIMER in result.SeriesDescription
        assert len(result.SeriesDescription) <= 64


def test_ct_is_left_out_unless_asked_for(case):
    assert case.results().ct == []


def test_included_ct_is_the_source_itself(case):
    sources = [dcmread(path) for path in case.volume.paths]
    assert case.results(include_ct=True).ct == sources


def test_order_of_all(case):
    results = case.results(include_ct=True)
    assert results.all == [*results.overlay, results.seg, results.sr, *results.ct]


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_deidentification_is_carried_over(learner, case):
    for result in case.results(learner=learner, include_ct=True).all:
        assert result.PatientIdentityRemoved == "YES"
        assert result.DeidentificationMethod == "Never had a patient"


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_deidentification_is_never_claimed_for_the_source(learner, small_series, tmp_path):
    for ds in small_series:
        del ds.PatientIdentityRemoved
    for result in make_case(small_series, tmp_path).results(learner=learner, include_ct=True).all:
        assert "PatientIdentityRemoved" not in result


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "山田^太郎"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_of_all_alphabets_survive(character_set, name, small_series, tmp_path):
    for ds in small_series:
        ds.SpecificCharacterSet, ds.PatientName = character_set, name
    for result in make_case(small_series, tmp_path / "ct").results().all[-3:]:
        assert saved(result, tmp_path).PatientName == name


def test_name_without_a_caret_is_left_alone(small_series, tmp_path):
    for ds in small_series:
        ds.PatientName = "Anonymous_17"
    assert make_case(small_series, tmp_path).results().seg.PatientName == "Anonymous_17"


def study_reference(**values: str) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def test_malformed_study_reference_is_dropped(small_series, tmp_path):
    for ds in small_series:
        ds.ReferencedStudySequence = [study_reference(ReferencedSOPInstanceUID="1.2.3")]
    assert not any(
        "ReferencedStudySequence" in result
        for result in make_case(small_series, tmp_path).results().all
    )


def test_good_study_reference_is_kept(small_series, tmp_path):
    whole = study_reference(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID="1.2.3"
    )
    for ds in small_series:
        ds.ReferencedStudySequence = [whole]
    assert all(
        "ReferencedStudySequence" in result
        for result in make_case(small_series, tmp_path).results().all
    )


# pydicom says so before it gives up on the value
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_broken_optional_value_is_dropped(small_series, tmp_path):
    write_series(small_series, tmp_path)
    for path in tmp_path.iterdir():
        ds = dcmread(path)
        ds.PatientWeight = 70
        ds.save_as(path)
        path.write_bytes(path.read_bytes().replace(b"DS\x04\x0070.0", b"DS\x04\x00many"))
    volume = read_series(tmp_path)
    labels = truth_labels(list(volume.headers))
    assert "PatientWeight" not in make_results(volume, lung_segmentation(volume, labels)).seg


def test_body_part_is_added_where_it_is_missing(small_series, tmp_path):
    for ds in small_series:
        del ds.BodyPartExamined
    results = make_case(small_series, tmp_path).results()
    assert {results.seg.BodyPartExamined, results.overlay[0].BodyPartExamined} == {"CHEST"}


def test_body_part_of_the_source_is_kept(small_series, tmp_path):
    for ds in small_series:
        ds.BodyPartExamined = "THORAX"
    assert make_case(small_series, tmp_path).results().seg.BodyPartExamined == "THORAX"


def test_one_time_for_all_results(case):
    results = case.results().all
    assert {str(r.InstanceCreationDate) + str(r.InstanceCreationTime) for r in results} == {
        "20260102030405.000000"
    }
    assert {str(r.ContentDate) + str(r.ContentTime) for r in results} == {"20260102030405"}


def test_a_series_holds_no_time_of_its_run(case):
    assert not any(
        keyword in r for r in case.results().all for keyword in ("SeriesDate", "SeriesTime")
    )


def test_changing_one_result_changes_no_other(case):
    results = case.make()
    results.seg.PatientName = "Changed^"
    assert results.sr.PatientName == results.overlay[0].PatientName == "Phantom^Small"


# ------------------------------------------------------------------------------------------- the learner's study


@pytest.fixture(scope="module")
def ada(case) -> Results:
    return case.results(learner="Ada", include_ct=True)


def test_learners_study_is_the_same_in_every_object(ada):
    assert len({(r.PatientID, str(r.PatientName), r.StudyInstanceUID) for r in ada.all}) == 1


def test_learners_name(ada):
    assert ada.seg.PatientName == "Ada^"


def test_no_uid_of_the_source_in_the_learners_study(ada, case):
    source = set()
    for header in case.volume.headers:
        source |= {
            str(e.value) for e in elements(header) if e.VR == "UI" and e.keyword != "SOPClassUID"
        }
    assert not any(source & texts(result) for result in ada.all)


def test_nothing_of_the_source_patient_in_the_learners_study(small_series, tmp_path):
    for ds in small_series:
        ds.PatientComments = "SECRET"
        ds.OtherPatientNames = "SECRET^Name"
        ds.ReferringPhysicianName = "SECRET^Doctor"
        ds.InstitutionName = "SECRET Hospital"
        ds.OperatorsName = "SECRET^Operator"
        ds.add_new(0x00090010, "LO", "SECRET")
        ds.add_new(0x00091001, "LO", "SECRET")
    for result in make_case(small_series, tmp_path).results(learner="Ada", include_ct=True).all:
        found = texts(result)
        assert not any("SECRET" in text for text in found)
        assert not {"Phantom^Small", "SMALL-0", "19600101", "060Y"} & found


def test_accession_number_is_kept_for_the_class(ada):
    assert {result.AccessionNumber for result in ada.all} == {"A-1"}


def test_learners_ct_has_the_same_pixels(ada, case):
    pixels = [image.PixelData for image in ada.ct]
    assert pixels == [dcmread(path).PixelData for path in case.volume.paths]


def test_learners_ct_is_the_same_volume(ada, case, tmp_path):
    save(ada.ct, tmp_path / "copy")
    copy = read_series(tmp_path / "copy")
    assert np.array_equal(copy.hu, case.volume.hu)
    assert np.array_equal(copy.affine, case.volume.affine)


def test_learners_mask_fits_the_learners_ct(ada, case, tmp_path):
    save(ada.ct, tmp_path / "copy")
    assert np.array_equal(read_segmentation(ada.seg, read_series(tmp_path / "copy")), case.labels)


def test_learners_mask_fits_the_source(ada, case):
    assert np.array_equal(read_segmentation(ada.seg, case.volume), case.labels)


def test_mask_under_a_false_name_does_not_fit_the_source(ada, case, tmp_path):
    seg = saved(ada.seg, tmp_path)
    seg.PatientName = "Bob^"
    assert "another frame of reference" in not_read(seg, case)


def test_references_stay_within_the_learners_study(ada):
    there = uids(ada.all)
    assert all(referenced(result) <= there for result in ada.all)


def test_learners_seg_lies_in_the_frame_of_the_learners_ct(ada):
    assert {image.FrameOfReferenceUID for image in ada.ct} == {ada.seg.FrameOfReferenceUID}


def test_ct_can_be_sent_later(ada, case):
    without = case.results(learner="Ada")
    assert uids(without.all) == uids(ada.all) - uids(ada.ct)


def test_compressed_ct_stays_compressed(small_series, tmp_path):
    for ds in small_series:
        ds.compress(RLELossless, generate_instance_uid=False)
    image = saved(
        make_case(small_series, tmp_path / "ct").results(learner="Ada", include_ct=True).ct[0],
        tmp_path,
    )
    assert image.file_meta.TransferSyntaxUID == RLELossless
    assert pixel_array(image).shape == (64, 72)


def test_two_learners_share_no_object(ada, case):
    bob = case.results(learner="Bob", include_ct=True)
    keywords = (
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "TrackingUID",
    )
    own, others = (
        {str(e.value) for result in one.all for e in elements(result) if e.keyword in keywords}
        for one in (ada, bob)
    )
    assert not own & others


def test_two_learners_are_two_patients(ada, case):
    assert ada.seg.PatientID != case.results(learner="Bob").seg.PatientID


def test_spaces_around_the_alias_do_not_count(ada, case):
    assert uids(case.results(learner=" Ada ").all) <= uids(ada.all)


@pytest.mark.parametrize("alias", ["Müller", "山田", "Ada Lovelace", "O'Neil-3", "x" * 63])
def test_alias_that_can_be_a_name(alias, case, tmp_path):
    results = case.make(learner=alias, include_ct=True)
    for result in (results.overlay[0], results.seg, results.sr, results.ct[0]):
        assert saved(result, tmp_path).PatientName == f"{alias}^"


@pytest.mark.parametrize(
    "alias", ["a\\b", "a=b", "a^b", "a\nb", "a\x00", "a\x1bb", " ", "x" * 64, "\u202eAda"]
)
def test_alias_that_can_not_be_a_name(alias, case):
    with pytest.raises(ResultError, match="alias"):
        case.make(learner=alias)


def test_ct_files_that_are_gone(own_case):
    own_case.volume.paths[3].unlink()
    with pytest.raises(ResultError, match="can't be read again"):
        own_case.results(include_ct=True)


def test_ct_file_that_is_another_now(own_case):
    own_case.volume.paths[3].write_bytes(own_case.volume.paths[4].read_bytes())
    with pytest.raises(ResultError, match="not the CT image any more"):
        own_case.results(include_ct=True)


def test_ct_volume_without_files(case):
    volume = CTVolume(
        case.volume.hu, case.volume.headers, case.volume.spacing_mm, case.volume.affine
    )
    with pytest.raises(ResultError, match="did not come from files"):
        make_results(volume, lung_segmentation(volume, case.labels), include_ct=True)


# ------------------------------------------------------------------------------------------- UIDs of a second run


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_same_input_gives_the_same_uids(learner, case):
    assert uids(case.make(learner=learner).all) == uids(case.make(learner=learner).all)


def test_same_input_at_the_same_time_gives_the_same_files(case, tmp_path):
    first = [
        path.read_bytes()
        for path in save(case.make(learner="Ada", include_ct=True).all, tmp_path / "1")
    ]
    second = [
        path.read_bytes()
        for path in save(case.make(learner="Ada", include_ct=True).all, tmp_path / "2")
    ]
    assert first == second


def test_one_voxel_more_gives_other_uids(case):
    labels = case.labels.copy()
    labels[0, 0, 0] = 1
    assert not uids(case.results().all) & uids(case.make(labels=labels).all)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_name": "other"},
        {"model_version": "2"},
        {"weights_sha256": "1" * 64},
        {"learner": "Ada"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_gives_other_uids(changes, case):
    assert not uids(case.results().all) & uids(case.make(**changes).all)


def test_another_version_of_this_software_gives_other_uids(case, monkeypatch):
    before = uids(case.results().all)
    monkeypatch.setattr("magician.results.identity.__version__", magician.__version__ + ".next")
    assert not before & uids(case.make().all)


@pytest.mark.parametrize("changes", [{"device": "cuda"}, {"precision": "bf16"}, {"seconds": 3.0}])
def test_what_gives_the_same_uids(changes, case):
    assert uids(case.results().all) == uids(case.make(**changes).all)


def test_uids_are_derived_from_uuids(case):
    results = case.results(learner="Ada", include_ct=True).all
    assert all(r.SOPInstanceUID.startswith("2.25.") and r.SOPInstanceUID.is_valid for r in results)


def test_uids_are_all_different(case):
    results = case.results(learner="Ada", include_ct=True).all
    assert len(uids(results)) == len(results)


# ------------------------------------------------------------------------------------- what does not fit together


def not_made(case: Case, **changes: object) -> str:
    with pytest.raises(ResultError) as caught:
        case.make(**changes)
    return str(caught.value)


def test_mask_on_another_grid(case):
    assert "bring the mask back to the grid" in not_made(case, labels=case.labels[:, ::2, ::2])


def test_mask_with_another_spacing(case):
    assert "its volumes would be wrong" in not_made(case, spacing_mm=(2.5, 1.5, 1.5))


def test_label_that_does_not_exist(case):
    assert "0, 1 (right) and 2 (left) exist" in not_made(case, labels=case.labels + np.uint8(1))


def test_label_that_is_no_whole_number(case):
    assert "0, 1 (right) and 2 (left) exist" in not_made(case, labels=case.labels * 0.5)


def test_empty_mask(case):
    assert "The segmentation is empty" in not_made(case, labels=np.zeros_like(case.labels))


def test_headers_do_not_match_the_slices(case):
    volume = CTVolume(
        case.volume.hu, case.volume.headers[:-1], case.volume.spacing_mm, case.volume.affine
    )
    with pytest.raises(ResultError, match="12 slices but 11 headers"):
        make_results(volume, lung_segmentation(volume, case.labels))


# -------------------------------------------------------------------------------------------------------- saving


def test_files_are_named_by_their_uid(case, tmp_path):
    results = case.results().all
    assert [p.name for p in save(results, tmp_path / "new")] == [
        f"{r.SOPInstanceUID}.dcm" for r in results
    ]


def test_files_say_the_same_as_the_objects(ada, tmp_path):
    assert [dcmread(path).to_json() for path in save(ada.all, tmp_path)] == [
        result.to_json() for result in ada.all
    ]


@pytest.mark.parametrize("name", ["../1.2.3", "1.2.3/4", "..", "1.2.a", "", "1." * 40 + "1"])
def test_uid_that_can_not_be_a_file_name(name, tmp_path):
    hostile = Dataset()
    hostile.add_new("SOPInstanceUID", "UT", name)
    with pytest.raises(ResultError, match="no UID"):
        save([hostile], tmp_path / "out")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_object_that_can_not_be_written_leaves_no_file(case, tmp_path):
    sr = case.make().sr
    sr.file_meta = FileMetaDataset()
    with pytest.raises(ResultError, match="can't be written"):
        save([sr], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_while_saving_leaves_whole_files_only(case, tmp_path, monkeypatch):
    results, replace = case.results().all[:5], Path.replace

    def interrupt_the_third(temporary, target):
        if target.stem == results[2].SOPInstanceUID:
            assert temporary.exists()
            raise KeyboardInterrupt
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", interrupt_the_third)
    with pytest.raises(KeyboardInterrupt):
        save(results, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{r.SOPInstanceUID}.dcm" for r in results[:2]
    }
    assert [
        dcmread(tmp_path / "out" / f"{r.SOPInstanceUID}.dcm").to_json() for r in results[:2]
    ] == [r.to_json() for r in results[:2]]


def test_second_save_replaces_the_first(case, tmp_path):
    results = case.results().all
    save(results, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == len(set(save(results, tmp_path / "out")))


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_file_meta_is_complete(learner, case):
    for result in case.results(learner=learner, include_ct=True).all:
        assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
        assert result.file_meta.MediaStorageSOPClassUID == result.SOPClassUID
        assert result.file_meta.TransferSyntaxUID
        assert result.file_meta.ImplementationClassUID


# --------------------------------------------------------------------------------------------------- conformance


def sample(results: Results) -> list[Dataset]:
    """Return every kind of object, and of the slices every tenth: they come from the same lines of
    code.
    """
    return [*results.overlay[::10], results.seg, results.sr, *results.ct[::10]]


def complaints(paths: list[Path]) -> list[str]:
    return [line for path in paths for kind in dciodvfy(path) for line in kind]


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_validator_has_nothing_to_say(learner, turned, tmp_path):
    assert (
        complaints(save(sample(turned.results(learner=learner, include_ct=True)), tmp_path)) == []
    )


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_objects_agree_with_each_other(learner, case, tmp_path):
    assert (
        dcentvfy(save(case.results(learner=learner, include_ct=True).all, tmp_path / "out")) == []
    )


@pytest.fixture(scope="module")
def teaching_case(tmp_path_factory) -> Case:
    from magician.teaching.phantom import teaching_study

    study = teaching_study()
    return Case(
        write_series(study.datasets, tmp_path_factory.mktemp("teaching")), labels=study.truth
    )


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_validator_has_nothing_to_say_about_the_teaching_study(learner, teaching_case, tmp_path):
    assert (
        complaints(save(sample(teaching_case.results(learner=learner, include_ct=True)), tmp_path))
        == []
    )


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_results_of_the_teaching_study_agree_with_each_other(learner, teaching_case, tmp_path):
    assert (
        dcentvfy(save(teaching_case.results(learner=learner, include_ct=True).all, tmp_path)) == []
    )


def test_mask_of_the_teaching_study_comes_back(teaching_case, tmp_path):
    seg = saved(teaching_case.results().seg, tmp_path)
    assert np.array_equal(read_segmentation(seg, teaching_case.volume), teaching_case.labels)


REAL = ["lung-pet-ct-dx-A0001", "lidc-idri-0001", "lidc-idri-0002", "lidc-idri-0003"]


@pytest.fixture(scope="module", params=REAL)
def real_case(request) -> Case:
    import SimpleITK as sitk

    folder = real_data(request.param)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "reference_mask.nii.gz"))) > 0
    left = np.arange(mask.shape[2]) >= mask.shape[2] // 2
    return Case(folder, labels=np.where(mask, np.where(left, 2, 1), 0).astype(np.uint8))


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_results_of_real_ct_are_no_worse_than_the_source(learner, real_case, tmp_path):
    paths = save(sample(real_case.results(learner=learner, include_ct=bool(learner))), tmp_path)
    errors = [line for path in paths for line in dciodvfy(path)[0]]
    warnings = {line for path in paths for line in dciodvfy(path)[1]}
    assert errors == []
    assert warnings <= set(dciodvfy(real_case.volume.paths[0])[1])


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_results_of_real_ct_agree_with_each_other(learner, real_case, tmp_path):
    assert (
        dcentvfy(save(real_case.results(learner=learner, include_ct=True).all[-70:], tmp_path))
        == []
    )


def test_mask_of_real_ct_comes_back(real_case, tmp_path):
    seg = saved(real_case.results().seg, tmp_path)
    assert np.array_equal(read_segmentation(seg, real_case.volume), real_case.labels)


def test_import_loads_nothing_heavy():
    heavy = "{'SimpleITK', 'highdicom', 'torch', 'matplotlib'}"
    code = f"import sys, magician.results.make; print({heavy} & set(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"
