"""Peers that deviate from the standard, one row a case: each is served, or named in the error.

A row has its name, what deviates in `OddPacs`, and steps: what is called, and the outcome that it
must have. A list of what can deviate is in the docstring of `OddPacs`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

import pytest
from odd_behaviour import (
    CUT_LIST,
    CUT_OFF,
    ELSEWHERE,
    FIVE,
    LONG,
    MERGED,
    MR,
    NINE,
    NO_COUNTS,
    OLD_STUDY_UID,
    OTHER,
    PRIVATE,
    RETIRED,
    SEVEN,
    SPECTROSCOPY,
    STALE,
    SUBSAMPLED,
    THIRD_STUDY,
    TWO_SERIES,
    a_context_too_many,
    aborts,
    always,
    and_then,
    by_two_associations,
    changed,
    changing_roles,
    claims_all,
    contexts_backwards,
    counters_in_pending_only,
    counters_without_objects,
    counting_only,
    drop,
    empty_answers,
    ends_with,
    event_first,
    failed_list,
    fewer_contexts,
    hang_up_after,
    hangs_up_and_goes_on_sending,
    hides,
    hides_at,
    in_parts,
    in_turn,
    late,
    lists_of_uids,
    long_comment,
    miscounted,
    name_in_bytes,
    names_one_more_as_failed,
    no_answer,
    no_image_level_retrieves,
    no_uid_lists,
    odd_class,
    odd_pending,
    only_by_series,
    pending_without_end,
    put,
    refusing,
    silent_after,
    slow_to_store,
    slowly,
    store_each,
    tells,
    the_same_for_ever,
    two_uids,
    very_late,
    with_syntax,
    without_end,
    without_waiting,
)
from odd_pacs import (
    ANSWERED_ID,
    COMMAND_FIELD,
    DATA_SET_TYPE,
    MESSAGE_ID,
    OBJECTS,
    PRIORITY,
    SERIES_UID,
    SOP_CLASS,
    SOP_INSTANCE,
    STATUS,
    STUDY_UID,
    UIDS,
    OddPacs,
    accept,
    encode,
    item,
    us,
)
from odd_rows import (
    LIMIT_S,
    Row,
    Scene,
    asked,
    call_diagnose,
    call_echo,
    fails,
    find,
    find_only,
    get,
    get_long,
    get_padded,
    gives,
    gives_or_fails,
    keep_a_stranger,
    move,
    move_to_a_node,
    move_to_a_small_receiver,
    outcome_of,
    send,
    series,
)
from pydicom.dataset import Dataset
from pydicom.uid import HEVCMP51, MPEG4HP41, HTJ2KLossless

from magician.errors import (
    AssociationAborted,
    DimseFailure,
    IncompleteRetrieve,
    MagicianError,
    PacsTimeout,
    SeveralStudies,
    StudyNotFound,
)

FIND_UID = "1.2.840.10008.5.1.4.1.2.2.1"
FOLDER = ["into the same folder"]
ASK_THE_LOG = ["log says why", "log of the PACS says why"]
HANG_UP = ["ended the association", "Many PACS do this"]
fresh = partial(get, folder="fresh")
by_list = partial(get, expected="list")
by_number = partial(find, accession_number="A-1")

EXPECTED = [
    Row(
        "nothing is odd",
        {},
        [
            (call_diagnose, gives(check=lambda found: found.summary.endswith("all well"))),
            (find, gives(1)),
            (series, gives(1)),
            (get, gives(8, check=lambda retrieval: retrieval.notes == ())),
            (move, gives(8, check=lambda retrieval: retrieval.notes == ())),
            (move_to_a_node, gives(8)),
            (send, gives(check=lambda stored: stored.sent == 8)),
        ],
        silent=True,
    ),
    Row("the list is cut at 5 of 8, and all are sent", {"listed": CUT_LIST}, [(get, gives(8))]),
    Row(
        "the list is cut at 5 of 8, and no more are sent",
        {"listed": CUT_LIST, "sends": always(FIVE)},
        [
            (get, fails(IncompleteRetrieve, "5", "8", received=5, expected=8, paths=5)),
            (get, fails(IncompleteRetrieve, "5", "8", received=5, expected=8, paths=5)),
            (fresh, fails(IncompleteRetrieve, "5", "8", received=5, expected=8, paths=5)),
        ],
    ),
    Row(
        "the list is cut, and the rest comes when each series is asked for",
        lambda: {"listed": CUT_LIST, "sends": in_turn(FIVE, OBJECTS)},
        [(get, gives(8)), (get, gives(8))],
    ),
    Row(
        "only the count of the study knows of 8",
        {
            "listed": CUT_LIST,
            "sends": always(FIVE),
            "counts": {"NumberOfSeriesRelatedInstances": None},
        },
        [(get, fails(IncompleteRetrieve, "5", "8", received=5, expected=8))],
    ),
    Row(
        "only the count of the series knows of 8",
        {
            "listed": CUT_LIST,
            "sends": always(FIVE),
            "counts": {"NumberOfStudyRelatedInstances": None},
        },
        [(get, fails(IncompleteRetrieve, "5", "8", received=5, expected=8))],
    ),
    Row(
        "a series is not listed, and its images are sent",
        {"objects": TWO_SERIES, "listed": {"SERIES": TWO_SERIES[:1]}},
        [(get, gives(8))],
    ),
    Row(
        "a series is not listed, and its images are not sent",
        {
            "objects": TWO_SERIES,
            "listed": {"SERIES": TWO_SERIES[:1]},
            "sends": always(TWO_SERIES[:4]),
        },
        [(get, fails(IncompleteRetrieve, "4", "8", received=4, expected=8))],
    ),
    Row("an object is counted and never listed", {"listed": {"IMAGE": SEVEN}}, [(get, gives(8))]),
    Row(
        "an object is neither listed nor counted, and is sent",
        {"listed": {"IMAGE": SEVEN}, "counts": dict.fromkeys(NINE, 7)},
        [(get, gives(8)), (get, gives(8))],
    ),
    Row(
        "the same to a receiver",
        {"listed": {"IMAGE": SEVEN}, "counts": dict.fromkeys(NINE, 7)},
        [(move, gives(8))],
    ),
    Row(
        "the PACS counts 9 and holds 8",
        {"counts": NINE},
        [
            (get, fails(IncompleteRetrieve, "8", "9", received=8, expected=9, paths=8)),
            (get, fails(IncompleteRetrieve, "8", "9", "expected='list'", paths=8)),
            (by_list, gives(8, "9")),
            (fresh, fails(IncompleteRetrieve, "8", "9", received=8, expected=9, paths=8)),
        ],
    ),
    Row(
        "the PACS counts 9 and holds 8, and sends to a receiver",
        {"counts": NINE},
        [
            (move, fails(IncompleteRetrieve, "8", "9", received=8, expected=9, paths=8)),
            (move, fails(IncompleteRetrieve, "8", "9", "expected='list'", paths=8)),
            (partial(move, expected="list"), gives(8, "9")),
        ],
    ),
    Row("it tells no counts", {"counts": NO_COUNTS}, [(get, gives(8)), (move, gives(8))]),
    Row(
        "it counts fewer than it lists",
        {"counts": dict.fromkeys(NINE, 5)},
        [(get, gives(8))],
    ),
    Row(
        "it counts fewer than it lists, and sends those",
        {"counts": dict.fromkeys(NINE, 5), "sends": always(FIVE)},
        [(get, fails(IncompleteRetrieve, received=5, expected=8))],
    ),
    Row(
        "its counts are no numbers",
        {
            "edit_answer": lambda request, answer: encode(answer).replace(
                b"IS\2\x008 ", b"IS\2\x00x "
            )
        },
        [(get, gives(8))],
    ),
    Row(
        "an image comes to the PACS between our query and the retrieve",
        {"listed": {"IMAGE": SEVEN}, "counts": dict.fromkeys(NINE, 7)},
        [(get, gives(8))],
    ),
    Row(
        "an image leaves the PACS between our query and the retrieve",
        {"sends": always(SEVEN)},
        [(get, fails(IncompleteRetrieve, received=7, expected=8, missing=(UIDS[7],)))],
    ),
    Row(
        "the list of one series is cut",
        {"objects": TWO_SERIES, "listed": {"IMAGE": TWO_SERIES[:2]}},
        [(partial(get, series_instance_uid=SERIES_UID), gives(4))],
    ),
    Row(
        "an object of another study is among those sent",
        {"sends": always([*OBJECTS, OTHER[0]])},
        [(get, gives(8))],
    ),
    Row(
        "seven objects, and one of them twice",
        {"sends": always([*SEVEN, OBJECTS[0]])},
        [
            (call, fails(IncompleteRetrieve, UIDS[7], received=7, expected=8))
            for call in (get, move)
        ],
    ),
    Row(
        "seven objects, and one that is not listed in place of the eighth",
        {"sends": always([*SEVEN, STALE])},
        [(call, fails(IncompleteRetrieve, UIDS[7])) for call in (get, move)],
    ),
    Row(
        "one series is wanted, and an image of another is sent in its place",
        {"objects": TWO_SERIES, "sends": always([*TWO_SERIES[:3], TWO_SERIES[5]])},
        [
            (
                partial(get, series_instance_uid=SERIES_UID),
                fails(IncompleteRetrieve, received=3, expected=4),
            )
        ],
    ),
    Row(
        "an object that the PACS has deleted lies in the folder, and one is missing",
        {"sends": always(SEVEN)},
        [(keep_a_stranger, gives()), (get, fails(IncompleteRetrieve, UIDS[7]))],
    ),
    Row(
        "the same at a PACS without image level",
        {"sends": always(SEVEN), "listed": {"IMAGE": []}, "find_ends": {"IMAGE": 0xA900}},
        [(keep_a_stranger, gives()), (get, gives_or_fails("before"))],
    ),
    Row("it counts nothing", {"counts": dict.fromkeys(NINE, 0)}, [(get, gives(8))]),
    Row("it counts below zero", {"counts": dict.fromkeys(NINE, -1)}, [(get, gives(8))]),
    Row(
        "it counts two thousand million",
        {"counts": dict.fromkeys(NINE, 2**31 - 1)},
        [(get, fails(IncompleteRetrieve, "2147483647", received=8)), (by_list, gives(8))],
    ),
    Row(
        "its count of the study is smaller than that of the series",
        {"counts": {"NumberOfStudyRelatedInstances": 5}},
        [(get, gives(8))],
    ),
    Row(
        "no study level in queries",
        {"listed": {"STUDY": []}, "find_ends": {"STUDY": 0xA900}},
        [(get, gives(8))],
    ),
    Row(
        "the list is cut, and another node gets no more than that",
        {"listed": CUT_LIST, "sends": always(FIVE)},
        [(move_to_a_node, fails(IncompleteRetrieve, "5", "8", received=5, expected=8))],
    ),
    Row(
        "the PACS counts 9 and holds 8, and sends to another node",
        {"counts": NINE},
        [
            (
                move_to_a_node,
                fails(IncompleteRetrieve, "8", "9", "expected='list'", without=FOLDER),
            ),
            (partial(move_to_a_node, expected="list"), gives()),
        ],
    ),
    Row(
        "one of two series is miscounted",
        {"objects": TWO_SERIES, "edit_answer": miscounted},
        [
            (get, fails(IncompleteRetrieve, "8", "9", received=8, expected=9)),
            (get, fails(IncompleteRetrieve, "8", "9", "expected='list'", paths=8)),
            (by_list, gives(8, "9")),
        ],
    ),
    Row(
        "it lists and counts a ninth object that it can't send",
        {"listed": {"IMAGE": [*OBJECTS, STALE]}, "counts": NINE},
        [
            (get, fails(IncompleteRetrieve, STALE.SOPInstanceUID, received=8, expected=9)),
            (get, fails(IncompleteRetrieve, STALE.SOPInstanceUID, "the same", paths=8)),
        ],
    ),
    Row(
        "no image level, and the PACS counts 9 and holds 8",
        {"listed": {"IMAGE": []}, "find_ends": {"IMAGE": 0xA900}, "counts": NINE},
        [
            (get, fails(IncompleteRetrieve, "8", "9", received=8, expected=9)),
            (get, fails(IncompleteRetrieve, "the same", "expected='list'", paths=8)),
            (by_list, gives(8)),
        ],
    ),
    Row(
        "it names an object as failed that it neither lists nor counts",
        {"retrieve": names_one_more_as_failed},
        [(get, gives_or_fails("1.2.3.77")), (get, gives_or_fails("1.2.3.77"))],
    ),
    Row(
        "three objects for each request, with Success",
        {"retrieve": in_parts(3, 0x0000)},
        [
            (get, fails(IncompleteRetrieve, received=3, expected=8)),
            (get, gives_or_fails()),
            (get, gives(8)),
        ],
    ),
    Row("objects without end", {"retrieve": without_end}, [(get, gives_or_fails())]),
]

LIFE_SIGNS = [
    Row(
        "no Pending responses of a C-MOVE, and images for longer than dimse_s",
        {"retrieve": slowly(0.2, pending=False), "dimse_s": 1.2},
        [(move, gives(8))],
        silent=True,
    ),
    Row(
        "no Pending responses of a C-GET, and images for longer than dimse_s",
        {"retrieve": slowly(0.2, pending=False), "dimse_s": 1.2},
        [(get, gives(8))],
        silent=True,
    ),
    Row("images after the final Success of a C-MOVE", {"retrieve": late}, [(move, gives(8))]),
    Row(
        "Pending responses of a C-MOVE without end, and nothing moves",
        {"retrieve": pending_without_end, "dimse_s": 0.6},
        [(move, fails(PacsTimeout, "0.6 s", without=HANG_UP))],
    ),
    Row(
        "Pending responses of a C-GET without end, and nothing moves",
        {"retrieve": pending_without_end, "dimse_s": 0.6},
        [(get, fails(PacsTimeout, "0.6 s", without=HANG_UP))],
    ),
    Row(
        "the counters of a C-MOVE to another node move, for longer than dimse_s",
        {"retrieve": counting_only, "dimse_s": 1},
        [(move_to_a_node, gives(8))],
    ),
    Row(
        "no answer to a C-MOVE",
        {"retrieve": silent_after(0), "dimse_s": 0.8},
        [(move, fails(PacsTimeout, "0.8 s", without=HANG_UP))],
    ),
    Row(
        "no answer to a C-GET",
        {"retrieve": silent_after(0), "dimse_s": 0.8},
        [(get, fails(PacsTimeout, "0.8 s", without=HANG_UP))],
    ),
    Row(
        "silence after three images of a C-MOVE",
        {"retrieve": silent_after(3), "dimse_s": 0.8},
        [(move, fails(IncompleteRetrieve, "0.8 s", without=HANG_UP, received=3, expected=8))],
    ),
    Row(
        "silence after three images of a C-GET",
        {"retrieve": silent_after(3), "dimse_s": 0.8},
        [(get, fails(IncompleteRetrieve, "0.8 s", without=HANG_UP, received=3, expected=8))],
    ),
    Row(
        "no answer to a C-FIND",
        {"find": no_answer, "dimse_s": 0.8},
        [(find, fails(PacsTimeout, "0.8 s", without=HANG_UP))],
    ),
    Row(
        "images long after the final Success of a C-MOVE",
        {"retrieve": very_late},
        [(partial(move, late_s=3), gives(8))],
    ),
    Row(
        "a final Success of a C-MOVE that claims all, and nothing comes",
        {"retrieve": claims_all},
        [(partial(move, late_s=0.3), fails(IncompleteRetrieve, received=0, expected=8))],
    ),
    Row(
        "the counters of a C-GET move, and nothing comes",
        {"retrieve": counters_without_objects, "dimse_s": 0.6},
        [(get, fails(MagicianError, "0.6 s", without=HANG_UP))],
    ),
    Row(
        "the same study without end",
        {"find": the_same_for_ever, "dimse_s": 0.6},
        [(find, fails(MagicianError, without=HANG_UP))],
    ),
    Row(
        "no answer to a C-STORE in time",
        {"edit_response": slow_to_store, "dimse_s": 0.8},
        [(send, fails(PacsTimeout, "0.8 s", without=HANG_UP))],
    ),
    Row(
        "it closes the association of a C-MOVE, and goes on sending",
        {"retrieve": hangs_up_and_goes_on_sending},
        [(move, gives(8))],
    ),
    Row(
        "Pending responses with 0xFF01",
        {"retrieve": odd_pending},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row("images by two associations", {"retrieve": by_two_associations}, [(move, gives(8))]),
    *(
        Row(
            f"it hangs up after {count} images",
            lambda count=count, call=call: {"retrieve": hang_up_after(count)},
            [(call, fails(IncompleteRetrieve, received=count, expected=8)), (call, gives(8))],
        )
        for count, call in [(3, get), (4, move)]
    ),
    Row(
        "it hangs up after the final response",
        {"retrieve": and_then(lambda talk: talk.hang_up())},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "it aborts after the final response",
        {"retrieve": and_then(lambda talk: talk.write(b"\7\0\0\0\0\4\0\0\0\0"))},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "it releases after the final response",
        {"retrieve": and_then(lambda talk: talk.write(b"\5\0\0\0\0\4\0\0\0\0"))},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "it reports an event on our association",
        {"retrieve": event_first},
        [(get, gives_or_fails()), (move, gives_or_fails())],
    ),
    Row("it does not wait for our answers", {"retrieve": without_waiting}, [(get, gives(8))]),
    *(
        Row(
            f"nothing moves, and the status is 0x{status:04X}",
            {"retrieve": ends_with(status, counters)},
            [(call, fails(MagicianError, f"0x{status:04X}")) for call in (get, move)],
        )
        for status, counters in [
            (0xA700, None),
            (0xA702, (0, 0, 8, 0)),
            (0xB000, (0, 0, 0, 0)),
            (0xC123, None),
            (0xFE00, (8, 0, 0, 0)),
            (0x0124, None),
        ]
    ),
    Row(
        "it does not answer the release",
        {"answers_release": False},
        [(call_echo, gives(check=lambda status: status == 0))],
    ),
]

EMPTY_LIST = Dataset()
EMPTY_LIST.FailedSOPInstanceUIDList = None
ODD_VALUES = [
    Row(
        "an empty list of failed objects after 0xB000, and all came",
        {"final": {"status": 0xB000, "identifier": EMPTY_LIST, "counters": (0, 0, 0, 8)}},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "an empty list of failed objects after 0xA702, and all came",
        {"final": {"status": 0xA702, "identifier": EMPTY_LIST}},
        [(get, gives(8))],
    ),
    Row(
        "the list of failed objects names one that came after all",
        {"final": {"status": 0xB000, "identifier": failed_list(UIDS[0]), "counters": (0, 7, 1, 0)}},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "the list of failed objects holds an empty UID",
        {"final": {"status": 0xB000, "identifier": failed_list("", "")}},
        [(get, gives(8))],
    ),
    Row(
        "counters in the Pending responses only, of a C-MOVE to another node",
        {"retrieve": counters_in_pending_only},
        [(move_to_a_node, gives_or_fails(without=["0 of 8"]))],
    ),
    Row(
        "a final Success whose counters are all zero, of a C-MOVE to another node",
        {"final": {"counters": (0, 0, 0, 0)}},
        [(move_to_a_node, gives_or_fails(without=["0 of 8"]))],
    ),
    Row(
        "a comment of 200 characters",
        {"edit_response": long_comment},
        [(find, fails(DimseFailure, "Too busy", status=0xC000))],
        pydicom_warns=True,
    ),
    Row(
        "a final Success without counters",
        {"final": {"counters": None}, "pending_retrieves": False},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "a final Success without counters after a C-MOVE to another node",
        {"final": {"counters": None}, "pending_retrieves": False},
        [(move_to_a_node, gives_or_fails("check", without=["0 of 8"]))],
    ),
    Row(
        "a final Success with an empty data set",
        {"final": {"identifier": b""}},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "no Maximum Length",
        {"accept": partial(accept, max_length=None)},
        [
            (call_echo, gives(check=lambda status: status == 0)),
            (find, gives(1)),
            (get, gives(8)),
            (call_diagnose, gives(check=lambda found: found.summary.endswith("all well"))),
            (send, gives(check=lambda stored: stored.sent == 8)),
        ],
    ),
    Row(
        "a Maximum Length without limit",
        {"accept": partial(accept, max_length=0)},
        [
            (call_echo, gives(check=lambda status: status == 0)),
            (send, gives(check=lambda stored: stored.sent == 8)),
        ],
    ),
    *(
        Row(
            f"responses {words}",
            {"edit_response": edit},
            [
                (call, fails(MagicianError, *said, without=HANG_UP))
                for call in (call_echo, find, get, move, send)
            ],
        )
        for words, edit, said in [
            ("without Status", drop(STATUS), ["Status"]),
            ("with an empty Status", put(STATUS, b""), []),
            ("without Message ID Being Responded To", drop(ANSWERED_ID), ["essage ID"]),
            ("of another kind", put(COMMAND_FIELD, us(0x8031)), []),
        ]
    ),
    Row(
        "a Status of three bytes",
        {"edit_response": put(STATUS, b"\0\0\0")},
        [(call_echo, fails(MagicianError)), (find, fails(MagicianError))],
    ),
    Row(
        "responses to another message",
        {"edit_response": put(ANSWERED_ID, us(99))},
        [
            (call_echo, fails(MagicianError, without=HANG_UP)),
            (find, fails(MagicianError, without=HANG_UP)),
        ],
    ),
    Row(
        "responses without SOP Class UID",
        {"edit_response": drop(SOP_CLASS)},
        [(call_echo, gives(check=lambda status: status == 0)), (find, gives(1)), (get, gives(8))],
    ),
    Row(
        "responses to C-STORE without SOP Instance UID",
        {"edit_response": drop(SOP_INSTANCE)},
        [(send, gives(check=lambda stored: stored.sent == 8))],
    ),
    Row(
        "responses without Command Data Set Type",
        {"edit_response": drop(DATA_SET_TYPE), "dimse_s": 1},
        [(call_echo, gives_or_fails(without=HANG_UP))],
    ),
    Row(
        "Pending responses of a C-FIND without identifier",
        {"find": empty_answers},
        [
            (find, fails(MagicianError, "match", without=HANG_UP)),
            (series, fails(MagicianError, without=HANG_UP)),
        ],
    ),
    *(
        Row(f"C-STORE requests {words}", {"retrieve": store_each(**oddities)}, [(get, outcome)])
        for words, oddities, outcome in [
            ("in small pieces", {"pieces": 100}, gives(8)),
            ("without Priority", {"elements": {PRIORITY: None}}, gives(8)),
            ("with the title of a mover", {"elements": {0x1030: b"ODD ", 0x1031: us(3)}}, gives(8)),
            ("without SOP Class UID", {"elements": {SOP_CLASS: None}}, fails(MagicianError)),
            ("without SOP Instance UID", {"elements": {SOP_INSTANCE: None}}, fails(MagicianError)),
            ("without Message ID", {"elements": {MESSAGE_ID: None}}, fails(MagicianError)),
            (
                "with another SOP Instance UID",
                {"elements": {SOP_INSTANCE: b"1.2.3\0"}},
                fails(MagicianError, without=ASK_THE_LOG),
            ),
            (
                "with noise for an object",
                {"content": b"\xff" * 300},
                fails(MagicianError, UIDS[0], without=ASK_THE_LOG),
            ),
        ]
    ),
    *(
        Row(
            f"C-STORE is answered by the warning 0x{status:04X}",
            {"store_status": status},
            [(send, gives(check=lambda stored: stored.sent == len(stored.warnings) == 8))],
        )
        for status in (0xB007, 0x0001, 0x0107, 0x0116)
    ),
    Row(
        "a comment that is no ASCII",
        {"store_status": 0xA700, "store_comment": "Platte läuft über".encode("latin-1")},
        [(send, fails(DimseFailure, "0xA700", *UIDS[:3]))],
    ),
    Row(
        "a refusal with a comment",
        {"store_status": 0xA700, "store_comment": b"Quota of this AE is used up"},
        [(send, fails(DimseFailure, "Quota of this AE is used up"))],
    ),
]

REFUSED_BY_US = [
    Row(
        "MR Spectroscopy has Rows and no pixels",
        {"objects": [*SEVEN, SPECTROSCOPY]},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "an object of a private storage class",
        {"objects": [*SEVEN, PRIVATE]},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "an object of a retired storage class",
        {"objects": [*SEVEN, RETIRED]},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "native YBR_PARTIAL_422 has two bytes a pixel",
        {"objects": [*SEVEN, SUBSAMPLED]},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "the pixels are elsewhere: Pixel Data Provider URL",
        {"objects": [*SEVEN, ELSEWHERE]},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "an image is cut off before its pixels",
        {"objects": [*SEVEN, CUT_OFF]},
        [
            (call, fails(IncompleteRetrieve, UIDS[7], "pixels", without=ASK_THE_LOG, received=7))
            for call in (get, move)
        ],
    ),
    Row(
        "every image is cut off before its pixels",
        {"objects": [CUT_OFF]},
        [
            (call, fails(MagicianError, UIDS[7], "pixels", without=ASK_THE_LOG))
            for call in (get, move)
        ],
    ),
    Row(
        "images of a merged study have its older Study Instance UID",
        {
            "objects": MERGED,
            "ignores": ("StudyInstanceUID",),
            "edit_answer": lambda request, answer: setattr(answer, "StudyInstanceUID", STUDY_UID),
        },
        [(get, gives(8, OLD_STUDY_UID)), (get, gives(8)), (move, gives(8, OLD_STUDY_UID))],
    ),
    Row(
        "some images of a merged study have its older Study Instance UID",
        {
            "objects": [*OBJECTS[:4], *MERGED[4:]],
            "ignores": ("StudyInstanceUID",),
            "edit_answer": lambda request, answer: setattr(answer, "StudyInstanceUID", STUDY_UID),
        },
        [(get, gives(8, OLD_STUDY_UID)), (move, gives(8, OLD_STUDY_UID))],
    ),
    Row(
        "a Study Instance UID of 73 characters",
        {"objects": LONG},
        [(get_long, gives(8)), (get_long, gives(8))],
    ),
    Row(
        f"an object as {HTJ2KLossless.name}",
        {"objects": [*SEVEN, with_syntax(OBJECTS[7], HTJ2KLossless)]},
        [(get, gives(8)), (move, gives(8))],
    ),
    *(
        Row(
            f"an object as {syntax.name}",
            {"objects": [*SEVEN, with_syntax(OBJECTS[7], syntax)]},
            [(get, gives_or_fails("move_study")), (move, gives(8))],
        )
        for syntax in (MPEG4HP41, HEVCMP51)
    ),
    Row(
        "every object is larger than our receiver takes",
        {},
        [(move_to_a_small_receiver, fails(MagicianError, "receiver", without=HANG_UP))],
    ),
    Row(
        "the Study Instance UID that is asked for ends with a blank",
        {},
        [(get_padded, gives(8))],
    ),
    Row(
        "the PACS sends another study",
        {"sends": always(OTHER)},
        [
            (call, fails(MagicianError, "another study", without=ASK_THE_LOG))
            for call in (get, move)
        ],
    ),
]

ROLES = [
    Row(
        "no role-selection item in the answer to the association",
        {"accept": partial(accept, roles="silent")},
        [
            (get, gives(8)),
            (call_diagnose, gives(check=lambda found: "not answered" in found["C-GET"].seen)),
        ],
    ),
    Row(
        "both roles are accepted",
        {"accept": changing_roles(lambda role: role[:-2] + b"\1\1")},
        [(get, gives(8))],
    ),
    Row(
        "the role of the PACS's own proposal is not accepted",
        {
            "accept": changing_roles(lambda role: role[:-2] + b"\1\0"),
            "sends": always([]),
            "final": {"status": 0xA702, "counters": (0, 0, 8, 0)},
        },
        [(get, fails(MagicianError, "move_study", "agree to send"))],
    ),
    Row(
        "the role is refused in so many words",
        {
            "accept": partial(accept, roles="refuse"),
            "sends": always([]),
            "final": {"status": 0xA702, "counters": (0, 0, 8, 0)},
        },
        [
            (get, fails(MagicianError, "move_study", "agree to send")),
            (call_diagnose, gives(check=lambda found: found["C-GET"].outcome == "warning")),
            (call_echo, gives()),
        ],
    ),
]

THREE_STUDIES = [*OBJECTS, *OTHER, *THIRD_STUDY]


def of_ours(studies) -> bool:
    return {study.StudyInstanceUID for study in studies} == {STUDY_UID}


KEYS = [
    Row(
        "it ignores the accession number",
        {"objects": THREE_STUDIES, "ignores": ("AccessionNumber",)},
        [(by_number, gives(1, check=of_ours))],
        logged=["AccessionNumber"],
    ),
    Row(
        "it ignores the patient's ID",
        {"objects": THREE_STUDIES, "ignores": ("PatientID",)},
        [(partial(find, patient_id="SMALL-0"), gives(1, check=of_ours))],
        logged=["PatientID"],
    ),
    Row(
        "it ignores the Study Instance UID of a query for studies",
        {"objects": THREE_STUDIES, "ignores": ("StudyInstanceUID",)},
        [(partial(find, study_instance_uid=STUDY_UID), gives(1, check=of_ours))],
    ),
    Row(
        "it knows only studies that we did not ask for",
        {"objects": OTHER, "ignores": ("StudyInstanceUID",)},
        [(get, fails(StudyNotFound)), (series, gives_or_fails())],
    ),
    *(
        Row(
            f"an answer that matches: {words}",
            {"edit_answer": tells(**told), "ignores": tuple(told)},
            [(partial(find, **keys), gives(1))],
            silent=True,
        )
        for words, told, keys in [
            (
                "letter case of a name",
                {"PatientName": "PHANTOM^SMALL"},
                {"patient_name": "Phantom^Small"},
            ),
            (
                "carets at the end",
                {"PatientName": "Phantom^Small^^^"},
                {"patient_name": "Phantom^Small"},
            ),
            ("empty groups", {"PatientName": "Phantom^Small=="}, {"patient_name": "Phantom^Small"}),
            (
                "one group of three",
                {"PatientName": "Yamada^Tarou=山田^太郎"},
                {"patient_name": "Yamada^Tarou"},
            ),
            ("spaces", {"AccessionNumber": " A-1  "}, {"accession_number": "A-1"}),
            ("one value of several", {"ModalitiesInStudy": ["CT", "SEG"]}, {"modality": "SEG"}),
            ("an empty value", {"AccessionNumber": ""}, {"accession_number": "A-1"}),
            ("a wildcard", {"PatientName": "Phantom^Small"}, {"patient_name": "phan*"}),
            ("a date of the old form", {"StudyDate": "2020.01.02"}, {"study_date": "20200102"}),
            ("a range", {"StudyDate": "20200102"}, {"study_date": "20200101-20200105"}),
        ]
    ),
    Row(
        "an answer without the key",
        {"edit_answer": hides("AccessionNumber")},
        [(by_number, gives(1))],
        silent=True,
    ),
    Row(
        "all answers contradict the key",
        {"objects": [*OTHER, *THIRD_STUDY], "ignores": ("AccessionNumber",)},
        [(by_number, gives(2))],
        logged=["AccessionNumber"],
    ),
    Row(
        "each answer 93 times",
        {"repeats": 93},
        [
            (find, gives(1)),
            (get, gives(8)),
            (asked, gives(check=lambda requests: requests.count(("C-FIND", "IMAGE")) <= 1)),
        ],
    ),
    Row(
        "each study 93 times",
        {"repeats": 93},
        [(find, gives(1))],
        logged=["9"],
    ),
    Row(
        "answers with 0xFF01",
        {"pending": 0xFF01},
        [(find, gives(1))],
        logged=["optional keys"],
    ),
    Row(
        "an answer without UID",
        {"edit_answer": hides("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")},
        [
            (find, fails(MagicianError, "UID")),
            (series, fails(MagicianError, "UID")),
            (get, fails(MagicianError, "UID")),
        ],
    ),
    Row(
        "two UIDs where one belongs",
        {"edit_answer": two_uids},
        [(get, fails(MagicianError, "UID"))],
    ),
    Row(
        "an empty UID",
        {"edit_answer": tells(StudyInstanceUID="")},
        [(find, fails(MagicianError, "UID"))],
    ),
    Row(
        "a series of another study is among the answers",
        {"objects": [*OBJECTS, *OTHER], "listed": {"SERIES": [OBJECTS[0], OTHER[0]]}},
        [(get, gives(8)), (series, gives(1))],
    ),
    Row(
        "an image of another study is among the answers",
        {
            "objects": [*OBJECTS, *OTHER],
            "listed": {"IMAGE": [*OBJECTS, *OTHER]},
            "sends": always(OBJECTS),
        },
        [(get, gives(8))],
    ),
    Row(
        "it ignores the series in a query for images",
        {"objects": TWO_SERIES, "listed": {"IMAGE": TWO_SERIES}},
        [(partial(get, series_instance_uid=SERIES_UID), gives(4)), (fresh, gives(8))],
    ),
    Row(
        "two patients have one accession number, and it ignores the patient's ID",
        {
            "objects": [*OBJECTS, *(changed(ds, AccessionNumber="A-1") for ds in OTHER)],
            "ignores": ("PatientID",),
        },
        [
            (partial(find, accession_number="A-1", patient_id="SMALL-0"), gives(1, check=of_ours)),
            (partial(find_only, accession_number="A-1"), fails(SeveralStudies)),
        ],
    ),
    Row(
        "it ignores a range of dates",
        {
            "objects": [*OBJECTS, *(changed(ds, StudyDate="20210304") for ds in OTHER)],
            "ignores": ("StudyDate",),
        },
        [(partial(find, study_date="20200101-20200301"), gives(1, check=of_ours))],
        logged=["StudyDate"],
    ),
    Row(
        "it ignores a name with a wildcard",
        {
            "objects": [*OBJECTS, *(changed(ds, PatientName="Other^One") for ds in OTHER)],
            "ignores": ("PatientName",),
        },
        [(partial(find, patient_name="phantom*"), gives(1, check=of_ours))],
        logged=["PatientName"],
    ),
    Row(
        "an odd Query/Retrieve Level in the answers",
        {"edit_answer": lambda request, answer: setattr(answer, "QueryRetrieveLevel", "PATIENT")},
        [(find, gives(1)), (get, gives(8))],
    ),
    Row(
        "no Query/Retrieve Level in the answers",
        {"edit_answer": hides("QueryRetrieveLevel")},
        [(find, gives(1)), (get, gives(8))],
    ),
    Row(
        "no UIDs of the levels above in the list of images",
        {"edit_answer": hides_at("IMAGE", "StudyInstanceUID", "SeriesInstanceUID")},
        [(get, gives(8))],
    ),
    Row(
        "an odd SOP Class UID in the list of images",
        {"edit_answer": odd_class},
        [(get, gives_or_fails())],
    ),
    Row(
        "outer spaces of a key",
        {},
        [(partial(find, accession_number=" A-1 "), gives(1))],
        silent=True,
    ),
]


def is_cut(studies) -> bool:
    return bool(studies.cut)


LIMITS = [
    *(
        Row(
            f"answers, then 0x{status:04X}",
            {"objects": THREE_STUDIES, "find_ends": {"STUDY": status}},
            [(find, gives(3, check=is_cut))],
            logged=["limit"],
        )
        for status in (0xFE00, 0xA700)
    ),
    Row(
        "0xA700, and no answer",
        {"find_ends": {"STUDY": 0xA700}, "listed": {"STUDY": []}},
        [(find, fails(DimseFailure, "0xA700", status=0xA700))],
    ),
    Row(
        "one answer, then 0xA700",
        {"find_ends": {"STUDY": 0xA700}},
        [(find_only, fails(SeveralStudies))],
    ),
    Row(
        "the list of images stops at a limit: 0xA700 after 5",
        {"listed": CUT_LIST, "find_ends": {"IMAGE": 0xA700}},
        [(get, gives(8)), (move, gives(8))],
    ),
    Row(
        "the list of images stops at a limit, and there are no counts",
        {
            "listed": CUT_LIST,
            "find_ends": {"IMAGE": 0xA700},
            "counts": NO_COUNTS,
            "sends": always(FIVE),
        },
        [(get, gives_or_fails("limit"))],
    ),
    *(
        Row(
            f"a retrieve of the study stops at a limit with 0x{status:04X}, one by series does not",
            {"objects": TWO_SERIES, "retrieve": only_by_series(status)},
            [(get, gives(8)), (move, gives(8))],
        )
        for status in (0xA700, 0xA702, 0xFE00)
    ),
    *(
        Row(words, {**peer, "listed": {"IMAGE": []}}, [(get, gives(8)), (move, gives(8))])
        for words, peer in [
            ("no image level: 0xA900", {"find_ends": {"IMAGE": 0xA900}}),
            ("no image level: 0xC000", {"find_ends": {"IMAGE": 0xC000}}),
            ("no image level: no answers", {}),
        ]
    ),
    *(
        Row(
            f"no more than three objects for a request, at each level, then 0x{status:04X}",
            {"retrieve": in_parts(3, status)},
            [(get, gives(8)), (move, gives(8))],
        )
        for status in (0xA700, 0xFE00)
    ),
    *(
        Row(
            f"a retrieve of the study is refused with 0x{status:04X}, one by series is not",
            {"objects": TWO_SERIES, "retrieve": refusing(status, "STUDY")},
            [(get, gives(8)), (move, gives(8))],
        )
        for status in (0xA700, 0xA701, 0xA900)
    ),
    *(
        Row(
            f"it retrieves whole studies only: 0x{status:04X}, when the rest is wanted",
            lambda status=status: {
                "objects": TWO_SERIES,
                "retrieve": refusing(status, "SERIES", "IMAGE", first_sent=TWO_SERIES[:3]),
            },
            [(call, fails(IncompleteRetrieve, received=3, expected=8)), (call, gives(8))],
        )
        for status, call in [(0xC000, get), (0xA900, move)]
    ),
    Row(
        "the list of series stops at a limit",
        {
            "objects": TWO_SERIES,
            "listed": {"SERIES": TWO_SERIES[:1]},
            "find_ends": {"SERIES": 0xA700},
        },
        [(series, gives(1, check=is_cut)), (get, gives(8)), (move, gives(8))],
    ),
    Row(
        "no image level, and an image is missing",
        {"find_ends": {"IMAGE": 0xA900}, "listed": {"IMAGE": []}, "sends": always(SEVEN)},
        [
            (get, fails(IncompleteRetrieve, "7", "8", received=7, expected=8)),
            (move, fails(IncompleteRetrieve, "7", "8", received=7, expected=8)),
        ],
    ),
    Row(
        "no image level and no counts",
        {"find_ends": {"IMAGE": 0xA900}, "listed": {"IMAGE": []}, "counts": NO_COUNTS},
        [(get, gives_or_fails("check"))],
    ),
    Row(
        "no series level either",
        {"find_ends": {"IMAGE": 0xA900, "SERIES": 0xA900}, "listed": {"IMAGE": [], "SERIES": []}},
        [(get, gives(8))],
    ),
    Row(
        "no SOP Class UID of its MR images",
        {"objects": MR, "edit_answer": hides("SOPClassUID")},
        [(get, gives(8))],
    ),
    Row(
        "no SOP Class UID and no Modality of its MR images",
        {"objects": MR, "edit_answer": hides("SOPClassUID", "Modality", "ModalitiesInStudy")},
        [(get, gives(8))],
    ),
    Row(
        "no lists of UIDs when the rest is fetched",
        lambda: {"retrieve": no_uid_lists(*OBJECTS[:3])},
        [(get, fails(IncompleteRetrieve, received=3, expected=8)), (get, gives(8))],
    ),
    *(
        Row(
            f"lists of UIDs bring {words} when the rest is fetched",
            lambda answer=answer: {"retrieve": lists_of_uids(answer)},
            [(get, fails(IncompleteRetrieve, received=3, expected=8)), (get, gives(8))],
        )
        for words, answer in [
            ("nothing, with Success", lambda talk, request: talk.respond(request)),
            ("0xC000", lambda talk, request: talk.respond(request, 0xC000)),
        ]
    ),
    Row(
        "lists of UIDs bring an abort when the rest is fetched",
        lambda: {"retrieve": lists_of_uids(aborts)},
        [
            (get, fails(IncompleteRetrieve, received=3, expected=8)),
            (get, gives_or_fails(without=HANG_UP)),
            (fresh, gives(8)),
        ],
    ),
    Row(
        "no retrieve of single images when the rest is fetched",
        lambda: {"retrieve": no_image_level_retrieves(*OBJECTS[:3])},
        [(get, fails(IncompleteRetrieve, received=3, expected=8)), (get, gives(8))],
    ),
    Row(
        "no retrieve of single images when the rest is sent to a receiver",
        lambda: {"retrieve": no_image_level_retrieves(*OBJECTS[:3])},
        [(move, fails(IncompleteRetrieve, received=3, expected=8)), (move, gives(8))],
    ),
]

ACCEPTANCES = {
    "an unknown user sub-item": {"more_user_items": item(0x5F, b"new")},
    "an unknown item": {"more_items": item(0x60, b"new")},
    "an unknown empty sub-item": {"more_user_items": item(0x7F, b"")},
    "a version name of 17 characters": {"version": b"A" * 17},
    "a version name of 40 characters": {"version": b"A" * 40},
    "a version name that is no ASCII": {"version": "Größe 1".encode("latin-1")},
    "an empty version name": {"version": b""},
    "no implementation class": {"class_uid": None, "version": None},
    "an implementation class that is no UID": {"class_uid": b"not.a.uid"},
    "titles of NUL": {"titles": bytes(32)},
    "titles padded by NUL": {"titles": b"ODD".ljust(16, b"\0") + b"MAGICIAN".ljust(16, b"\0")},
    "blank titles": {"titles": b" " * 32},
    "titles that are no ASCII": {"titles": "Größe".encode("latin-1").ljust(32)},
    "an application context padded by NUL": {"application_context": b"1.2.840.10008.3.1.1.1\0"},
    "protocol version 3": {"protocol": 3},
}
ASSOCIATIONS = [
    *(
        Row(
            f"the association is accepted with {words}",
            {"accept": partial(accept, **deviations)},
            [(call_echo, gives(check=lambda status: status == 0)), (find, gives(1))],
        )
        for words, deviations in ACCEPTANCES.items()
    ),
    *(
        Row(
            f"the association is accepted with {words}",
            {"accept": answer},
            [(find, gives(1)), (call_echo, gives())],
        )
        for words, answer in [
            ("fewer contexts than we have proposed", fewer_contexts),
            ("a context that we have not proposed", a_context_too_many),
        ]
    ),
    Row(
        "the association is accepted with its contexts backwards",
        {"accept": contexts_backwards},
        [(find, gives(1)), (get, gives(8))],
    ),
    Row(
        "the association is accepted, and its length is wrong",
        {"accept": lambda proposal: accept(proposal)[:-9], "associate_s": 0.5},
        [(partial(call_echo), fails(MagicianError))],
    ),
    Row(
        "the association is accepted with an item that ends beyond it",
        {"accept": partial(accept, more_user_items=b"\x5f\0\xff\xff1")},
        [(call_echo, gives_or_fails())],
    ),
    Row(
        "the association is accepted without any of the services",
        {"accept": partial(accept, refused=[FIND_UID])},
        [(find, fails(MagicianError, "Study Root"))],
    ),
    *(
        Row(
            f"the association is accepted with {words}",
            {"accept": partial(accept, transfer_syntax=syntax)},
            [(call, fails(MagicianError, "ransfer syntax")) for call in (find, get, send)],
        )
        for words, syntax in [
            ("a transfer syntax that is none", "1.2.3"),
            ("a transfer syntax that we have not proposed", "1.2.840.10008.1.2.4.70"),
        ]
    ),
    Row(
        "an abort with an unknown reason",
        {"accept": lambda proposal: b"\7\0\0\0\0\4\0\0\x63\x63"},
        [(call_echo, fails(AssociationAborted, "A-ABORT"))],
    ),
    Row(
        "a rejection with an unknown reason",
        {"accept": lambda proposal: b"\3\0\0\0\0\4\0\x63\x63\x63"},
        [(call_echo, fails(MagicianError))],
    ),
]

LATIN_1, UTF_8 = "Müller^Jörg".encode("latin-1"), "Müller^Jörg".encode()


def is_mueller(studies) -> bool:
    return [str(study.PatientName) for study in studies] == ["Müller^Jörg"]


CHARACTER_SETS = [
    Row(
        f"a name in {encoding}, declared as {declared}",
        {"edit_answer": name_in_bytes(declared, name)},
        [(find, gives(1, check=is_mueller))],
        logged=[] if right else ["haracter"],
        silent=right,
    )
    for encoding, name, declared, right in [
        ("Latin-1", LATIN_1, "ISO_IR 100", True),
        ("UTF-8", UTF_8, "ISO_IR 192", True),
        ("Latin-1", LATIN_1, None, False),
        ("UTF-8", UTF_8, None, False),
        ("Latin-1", LATIN_1, "ISO_IR 192", False),
        ("UTF-8", UTF_8, "ISO_IR 100", False),
        ("Latin-1", LATIN_1, "ISO_IR 999", False),
        ("Latin-1", LATIN_1, "ISO-8859-1", False),
        ("UTF-8", UTF_8, "UTF-8", False),
        ("Latin-1", LATIN_1, "ISO_IR_100", False),
        ("Latin-1", LATIN_1, "\\ISO 2022 IR 100", False),
        ("Latin-1", LATIN_1, "ISO 2022 IR 6\\ISO 2022 IR 100", False),
        ("Latin-1", LATIN_1, "ISO_IR 6", False),
        ("UTF-8", UTF_8, "iso_ir 192", False),
        ("GB18030", "Müller^Jörg".encode("gb18030"), "GB18030", True),
    ]
]

ROWS = [
    *EXPECTED, *LIFE_SIGNS, *ODD_VALUES, *REFUSED_BY_US, *ROLES, *KEYS, *LIMITS, *ASSOCIATIONS,
    *CHARACTER_SETS,
]  # fmt: skip


PYDICOM_WARNS = pytest.mark.filterwarnings("ignore:The value length:UserWarning")


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[PYDICOM_WARNS] if row.pydicom_warns else []) for row in ROWS],
    ids=lambda row: row.name,
)
def test_an_odd_peer_is_served_or_named(row: Row, tmp_path, caplog):
    started = time.monotonic()
    pacs = OddPacs(**(row.peer() if callable(row.peer) else row.peer))
    with pacs as node, ExitStack() as opened:
        scene = Scene(pacs, node, tmp_path, opened)
        for number, (call, judge) in enumerate(row.steps, 1):
            result, error = outcome_of(partial(call, scene))
            try:
                judge(result, error)
            except AssertionError as failure:
                failure.add_note(f"step {number} of {len(row.steps)}: {call}")
                raise failure from error
    warnings = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("magician") and record.levelname == "WARNING"
    ]
    for words in row.logged:
        assert sum(words in warning for warning in warnings) == 1, (words, warnings)
    assert not (row.silent and warnings), warnings
    assert time.monotonic() - started < LIMIT_S


def test_names_of_rows_are_unique():
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
