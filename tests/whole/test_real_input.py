"""The whole way on a real patient: PACS, CT, lungs, results, PACS; in the practice PACS and in
Orthanc.
"""

import shutil

import numpy as np
import pytest
from helpers import dcentvfy, dciodvfy
from orthanc import free_port, running_orthanc
from pydicom import dcmread

from magician import (
    PracticePacs,
    find_series,
    find_studies,
    get_study,
    make_results,
    read_segmentation,
    read_series,
    segment_lungs,
    store,
    volumes_ml,
)


@pytest.fixture(params=["practice PACS", "Orthanc"])
def pacs(request, tmp_path):
    if request.param == "practice PACS":
        with PracticePacs() as practice:
            yield practice.node
    else:
        (tmp_path / "orthanc").mkdir()
        with running_orthanc(tmp_path / "orthanc", known={"MAGICIAN": free_port()}) as node:
            yield node


@pytest.fixture(scope="module")
def segmented(real_chest_ct_folder):
    volume = read_series(real_chest_ct_folder)
    return volume, segment_lungs(volume, progress=False)


def what_the_source_causes(folder):
    """Every error and warning that dciodvfy has about the source itself, without the line's
    variable parts.
    """
    return {
        line for path in list(folder.iterdir())[:1] for lines in dciodvfy(path) for line in lines
    }


def test_results_of_a_real_patient_come_back_from_their_study(
    pacs, segmented, real_chest_ct_folder, tmp_path
):
    _, segmentation = segmented
    assert store(pacs, sorted(real_chest_ct_folder.glob("*.dcm"))).sent == 64
    (study,) = find_studies(pacs, patient_id=segmented[0].headers[0].PatientID)
    got = get_study(pacs, study.StudyInstanceUID, tmp_path / "got")
    assert got.received == 64

    volume = read_series(tmp_path / "got")
    np.testing.assert_array_equal(volume.hu, segmented[0].hu)
    results = make_results(volume, segmentation)
    assert store(pacs, results.all).sent == 66

    assert {one.Modality for one in find_series(pacs, study.StudyInstanceUID)} >= {
        "CT",
        "SEG",
        "SR",
    }
    (study,) = find_studies(pacs, study_instance_uid=study.StudyInstanceUID)
    assert study.NumberOfStudyRelatedInstances == 64 + 66
    back = get_study(pacs, study.StudyInstanceUID, tmp_path / "back")
    assert back.received == 64 + 66
    seg = dcmread(tmp_path / "back" / f"{results.seg.SOPInstanceUID}.dcm")
    np.testing.assert_array_equal(read_segmentation(seg, volume), segmentation.labels)


def test_results_of_a_real_patient_conform(segmented, real_chest_ct_folder, tmp_path):
    from magician import save

    volume, segmentation = segmented
    results = make_results(volume, segmentation)
    paths = save([results.overlay[0], results.overlay[-1], results.seg, results.sr], tmp_path)
    caused = what_the_source_causes(real_chest_ct_folder)
    for path in paths:
        errors, warnings = dciodvfy(path)
        assert errors == []
        assert [line for line in warnings if line not in caused] == []
    everything = tmp_path / "everything"
    save(results.all, everything)
    for path in real_chest_ct_folder.glob("*.dcm"):
        shutil.copy(path, everything)
    assert dcentvfy(sorted(everything.iterdir())) == []


def test_lungs_of_a_real_patient_are_plausible(segmented):
    volume, segmentation = segmented
    ml = volumes_ml(segmentation)
    assert 2000 < ml["right"] < 5000
    assert 1500 < ml["left"] < 4500
    columns = np.arange(volume.hu.shape[2])
    middles = [
        np.average(columns, weights=(segmentation.labels == label).sum(axis=(0, 1)))
        for label in (1, 2)
    ]
    x = [float((volume.affine @ [0, 256, middle, 1])[0]) for middle in middles]
    assert x[0] < x[1] - 80  # LPS: x grows to the patient's left
