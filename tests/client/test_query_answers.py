"""What a PACS answers to a query, and what we make of it (PS3.4 C.4.1, C.2.2.2)."""

import logging
import struct
import threading
import warnings

import pytest
from odd_pacs import OddPacs
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from magician.client.diagnosis import diagnose
from magician.client.find import find_instances, find_series, find_studies, only_study
from magician.client.retrieve import get_study
from magician.dimse.association import associate
from magician.dimse.query import FIND, STUDY_ANSWERS, build_query, send_query
from magician.errors import (
    DimseFailure,
    MagicianError,
    PacsTimeout,
    SeveralStudies,
    StudyNotFound,
)

PENDING, PENDING_WITHOUT_KEYS, SUCCESS = 0xFF00, 0xFF01, 0x0000
STUDY = "1.2.3"


def match(uid=STUDY, **values):
    """An answer at study level as bytes, which may be anything."""
    values = {"StudyInstanceUID": uid} | values
    content = b""
    for keyword in sorted(values, key=tag_for_keyword):
        value = values[keyword]
        value = value if isinstance(value, bytes) else value.encode()
        value += b" " * (len(value) % 2)
        tag = tag_for_keyword(keyword)
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + dictionary_VR(tag).encode()
        content += head + struct.pack("<H", len(value)) + value
    return content


def answering(*answers, end=SUCCESS, status=PENDING, **keywords):
    """A PACS that gives these answers to every query, and then this status."""

    def find(talk, request):
        for answer in answers:
            talk.respond(request, status, answer)
        talk.respond(request, end, Dataset() if end == SUCCESS else None)

    return OddPacs(find=find, **keywords)


@pytest.fixture
def said(caplog):
    """A function that counts the warnings with these words."""
    caplog.set_level(logging.WARNING, logger="magician")

    def count(*words):
        lines = [r.getMessage() for r in caplog.records if r.name.startswith("magician")]
        return sum(all(word in line for word in words) for line in lines)

    return count


def accessions(studies):
    return [str(study.AccessionNumber) for study in studies]


ACCESSIONS = [match(f"1.2.{i}", AccessionNumber=a) for i, a in enumerate(["B2", "A1", "A12"])]


def test_answers_that_contradict_a_key_are_dropped_and_said_once(said):
    with answering(*ACCESSIONS) as node:
        studies = find_studies(node, accession_number="A1")
    assert accessions(studies) == ["A1"]
    assert studies.dropped == 2
    assert said("AccessionNumber='A1'", "2 of 3", "'B2'", "dropped") == 1
    assert only_study(studies).StudyInstanceUID == "1.2.1"


def test_all_answers_contradict_a_key_and_none_is_dropped(said):
    with answering(*ACCESSIONS[1:]) as node:
        studies = find_studies(node, accession_number="C3")
    assert accessions(studies) == ["A1", "A12"]
    assert said("AccessionNumber='C3'", "None was dropped") == 1


def test_a_key_that_all_answers_contradict_does_not_spoil_the_others():
    patients = [match(f"1.2.{i}", AccessionNumber="X", PatientID=f"P{i}") for i in range(3)]
    with answering(*patients) as node:
        studies = find_studies(node, accession_number="A1", patient_id="P2")
    assert [study.PatientID for study in studies] == ["P2"]
    assert studies.contradicted == ("AccessionNumber",)


def test_each_answer_contradicts_another_key_and_none_is_dropped():
    answers = [
        match("1.2.1", AccessionNumber="A1", PatientID="P2"),
        match("1.2.2", AccessionNumber="B2", PatientID="P1"),
    ]
    with answering(*answers) as node:
        assert len(find_studies(node, accession_number="A1", patient_id="P1")) == 2


def test_the_only_study_contradicts_the_query():
    with answering(match(PatientID="P2", PatientName="Doe")) as node:
        studies = find_studies(node, patient_id="P1")
    assert len(studies) == 1
    with pytest.raises(StudyNotFound, match=r"PatientID differs.*'P2'.*studies\[0\]"):
        only_study(studies)


def test_a_name_in_capitals_with_empty_components_is_the_one_asked_for(said):
    answers = [match(PatientName="MÜLLER^JÖRG^^^=", SpecificCharacterSet="ISO_IR 192")]
    with answering(*answers, match("1.2.4", PatientName="Other")) as node:
        studies = find_studies(node, patient_name="Müller^Jörg")
    assert [study.StudyInstanceUID for study in studies] == [STUDY]
    assert said("PatientName='Müller^Jörg'", "1 of 2") == 1


def test_a_study_with_another_uid_is_never_the_one_meant():
    with answering(match("1.2.4"), match("1.2.5")) as node:
        with pytest.raises(StudyNotFound, match="2 other studies.*ignores StudyInstanceUID"):
            find_studies(node, study_instance_uid=STUDY)


def test_other_uids_are_kept_if_the_query_is_not_strict():
    with answering(match("1.2.4")) as node, associate(node, [FIND]) as association:
        query = build_query("STUDY", {"StudyInstanceUID": STUDY}, STUDY_ANSWERS)
        assert len(send_query(association, node, query)) == 1
        assert len(send_query(association, node, query, strict=True)) == 0


def test_series_and_instances_of_others_are_dropped():
    series = [match(s, SeriesInstanceUID=f"{s}.1") for s in (STUDY, "1.2.4")]
    images = [match(SeriesInstanceUID=s, SOPInstanceUID=f"{s}.1") for s in ("1.2.3.1", "1.2.3.2")]
    with answering(*series) as node:
        assert [s.SeriesInstanceUID for s in find_series(node, STUDY)] == ["1.2.3.1"]
    with answering(*images) as node:
        found = find_instances(node, STUDY, "1.2.3.2")
        assert [image.SOPInstanceUID for image in found] == ["1.2.3.2.1"]


def test_a_study_that_comes_93_times_is_there_once(said):
    answers = [match(AccessionNumber="")] + 92 * [match(AccessionNumber="A1")]
    with answering(*answers, match("1.2.4")) as node:
        studies = find_studies(node)
    assert [study.StudyInstanceUID for study in studies] == [STUDY, "1.2.4"]
    assert studies[0].AccessionNumber == "A1"
    assert studies.duplicates == 92
    assert said("94 answers", "2 different UIDs") == 1


def test_a_repeated_study_counts_as_what_was_asked_for_if_one_answer_is(said):
    answers = [match(ModalitiesInStudy="SR"), match(ModalitiesInStudy="CT"), match("1.2.4")]
    with answering(*answers) as node:
        studies = find_studies(node, modality="CT")
    assert studies[0].ModalitiesInStudy == "CT"
    assert (len(studies), studies.dropped, said("ModalitiesInStudy")) == (2, 0, 0)


def test_repeated_answers_cost_a_retrieve_no_further_queries(tmp_path, said):
    pacs = OddPacs(repeats=20)
    with pacs as node:
        retrieved = get_study(node, pacs.objects[0].StudyInstanceUID, tmp_path, progress=False)
    assert retrieved.received == len(pacs.objects)
    assert len(pacs.requests("C-FIND", "IMAGE")) == 1
    assert said("different UIDs") == 1


def test_optional_keys_that_are_not_supported_are_said_once(said):
    with answering(*ACCESSIONS, status=PENDING_WITHOUT_KEYS) as node:
        find_studies(node, accession_number="A1")
    assert said("0xFF01", "optional keys", "AccessionNumber") == 1


NO_UID = [b"", match(""), match(" \0"), match("1.2.3\\1.2.4"), match(PatientID="P1")[:-22]]


@pytest.mark.parametrize("answer", NO_UID)
@pytest.mark.parametrize("before", [[], [match("1.2.9")]])
def test_an_answer_without_uid_is_an_error_in_words(answer, before):
    with answering(*before, answer) as node:
        with pytest.raises(MagicianError, match=f"{node.ae_title}.*STUDY level.*a match") as caught:
            find_studies(node)
    assert caught.value.finding.layer == "C-FIND"


def test_a_pending_response_without_identifier_is_an_error_in_words():
    with answering(None) as node:
        with pytest.raises(MagicianError, match="pending response without an identifier"):
            find_studies(node)


def test_series_and_instances_need_a_uid_of_their_own():
    with answering(match()) as node:
        with pytest.raises(MagicianError, match="SERIES level.*without a SeriesInstanceUID"):
            find_series(node, STUDY)
        with pytest.raises(MagicianError, match="IMAGE level.*without a SOPInstanceUID"):
            find_instances(node, STUDY, "1.2.3.1")


@pytest.mark.parametrize("end", [0xFE00, 0xA700, 0xA701, 0x0213, 0xB001])
def test_a_pacs_that_stops_at_a_limit_is_believed_as_far_as_it_came(end, said):
    with answering(match(), end=end) as node:
        studies = find_studies(node)
    assert len(studies) == 1
    assert f"0x{end:04X}" in studies.cut
    assert said("after 1, at a limit of its own", f"0x{end:04X}", "range of dates") == 1
    with pytest.raises(SeveralStudies, match="there may be more"):
        only_study(studies)


@pytest.mark.parametrize("end", [0xFE00, 0xA700, 0xB001, 0xA900, 0xC001])
def test_a_limit_without_any_answer_is_a_failure(end):
    with answering(end=end) as node, pytest.raises(DimseFailure) as caught:
        find_studies(node)
    assert caught.value.status == end


@pytest.mark.parametrize("end", [0xA900, 0xC001, 0x0110])
def test_a_failure_after_answers_is_a_failure(end):
    with answering(match(), end=end) as node, pytest.raises(DimseFailure):
        find_studies(node)


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        (None, "latin-1"), (None, "utf-8"), ("ISO_IR 999", "latin-1"), ("ISO_IR 999", "utf-8"),
        ("ISO-8859-1", "latin-1"), ("UTF-8", "utf-8"), ("latin1", "latin-1"),
        ("ISO 2022 IR 6\\ISO 2022 IR 87", "latin-1"), ("ISO_IR 192", "latin-1"),
        ("ISO_IR 100", "utf-8"), ("ISO_IR 6", "utf-8"),
    ],
)  # fmt: skip
def test_a_wrong_character_set_is_said_once_and_the_name_is_readable(declared, encoding, said):
    values = {"PatientName": "Müller^Jörg".encode(encoding)}
    values |= {"SpecificCharacterSet": declared} if declared else {}
    with answering(*[match(f"1.2.{i}", **values) for i in range(3)]) as node:
        studies = find_studies(node)
    assert {str(study.PatientName) for study in studies} == {"Müller^Jörg"}
    assert said("character set") == 1


def test_a_right_character_set_is_no_matter(said):
    values = {"PatientName": "Müller".encode("latin-1"), "SpecificCharacterSet": "ISO_IR 100"}
    with answering(match(**values)) as node:
        assert str(find_studies(node)[0].PatientName) == "Müller"
    assert said("") == 0


def test_odd_values_warn_nobody_but_the_log_also_in_two_threads():
    odd = {
        "NumberOfStudyRelatedInstances": "abc",
        "StudyDate": "unknown",
        "SpecificCharacterSet": "nonsense",
        "StudyDescription": "é" * 100,
        "PatientName": b"\xff^=\\\0",
    }
    shown = []
    with answering(*[match(f"1.2.{i}", **odd) for i in range(20)]) as node:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            threads = [
                threading.Thread(target=lambda: shown.append(str(list(find_studies(node)))))
                for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert [str(w.message) for w in caught if "pydicom" in w.filename] == []
    assert len(shown) == 2
    assert all("abc" in text for text in shown)


def test_uids_have_no_padding():
    with answering(match(b" 1.2.3 \0\0")) as node:
        assert find_studies(node, study_instance_uid=STUDY)[0].StudyInstanceUID == STUDY


def test_a_long_key_is_sent_as_it_is():
    with answering(match(AccessionNumber="1" * 20)) as node:
        assert len(find_studies(node, accession_number="1" * 20)) == 1


def test_a_pacs_that_repeats_itself_without_end_is_left():
    def find(talk, request):
        while True:
            talk.respond(request, PENDING, match())

    with OddPacs(find=find, dimse_s=0.3) as node:
        with pytest.raises(PacsTimeout, match=r"again and again.*0.3 s"):
            find_studies(node)


@pytest.mark.parametrize("uid", ["1.2.{}", STUDY])
def test_more_answers_than_we_take_are_an_error(uid):
    with answering(*[match(uid.format(i)) for i in range(7)]) as node:
        assert find_studies(node, most_matches=7)
        with pytest.raises(MagicianError, match="more than 6 matches"):
            find_studies(node, most_matches=6)


def test_one_answer_of_many_megabytes_is_not_taken():
    values = [match(StudyDescription="x" * 65000)] * 20
    with answering(b"".join(values)) as node, pytest.raises(MagicianError):
        find_studies(node)


@pytest.mark.parametrize("content", [b"\0", b"\xff" * 40, match()[:-1], b"\x08\0\x05\0CS\xff\xff"])
def test_an_answer_that_can_not_be_read_is_an_error_in_words(content):
    with answering(content) as node:
        with pytest.raises(MagicianError, match="answered our C-FIND"):
            find_studies(node)


def c_find_row(*answers, **keywords):
    with answering(*answers, **keywords) as node:
        return diagnose(node)["C-FIND"]


def test_diagnosis_warns_of_a_pacs_that_ignores_a_uid():
    row = c_find_row(*[match(f"1.2.{i}") for i in range(9)])
    assert row.outcome == "warning"
    assert "ignores StudyInstanceUID" in row.seen


def test_diagnosis_warns_also_if_such_a_pacs_then_stops_at_a_limit():
    assert c_find_row(match(), end=0xA700).outcome == "warning"


def test_diagnosis_raises_no_alarm_over_a_pacs_that_gives_back_our_own_uid():
    def find(talk, request):
        uid = request.identifier.StudyInstanceUID
        talk.respond(request, PENDING_WITHOUT_KEYS, match(uid + "\0" * (len(uid) % 2)))
        talk.respond(request)

    with OddPacs(find=find) as node:
        assert diagnose(node)["C-FIND"].outcome == "ok"


def test_diagnosis_names_a_match_without_uid():
    row = c_find_row(match(""))
    assert row.outcome == "stopped"
    assert "without a StudyInstanceUID" in row.seen
