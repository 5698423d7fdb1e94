"""What should come: all that a PACS tells of a study, and how it is asked for what is missing."""

import threading
import time
from copy import deepcopy

import pytest
from faulty_pacs import SERIES, STUDY_UID, UIDS, FaultyPacs
from inbox import whole_files
from pydicom.dataset import Dataset

from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse.query import Expected, Instance
from magician.dimse.receiver import Receiver
from magician.errors import IncompleteRetrieve, MagicianError, StudyNotFound, WrongArgument

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


def test_a_list_alone_needs_a_list(tmp_path):
    with WithoutList(all_but(0)) as node, pytest.raises(MagicianError, match="lists no images"):
        get_study(node, STUDY_UID, tmp_path, expected="list")


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
