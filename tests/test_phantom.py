"""The teaching study: complete, conformant, repeatable, and true about its lungs."""

from __future__ import annotations

import os
import shutil
import subprocess
from io import BytesIO

import numpy as np
import pytest

from magician.phantom import teaching_study

AXIAL_IMAGES = 93
MASSIVE = 60  # ml of lung that a threshold at -400 HU must miss at least; vessels alone are less


def axial(study):
    return study.datasets[:AXIAL_IMAGES]


def hu_from_feet(study):
    ordered = sorted(axial(study), key=lambda image: float(image.ImagePositionPatient[2]))
    return np.stack(
        [image.pixel_array * int(image.RescaleSlope) + int(image.RescaleIntercept) for image in ordered]
    )


def voxel_ml(study):
    image = study.datasets[0]
    return float(image.PixelSpacing[0]) * float(image.PixelSpacing[1]) * float(image.SliceThickness) / 1000


def file_bytes(dataset):
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def program(name):
    found = shutil.which(name)
    if found is None and os.environ.get("MAGICIAN_REQUIRE_INTEROP") == "1":
        pytest.fail(f"{name} is missing (Debian package dicom3tools)")
    if found is None:
        pytest.skip(f"{name} is missing (Debian package dicom3tools)")
    return found


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


# ------------------------------------------------------------------------------------------------- the study


def test_95_images_axial_first(study):
    assert [image.ImageType[2] for image in study.datasets] == ["AXIAL"] * 93 + ["LOCALIZER"] * 2


def test_localizers_have_a_series_of_their_own(study):
    series = [image.SeriesInstanceUID for image in study.datasets]
    assert len(set(series[:93])) == 1
    assert len(set(series[93:])) == 1
    assert series[0] != series[93]


def test_one_study_one_patient_one_frame_of_reference(study):
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID", "AccessionNumber"):
        assert len({str(image[keyword].value) for image in study.datasets}) == 1, keyword


def test_every_instance_has_its_own_uid(study):
    uids = {image.SOPInstanceUID for image in study.datasets}
    assert len(uids) == 95
    assert all(image.file_meta.MediaStorageSOPInstanceUID in uids for image in study.datasets)


def test_images_are_numbered_from_head_to_feet(study):
    positions = [float(image.ImagePositionPatient[2]) for image in axial(study)]
    assert np.allclose(np.diff(positions), -3.0)
    assert [image.InstanceNumber for image in axial(study)] == list(range(1, 94))


def test_accession_number_is_the_one_asked_for():
    study = teaching_study(accession_number="A-17")
    assert {image.AccessionNumber for image in study.datasets} == {"A-17"}


def test_study_says_that_nobody_was_scanned(study):
    assert all(image.PatientIdentityRemoved == "YES" for image in study.datasets)
    assert all("phantom" in image.DeidentificationMethod for image in study.datasets)


@pytest.mark.parametrize("wrong", ["1" * 17, "1\\2", "1\n"])
def test_accession_number_that_dicom_does_not_allow(wrong):
    with pytest.raises(ValueError, match="accession number"):
        teaching_study(accession_number=wrong)


@pytest.mark.parametrize("wrong", [None, 1.5, True])
def test_seed_that_is_neither_number_nor_name(wrong):
    with pytest.raises(ValueError, match="seed"):
        teaching_study(seed=wrong)


# ------------------------------------------------------------------------------------------- the same and not


def test_same_seed_gives_the_same_bytes(study):
    from magician import phantom

    before = [file_bytes(image) for image in study.datasets]
    phantom._pixels.cache_clear()
    again = teaching_study()
    assert [file_bytes(image) for image in again.datasets] == before
    assert np.array_equal(again.truth, study.truth)


def test_another_seed_is_another_patient(study, another_study):
    mine, other = study.datasets[0], another_study.datasets[0]
    assert mine.PatientID != other.PatientID
    assert {i.SOPInstanceUID for i in study.datasets}.isdisjoint(
        i.SOPInstanceUID for i in another_study.datasets
    )
    assert np.mean(study.truth != another_study.truth) > 0.01


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


# ------------------------------------------------------------------------------------------------- the lungs


def test_truth_lies_on_the_grid_of_the_images(study, hu):
    assert study.truth.shape == hu.shape == (93, 512, 512)
    assert study.truth.dtype == np.uint8
    assert set(np.unique(study.truth)) == {0, 1, 2}


def test_right_lung_lies_on_the_patients_right(study):
    """In DICOM x grows towards the patient's left; columns follow x because row direction is 1, 0, 0."""
    image = study.datasets[0]
    assert list(image.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    column = np.arange(512)
    x = float(image.ImagePositionPatient[0]) + float(image.PixelSpacing[1]) * column
    right, left = ((study.truth == label).sum(axis=(0, 1)) @ x for label in (1, 2))
    assert right / (study.truth == 1).sum() < -40
    assert left / (study.truth == 2).sum() > 40


def test_truth_runs_from_feet_to_head(study, hu):
    """The liver's side shows which end is down: the dome makes the lowest lung slices much smaller than the middle."""
    areas = (study.truth > 0).sum(axis=(1, 2))
    assert areas[0] == 0
    assert areas[-1] == 0
    inside = hu[:, 200:312, 156:200].mean(axis=(1, 2))
    assert inside[:12].mean() > 0
    assert inside[45:60].mean() < -300


def test_spine_is_behind(study, hu):
    bone = (hu > 180).sum(axis=(0, 2))
    lung = (study.truth > 0).sum(axis=(0, 2))
    rows = np.arange(512)
    assert (bone @ rows) / bone.sum() > (lung @ rows) / lung.sum()


@pytest.mark.parametrize("which", ["study", "another_study"])
def test_lung_volumes_are_those_of_an_adult(which, request):
    study = request.getfixturevalue(which)
    right, left = ((study.truth == label).sum() * voxel_ml(study) for label in (1, 2))
    assert 3000 < right + left < 7000
    assert 1.02 < right / left < 1.5


@pytest.mark.parametrize("which", ["study", "another_study"])
def test_threshold_misses_the_consolidation(which, request):
    study = request.getfixturevalue(which)
    missed = (study.truth > 0) & (hu_from_feet(study) > -400)
    assert missed.sum() * voxel_ml(study) > MASSIVE


def test_consolidation_of_the_default_study_is_in_the_right_lower_zone(study, hu):
    dense = (study.truth > 0) & (hu > -100)
    slices = dense[:50]
    assert (slices & (study.truth[:50] == 1)).sum() * voxel_ml(study) > 40
    assert (slices & (study.truth[:50] == 2)).sum() * voxel_ml(study) < 40


def test_lung_is_air_and_tissue(study, hu):
    assert -900 < np.median(hu[study.truth > 0]) < -780


# ---------------------------------------------------------------------------------------------- conformance


def test_files_conform(files):
    validator = program("dciodvfy")
    for path in files:
        result = subprocess.run([validator, path], capture_output=True, text=True)
        report = result.stdout + result.stderr
        assert result.returncode == 0, f"{path.name}: {report}"
        assert "Error" not in report, f"{path.name}: {report}"
        assert "Warning" not in report, f"{path.name}: {report}"


def test_files_agree_with_each_other(files):
    result = subprocess.run([program("dcentvfy"), *files], capture_output=True, text=True)
    assert result.returncode == 0
    assert "Error" not in result.stdout + result.stderr
