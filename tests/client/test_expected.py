"""What should come: all that a PACS tells of a study, and how it is asked for what is missing."""

import threading
import time
from copy import deepcopy

import pytest
from faulty_pacs import SERIES, STUDY_UID, UIDS, FaultyPacs
from inbox import whole_files
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, EncapsulatedPDFStorage
from pynetdicom import AE, evt

from magician.client.find import find_studies
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse import arrivals
from magician.dimse.query import Expected, Instance
from magician.dimse.receiver import Receiver
from magician.dimse.reception import Refused
from magician.errors import IncompleteRetrieve, MagicianError, StudyNotFound, WrongArgument
from magician.files import save_dataset
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs

LISTED = {"1.1": Instance("1.9", "1.2"), "1.2": Instance("1.9", "1.2")}


@pytest.mark.parametrize(
    ("series", "study", "number", "difference"),
    [
        (None, None, 2, ""),
        (2, 2, 2, ""),
        (3, None, 3, "list of series 1.9 has 2 images, and its count is 3"),
        (None, 4, 4, "its list has 2 images, and its count of the study is 4"),
        (3, 4, 4, "its count of the study is 4"),
        (1, 1, 2, "its count of the study is 1"),
    ],
)
def test_the_largest_number_that_a_pacs_tells_is_expected(series, study, number, difference):
    told = Expected("1", instances=LISTED, series_counts={"1.9": series}, study_count=study)
    assert told.number == number
    assert difference in told.difference
    assert bool(difference) == bool(told.difference)
    assert Expected("1", instances=LISTED, study_count=study, by_list=True).number == 2


def test_each_series_counts_by_itself():
    """One is listed short, one is counted short: neither makes up for the other."""
    told = Expected("1", instances=LISTED, series_counts={"1.9": 1, "1.8": 3}, study_count=4)
    assert (told.number_in("1.9"), told.number_in("1.8"), told.number) == (2, 3, 5)


@pytest.mark.parametrize(
    ("series", "study", "is_told"),
    [({}, None, False), ({"1.9": None}, None, False), ({"1.9": 2}, None, True), ({}, 2, True)],
)
def test_without_a_list_only_counts_tell_how_many_there_are(series, study, is_told):
    told = Expected("1", series_counts=series, study_count=study, unlisted="no list")
    assert told.has_number == is_told
    assert Expected("1", instances=LISTED).has_number


def test_neither_count_nor_list_is_a_choice(tmp_path, pacs):
    with pytest.raises(WrongArgument, match="'counts', 'list'"):
        get_study(pacs.node, STUDY_UID, tmp_path, expected="all")


class LimitedPacs(FaultyPacs):
    """It sends two objects for a request, and stops with 0xA700 if more were asked for."""

    def __init__(self, *arguments, **keywords):
        super().__init__(None, *arguments, **keywords)
        self.requests = []

    def send(self, event):
        uids = event.identifier.get("SOPInstanceUID") or UIDS
        uids = [uids] if isinstance(uids, str) else list(uids)
        self.requests.append((event.identifier.QueryRetrieveLevel, len(uids)))
        yield len(uids)
        for ds in [ds for ds in SERIES if ds.SOPInstanceUID in uids][:2]:
            yield 0xFF00, ds
        if len(uids) > 2:
            yield 0xA700, None

    get = send

    def move(self, event):
        yield self.destination
        yield from self.send(event)


def test_a_pacs_with_a_limit_is_asked_for_as_much_as_it_gives(tmp_path):
    pacs = LimitedPacs()
    with pacs as node:
        assert get_study(node, STUDY_UID, tmp_path).received == 5
    assert pacs.requests == [("STUDY", 5), ("SERIES", 5), ("IMAGE", 2), ("IMAGE", 1)]
    assert whole_files(tmp_path) == set(UIDS)


def test_a_pacs_with_a_limit_moves_in_parts(tmp_path):
    with Receiver(tmp_path) as receiver:
        pacs = LimitedPacs(destination=(receiver.node.host, receiver.node.port))
        with pacs as node:
            assert move_study(node, STUDY_UID, receiver).received == 5
    assert pacs.requests[-1] == ("IMAGE", 1)


def test_a_limit_below_one_object_ends(tmp_path):
    class Stuck(LimitedPacs):
        def get(self, event):
            self.requests.append(event.identifier.QueryRetrieveLevel)
            yield 5
            yield 0xA700, None

    pacs = Stuck()
    with pacs as node, pytest.raises(MagicianError, match="0xA700"):
        get_study(node, STUDY_UID, tmp_path)
    assert pacs.requests == ["STUDY", "SERIES", "IMAGE"]


class LatePacs(FaultyPacs):
    """It answers a C-MOVE at once, and sends some time later."""

    def __init__(self, receiver, after_s):
        super().__init__(None)
        self.receiver, self.after_s, self.sender = receiver, after_s, None

    def move(self, event):
        self.sender = threading.Thread(target=self.send_later)
        self.sender.start()
        yield "127.0.0.1", self.receiver.node.port
        yield 0

    def send_later(self):
        for ds in SERIES:
            time.sleep(self.after_s)
            store(self.receiver.node, [ds], progress=False, allow_identified=True)


def test_images_that_come_after_the_last_response_are_waited_for(tmp_path):
    """Each comes sooner than `late_s` after the one before; all together take longer."""
    with Receiver(tmp_path) as receiver, LatePacs(receiver, 0.3) as node:
        assert move_study(node, STUDY_UID, receiver, late_s=1).received == 5


def test_a_receiver_waits_no_longer_than_it_is_told(tmp_path):
    with Receiver(tmp_path) as receiver, (pacs := LatePacs(receiver, 0.6)) as node:
        started = time.monotonic()
        with pytest.raises(IncompleteRetrieve, match="Only 0 of 5"):
            move_study(node, STUDY_UID, receiver, late_s=0.1)
        assert time.monotonic() - started < 0.6
        pacs.sender.join()


class WithoutList(FaultyPacs):
    """It knows the study and no more, unless `counted` says how many images it has."""

    counted = None

    def find(self, event):
        if event.identifier.QueryRetrieveLevel != "STUDY":
            yield 0xA900, None
            return
        for _, answer in super().find(event):
            if self.counted is not None:
                answer.NumberOfStudyRelatedInstances = self.counted
            yield 0xFF00, answer


def all_but(number):
    def behave(event):
        for ds in SERIES[number:]:
            yield 0xFF00, ds

    return behave


def test_without_a_list_the_count_tells_whether_all_came(tmp_path):
    class Counting(WithoutList):
        counted = 5

    with Counting(all_but(0)) as node:
        retrieval = get_study(node, STUDY_UID, tmp_path / "all")
    assert (retrieval.expected, retrieval.received) == (5, 5)
    assert "0xA900" in retrieval.notes[0]
    assert "counts (5)" in retrieval.notes[0]
    with Counting(all_but(1)) as node:
        with pytest.raises(IncompleteRetrieve, match="Only 4 of 5") as caught:
            get_study(node, STUDY_UID, tmp_path / "some")
    assert len(caught.value.paths) == 4


def test_a_count_of_nothing_is_no_count(tmp_path):
    class Wrong(WithoutList):
        counted = 0

    with Wrong(all_but(0)) as node:
        assert get_study(node, STUDY_UID, tmp_path).received == 5


def test_without_list_and_count_an_outcome_says_that_it_could_not_be_checked(tmp_path):
    with WithoutList(all_but(0)) as node:
        retrieval = get_study(node, STUDY_UID, tmp_path)
    assert retrieval.received == 5
    assert "can't be checked" in retrieval.notes[0]


def test_without_list_and_count_a_failure_is_one(tmp_path):
    def behave(event):
        yield from all_but(2)(event)
        failed = Dataset()
        failed.FailedSOPInstanceUIDList = UIDS[0]
        yield 0xB000, failed

    with WithoutList(behave) as node, pytest.raises(IncompleteRetrieve, match=UIDS[0]):
        get_study(node, STUDY_UID, tmp_path)


def test_without_a_list_the_count_can_be_left_aside_too(tmp_path):
    """Otherwise a PACS without an image level that counts wrongly would lock its user out."""

    class CountsMore(WithoutList):
        counted = 6

    with CountsMore(all_but(0)) as node:
        with pytest.raises(IncompleteRetrieve, match="Only 5 of 6.*Two retrieves.*expected='list'"):
            get_study(node, STUDY_UID, tmp_path)
        retrieval = get_study(node, STUDY_UID, tmp_path, expected="list")
    assert retrieval.received == 5
    assert "can't be checked" in retrieval.notes[0]


def test_a_study_that_no_level_knows_is_not_found(tmp_path):
    class Empty(FaultyPacs):
        def find(self, event):
            yield from ()

    with Empty(None) as node, pytest.raises(StudyNotFound):
        get_study(node, STUDY_UID, tmp_path)


def test_a_result_of_our_own_in_the_folder_does_not_count_as_an_image(tmp_path):
    """The PACS counts one more than it lists. A file of a series of ours is not it."""

    class CountsMore(FaultyPacs):
        def find(self, event):
            for status, answer in super().find(event):
                answer.NumberOfStudyRelatedInstances = 6
                yield status, answer

    own = deepcopy(SERIES[0])
    own.SOPInstanceUID, own.SeriesInstanceUID = "1.2.3.4", "1.2.3"
    own.save_as(tmp_path / "1.2.3.4.dcm", enforce_file_format=True)
    with CountsMore(all_but(0)) as node:
        with pytest.raises(IncompleteRetrieve, match="Only 5 of 6.*Two retrieves") as caught:
            get_study(node, STUDY_UID, tmp_path)
        retrieval = get_study(node, STUDY_UID, tmp_path, expected="list")
    assert {path.stem for path in caught.value.paths} == set(UIDS)
    assert retrieval.received == 5
    assert "expected='list'" in retrieval.notes[0]


def test_a_folder_takes_no_more_than_it_is_told(tmp_path, pacs):
    with pytest.raises(IncompleteRetrieve, match="its limit is 3"):
        get_study(pacs.node, STUDY_UID, tmp_path, most_instances=3)
    assert len(whole_files(tmp_path)) == 3


class Choosy(FaultyPacs):
    """What it does with a request depends on its level."""

    def __init__(self, at, *arguments, **keywords):
        super().__init__(None, *arguments, **keywords)
        self.at, self.levels = at, []

    def get(self, event):
        self.levels.append(event.identifier.QueryRetrieveLevel)
        yield 5
        yield from self.at[self.levels[-1]](event)


def sends_nothing(event):
    yield from ()


def breaks_off(event):
    event.assoc.abort(block=False)
    yield 0xFF00, None


def never_answers(event):
    time.sleep(2.5)
    yield from ()


@pytest.mark.parametrize("to_a_list", [sends_nothing, breaks_off, never_answers])
def test_a_pacs_that_gives_nothing_for_a_list_of_uids_is_asked_for_the_series(tmp_path, to_a_list):
    save_dataset(SERIES[0], tmp_path)
    pacs = Choosy({"IMAGE": to_a_list, "SERIES": all_but(0)}, dimse_s=1)
    with pacs as node:
        assert get_study(node, STUDY_UID, tmp_path).received == 5
    assert pacs.levels == ["IMAGE", "SERIES"]


def test_a_pacs_that_gives_nothing_for_a_series_is_asked_for_the_study(tmp_path):
    save_dataset(SERIES[0], tmp_path)
    pacs = Choosy({"IMAGE": sends_nothing, "SERIES": sends_nothing, "STUDY": all_but(0)})
    with pacs as node:
        assert get_study(node, STUDY_UID, tmp_path).received == 5


def test_an_image_that_is_listed_and_never_sent_is_named_as_that(tmp_path):
    with FaultyPacs(all_but(1)) as node:
        with pytest.raises(IncompleteRetrieve, match="Retrieve again"):
            get_study(node, STUDY_UID, tmp_path)
        with pytest.raises(
            IncompleteRetrieve, match="Two retrieves.*lists what it can't"
        ) as caught:
            get_study(node, STUDY_UID, tmp_path)
    assert caught.value.missing == (UIDS[0],)
    assert len(caught.value.paths) == 4


def test_an_image_that_failed_and_is_not_listed_is_missing_the_next_time_too(tmp_path):
    class Names(FaultyPacs):
        def get(self, event):
            yield 6
            yield from all_but(0)(event)
            failed = Dataset()
            failed.FailedSOPInstanceUIDList = "1.2.3"
            yield 0xB000, failed

    with Names(None) as node:
        for _ in range(2):
            with pytest.raises(IncompleteRetrieve, match="Missing: 1.2.3"):
                get_study(node, STUDY_UID, tmp_path)


def test_an_object_of_a_class_that_was_not_told_is_fetched_with_all_classes_offered(tmp_path):
    """The PACS lists no PDF, and holds one."""
    document = deepcopy(SERIES[0])
    for keyword in ("PixelData", "Rows", "Columns"):
        del document[keyword]
    document.SOPClassUID = document.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    document.SOPInstanceUID = document.file_meta.MediaStorageSOPInstanceUID = "1.2.3"

    class WithDocument(FaultyPacs):
        def __init__(self):
            super().__init__(None)
            self.ae.add_supported_context(EncapsulatedPDFStorage, scu_role=True, scp_role=True)

        def get(self, event):
            yield 6
            for ds in (*SERIES, document):
                yield 0xFF00, ds

    with WithDocument() as node:
        retrieval = get_study(node, STUDY_UID, tmp_path)
    assert (retrieval.received, len(retrieval.paths)) == (6, 6)
    assert whole_files(tmp_path) == {*UIDS, "1.2.3"}


@pytest.mark.parametrize("counted", [1, 2])
def test_a_series_that_is_not_told_is_not_forgotten(tmp_path, counted):
    """The PACS counts two series and tells one; it counts no images."""

    class CountsSeries(FaultyPacs):
        def find(self, event):
            for status, answer in super().find(event):
                answer.NumberOfStudyRelatedSeries = counted
                yield status, answer

    with CountsSeries(all_but(0)) as node:
        notes = get_study(node, STUDY_UID, tmp_path).notes
    assert [("1 of 2 series" in note and "can't be checked" in note) for note in notes] == (
        [True] if counted == 2 else []
    )


@pytest.mark.parametrize("silent", [False, True])
def test_a_pacs_that_breaks_off_over_a_query_for_images_is_believed_in_its_counts(tmp_path, silent):
    class Odd(FaultyPacs):
        def find(self, event):
            if event.identifier.QueryRetrieveLevel == "IMAGE":
                if silent:
                    time.sleep(2.5)
                else:
                    event.assoc.abort(block=False)
            for status, answer in super().find(event):
                answer.NumberOfStudyRelatedInstances = 5
                yield status, answer

    with Odd(all_but(0), dimse_s=1) as node:
        retrieval = get_study(node, STUDY_UID, tmp_path / "all")
    assert retrieval.received == 5
    assert "does not answer a query at IMAGE level" in retrieval.notes[0]
    with Odd(all_but(2), dimse_s=1) as node:
        with pytest.raises(IncompleteRetrieve, match="Only 3 of 5"):
            get_study(node, STUDY_UID, tmp_path / "some")


def test_images_come_although_the_association_of_the_move_is_lost(tmp_path):
    class Lost(LatePacs):
        def move(self, event):
            yield from super().move(event)
            time.sleep(0.4)
            event.assoc.abort(block=False)
            yield 0xFF00, None

    with Receiver(tmp_path) as receiver, Lost(receiver, 0.1) as node:
        assert move_study(node, STUDY_UID, receiver, late_s=1).received == 5


def test_what_our_receiver_does_not_take_is_not_the_fault_of_the_pacs(tmp_path):
    private = deepcopy(SERIES[0])
    private.SOPClassUID = private.file_meta.MediaStorageSOPClassUID = "1.3.12.2.1107.5.9.1"
    with PracticePacs() as pacs, Receiver(tmp_path, unknown_storage=False) as receiver:
        pacs.add([private, *SERIES[1:]])
        pacs.know(receiver.node)
        with pytest.raises(
            IncompleteRetrieve, match="our own receiver does not take 1.3.12"
        ) as caught:
            move_study(pacs.node, STUDY_UID, receiver, late_s=0.1)
    assert "log of the PACS" not in str(caught.value)
    assert caught.value.missing == (UIDS[0],)


@pytest.mark.parametrize("status", [0x0001, 0x0107, 0x0116, 0xB000])
def test_a_warning_of_any_kind_means_that_an_object_is_stored(status):
    ae = AE(ae_title="WARNS")
    ae.add_supported_context(SERIES[0].SOPClassUID)
    handlers = [(evt.EVT_C_STORE, lambda event: status)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        node = Node("WARNS", "127.0.0.1", server.socket.getsockname()[1])
        stored = store(node, SERIES[:1])
    finally:
        server.shutdown()
    assert stored.sent == 1
    assert f"0x{status:04X}" in stored.warnings[0]


def test_a_pacs_that_takes_one_query_for_each_association(tmp_path):
    class OneQuery(FaultyPacs):
        def find(self, event):
            yield from super().find(event)
            threading.Timer(0.05, event.assoc.abort, kwargs={"block": False}).start()

    with OneQuery(all_but(0)) as node:
        retrieval = get_study(node, STUDY_UID, tmp_path)
    assert (retrieval.received, retrieval.notes) == (5, ())


def test_a_retrieve_of_the_study_is_refused_and_one_of_its_series_is_not(tmp_path):
    def refuses(event):
        yield 0xA900, None

    pacs = Choosy({"STUDY": refuses, "SERIES": all_but(0)})
    with pacs as node:
        assert get_study(node, STUDY_UID, tmp_path).received == 5


def test_a_pacs_that_sends_the_whole_study_for_one_series(tmp_path):
    """What was not asked for is more than twice what was, and comes first."""
    others = [deepcopy(SERIES[0]) for _ in range(30)]
    for number, ds in enumerate(others):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        ds.SeriesInstanceUID = "1.2.3"

    class SendsAll(FaultyPacs):
        def get(self, event):
            yield 35
            for ds in (*others, *SERIES):
                yield 0xFF00, ds

    series_uid = SERIES[0].SeriesInstanceUID
    with SendsAll(None) as node:
        retrieval = get_study(node, STUDY_UID, tmp_path, series_instance_uid=series_uid)
    assert (retrieval.expected, retrieval.received) == (5, 5)
    assert whole_files(tmp_path) == set(UIDS)
    assert "30 objects came of another study or series" in retrieval.notes[0]


def test_a_count_that_is_told_twice_is_the_larger(tmp_path):
    class Twice(FaultyPacs):
        def find(self, event):
            for count in (5, 6):
                for status, answer in super().find(event):
                    answer.NumberOfStudyRelatedInstances = count
                    yield status, answer

    with Twice(all_but(0)) as node, pytest.raises(IncompleteRetrieve, match="Only 5 of 6"):
        get_study(node, STUDY_UID, tmp_path)


def test_an_object_that_breaks_off_is_not_a_full_disk_of_ours(tmp_path, monkeypatch):
    """pydicom raises OSError for some of them; the other images are fetched all the same."""
    read = arrivals.read_object

    def read_or_fail(event):
        if event.request.AffectedSOPInstanceUID == UIDS[0]:
            error = OSError("No tag to read at file position 1234")
            raise Refused(0xC000, "it can't be read as DICOM", uid=UIDS[0]) from error
        return read(event)

    monkeypatch.setattr(arrivals, "read_object", read_or_fail)
    with FaultyPacs(all_but(0)) as node:
        with pytest.raises(IncompleteRetrieve, match="refused 1 of them.*be damaged in the PACS"):
            get_study(node, STUDY_UID, tmp_path)
    assert whole_files(tmp_path) == set(UIDS[1:])


def test_a_study_uid_with_padding_is_asked_for_without(tmp_path, pacs):
    assert get_study(pacs.node, f" {STUDY_UID}\0", tmp_path).received == 5


class SilentMover(FaultyPacs):
    """It ends a C-MOVE with a success that counts nothing."""

    def move(self, event):
        yield "127.0.0.1", self.destination.port
        yield 0


def test_a_destination_that_holds_fewer_is_named(tmp_path):
    """The PACS says success and no numbers. The destination can be asked, and holds less."""

    with PracticePacs(ae_title="DEST") as destination:
        destination.add(SERIES[:3])
        with SilentMover(None, destination=destination.node) as node:
            with pytest.raises(IncompleteRetrieve, match="DEST, asked for them, holds 3 of 5"):
                move_study(node, STUDY_UID, destination.node)
            destination.add(SERIES[3:])
            assert move_study(node, STUDY_UID, destination.node).received == 5


def test_two_patients_under_one_study_are_named(caplog):
    class TwoPatients(FaultyPacs):
        def find(self, event):
            for patient in ("A", "B"):
                for status, answer in super().find(event):
                    answer.PatientID = patient
                    yield status, answer

    with TwoPatients(None) as node:
        assert len(find_studies(node)) == 1
    assert "for two patients, 'A' and 'B'" in caplog.text


def test_an_encoding_that_our_receiver_does_not_take_is_not_the_fault_of_the_pacs(tmp_path):
    """The PACS holds one object deflated, which can't be sent in any other way."""
    with Receiver(tmp_path) as receiver:

        class Deflated(FaultyPacs):
            def move(self, event):
                ae = AE()
                ae.add_requested_context(SERIES[0].SOPClassUID, DeflatedExplicitVRLittleEndian)
                ae.add_requested_context(SERIES[0].SOPClassUID)
                sending = ae.associate("127.0.0.1", receiver.node.port, ae_title="MAGICIAN")
                for ds in SERIES[1:]:
                    sending.send_c_store(ds)
                sending.release()
                yield "127.0.0.1", receiver.node.port
                yield 0

        with Deflated(None) as node, pytest.raises(IncompleteRetrieve) as caught:
            move_study(node, STUDY_UID, receiver, late_s=0.1)
    assert "our own receiver does not take CT Image Storage as Deflated" in str(caught.value)
    assert "log of the PACS" not in str(caught.value)


def test_a_destination_that_holds_nothing_is_named(tmp_path):
    with PracticePacs(ae_title="DEST") as destination:
        with SilentMover(None, destination=destination.node) as node:
            with pytest.raises(IncompleteRetrieve, match="DEST, asked for them, holds 0 of 5"):
                move_study(node, STUDY_UID, destination.node)


@pytest.mark.parametrize("number_of_series", [1, 2])
def test_the_count_of_a_study_of_one_series_is_that_of_the_series(tmp_path, number_of_series):
    class CountsStudy(FaultyPacs):
        def find(self, event):
            for status, answer in super().find(event):
                answer.NumberOfStudyRelatedSeries = number_of_series
                answer.NumberOfStudyRelatedInstances = 6
                yield status, answer

    series_uid = SERIES[0].SeriesInstanceUID
    with CountsStudy(all_but(0)) as node:
        if number_of_series == 2:
            assert get_study(node, STUDY_UID, tmp_path, series_instance_uid=series_uid)
            return
        with pytest.raises(IncompleteRetrieve, match="Only 5 of 6"):
            get_study(node, STUDY_UID, tmp_path, series_instance_uid=series_uid)


def test_objects_under_other_uids_than_those_listed_are_told(tmp_path):
    others = [deepcopy(ds) for ds in SERIES]
    for number, ds in enumerate(others):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"

    def behave(event):
        for ds in others:
            yield 0xFF00, ds

    with FaultyPacs(behave) as node:
        with pytest.raises(IncompleteRetrieve, match="5 of them it had not listed"):
            get_study(node, STUDY_UID, tmp_path)
