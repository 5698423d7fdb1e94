"""The practice PACS answers as PS3.4 says: the probes that tell a PACS from something like one."""

import threading

import pytest
from helpers import ct_series
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_description
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as MOVE

from magician import privacy
from magician.client.echo import echo
from magician.client.find import find_studies
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse.association import associate
from magician.errors import (
    AssociationRejected,
    DimseFailure,
    MagicianError,
    NotDeidentified,
    PacsUnreachable,
    StudyNotFound,
)
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs

SECOND_SERIES = "1.2.826.0.1.3680043.8.498.1"


def make_holding():
    """Two studies of different patients; the second has two series, one of them a scout."""
    first = ct_series(slices=3, accession_number="1400059968", seed=1)
    second = ct_series(slices=4, accession_number="1400060000", seed=2)
    for ds in second:
        ds.PatientName, ds.PatientID, ds.StudyDate = "Müller^Änne", "P2", "20240615"
        ds.StudyTime = "235959.123456"
        ds.SpecificCharacterSet = "ISO_IR 100"
    for ds in second[2:]:
        ds.SeriesInstanceUID = SECOND_SERIES
        ds.Modality, ds.SeriesDescription = "DX", "Scout"
    return first, second


FIRST, SECOND = make_holding()


@pytest.fixture(scope="module")
def pacs():
    with PracticePacs() as pacs:
        pacs.add([*FIRST, *SECOND])
        yield pacs


def query(pacs, level, **keys):
    """Send one C-FIND as given; returns the matches and the final status."""
    identifier = Dataset()
    if level:
        identifier.QueryRetrieveLevel = level
    identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    with associate(pacs.node, [FIND]) as association:
        responses = list(association.send_c_find(identifier, FIND))
    return [match for _, match in responses[:-1]], responses[-1][0].Status


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # the article's '*'
@pytest.mark.parametrize(
    ("keys", "accessions"),
    [
        ({}, ["1400059968", "1400060000"]),
        ({"AccessionNumber": "1400059968"}, ["1400059968"]),
        ({"AccessionNumber": "14*"}, ["1400059968", "1400060000"]),
        ({"AccessionNumber": "14000?9968"}, ["1400059968"]),
        ({"AccessionNumber": "140005996"}, []),
        ({"AccessionNumber": "[1]4*"}, []),
        ({"PatientName": "phantom*"}, ["1400059968"]),
        ({"PatientName": "müller^änne"}, ["1400060000"]),
        ({"PatientName": "Phantom^Small^^"}, ["1400059968"]),
        ({"PatientName": "Phantom"}, []),
        ({"StudyDate": "20200102"}, ["1400059968"]),
        ({"StudyDate": "20200101-20201231"}, ["1400059968"]),
        ({"StudyDate": "20240615-"}, ["1400060000"]),
        ({"StudyDate": "-20240614"}, ["1400059968"]),
        ({"StudyTime": "2359-2359"}, ["1400060000"]),
        ({"ModalitiesInStudy": "DX"}, ["1400060000"]),
        ({"ModalitiesInStudy": "MR"}, []),
        ({"ModalitiesInStudy": "CT", "PatientID": "P2"}, ["1400060000"]),
        ({"StudyInstanceUID": "*"}, ["1400059968", "1400060000"]),
        ({"StudyInstanceUID": FIRST[0].StudyInstanceUID}, ["1400059968"]),
        (
            {"StudyInstanceUID": [FIRST[0].StudyInstanceUID, SECOND[0].StudyInstanceUID]},
            ["1400059968", "1400060000"],
        ),
        ({"PatientName": "' OR 1=1 --"}, []),
    ],
)
def test_a_study_query_matches_each_study_once(pacs, keys, accessions):
    matches, status = query(pacs, "STUDY", **{"AccessionNumber": "", **keys})
    assert status == 0x0000
    assert [match.AccessionNumber for match in matches] == accessions


def test_a_study_answer_holds_what_was_asked_for_and_nothing_else(pacs):
    asked = [
        "PatientName",
        "StudyDescription",
        "PatientBirthDate",
        "ModalitiesInStudy",
        "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
        "PatientComments",
    ]
    (answer,), _ = query(pacs, "STUDY", PatientID="P2", **dict.fromkeys(asked, ""))
    assert answer.PatientName == "Müller^Änne"
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    assert (answer.StudyDescription, answer.PatientBirthDate) == ("Chest", "19600101")
    assert list(answer.ModalitiesInStudy) == ["CT", "DX"]
    assert answer.SOPClassesInStudy == SECOND[0].SOPClassUID
    assert (answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == (2, 4)
    assert answer.StudyInstanceUID == SECOND[0].StudyInstanceUID
    assert answer.RetrieveAETitle == "PRACTICE"
    assert "SeriesInstanceUID" not in answer
    assert "PatientComments" not in answer


def test_a_series_query_counts_its_images(pacs):
    keys = {
        "StudyInstanceUID": SECOND[0].StudyInstanceUID,
        "Modality": "",
        "NumberOfSeriesRelatedInstances": "",
    }
    matches, status = query(pacs, "SERIES", **keys)
    assert [(match.Modality, match.NumberOfSeriesRelatedInstances) for match in matches] == [
        ("CT", 2),
        ("DX", 2),
    ]
    assert status == 0x0000


def test_a_series_query_without_a_study_is_answered(pacs):
    assert len(query(pacs, "SERIES", SeriesInstanceUID="")[0]) == 3


def test_an_image_query_answers_once_for_each_image(pacs):
    matches, _ = query(
        pacs, "IMAGE", StudyInstanceUID=FIRST[0].StudyInstanceUID, InstanceNumber="", Rows=None
    )
    assert [(match.InstanceNumber, match.Rows) for match in matches] == [(1, 64), (2, 64), (3, 64)]


@pytest.mark.parametrize("level", ["", "PATIENT", "FRAME"])
def test_a_query_without_a_level_that_we_know_fails(pacs, level):
    assert query(pacs, level, PatientID="") == ([], 0xA900)


def test_a_get_of_everything_is_refused(pacs):
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = ""
    with associate(pacs.node, [GET]) as association:
        *_, (response, _) = association.send_c_get(identifier, GET)
    assert response.Status != 0x0000
    assert response.get("NumberOfCompletedSuboperations", 0) == 0


def test_a_move_of_everything_is_refused(pacs):
    pacs.know(pacs.node)
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = ""
    with associate(pacs.node, [MOVE]) as association:
        *_, (response, _) = association.send_c_move(identifier, pacs.node.ae_title, MOVE)
    assert response.Status == 0xA900


def odd_object(**elements):
    (ds,) = ct_series(slices=1, seed=7)
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value for VR")
@pytest.mark.parametrize(
    "elements",
    [
        {"PatientID": None},
        {"AccessionNumber": "12345678901234567890"},
        {"StudyTime": "101112.1234567890"},
        {"PatientName": None, "Modality": None},
    ],
)
def test_an_object_with_odd_elements_is_stored_and_found(elements):
    ds = odd_object(**elements)
    with PracticePacs() as pacs:
        store(pacs.node, [ds])
        (found,) = find_studies(pacs.node, study_instance_uid=ds.StudyInstanceUID)
        assert found.NumberOfStudyRelatedInstances == 1


@pytest.mark.filterwarnings("ignore:The value length", "ignore:Invalid value for VR")
def test_a_study_with_a_uid_that_is_too_long_goes_in_and_out(tmp_path):
    ds = odd_object(StudyInstanceUID="1.2." + "3" * 68)
    with PracticePacs() as pacs, PracticePacs(ae_title="SECOND") as second:
        pacs.know(second.node)
        store(pacs.node, [ds])
        (found,) = find_studies(pacs.node, accession_number=ds.AccessionNumber)
        assert found.StudyInstanceUID == ds.StudyInstanceUID
        get_study(pacs.node, found.StudyInstanceUID, tmp_path)
        assert dcmread(tmp_path / f"{ds.SOPInstanceUID}.dcm") == ds
        move_study(pacs.node, found.StudyInstanceUID, second.node)
        assert len(second.held("STUDY", StudyInstanceUID=ds.StudyInstanceUID)) == 1


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_object_without_its_place_is_refused(keyword):
    name = dictionary_description(keyword)
    with PracticePacs() as pacs:
        with pytest.raises(DimseFailure, match=f"0xA900 .*, 'It has no {name}'"):
            store(pacs.node, [odd_object(**{keyword: None})])
        assert list(pacs.folder.iterdir()) == []


def test_the_first_object_under_a_uid_is_kept():
    first, second = odd_object(), odd_object(StudyDescription="Changed")
    with PracticePacs() as pacs:
        store(pacs.node, [first])
        assert store(pacs.node, [second]).sent == 1
        assert find_studies(pacs.node)[0].StudyDescription == "Chest"


def test_a_known_uid_in_another_study_is_refused():
    with PracticePacs() as pacs:
        store(pacs.node, [odd_object()])
        with pytest.raises(DimseFailure, match="0xA900"):
            store(pacs.node, [odd_object(StudyInstanceUID="1.2.3")])


def test_six_learners_store_and_retrieve_at_once(tmp_path):
    series = [
        ct_series(slices=6, rows=16, columns=16, seed=seed, accession_number=f"A{seed}")
        for seed in range(6)
    ]
    failures = []

    def work(index):
        try:
            store(pacs.node, series[index])
            (found,) = find_studies(pacs.node, accession_number=f"A{index}")
            retrieval = get_study(pacs.node, found.StudyInstanceUID, tmp_path / str(index))
            assert {path.stem for path in retrieval.paths} == {
                ds.SOPInstanceUID for ds in series[index]
            }
        except Exception as error:
            failures.append(error)

    with PracticePacs() as pacs:
        threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(find_studies(pacs.node)) == 6


def test_what_lies_in_its_folder_is_served_after_a_restart(tmp_path):
    with PracticePacs(folder=tmp_path) as pacs:
        pacs.add(FIRST)
    (tmp_path / "notes.dcm").write_text("not DICOM")
    (tmp_path / ".1.2.3.part").write_bytes(b"half of something")
    with PracticePacs(folder=tmp_path) as pacs:
        assert find_studies(pacs.node)[0].NumberOfStudyRelatedInstances == 3
        pacs.add(FIRST)
        assert find_studies(pacs.node)[0].NumberOfStudyRelatedInstances == 3


def test_what_it_holds_are_files_that_anybody_can_read(tmp_path):
    with PracticePacs(folder=tmp_path) as pacs:
        store(pacs.node, FIRST)
    assert dcmread(tmp_path / f"{FIRST[0].SOPInstanceUID}.dcm") == FIRST[0]


def test_its_temporary_folder_goes_when_it_stops():
    pacs = PracticePacs().start()
    folder = pacs.folder
    pacs.add(FIRST)
    pacs.stop()
    assert not folder.exists()


def test_start_and_stop_are_harmless_when_repeated():
    pacs = PracticePacs()
    pacs.stop()
    assert pacs.start().start() is pacs
    node = pacs.node
    assert echo(node) == 0x0000
    pacs.stop()
    pacs.stop()
    with pytest.raises(PacsUnreachable):
        echo(node)


def test_a_cell_that_is_run_twice_gets_the_same_pacs():
    pacs = PracticePacs.shared("TWICE")
    node = pacs.node
    assert PracticePacs.shared("TWICE") is pacs
    assert PracticePacs.shared("TWICE").node == node
    assert PracticePacs.shared("OTHER") is not pacs
    PracticePacs.shared("OTHER").stop()
    pacs.stop()


def test_a_pacs_that_is_not_started_says_so():
    with pytest.raises(MagicianError, match=r"not started: call \.start\(\)"):
        _ = PracticePacs().node


def test_beyond_loopback_it_wants_to_know_who_may_call():
    with pytest.raises(ValueError, match="say in allowed_ae_titles who may call"):
        PracticePacs(host="0.0.0.0")


def test_beyond_loopback_it_takes_no_identified_objects(monkeypatch):
    # rather than to listen to the world
    monkeypatch.setattr(privacy, "is_loopback", lambda host: False)
    marked, unmarked = odd_object(), odd_object(PatientIdentityRemoved=None, SOPInstanceUID="1.2.3")
    unmarked.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    with PracticePacs(allowed_ae_titles=["MAGICIAN"]) as pacs:
        assert store(pacs.node, [marked]).sent == 1
        with pytest.raises(DimseFailure, match="0x0124"):
            store(pacs.node, [unmarked], allow_identified=True)


def test_beyond_loopback_it_holds_no_identified_objects(monkeypatch, tmp_path):
    unmarked = odd_object(PatientIdentityRemoved=None)
    with PracticePacs(folder=tmp_path) as pacs:
        pacs.add([unmarked])
    monkeypatch.setattr(privacy, "is_loopback", lambda host: False)
    with PracticePacs(folder=tmp_path, allowed_ae_titles=["MAGICIAN"]) as pacs:
        with pytest.raises(StudyNotFound):
            find_studies(pacs.node)
        with pytest.raises(NotDeidentified):
            pacs.add([unmarked])


def test_it_sends_no_identified_objects_to_another_computer(monkeypatch):
    unmarked = odd_object(PatientIdentityRemoved=None)
    with PracticePacs() as pacs, PracticePacs(ae_title="SECOND") as second:
        pacs.add([unmarked])
        pacs.know(second.node)
        port = second.node.port
        monkeypatch.setattr(privacy, "is_loopback", lambda host: False)
        destination = Node("SECOND", "127.0.0.1", port)
        with pytest.raises(DimseFailure, match="0x0124"):
            move_study(pacs.node, unmarked.StudyInstanceUID, destination, allow_identified=True)


def test_an_object_without_its_place_can_not_be_added():
    with PracticePacs() as pacs:
        with pytest.raises(MagicianError, match="none was added"):
            pacs.add([odd_object(), odd_object(StudyInstanceUID=None)])
        assert list(pacs.folder.iterdir()) == []


def test_a_caller_that_is_not_on_the_list_is_refused():
    with PracticePacs(allowed_ae_titles=["ADA"]) as pacs:
        node = pacs.node
        assert echo(Node(node.ae_title, node.host, node.port, local_ae_title="ADA")) == 0x0000
        with pytest.raises(AssociationRejected):
            echo(node)
