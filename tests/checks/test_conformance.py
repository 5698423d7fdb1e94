"""Our own checks and dciodvfy, on good objects, on careless ones, and on each step between them."""

from __future__ import annotations

from copy import deepcopy
from io import BytesIO

import numpy as np
import pytest
from helpers import (
    ORIENTATIONS,
    ct_series,
    dciodvfy,
    lung_segmentation,
    require_program,
    truth_labels,
    write_series,
)
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import generate_uid

from magician.checks import conformance
from magician.checks.conformance import Conformance, check_conformance
from magician.client.store import store
from magician.ct.volume import CTVolume, read_series
from magician.practice_pacs.pacs import PracticePacs
from magician.results.careless import careless_overlay
from magician.results.make import Results, make_results, save


def make(volume: CTVolume, **options) -> Results:
    segmentation = lung_segmentation(volume, truth_labels(list(volume.headers)))
    return make_results(volume, segmentation, **{"include_ct": True} | options)


@pytest.fixture
def results(volume) -> Results:
    return make(volume)


@pytest.fixture
def careless(volume) -> list[Dataset]:
    return careless_overlay(volume, lung_segmentation(volume, truth_labels(list(volume.headers))))


@pytest.fixture
def only_ours(monkeypatch) -> None:
    """As on a computer without dciodvfy."""
    monkeypatch.setattr(conformance.shutil, "which", lambda name: None)


# ------------------------------------------------------------------------------------- good objects


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_results_are_conformant(learner, volume):
    found = check_conformance(make(volume, learner=learner).all)
    assert found.ok
    assert found.complaints == ()


@pytest.mark.parametrize("kind", ORIENTATIONS)
def test_results_of_every_orientation_are_conformant(kind, tmp_path, only_ours):
    datasets = ct_series(orientation=ORIENTATIONS[kind])
    volume = read_series(write_series(datasets, tmp_path), datasets[0].SeriesInstanceUID)
    assert check_conformance(make(volume).all).complaints == ()


def test_results_without_the_ct_refer_to_the_sources(volume, only_ours):
    results = make(volume, include_ct=False)
    assert check_conformance(results.all, sources=volume.headers).ok
    assert (
        "12 of 13 objects that are referred to are not here"
        in check_conformance(results.all).complaints[0]
    )


def test_results_that_came_back_from_a_pacs_are_conformant(volume, results, tmp_path, only_ours):
    from magician.client.retrieve import get_study

    with PracticePacs() as pacs:
        store(pacs.node, results.all)
        back = get_study(pacs.node, results.seg.StudyInstanceUID, tmp_path)
    assert check_conformance(dcmread(path) for path in back.paths).ok


def test_teaching_study_is_conformant(only_ours):
    from magician.teaching.phantom import teaching_study

    study = teaching_study(progress=False)
    assert check_conformance(study.datasets[:5] + study.datasets[-2:]).ok


def test_results_of_real_ct_have_no_complaints(real_chest_ct, only_ours):
    volume = read_series(real_chest_ct)
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[10:20, 100:200, 100:200] = 1
    results = make_results(volume, lung_segmentation(volume, labels))
    assert check_conformance(results.all, sources=volume.headers).complaints == ()


# ------------------------------------------------------------- from a careless object to a good one


def complete_file_meta(image: Dataset) -> None:
    image.file_meta.FileMetaInformationVersion = b"\0\1"
    image.file_meta.FileMetaInformationGroupLength = 0  # counted anew when it is written


def put(**values) -> object:
    def repair(image: Dataset) -> None:
        for keyword, value in values.items():
            setattr(image, keyword, value)

    return repair


# What is repaired one after the other, and how many complaints (ours), errors and warnings
# (dciodvfy) are left
LADDER = [
    ("as it is", lambda image: None, 7, 7, 1),
    ("file meta", complete_file_meta, 5, 5, 1),
    ("PlanarConfiguration", put(PlanarConfiguration=0), 4, 4, 1),
    ("PixelRepresentation", put(PixelRepresentation=0), 3, 3, 1),
    ("ConversionType", put(ConversionType="WSD"), 2, 2, 1),
    ("PatientOrientation", put(PatientOrientation=["L", "P"]), 1, 1, 1),
    ("BodyPartExamined", put(BodyPartExamined="CHEST"), 0, 0, 1),
    ("PatientName", put(PatientName="Putyournamehere^"), 0, 0, 0),
]
RUNGS = range(len(LADDER))


def climbed(careless: list[Dataset], rung: int) -> Conformance:
    for image in careless:
        for _, repair, *_ in LADDER[: rung + 1]:
            repair(image)
    return check_conformance(careless)


@pytest.mark.parametrize("rung", RUNGS, ids=[name for name, *_ in LADDER])
def test_rung_by_our_own_checks(rung, careless, only_ours):
    found = climbed(careless, rung)
    assert [len(one.complaints) for one in found.objects] == [LADDER[rung][2]] * 3
    assert {one.errors for one in found.objects} == {None}


@pytest.mark.parametrize("rung", RUNGS, ids=[name for name, *_ in LADDER])
def test_rung_by_dciodvfy(rung, careless):
    require_program("dciodvfy")
    found = climbed(careless, rung)
    assert [(len(one.errors), len(one.warnings)) for one in found.objects] == [LADDER[rung][3:]] * 3


@pytest.mark.parametrize("rung", RUNGS[1:], ids=[name for name, *_ in LADDER[1:]])
def test_each_repair_takes_away_what_it_repairs(rung, careless, only_ours):
    before = set(climbed(deepcopy(careless), rung - 1).complaints)
    after = set(climbed(careless, rung).complaints)
    assert after <= before
    gone = {text.split(" is ")[0] for text in before - after}
    expected = {
        "file meta": {"FileMetaInformationVersion", "FileMetaInformationGroupLength"},
        "BodyPartExamined": {"Laterality"},
        "PatientName": set(),
    }
    assert gone == expected.get(LADDER[rung][0], {LADDER[rung][0]})


def test_our_checks_find_what_dciodvfy_finds(careless):
    require_program("dciodvfy")
    (one,) = set(check_conformance(careless).objects)
    theirs = {line.split("Element=<")[1].split(">")[0] for line in one.errors}
    assert theirs == {text.split(" is ")[0] for text in one.complaints}


def test_what_no_validator_of_single_objects_sees(careless, only_ours):
    found = climbed(careless, RUNGS[-1])
    assert found.together == (
        "StudyTime has 3 different values, and should be the same in all objects",
    )
    for image in careless:
        image.StudyTime = "030400"
    assert check_conformance(careless).ok


def test_careless_images_beside_the_ct_are_of_another_patient(careless, results, only_ours):
    found = "\n".join(check_conformance([*careless, *results.ct]).together)
    assert all(
        f"{keyword} has" in found for keyword in ("PatientID", "PatientName", "StudyInstanceUID")
    )


def test_a_pacs_takes_careless_images_without_a_word(careless):
    with PracticePacs() as pacs:
        assert store(pacs.node, careless, allow_identified=True).sent == 3


def test_careless_images_show_the_lungs(volume, careless):
    labels = truth_labels(list(volume.headers))
    blue = np.frombuffer(careless[1].PixelData, np.uint8).reshape(64, 72, 3)[..., 2]
    assert np.array_equal(blue == 255, labels[6] > 0)


# ------------------------------------------------------------------------------ single requirements


def complaints(dataset: Dataset) -> list[str]:
    (one,) = check_conformance([dataset]).objects
    return list(one.complaints)


MISSING = [
    ("overlay", "ConversionType", "type 1, PS3.3 C.8.6.1"),
    ("overlay", "PatientBirthDate", "type 2, PS3.3 C.7.1.1"),
    ("overlay", "Modality", "type 1, PS3.3 C.7.3.1"),
    ("overlay", "PixelRepresentation", "type 1, PS3.3 C.7.6.3"),
    ("seg", "FrameOfReferenceUID", "type 1, PS3.3 C.7.4.1"),
    ("seg", "DeviceSerialNumber", "type 1, PS3.3 C.7.5.2"),
    ("seg", "SharedFunctionalGroupsSequence", "type 1, PS3.3 C.7.6.16"),
    ("seg", "DimensionIndexSequence", "type 1, PS3.3 C.7.6.17"),
    ("seg", "SegmentationType", "type 1, PS3.3 C.8.20.2"),
    ("sr", "CompletionFlag", "type 1, PS3.3 C.17.2"),
    ("sr", "PerformedProcedureCodeSequence", "type 2, PS3.3 C.17.2"),
    ("sr", "ContentSequence", "type 1, PS3.3 C.17.3"),
    ("ct", "RescaleSlope", "type 1, PS3.3 C.8.2.1"),
    ("ct", "ImagePositionPatient", "type 1, PS3.3 C.7.6.2"),
]


@pytest.mark.parametrize(
    ("kind", "keyword", "clause"), MISSING, ids=[f"{k} {w}" for k, w, _ in MISSING]
)
def test_missing_attribute_is_named_with_its_clause(kind, keyword, clause, results, only_ours):
    found = getattr(results, kind)
    dataset = deepcopy(found[0] if isinstance(found, list) else found)
    del dataset[keyword]
    assert f"{keyword} is missing ({clause})" in complaints(dataset)


def test_every_required_attribute_is_missed(results, only_ours):
    """The tables hold no attribute whose absence goes unnoticed."""
    from magician.checks.required_attributes import MODULES, REQUIRED

    for dataset in (results.overlay[0], results.seg, results.sr, results.ct[0]):
        for clause in MODULES[dataset.SOPClassUID].split():
            for keyword in " ".join(REQUIRED[clause]).split():
                if keyword != "SOPClassUID":  # without it nobody knows what else is required
                    without = deepcopy(dataset)
                    del without[keyword]
                    assert any(
                        text.startswith(f"{keyword} is missing") for text in complaints(without)
                    ), keyword


def test_attribute_that_is_required_with_a_value(results, only_ours):
    results.seg.ContentLabel = ""
    assert complaints(results.seg) == ["ContentLabel is empty (type 1, PS3.3 C.8.20.2)"]


def test_attribute_that_may_be_empty(results, only_ours):
    results.seg.PatientBirthDate = ""
    assert complaints(results.seg) == []


@pytest.mark.parametrize("uid", ["1.2.03.4", "1.2.x", "1." * 33 + "1", "1..2"])
def test_uid_that_is_none(uid, results, only_ours):
    results.seg.DimensionOrganizationSequence[0].add_new("DimensionOrganizationUID", "UI", "1.2")
    results.seg.DimensionOrganizationSequence[0]["DimensionOrganizationUID"]._value = uid
    assert complaints(results.seg) == [
        f"DimensionOrganizationUID {uid:.70} is not a UID (PS3.5 9.1)"
    ]


def test_file_meta_of_another_object(results, only_ours):
    results.seg.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
    assert complaints(results.seg) == [
        "MediaStorageSOPInstanceUID is not SOPInstanceUID (PS3.10 7.1)"
    ]


def test_no_file_meta(results, only_ours):
    del results.seg.file_meta
    assert complaints(results.seg) == ["there is no file meta information (PS3.10 7.1)"]


def test_object_that_is_no_object(only_ours):
    assert "SOPClassUID is missing (type 1, PS3.3 C.12.1)" in complaints(Dataset())


def test_object_that_can_not_be_written():
    require_program("dciodvfy")
    (one,) = check_conformance([Dataset()]).objects
    assert "can't be written" in one.errors[0]


def test_pixels_cut_short(results, only_ours):
    whole = len(results.overlay[0].PixelData)
    results.overlay[0].PixelData = results.overlay[0].PixelData[:-2]
    words = f"PixelData has {whole - 2} bytes, its attributes say {whole} (PS3.5 8.1.1)"
    assert complaints(results.overlay[0]) == [words]


def test_segment_without_a_label(results, only_ours):
    del results.seg.SegmentSequence[1].SegmentLabel
    assert complaints(results.seg) == [
        "SegmentLabel is missing (type 1, PS3.3 C.8.20.2, segment 2)"
    ]


def test_segments_that_do_not_count_from_one(results, only_ours):
    results.seg.SegmentSequence[1].SegmentNumber = 3
    assert any(
        "has to count 1, 2, 3 and so on, and is [1, 3]" in text for text in complaints(results.seg)
    )
    assert any(
        "frames belong to segments [2] that there are not" in text
        for text in complaints(results.seg)
    )


def test_frame_without_a_position(results, only_ours):
    del results.seg.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence
    assert complaints(results.seg) == [
        "PlanePositionSequence is missing for 1 of 24 frames (PS3.3 A.51.5)"
    ]


def test_frame_that_is_not_described(results, only_ours):
    del results.seg.PerFrameFunctionalGroupsSequence[-1]
    assert complaints(results.seg) == [
        "NumberOfFrames is 24, and 23 are described (PS3.3 C.7.6.16)"
    ]


# ------------------------------------------------------------------------------- what fits together


def together(datasets: list[Dataset]) -> str:
    return "\n".join(check_conformance(datasets).together)


@pytest.mark.parametrize(
    "keyword", ["PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"]
)
def test_one_object_of_another_patient_or_study(keyword, results, only_ours):
    setattr(results.sr, keyword, "1.2.3")
    assert (
        together(results.all)
        == f"{keyword} has 2 different values, and should be the same in all objects"
    )


def test_two_frames_of_reference(results, only_ours):
    results.seg.FrameOfReferenceUID = "1.2.3"
    assert "FrameOfReferenceUID has 2 different values" in together(results.all)


def test_series_of_two_modalities(results, only_ours):
    results.overlay[3].Modality = "CT"
    assert (
        together(results.all)
        == "Modality has 2 different values, and should be the same in the series of 12 objects"
    )


def test_two_objects_with_one_uid(results, only_ours):
    results.overlay[1].SOPInstanceUID = results.overlay[0].SOPInstanceUID
    assert "1 of 26 objects have the UID of another one" in together(results.all)


def test_reference_into_the_void(results, only_ours):
    results.overlay[0].SourceImageSequence[0].ReferencedSOPInstanceUID = generate_uid()
    assert "1 of 14 objects that are referred to are not here" in together(results.all)


def test_reference_by_another_sop_class(results, only_ours):
    results.overlay[0].SourceImageSequence[0].ReferencedSOPClassUID = results.sr.SOPClassUID
    assert "1 objects are referred to by another SOP class" in together(results.all)


def test_report_without_the_seg_as_evidence(results, only_ours):
    del results.sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[1]
    assert "1 objects that its evidence does not list" in together(results.all)


def test_report_that_points_at_a_segment_that_there_is_not(results, only_ours):
    for item in results.sr.iterall():
        if item.keyword == "ReferencedSegmentNumber":
            item.value = 7
    assert "segment 7, and the SEG has none of that number" in together(results.all)


# ---------------------------------------------------------------------------------- how it is shown


def test_table_of_good_objects(results, only_ours):
    lines = repr(check_conformance(results.all)).splitlines()
    assert lines[0] == "26 objects are conformant, and fit together."
    assert lines[1].split() == [
        "objects",
        "outcome",
        "our",
        "checks",
        "dciodvfy",
        "what",
        "is",
        "wrong",
    ]
    assert [line.split("  ")[0] for line in lines[3:]] == [
        "12 Secondary Capture Image",
        "1 Segmentation",
        "1 Comprehensive 3D SR",
        "12 CT Image",
        "all 26 together",
    ]
    assert all("not installed" in line for line in lines[3:-1])


def test_table_of_careless_objects(careless, only_ours):
    found = check_conformance(careless)
    assert found.summary == "3 of 3 objects are NOT conformant, and do NOT fit together."
    assert "3 Secondary Capture Image  NOT OK" in repr(found)
    assert all(text in repr(found) for text in found.complaints)


def test_table_as_html(careless, only_ours):
    page = check_conformance(careless)._repr_html_()
    assert page.count("<tr>") == 3
    assert page.count("<br>") == 6
    assert "C.8.6.1" in page


def test_outcome_of_dciodvfy_is_shown(results, careless):
    require_program("dciodvfy")
    assert "0 errors, 0 warnings" in repr(check_conformance(results.all[-14:]))
    assert "7 errors, 1 warning " in repr(check_conformance(careless))


def test_errors_of_dciodvfy_alone_are_shown(results):
    require_program("dciodvfy")
    results.seg.PresentationLUTShape = "PERHAPS"
    (one,) = check_conformance([results.seg]).objects
    assert (one.ok, one.complaints) == (False, ())
    assert "PERHAPS" in repr(check_conformance([results.seg]))


def test_dciodvfy_says_the_same_of_saved_files(results, tmp_path):
    require_program("dciodvfy")
    (path,) = save([results.seg], tmp_path)
    (one,) = check_conformance([results.seg]).objects
    assert (list(one.errors), list(one.warnings)) == dciodvfy(path)


def test_checking_changes_nothing(careless, results):
    def as_written(datasets):
        return [(dcmwrite(buffer := BytesIO(), one), buffer.getvalue())[1] for one in datasets]

    datasets = [*careless, *results.all]
    copies = deepcopy(datasets)
    check_conformance(datasets)
    assert as_written(datasets) == as_written(copies)
