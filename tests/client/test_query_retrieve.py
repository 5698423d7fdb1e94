"""Finding and retrieving studies: complete, or an error that says what is missing."""

import threading
from datetime import date

import pytest
from faulty_pacs import SERIES, STUDY_UID, FaultyPacs
from helpers import ct_series
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelGet,
)

from magician.client.find import find_instances, find_series, find_studies, only_study
from magician.client.retrieve import get_study, move_study
from magician.dimse.receiver import Receiver
from magician.errors import (
    AssociationAborted,
    DimseFailure,
    IncompleteRetrieve,
    NotDeidentified,
    PacsTimeout,
    ServiceNotAccepted,
    SeveralStudies,
    StudyNotFound,
    UnknownMoveDestination,
)
from magician.node import PRACTICE_PACS_UID, Node
from magician.practice_pacs.pacs import PracticePacs

SERIES_UID = SERIES[0].SeriesInstanceUID


def test_study_is_found_by_its_accession_number(pacs):
    (study,) = find_studies(pacs.node, accession_number="A-1")
    assert study.StudyInstanceUID == STUDY_UID
    assert study.NumberOfStudyRelatedInstances == 5
    assert study.ModalitiesInStudy == "CT"


def test_no_study_matches_and_the_keys_are_told(pacs):
    with pytest.raises(StudyNotFound, match="AccessionNumber='A-2', PatientID='X'"):
        find_studies(pacs.node, accession_number="A-2", patient_id="X")


def test_a_wildcard_in_a_uid_is_refused_before_it_is_sent():
    with pytest.raises(ValueError, match="a UID has no wildcards.*Leave it empty"):
        find_studies(Node("NOBODY", "127.0.0.1", 1), study_instance_uid="*")


def test_pacs_fails_the_query():
    def refuse(event):
        yield 0xA700, None

    faulty = FaultyPacs(None)
    faulty.find = refuse
    with faulty as node:
        with pytest.raises(
            DimseFailure, match=r"C-FIND with 0xA700 \(Refused: out of resources\)"
        ) as caught:
            find_studies(node)
    assert caught.value.status == 0xA700


def test_series_and_instances_are_listed(pacs):
    (series,) = find_series(pacs.node, STUDY_UID)
    assert (series.SeriesInstanceUID, series.NumberOfSeriesRelatedInstances) == (SERIES_UID, 5)
    found = find_instances(pacs.node, STUDY_UID, SERIES_UID)
    assert [ds.SOPInstanceUID for ds in found] == [ds.SOPInstanceUID for ds in SERIES]


def test_a_study_that_is_not_there_has_no_series(pacs):
    assert find_series(pacs.node, "1.2.3") == []
    assert find_instances(pacs.node, STUDY_UID, "1.2.3") == []


def test_get_brings_every_image_as_it_is_stored(pacs, tmp_path):
    retrieval = get_study(pacs.node, STUDY_UID, tmp_path / "new" / "folder")
    assert (retrieval.expected, retrieval.received) == (5, 5)
    arrived = {path.stem: dcmread(path) for path in retrieval.paths}
    assert all(arrived[ds.SOPInstanceUID] == ds for ds in SERIES)


def test_get_one_series_of_two(pacs, tmp_path):
    other = ct_series(slices=3, seed=1)
    for ds in other:
        ds.StudyInstanceUID = STUDY_UID
    pacs.add(other)
    retrieval = get_study(
        pacs.node, STUDY_UID, tmp_path, series_instance_uid=other[0].SeriesInstanceUID
    )
    assert {path.stem for path in retrieval.paths} == {ds.SOPInstanceUID for ds in other}


def test_move_brings_every_image_to_our_receiver(pacs, tmp_path):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        pacs.know(receiver.node)
        retrieval = move_study(pacs.node, STUDY_UID, receiver)
        assert (retrieval.expected, retrieval.received) == (5, 5)
        assert all(dcmread(path) in SERIES for path in retrieval.paths)


def test_move_from_one_pacs_to_another(pacs):
    with PracticePacs(ae_title="SECOND") as second:
        pacs.know(second.node)
        assert move_study(pacs.node, STUDY_UID, second.node).received == 5
        assert find_studies(second.node)[0].NumberOfStudyRelatedInstances == 5


def test_pacs_does_not_know_the_destination(pacs, tmp_path):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        with pytest.raises(
            UnknownMoveDestination, match="0xA801.*must enter 'INBOX' with host 127.0.0.1"
        ) as caught:
            move_study(pacs.node, STUDY_UID, receiver)
    assert caught.value.status == 0xA801


def test_destination_is_known_and_dead(pacs, tmp_path):
    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        pacs.know(receiver.node)
        node = receiver.node
    with pytest.raises(UnknownMoveDestination, match="could not reach it"):
        move_study(pacs.node, STUDY_UID, node)


@pytest.mark.parametrize(
    ("pacs_host", "host"), [("127.0.0.1", "192.0.2.1"), ("192.0.2.1", "127.0.0.1")]
)
def test_a_move_that_may_leave_this_computer_needs_a_word(pacs_host, host):
    """A distant PACS looks up the title itself: that we call it 127.0.0.1 means nothing there."""
    with pytest.raises(NotDeidentified, match="objects that we can't see"):
        move_study(Node("PACS", pacs_host, 1), STUDY_UID, Node("AI", host, 104))


def test_study_holds_nothing(pacs, tmp_path):
    with pytest.raises(StudyNotFound, match="holds no images of study 1.2.3"):
        get_study(pacs.node, "1.2.3", tmp_path)


def test_one_slice_is_missing(tmp_path):
    def all_but_one(event):
        for ds in SERIES[:-1]:
            yield 0xFF00, ds

    with FaultyPacs(all_but_one) as node:
        with pytest.raises(IncompleteRetrieve, match="Only 4 of 5 images came") as caught:
            get_study(node, STUDY_UID, tmp_path)
    assert (caught.value.received, caught.value.expected) == (4, 5)
    assert caught.value.missing == (SERIES[-1].SOPInstanceUID,)


def test_one_slice_is_missing_and_the_pacs_calls_it_success(tmp_path):
    """0x0000 with fewer images than C-FIND promised: only a comparison finds it."""

    def says_success(event):
        for ds in SERIES[:-1]:
            yield 0xFF00, ds

    faulty = FaultyPacs(says_success)

    def get(event):
        yield 4
        yield from says_success(event)

    faulty.get = get
    with faulty as node:
        with pytest.raises(IncompleteRetrieve, match=r"Only 4 of 5.*0x0000 \(Success\)"):
            get_study(node, STUDY_UID, tmp_path)


def test_pacs_dies_in_the_middle_of_a_get(tmp_path):
    def die(event):
        yield 0xFF00, SERIES[0]
        yield 0xFF00, SERIES[1]
        event.assoc.dul.socket.close()
        yield 0xFF00, SERIES[2]

    with FaultyPacs(die) as node:
        with pytest.raises(
            IncompleteRetrieve, match="Only 2 of 5 images came.*ended the association"
        ) as caught:
            get_study(node, STUDY_UID, tmp_path)
    assert len(caught.value.missing) == 3
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(
        ds.SOPInstanceUID for ds in SERIES[:2]
    )


def test_pacs_dies_before_the_first_image(tmp_path):
    def die(event):
        event.assoc.abort()
        yield 0xC000, None

    with FaultyPacs(die) as node:
        with pytest.raises(AssociationAborted, match="instead of answering our C-GET"):
            get_study(node, STUDY_UID, tmp_path)


def test_pacs_freezes_in_the_middle_of_a_get(tmp_path):
    thaw = threading.Event()

    def freeze(event):
        yield 0xFF00, SERIES[0]
        thaw.wait(10)
        yield 0xFF00, SERIES[1]

    with FaultyPacs(freeze, dimse_s=1) as node:
        try:
            with pytest.raises(IncompleteRetrieve, match=r"Only 1 of 5.*within 1 s \(dimse_s\)"):
                get_study(node, STUDY_UID, tmp_path)
        finally:
            thaw.set()


def test_pacs_freezes_before_the_first_image(tmp_path):
    thaw = threading.Event()

    def freeze(event):
        thaw.wait(10)
        yield 0xFF00, SERIES[1]

    with FaultyPacs(freeze, dimse_s=1) as node:
        try:
            with pytest.raises(PacsTimeout, match="did not answer our C-GET"):
                get_study(node, STUDY_UID, tmp_path)
        finally:
            thaw.set()


def test_pacs_refuses_the_get(tmp_path):
    def refuse(event):
        yield 0xC000, None

    with FaultyPacs(refuse) as node:
        with pytest.raises(DimseFailure, match="Nothing came from FAULTY.*0xC000") as caught:
            get_study(node, STUDY_UID, tmp_path)
    assert caught.value.status == 0xC000


def test_pacs_does_not_offer_get(tmp_path):
    faulty = FaultyPacs(None)
    faulty.ae.remove_supported_context(StudyRootQueryRetrieveInformationModelGet)
    with faulty as node:
        with pytest.raises(ServiceNotAccepted, match="Study Root.*GET.*move_study"):
            get_study(node, STUDY_UID, tmp_path)


def test_pacs_sends_another_patients_image(tmp_path):
    def wrong(event):
        yield 0xFF00, ct_series(slices=1, seed=9)[0]
        for ds in SERIES[1:]:
            yield 0xFF00, ds

    with FaultyPacs(wrong) as node:
        with pytest.raises(IncompleteRetrieve, match="Only 4 of 5"):
            get_study(node, STUDY_UID, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {ds.SOPInstanceUID for ds in SERIES[1:]}


def test_move_to_our_receiver_brings_too_little(tmp_path):
    def two(event):
        for ds in SERIES[:2]:
            yield 0xFF00, ds

    with Receiver(tmp_path, ae_title="INBOX") as receiver:
        faulty = FaultyPacs(two, destination=("127.0.0.1", receiver.node.port))
        with faulty as node:
            with pytest.raises(
                IncompleteRetrieve, match="Only 2 of 5 images came.*by C-MOVE"
            ) as caught:
                move_study(node, STUDY_UID, receiver)
    assert set(caught.value.missing) == {ds.SOPInstanceUID for ds in SERIES[2:]}


def test_move_to_a_node_that_coerces_values_is_complete():
    """Each C-STORE answered with a warning: the images are stored."""

    def coerce(event):
        return 0xB000

    ae = AE(ae_title="COERCES")
    ae.add_supported_context(CTImageStorage)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, coerce)]
    )
    try:
        with PracticePacs() as pacs:
            pacs.add(SERIES)
            target = Node("COERCES", "127.0.0.1", server.socket.getsockname()[1])
            pacs.know(target)
            assert move_study(pacs.node, STUDY_UID, target).received == 5
    finally:
        server.shutdown()


@pytest.mark.parametrize("status", [0x0124, 0x0122, 0xA702])
def test_pacs_refuses_the_move(status):
    def refuse(event):
        yield status, None

    with PracticePacs(ae_title="SECOND") as second:
        with FaultyPacs(refuse, destination=("127.0.0.1", second.node.port)) as node:
            with pytest.raises(DimseFailure, match="Nothing came") as caught:
                move_study(node, STUDY_UID, second.node)
    assert caught.value.status == status


def test_move_to_another_node_brings_too_little(tmp_path):
    def two(event):
        for ds in SERIES[:2]:
            yield 0xFF00, ds

    with PracticePacs(ae_title="SECOND") as second:
        with FaultyPacs(two, destination=("127.0.0.1", second.node.port)) as node:
            with pytest.raises(IncompleteRetrieve, match="Only 2 of 5"):
                move_study(node, STUDY_UID, second.node)


# ------------------------------------------------------------------------- what learners ask

NOBODY = Node("NOBODY", "127.0.0.1", 1)  # every mistake is found before anything is sent


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"accession_number": 1400059968}, "a number, .* write accession_number='1400059968'"),
        ({"patient_id": 7}, "write patient_id='7', with quotes"),
        ({"patient_id": None}, "patient_id must be a text in quotes, or ''.*got None"),
        ({"patient_id": True}, "patient_id must be a text in quotes"),
        ({"patient_name": ["Ada"]}, "patient_name must be a text in quotes.*'Ada'"),
        ({"study_date": "03.03.2025"}, "Is '20250303' meant.*YYYYMMDD"),
        ({"study_date": "2025-03-03"}, "Is '20250303' meant.*YYYYMMDD"),
        ({"study_date": "2025"}, "The whole year is '20250101-20251231'.*YYYYMMDD"),
        ({"study_date": "03/04/2025"}, "not a date of DICOM. Write the date as YYYYMMDD"),
        ({"study_date": "20251301"}, "not a date of DICOM.*'20250101-' is from that day on"),
        ({"study_date": "202503"}, "YYYYMMDD"),
        ({"study_date": "-"}, "YYYYMMDD"),
        ({"study_date": "*"}, "YYYYMMDD"),
        ({"study_date": "2025-"}, "YYYYMMDD"),
        ({"study_date": "20251231-20250101"}, "ends before it begins: write '20250101-20251231'"),
        ({"study_date": date(2025, 3, 3)}, "write study_date='20250303'"),
        ({"study_date": 20250303}, "write study_date='20250303', with quotes"),
        ({"modality": "ct"}, "in capitals: write modality='CT'"),
        ({"modality": "X-ray"}, "not a code of a modality. Common are CT, MR"),
        ({"modality": 5}, "modality=5 is a number"),
        ({"study_instance_uid": "my study"}, "'my study' is not a UID"),
        ({"study_instance_uid": 1.2}, "must be a text in quotes"),
    ],
)
def test_a_key_that_no_pacs_understands(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_studies(NOBODY, **arguments)


@pytest.mark.parametrize(
    "study_date", ["20200102", "20200101-20201231", "20200101-", "-20201231", ""]
)
def test_a_date_and_every_kind_of_range(pacs, study_date):
    assert len(find_studies(pacs.node, study_date=study_date)) == 1


def test_a_name_as_a_pacs_has_answered_it(pacs):
    (study,) = find_studies(pacs.node)
    assert len(find_studies(pacs.node, patient_name=study.PatientName)) == 1


def test_a_name_without_its_end(pacs):
    with pytest.raises(StudyNotFound, match=r"write patient_name='Small\*'.*or '\*Small\*'"):
        find_studies(pacs.node, patient_name="Small")
    assert len(find_studies(pacs.node, patient_name="*Small*")) == 1
    with pytest.raises(StudyNotFound, match="matches PatientName='Ada\\*'. Check the spelling"):
        find_studies(pacs.node, patient_name="Ada*")


def test_a_modality_that_is_none_or_rare(pacs):
    with pytest.raises(StudyNotFound, match="Is 'CTT' the modality's code.*CT, MR"):
        find_studies(pacs.node, modality="CTT")


def test_keys_that_do_not_match_together(pacs):
    with pytest.raises(StudyNotFound, match="All keys must match at once: leave some"):
        find_studies(pacs.node, accession_number="A-1", patient_id="X")


@pytest.mark.parametrize("wrong", [None, 5, "", " ", 1.5])
def test_the_level_below_needs_a_uid(wrong):
    with pytest.raises(ValueError, match="study_instance_uid.*(must be a UID|is a number)"):
        find_series(NOBODY, wrong)
    with pytest.raises(ValueError, match="series_instance_uid.*(must be a UID|is a number)"):
        find_instances(NOBODY, STUDY_UID, wrong)


def test_the_study_in_place_of_its_uid(pacs):
    (study,) = find_studies(pacs.node)
    with pytest.raises(ValueError, match=r"study\.StudyInstanceUID and not study: got Dataset"):
        find_series(pacs.node, study)


@pytest.mark.parametrize("wrong", ["PRACTICE@127.0.0.1:104", None, 5])
def test_something_else_in_place_of_a_node(wrong):
    with pytest.raises(ValueError, match=r"called by its Node, not by .*Node\.parse"):
        find_studies(wrong)


def test_the_pacs_in_place_of_its_node(pacs):
    with pytest.raises(ValueError, match=r"not by PracticePacs: .*write \.node behind its name"):
        find_studies(pacs)


# ------------------------------------------------------------------------- an empty practice PACS


class CountingPacs(FaultyPacs):
    """A PACS that answers every query with no match, and counts them; not one of ours."""

    def __init__(self, uid):
        super().__init__(None)
        self.queries = 0
        if uid:
            self.ae.implementation_class_uid = uid

    def find(self, event):
        self.queries += 1
        yield 0x0000, None


def test_an_empty_practice_pacs_says_so_and_which_cell_fills_it():
    sentence = "is empty: this practice PACS holds no study at all. In lesson 01, Cell 3a does"
    with PracticePacs() as practice:
        with pytest.raises(StudyNotFound, match=sentence):
            find_studies(practice.node, accession_number="1")
        with pytest.raises(StudyNotFound, match=sentence):
            find_studies(practice.node)
    with PracticePacs(ae_title="SECOND") as second:
        with pytest.raises(StudyNotFound, match="In lesson 01, Cell 13 does: store"):
            find_studies(second.node, accession_number="1")


def test_a_practice_pacs_that_holds_other_studies_is_not_empty(pacs):
    with pytest.raises(StudyNotFound, match="holds no study that matches AccessionNumber='1'"):
        find_studies(pacs.node, accession_number="1")


def test_a_practice_pacs_whose_faults_hide_its_studies_is_not_called_empty():
    with PracticePacs(faults=["calling title sees nothing"]) as practice:
        practice.add(SERIES)
        with pytest.raises(StudyNotFound, match="holds no study that matches AccessionNumber"):
            find_studies(practice.node, accession_number="A-1")


@pytest.mark.parametrize(("uid", "queries"), [(None, 1), ("1.2.3.4", 1), (PRACTICE_PACS_UID, 2)])
def test_a_hospitals_pacs_is_never_asked_a_second_time(uid, queries):
    counting = CountingPacs(uid)
    with counting as node, pytest.raises(StudyNotFound):
        find_studies(node, accession_number="1")
    assert counting.queries == queries


# ---------------------------------------------------------------------------- one study is meant


def test_one_study_is_meant_and_one_matches(pacs):
    assert only_study(find_studies(pacs.node)).StudyInstanceUID == STUDY_UID


def test_one_study_is_meant_and_two_patients_match(pacs):
    pacs.add(ct_series(slices=1, seed=9))
    with pytest.raises(SeveralStudies) as caught:
        only_study(find_studies(pacs.node))
    sentence = str(caught.value)
    assert "Phantom^Small, patient_id='SMALL-0'" in sentence
    assert "Phantom^Small, patient_id='SMALL-9'" in sentence
    assert "Write the patient_id of the right one into the query" in sentence
    assert only_study(find_studies(pacs.node, patient_id="SMALL-9")).PatientID == "SMALL-9"


def test_one_study_is_meant_and_two_of_one_patient_match(pacs):
    (other,) = ct_series(slices=1, seed=9)
    other.PatientID = "SMALL-0"
    pacs.add([other])
    with pytest.raises(SeveralStudies) as caught:
        only_study(find_studies(pacs.node))
    assert f"20200102, study_instance_uid='{STUDY_UID}'" in str(caught.value)
    assert "Write the study_instance_uid of the right one" in str(caught.value)


def test_one_study_is_meant_and_a_whole_class_matches():
    studies = [ds for seed in range(30) for ds in ct_series(slices=1, rows=8, columns=8, seed=seed)]
    with pytest.raises(SeveralStudies, match="30 studies match.*; and 24 more. Write the pat"):
        only_study(studies)


def test_one_study_is_meant_and_none_matches():
    with pytest.raises(StudyNotFound, match="No study matched"):
        only_study([])


@pytest.mark.parametrize("wrong", [SERIES[0], "study", [1, 2], None, 5])
def test_one_study_is_meant_and_something_else_is_given(wrong):
    with pytest.raises(ValueError, match="takes the list that find_studies returns"):
        only_study(wrong)
