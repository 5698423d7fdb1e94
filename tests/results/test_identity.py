"""Whose study results belong to, the learner's own study, and UIDs of a second run."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import lung_segmentation, truth_labels, write_series
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import RLELossless
from result_cases import elements, make_case, not_read, referenced, saved, texts, uids

import magician
from magician.checks.segmentation_reader import read_segmentation
from magician.ct.volume import read_series
from magician.errors import ResultError
from magician.results.make import make_results, save

DISCLAIMER = "RESEARCH - NOT FOR DIAGNOSIS"


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
