"""The teaching study: complete, conformant, repeatable, and true about its lungs."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
import pytest
from helpers import dcentvfy, dciodvfy
from scipy import ndimage

from magician.ct.volume import read_series
from magician.teaching import phantom, phantom_headers
from magician.teaching.phantom import teaching_study

AXIAL_IMAGES = 93


def axial(study):
    return study.datasets[:AXIAL_IMAGES]


def hu_from_feet(study):
    ordered = sorted(axial(study), key=lambda image: float(image.ImagePositionPatient[2]))
    return np.stack(
        [i.pixel_array * int(i.RescaleSlope) + int(i.RescaleIntercept) for i in ordered]
    )


def voxel_ml(study):
    image = study.datasets[0]
    return (
        float(image.PixelSpacing[0])
        * float(image.PixelSpacing[1])
        * float(image.SliceThickness)
        / 1000
    )


def file_bytes(dataset):
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def consolidation(study):
    """Where the truth says lung and the image shows dense tissue too thick to be a vessel: every
    second pixel.
    """
    dense = (study.truth > 0) & (hu_from_feet(study) > -150)
    thick = ndimage.minimum_filter(dense[:, ::2, ::2].view(np.uint8), (3, 5, 5))
    return ndimage.maximum_filter(thick, (3, 5, 5)) > 0


@pytest.fixture(scope="module")
def study():
    return teaching_study()


@pytest.fixture(scope="module")
def another_study():
    return teaching_study(seed="Maria Example")


@pytest.fixture(scope="module")
def hu(study):
    return hu_from_feet(study)


@pytest.fixture(scope="module")
def files(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    paths = [folder / f"{number:03d}.dcm" for number in range(len(study.datasets))]
    for path, dataset in zip(paths, study.datasets, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths


# ---------------------------------------------------------------------------------------- the study


def test_95_images_axial_first(study):
    assert [image.ImageType[2] for image in study.datasets] == ["AXIAL"] * 93 + ["LOCALIZER"] * 2


def test_localizers_have_a_series_of_their_own(study):
    series = [image.SeriesInstanceUID for image in study.datasets]
    assert len(set(series[:93])) == 1
    assert len(set(series[93:])) == 1
    assert series[0] != series[93]


@pytest.mark.parametrize(
    "keyword",
    ["StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID", "AccessionNumber"],
)
def test_one_study_of_one_patient(study, keyword):
    assert len({str(image[keyword].value) for image in study.datasets}) == 1


def test_every_instance_has_its_own_uid(study):
    uids = [image.SOPInstanceUID for image in study.datasets]
    assert len(set(uids)) == 95
    assert [image.file_meta.MediaStorageSOPInstanceUID for image in study.datasets] == uids


def test_uids_are_known_before_an_image_is_computed(study):
    uids = phantom.instance_uids(seed=0, accession_number="1400059968")
    assert uids == [image.SOPInstanceUID for image in study.datasets]


def test_images_are_numbered_from_head_to_feet(study):
    positions = [float(image.ImagePositionPatient[2]) for image in axial(study)]
    assert np.allclose(np.diff(positions), -3.0)
    assert [image.InstanceNumber for image in axial(study)] == list(range(1, 94))


def test_axial_images_are_the_ones_that_the_reader_chooses(study, files, hu):
    volume = read_series(files[0].parent)
    assert volume.headers[0].SeriesInstanceUID == study.datasets[0].SeriesInstanceUID
    assert np.array_equal(volume.hu, hu)
    assert volume.hu.shape == study.truth.shape


def test_healthy_twin_differs_in_the_lungs_only(study, hu, capsys):
    healthy = teaching_study(disease=False, progress=False)
    assert capsys.readouterr() == ("", "")
    assert np.array_equal(healthy.truth, study.truth)
    looked_at = 4 * voxel_ml(study)  # every second row and column
    assert consolidation(study).sum() * looked_at > 60
    assert consolidation(healthy).sum() * looked_at < 5
    changed = hu_from_feet(healthy) != hu
    assert changed.sum() * voxel_ml(study) > 100
    # a voxel at the edge holds some of both
    near_lung = ndimage.maximum_filter(study.truth, (3, 5, 5)) > 0
    # slivers of lung too thin to be lung by half
    assert changed[~near_lung].sum() < 0.001 * changed.sum()
    assert {i.SOPInstanceUID for i in healthy.datasets}.isdisjoint(
        i.SOPInstanceUID for i in study.datasets
    )
    assert healthy.datasets[0].PatientID == study.datasets[0].PatientID


def test_sharp_kernel_shows_the_same_chest_finer_and_noisier(study, hu, capsys):
    sharp = teaching_study(kernel="sharp")
    assert "teaching patient: 100%" in capsys.readouterr().err
    teaching_study(kernel="sharp")
    assert capsys.readouterr().err == ""  # remembered
    assert np.array_equal(sharp.truth, study.truth)
    fine = hu_from_feet(sharp)
    liver = np.s_[10:14, 240:260, 150:170]
    assert 2 < fine[liver].std() / hu[liver].std() < 8
    assert abs(fine[liver].mean() - hu[liver].mean()) < 5
    detail = [
        (v - ndimage.gaussian_filter(v, 1.5))[study.truth[50] > 0].std()
        for v in (fine[50] * 1.0, hu[50] * 1.0)
    ]
    assert detail[0] > 1.3 * detail[1]
    assert sharp.datasets[0].ConvolutionKernel == "SHARP"
    assert sharp.datasets[0].SeriesDescription == "CHEST 3.0 SHARP"
    assert {i.SOPInstanceUID for i in sharp.datasets}.isdisjoint(
        i.SOPInstanceUID for i in study.datasets
    )


def test_kernel_that_no_scanner_has():
    with pytest.raises(ValueError, match="'soft', 'sharp'"):
        teaching_study(kernel="bone")


def test_localizers_show_the_chest_from_the_front_and_from_the_side(study, hu):
    """The front view looks along y and the side view along x; both have the head at the top."""
    front, side = study.datasets[93:]
    assert list(front.ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]
    assert list(side.ImageOrientationPatient) == [0, 1, 0, 0, 0, -1]
    for image, axis in ((front, 1), (side, 2)):
        seen = image.pixel_array.mean(axis=0)
        assert np.corrcoef(seen, hu.mean(axis=(0, axis)))[0, 1] > 0.9
        seen = image.pixel_array.mean(axis=1)[::-1]  # from the feet
        expected = np.interp(
            np.linspace(0, 1, len(seen)), np.linspace(0, 1, 93), hu.mean(axis=(1, 2))
        )
        assert np.corrcoef(seen, expected)[0, 1] > 0.8


def test_accession_number_is_the_one_asked_for():
    study = teaching_study(accession_number="A-17")
    assert {image.AccessionNumber for image in study.datasets} == {"A-17"}


def test_another_accession_number_is_another_study(study):
    other = teaching_study(accession_number="A-17")
    assert other.datasets[0].StudyInstanceUID != study.datasets[0].StudyInstanceUID
    assert other.datasets[0].SOPInstanceUID != study.datasets[0].SOPInstanceUID
    assert other.datasets[0].PatientID == study.datasets[0].PatientID


def test_study_says_that_nobody_was_scanned(study):
    assert all(image.PatientIdentityRemoved == "YES" for image in study.datasets)
    assert all("phantom" in image.DeidentificationMethod for image in study.datasets)


@pytest.mark.parametrize("wrong", ["1" * 17, "1\\2", "1\n", 1400059968, None])
def test_accession_number_that_dicom_does_not_allow(wrong):
    with pytest.raises(ValueError, match="accession number"):
        teaching_study(accession_number=wrong)


@pytest.mark.parametrize("wrong", [None, 1.5, True])
def test_seed_that_is_neither_number_nor_name(wrong):
    with pytest.raises(ValueError, match="seed"):
        teaching_study(seed=wrong)


# --------------------------------------------------------------------------------- the same and not


def test_same_seed_gives_the_same_bytes(study):
    before = [file_bytes(image) for image in study.datasets]
    phantom.compute_pixels.cache_clear()
    again = teaching_study(seed="0")
    assert [file_bytes(image) for image in again.datasets] == before
    assert np.array_equal(again.truth, study.truth)


def test_another_seed_is_another_patient(study, another_study):
    assert study.datasets[0].PatientID != another_study.datasets[0].PatientID
    mine, other = ({image.SOPInstanceUID for image in s.datasets} for s in (study, another_study))
    assert mine.isdisjoint(other)
    assert np.mean(study.truth != another_study.truth) > 0.01


def test_other_pixels_never_travel_under_the_same_uids(study, monkeypatch):
    monkeypatch.setattr(phantom_headers, "REVISION", phantom_headers.REVISION + 1)
    revised = teaching_study()
    for keyword in (
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "FrameOfReferenceUID",
    ):
        before, after = ({image[keyword].value for image in s.datasets} for s in (study, revised))
        assert before.isdisjoint(after)
    for keyword in ("PatientName", "PatientID", "PatientSex", "PatientAge"):
        assert revised.datasets[0][keyword].value == study.datasets[0][keyword].value


ORDINARY_NAMES = [
    "Ada", "Ben", "Chen", "Dana", "Emil", "Fatima", "Georg", "Hana",
    "Ivan", "Jana", "Karim", "Lena", "Mohamed", "Nina", "Olga", "Paul",
    "Qian", "Rosa", "Samir", "Tanja", "Umut", "Vera", "Wei", "Xenia",
    "Yusuf", "Zoe", "Anna", "Lukas", "Priya", "Tomas",
]  # fmt: skip


@pytest.mark.parametrize("seeds", [["0", "Ada", "Chen"], ORDINARY_NAMES])
def test_the_patients_of_a_class_differ_in_name(seeds):
    patients = [phantom_headers.Patient(seed, "1", disease=True, kernel="soft") for seed in seeds]
    assert len({patient.name for patient in patients}) == len(seeds)
    for patient in patients:
        assert re.fullmatch(r"Phantom\^[A-Z][a-z]+ \d{5}", patient.name)
        assert patient.name.endswith(f" {patient.patient_id[-5:]}")


def test_seed_is_written_nowhere(another_study):
    assert all(b"Maria" not in file_bytes(image) for image in another_study.datasets[90:])


def test_changed_copy_does_not_reach_the_next_caller(study):
    first = teaching_study()
    first.datasets[0].PatientName = "Changed^Name"
    first.datasets[0].PixelData = b"\x00" * len(first.datasets[0].PixelData)
    first.truth[:] = 0
    second = teaching_study()
    assert file_bytes(second.datasets[0]) == file_bytes(study.datasets[0])
    assert np.array_equal(second.truth, study.truth)


# ---------------------------------------------------------------------------------------- the lungs


def test_truth_lies_on_the_grid_of_the_images(study, hu):
    assert study.truth.shape == hu.shape == (93, 512, 512)
    assert study.truth.dtype == np.uint8
    assert set(np.unique(study.truth)) == {0, 1, 2}


def test_right_lung_lies_on_the_patients_right(study):
    """In DICOM x grows towards the patient's left; columns follow x because the row direction is 1,
    0, 0.
    """
    image = study.datasets[0]
    assert list(image.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    x = float(image.ImagePositionPatient[0]) + float(image.PixelSpacing[1]) * np.arange(512)
    columns = {label: (study.truth == label).sum(axis=(0, 1)) for label in (1, 2)}
    assert np.average(x, weights=columns[1]) < -40
    assert np.average(x, weights=columns[2]) > 40


def test_truth_runs_from_feet_to_head(study, hu):
    """Under the right lung lies the liver, above it the shoulder: only the lower end shows soft
    tissue there.
    """
    areas = (study.truth > 0).sum(axis=(1, 2))
    assert areas[:5].sum() == 0
    assert areas[-4:].sum() == 0
    inside = hu[:, 200:312, 156:200].mean(axis=(1, 2))
    assert inside[:12].mean() > 0
    assert inside[45:60].mean() < -300


def test_spine_is_behind(study, hu):
    rows = np.arange(512)
    bone, lung = (where.sum(axis=(0, 2)) for where in (hu > 300, study.truth > 0))
    assert np.average(rows, weights=bone) > np.average(rows, weights=lung)


@pytest.mark.parametrize("which", ["study", "another_study"])
def test_lung_volumes_are_those_of_an_adult(which, request):
    study = request.getfixturevalue(which)
    right, left = ((study.truth == label).sum() * voxel_ml(study) for label in (1, 2))
    assert 3000 < right + left < 6000
    assert 1.0 < right / left < 1.4


@pytest.mark.parametrize("which", ["study", "another_study"])
@pytest.mark.parametrize("label", [1, 2])
def test_each_lung_is_one_piece(which, label, request):
    pieces, _ = ndimage.label(request.getfixturevalue(which).truth == label)
    sizes = np.bincount(pieces.ravel())[1:]
    assert sizes.max() / sizes.sum() > 0.999


@pytest.mark.parametrize("which", ["study", "another_study"])
def test_threshold_misses_the_consolidation(which, request):
    study = request.getfixturevalue(which)
    volume = consolidation(study).sum() * 4 * voxel_ml(study)
    assert 40 < volume < 140


def test_consolidation_of_the_default_study_is_in_the_right_lower_lobe(study):
    found = consolidation(study)
    k, _, j = np.nonzero(found)
    assert np.mean(study.truth[:, ::2, ::2][found] == 1) > 0.9
    assert k.mean() < 45
    assert j.mean() < 100


def test_consolidation_touches_the_pleura(study):
    outside = ndimage.binary_dilation(study.truth[:, ::2, ::2] == 0, iterations=2)
    assert (consolidation(study) & outside).sum() * 4 * voxel_ml(study) > 2


def test_lung_is_mostly_air(study, hu):
    assert -900 < np.median(hu[study.truth > 0]) < -800


def test_windpipe_is_outside_the_truth(study, hu):
    """Above the arch the windpipe is the only air in the mid-line."""
    middle = hu[74:84, 200:330, 236:276]
    air = middle < -900
    assert air.sum(axis=(1, 2)).min() > 50
    assert not study.truth[74:84, 200:330, 236:276][air].any()


def test_no_gap_between_breastbone_and_mediastinum(study, hu):
    """Above the arch nothing is darker than fat, but for lung and windpipe and their edges."""
    box = np.s_[74:84, 180:300, 150:360]
    airy = (study.truth[box] > 0) | (hu[box] < -700)
    near_air = ndimage.maximum_filter(airy.view(np.uint8), (1, 13, 13)) > 0
    assert (hu[box][~near_air] < -190).sum() < 5


# -------------------------------------------------------------------------------------- conformance


def test_every_file_conforms(files):
    assert {path.name: dciodvfy(path) for path in files} == {path.name: ([], []) for path in files}


def test_files_agree_with_each_other(files):
    assert dcentvfy(files) == []
