"""What an odd peer is made of: objects, changes of answers, and ways to retrieve.

Each is an argument of `OddPacs`, or a function that makes one.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from helpers import ct_series
from odd_pacs import (
    COMMAND_FIELD,
    COMMENT,
    DATA_SET_TYPE,
    MESSAGE_ID,
    OBJECTS,
    SERIES_UID,
    SOP_CLASS,
    SOP_INSTANCE,
    STATUS,
    STUDY_UID,
    accept,
    command_set,
    data_pdus,
    encode,
    us,
)
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, MRSpectroscopyStorage, generate_uid

PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"
RETIRED_CLASS = "1.2.840.10008.5.1.4.1.1.6"


def changed(ds: Dataset, **values) -> Dataset:
    """A copy with other values."""
    copied = copy.deepcopy(ds)
    for keyword, value in values.items():
        setattr(copied, keyword, value)
    return copied


def odd(ds: Dataset, **values) -> Dataset:
    """A copy with values that the standard does not allow."""
    copied = copy.deepcopy(ds)
    for keyword, value in values.items():
        set_unchecked(copied, keyword, value)
    return copied


def set_unchecked(ds: Dataset, keyword: str, value) -> None:
    tag = tag_for_keyword(keyword)
    mode = config.IGNORE
    ds[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=mode)


def with_syntax(ds: Dataset, syntax: str) -> Dataset:
    """A copy that claims to be encoded so: nobody decodes it."""
    copied = copy.deepcopy(ds)
    copied.file_meta.TransferSyntaxUID = syntax
    return copied


def without_pixels(ds: Dataset, **values) -> Dataset:
    copied = changed(ds, **values)
    del copied.PixelData
    return copied


def tells(**values):
    """Let each answer at study level say this."""

    def edit(request, answer):
        if request.level == "STUDY":
            if not str(values).isascii():
                answer.SpecificCharacterSet = "ISO_IR 192"
            for keyword, value in values.items():
                set_unchecked(answer, keyword, value)

    return edit


def hides(*keywords: str):
    """Let no answer hold these elements."""

    def edit(request, answer):
        for keyword in keywords:
            if keyword in answer:
                del answer[keyword]

    return edit


def hides_at(level: str, *keywords: str):
    """Let the answers at a level not hold these elements."""

    def edit(request, answer):
        for keyword in keywords if request.level == level else ():
            answer.pop(keyword, None)

    return edit


def odd_class(request, answer):
    if request.level == "IMAGE":
        set_unchecked(answer, "SOPClassUID", "2020.01.02")


def miscounted(request, answer):
    if request.level == "SERIES" and answer.SeriesInstanceUID == SECOND_SERIES_UID:
        answer.NumberOfSeriesRelatedInstances = 5
    elif request.level == "STUDY" and "NumberOfStudyRelatedInstances" in answer:
        answer.NumberOfStudyRelatedInstances = 9


def two_uids(request, answer):
    if request.level == "SERIES":
        answer.SeriesInstanceUID = [SERIES_UID, STUDY_UID]


def name_in_bytes(character_set: str | None, name: bytes):
    """Let the answers name the patient by these bytes, with this Specific Character Set."""
    held = b"?" * (len(name) + len(name) % 2)

    def edit(request, answer):
        answer.PatientName = held.decode()
        answer.pop("SpecificCharacterSet", None)
        content = encode(answer).replace(held, name.ljust(len(held)))
        if character_set is None:
            return content
        value = character_set.encode().ljust(len(character_set) + len(character_set) % 2)
        return b"\x08\x00\x05\x00CS" + us(len(value)) + value + content

    return edit


def drop(element: int, services=("C-ECHO", "C-FIND", "C-GET", "C-MOVE", "C-STORE")):
    """Leave an element out of the responses."""

    def edit(request, elements):
        if request.service in services:
            elements.pop(element, None)

    return edit


def put(element: int, value: bytes):
    """Give an element of each response another value."""

    def edit(request, elements):
        elements[element] = value

    return edit


def always(objects: Sequence[Dataset]):
    return lambda request: list(objects)


def in_turn(*lists: Sequence[Dataset]):
    """Send another list with each request; the last one from then on."""
    waiting = list(lists)
    return lambda request: list(waiting.pop(0) if len(waiting) > 1 else waiting[0])


def slowly(seconds: float, *, pending: bool):
    """Send an object every few tenths of a second."""

    def retrieve(talk, request, send):
        for number, ds in enumerate(OBJECTS, 1):
            time.sleep(seconds)
            send(ds)
            if pending:
                talk.respond(request, 0xFF00, counters=(len(OBJECTS) - number, number, 0, 0))
        talk.respond(request, counters=(0, len(OBJECTS), 0, 0))

    return retrieve


def late(talk, request, send):
    """The final Success comes first, the images shortly after it."""
    talk.respond(request, counters=(0, len(OBJECTS), 0, 0))
    for ds in OBJECTS:
        time.sleep(0.05)
        send(ds)


def pending_without_end(talk, request, send):
    """Nothing moves."""
    for _ in range(200):
        talk.respond(request, 0xFF00, counters=(8, 0, 0, 0))
        time.sleep(0.05)


def counting_only(talk, request, send):
    """Sends elsewhere, for longer than `dimse_s`, and counts."""
    for number in range(1, 9):
        time.sleep(0.15)
        talk.respond(request, 0xFF00, counters=(8 - number, number, 0, 0))
    talk.respond(request, counters=(0, 8, 0, 0))


def silent_after(count: int):
    def retrieve(talk, request, send):
        for ds in OBJECTS[:count]:
            send(ds)
        talk.read_message()  # it waits, and so do we

    return retrieve


def without_end(talk, request, send):
    """Sends the same objects over and over."""
    for _ in range(2000):
        for ds in OBJECTS:
            send(ds)


def only_by_series(status: int):
    """Stops a study after three objects; a series comes whole."""

    def retrieve(talk, request, send):
        objects = talk.pacs.selected(request)
        if request.level == "STUDY":
            for ds in objects[:3]:
                send(ds)
            talk.respond(request, status, counters=(5, 3, 0, 0))
        else:
            for ds in objects:
                send(ds)
            talk.respond(request, counters=(0, len(objects), 0, 0))

    return retrieve


def no_uid_lists(*first_sent: Dataset):
    """Sends a part first; then refuses a list of UIDs."""
    first = [list(first_sent)]

    def retrieve(talk, request, send):
        uids = request.identifier.get("SOPInstanceUID", "")
        if not isinstance(uids, str) and len(uids) > 1:
            talk.respond(request, 0xA900)
            return
        objects = first.pop() if first else talk.pacs.selected(request)
        for ds in objects:
            send(ds)
        talk.respond(request, counters=(0, len(objects), 0, 0))

    return retrieve


def lists_of_uids(answer: Callable):
    """Sends a part first; then does this to a list of UIDs."""
    first = [OBJECTS[:3]]

    def retrieve(talk, request, send):
        if len(request.keys.get("SOPInstanceUID", [])) > 1:
            answer(talk, request)
            return
        objects = first.pop() if first else talk.pacs.selected(request)
        for ds in objects:
            send(ds)
        talk.respond(request, counters=(0, len(objects), 0, 0))

    return retrieve


def aborts(talk, request):
    talk.write(b"\7\0\0\0\0\4\0\0\0\0")


def names_one_more_as_failed(talk, request, send):
    """An object that it neither lists nor counts."""
    for ds in OBJECTS:
        send(ds)
    talk.respond(request, 0xB000, failed_list("1.2.3.77"), counters=(0, 8, 1, 0))


def odd_pending(talk, request, send):
    for number, ds in enumerate(OBJECTS, 1):
        send(ds)
        talk.respond(request, 0xFF01, counters=(8 - number, number, 0, 0))
    talk.respond(request, counters=(0, 8, 0, 0))


def hangs_up_and_goes_on_sending(talk, request, send):
    for number, ds in enumerate(OBJECTS):
        send(ds)
        if number == 3:
            talk.half_close()
        time.sleep(0.05)


def no_image_level_retrieves(*first_sent: Dataset):
    first = [list(first_sent)]

    def retrieve(talk, request, send):
        if request.level == "IMAGE":
            talk.respond(request, 0xA900)
            return
        objects = first.pop() if first else talk.pacs.selected(request)
        for ds in objects:
            send(ds)
        talk.respond(request, counters=(0, len(objects), 0, 0))

    return retrieve


def no_answer(talk, request):
    """To a C-FIND."""
    talk.read_message()


def empty_answers(talk, request):
    """Pending responses to a C-FIND that bring no identifier."""
    talk.respond(request, 0xFF00)
    talk.respond(request)


def in_parts(count: int, status: int):
    """Sends so many objects at most for each request; then this status if there are more."""

    def retrieve(talk, request, send):
        objects = talk.pacs.selected(request)
        for ds in objects[:count]:
            send(ds)
        rest = len(objects[count:])
        counters = (rest, len(objects) - rest, 0, 0)
        talk.respond(request, status if rest else 0x0000, counters=counters)

    return retrieve


def refusing(status: int, *levels: str, first_sent: Sequence[Dataset] = ()):
    """Refuses retrieves at some levels; may send a part at first."""
    first = [list(first_sent)] if first_sent else []

    def retrieve(talk, request, send):
        if request.level in levels:
            talk.respond(request, status)
            return
        objects = first.pop() if first else talk.pacs.selected(request)
        for ds in objects:
            send(ds)
        talk.respond(request, counters=(0, len(objects), 0, 0))

    return retrieve


def counters_without_objects(talk, request, send):
    for number in range(200):
        time.sleep(0.05)
        talk.respond(request, 0xFF00, counters=(8, number, 0, 0))


def counters_in_pending_only(talk, request, send):
    for number, ds in enumerate(OBJECTS, 1):
        send(ds)
        talk.respond(request, 0xFF00, counters=(8 - number, number, 0, 0))
    talk.respond(request)


def store_each(**oddities):
    """Send the objects in an odd way."""

    def retrieve(talk, request, send):
        for ds in OBJECTS:
            send(ds, **oddities)
        talk.respond(request, counters=(0, 8, 0, 0))

    return retrieve


def without_waiting(talk, request, send):
    """Sends all objects, and the final response, before it reads our answers."""
    for ds in OBJECTS:
        talk.request_store(ds)
    talk.respond(request, counters=(0, 8, 0, 0))
    for _ in OBJECTS:
        talk.read_message()


def and_then(last: Callable):
    """Retrieve as usual, and do one thing more before we release."""

    def retrieve(talk, request, send):
        talk.pacs.retrieve_as_usual(talk, request, send)
        last(talk)

    return retrieve


def event_first(talk, request, send):
    """Reports an event (N-EVENT-REPORT, PS3.7 10.1.1) on the association of the retrieve."""
    elements = {
        SOP_CLASS: b"1.2.840.10008.1.20.1",
        COMMAND_FIELD: us(0x0100),
        MESSAGE_ID: us(7),
        DATA_SET_TYPE: us(0x0101),
        SOP_INSTANCE: b"1.2.840.10008.1.20.1.1",
        0x1002: us(1),
    }
    talk.write(data_pdus(request.context_id, command_set(elements), is_command=True))
    time.sleep(0.05)
    talk.pacs.retrieve_as_usual(talk, request, send)


def by_two_associations(talk, request, send):
    for ds in OBJECTS[:4]:
        send(ds)
    with talk.pacs.delivery(request) as second:
        for ds in OBJECTS[4:]:
            second.send_object(ds)
    talk.respond(request, counters=(0, 8, 0, 0))


def hang_up_after(count: int):
    """Once; then it retrieves as usual."""
    first = [True]

    def retrieve(talk, request, send):
        if first:
            first.pop()
            for ds in OBJECTS[:count]:
                send(ds)
            talk.hang_up()
        talk.pacs.retrieve_as_usual(talk, request, send)

    return retrieve


def ends_with(status: int, counters=None):
    """Sends nothing."""
    return lambda talk, request, send: talk.respond(request, status, counters=counters)


def very_late(talk, request, send):
    talk.respond(request, counters=(0, 8, 0, 0))
    time.sleep(1.5)
    for ds in OBJECTS:
        send(ds)


def claims_all(talk, request, send):
    talk.respond(request, counters=(0, 8, 0, 0))


def the_same_for_ever(talk, request):
    """Answers a C-FIND with the same study without end."""
    answer = Dataset()
    answer.QueryRetrieveLevel, answer.StudyInstanceUID = request.level, STUDY_UID
    while True:
        talk.respond(request, 0xFF00, answer)
        time.sleep(0.005)


def slow_to_store(request, elements):
    if request.service == "C-STORE":
        time.sleep(2)


def long_comment(request, elements):
    if request.service == "C-FIND":
        elements.update({STATUS: us(0xC000), COMMENT: b"Too busy. " * 20})


def failed_list(*uids: str) -> Dataset:
    listed = Dataset()
    listed.add(DataElement("FailedSOPInstanceUIDList", "UI", list(uids)))
    return listed


def changing_roles(change: Callable[[bytes], bytes]):
    """Answer the association with changed role-selection sub-items."""
    return lambda proposal: accept(replace(proposal, roles=list(map(change, proposal.roles))))


def fewer_contexts(proposal):
    """Answer one of the presentation contexts only."""
    return accept(replace(proposal, contexts=dict(list(proposal.contexts.items())[:1])))


def contexts_backwards(proposal):
    return accept(replace(proposal, contexts=dict(reversed(proposal.contexts.items()))))


def a_context_too_many(proposal):
    more = {99: ("1.2.840.10008.1.1", ["1.2.840.10008.1.2"])}
    return accept(replace(proposal, contexts=proposal.contexts | more))


OTHER = ct_series(slices=2, rows=8, columns=8, seed=1, accession_number="B-2")
THIRD_STUDY = ct_series(slices=1, rows=8, columns=8, seed=2, accession_number="C-3")
SECOND_SERIES_UID = generate_uid(entropy_srcs=["odd peers", "second series"])
TWO_SERIES = OBJECTS[:4] + [changed(ds, SeriesInstanceUID=SECOND_SERIES_UID) for ds in OBJECTS[4:]]
OLD_STUDY_UID = generate_uid(entropy_srcs=["odd peers", "before the merge"])
MERGED = [changed(ds, StudyInstanceUID=OLD_STUDY_UID) for ds in OBJECTS]
CUT_OFF = without_pixels(OBJECTS[7])
SPECTROSCOPY = without_pixels(OBJECTS[7], SOPClassUID=MRSpectroscopyStorage, DataPointRows=1)
PRIVATE = changed(OBJECTS[7], SOPClassUID=PRIVATE_CLASS)
RETIRED = changed(OBJECTS[7], SOPClassUID=RETIRED_CLASS)
ELSEWHERE = without_pixels(OBJECTS[7], PixelDataProviderURL="https://example.org/1")
ELSEWHERE.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.94"  # JPIP Referenced
MR = [changed(ds, SOPClassUID=MRImageStorage, Modality="MR") for ds in OBJECTS]
SUBSAMPLED = changed(
    OBJECTS[7], SamplesPerPixel=3, PhotometricInterpretation="YBR_PARTIAL_422",
    PlanarConfiguration=0, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=bytes(128),
)  # fmt: skip
STALE = changed(OBJECTS[0], SOPInstanceUID=generate_uid(entropy_srcs=["odd peers", "stale"]))
STALE.file_meta.MediaStorageSOPInstanceUID = STALE.SOPInstanceUID
LONG_STUDY_UID = "1.2.840.113845.11.1000000001883867009.20220304103601.3981489.140791234567"
LONG = [odd(ds, StudyInstanceUID=LONG_STUDY_UID) for ds in OBJECTS]
FIVE, SEVEN = OBJECTS[:5], OBJECTS[:7]
CUT_LIST = {"IMAGE": FIVE}
NINE = {"NumberOfSeriesRelatedInstances": 9, "NumberOfStudyRelatedInstances": 9}
NO_COUNTS = dict.fromkeys([*NINE, "NumberOfStudyRelatedSeries"])
