"""Spaces, dates, names and character sets in what is stored, and in what foreign software asks."""

import logging
import shutil
import subprocess
import warnings
from io import BytesIO

import pytest
from helpers import ct_series
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.uid import generate_uid
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

from magician.client.echo import echo
from magician.client.find import find_studies
from magician.client.retrieve import move_study
from magician.client.store import store
from magician.dimse.association import associate
from magician.dimse.receiver import Receiver
from magician.node import Node
from magician.practice_pacs.archive import Archive
from magician.practice_pacs.pacs import PracticePacs

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")  # what is odd is meant so

FINDSCU = shutil.which("findscu")


def as_latin_1(text):
    """A text that pydicom, under no or a Latin-1 character set, writes as the UTF-8 of `text`."""
    return text.encode("utf-8").decode("latin-1")


def image(accession_number, charset=None, **elements):
    (ds,) = ct_series(slices=1, rows=16, columns=16, accession_number=accession_number)
    ds.StudyInstanceUID, ds.SOPInstanceUID = generate_uid(), generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if charset is None:
        ds.pop("SpecificCharacterSet", None)
    else:
        ds.SpecificCharacterSet = charset
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


@pytest.fixture(scope="module")
def images():
    return [
        image(
            "YAMADA",
            ["", "ISO 2022 IR 87"],
            PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
            StudyDate="2020.01.02",
            StudyTime="10:15:30",
        ),
        # these letters hold "=", "^" and "\" in JIS X 0208: 3D77, 3D5E, 3D5C
        image("DELIMITERS", ["", "ISO 2022 IR 87"], PatientName="Onna^Jun=女準^術"),
        image("LATIN", "ISO_IR 100", PatientName="Müller^Änne"),
        image(
            "UNDECLARED",
            None,
            PatientName=as_latin_1("Søren^Åse"),
            StudyDescription=as_latin_1("鼻"),
        ),
        image("WRONG", "ISO_IR 100", PatientName=as_latin_1("Дарья^Ивановна")),
        image(" A7", PatientID=" 0007 ", PatientName=" Space ^Outer "),
    ]


@pytest.fixture(scope="module")
def pacs(images):
    with PracticePacs() as pacs:
        store(pacs.node, images)
        yield pacs


def asked(pacs, charset=None, **keys):
    """The accession numbers of the studies that match a query of foreign software."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.AccessionNumber = "STUDY", ""
    if charset is not None:
        identifier.SpecificCharacterSet = charset
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    with associate(pacs.node, [FIND]) as association:
        responses = list(association.send_c_find(identifier, FIND))
    assert responses[-1][0].Status == 0x0000
    return [match.AccessionNumber.strip() for _, match in responses[:-1]]


JAPANESE, UTF_8 = ["", "ISO 2022 IR 87"], "ISO_IR 192"


@pytest.mark.parametrize(
    ("charset", "name", "found"),
    [
        (JAPANESE, "山田^太郎", "YAMADA"),
        (JAPANESE, "=山田*", "YAMADA"),
        (UTF_8, "やまだ^たろう", "YAMADA"),
        (None, "yamada*", "YAMADA"),
        (JAPANESE, "女準^術", "DELIMITERS"),
        (UTF_8, "女*", "DELIMITERS"),
        ("ISO_IR 100", "MÜLLER^ÄNNE", "LATIN"),
        (UTF_8, "müller*", "LATIN"),
        (None, "Müller*", "LATIN"),  # pydicom writes Latin-1 then
        (None, as_latin_1("Müller*"), "LATIN"),  # UTF-8, undeclared
        ("ISO_IR 100", as_latin_1("山田*"), "YAMADA"),  # UTF-8, wrongly declared
        (UTF_8, "Søren*", "UNDECLARED"),
        ("ISO_IR 144", "Дарья*", "WRONG"),
        (None, "Space^Outer", "A7"),
    ],
)
def test_a_name_is_found_in_whatever_character_set_it_is_asked_for(pacs, charset, name, found):
    assert asked(pacs, charset, PatientName=name) == [found]


def test_the_answer_holds_the_name_as_it_is_meant(pacs):
    names = {study.AccessionNumber: study.PatientName for study in find_studies(pacs.node)}
    assert names["UNDECLARED"] == "Søren^Åse"
    assert names["WRONG"] == "Дарья^Ивановна"
    assert names["DELIMITERS"].ideographic == "女準^術"


@pytest.mark.parametrize(
    "keys",
    [
        {"StudyDate": "2020.01.02"},
        {"StudyDate": "20200102-20200102", "StudyTime": "101530-101530"},
        {"StudyDate": "20200102", "StudyTime": "10:15:30"},
    ],
)
def test_a_study_with_the_date_and_time_of_acr_nema(pacs, keys):
    assert asked(pacs, AccessionNumber="YAMADA", **keys) == ["YAMADA"]


@pytest.mark.parametrize(
    "keys",
    [
        {"StudyDate": "2020-01-02"},
        {"StudyDate": "20200103-20200101"},
        {"StudyDate": "yesterday"},
        {"StudyTime": "25 past ten"},
        {"StudyDate": "20200102", "StudyTime": "11-"},
    ],
)
def test_an_odd_key_is_no_match_and_no_failure(pacs, keys, caplog):
    assert asked(pacs, **keys) == []
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("level", ["SERIES", "IMAGE"])
def test_a_number_that_is_none_is_no_failure(pacs, level):
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    identifier.SeriesNumber = identifier.InstanceNumber = None
    keyword = "SeriesNumber" if level == "SERIES" else "InstanceNumber"
    identifier[keyword]._value = "one"  # as foreign software may send it
    with associate(pacs.node, [FIND]) as association:
        responses = list(association.send_c_find(identifier, FIND))
    assert [response.Status for response, _ in responses] == [0x0000]


def test_what_is_odd_is_told_as_it_is_stored(tmp_path):
    archive = Archive(tmp_path, host="127.0.0.1")
    archive.add([image("A1", StudyDate="in May", SeriesNumber=None)])
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyDate = identifier.SeriesNumber = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # not even a word of pydicom's
        (answer,) = archive.find(identifier)
    archive.close()
    assert (answer.StudyDate, answer.SeriesNumber) == ("in May", None)


@pytest.mark.parametrize(("rows", "found"), [(16, 6), (17, 0)])
def test_a_binary_number_is_matched(pacs, rows, found):
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.Rows = "IMAGE", rows
    with associate(pacs.node, [FIND]) as association:
        responses = list(association.send_c_find(identifier, FIND))
    assert [match.Rows for _, match in responses[:-1]] == [rows] * found


def test_a_count_is_told_and_not_matched(pacs):
    assert asked(pacs, AccessionNumber="LATIN", NumberOfStudyRelatedInstances=5) == ["LATIN"]


@pytest.mark.parametrize(
    "key",
    [
        {"accession_number": "A7"},
        {"accession_number": " A7"},
        {"patient_id": "0007"},
        {"patient_id": " 0007"},
        {"patient_id": "00*"},
        {"patient_name": "space^outer"},
    ],
)
def test_spaces_around_a_stored_value_and_a_key_do_not_count(pacs, images, key):
    (found,) = find_studies(pacs.node, **key)
    assert found.StudyInstanceUID == images[-1].StudyInstanceUID


@pytest.mark.skipif(FINDSCU is None, reason="DCMTK is not installed")
@pytest.mark.parametrize(
    "keys",
    [
        ["PatientName=山田*"],  # the bytes of the command line: UTF-8, undeclared
        ["SpecificCharacterSet=ISO_IR 192", "PatientName==山田^太郎"],
        ["StudyDate=2020.01.02", "PatientName=YAMADA*"],
        ["PatientName= Yamada ^Tarou"],
    ],
)
def test_dcmtk_finds_a_japanese_name(pacs, keys):
    command = [FINDSCU, "-v", "-S", "-aec", "PRACTICE", "127.0.0.1", str(pacs.node.port)]
    for key in ["QueryRetrieveLevel=STUDY", "AccessionNumber", *keys]:
        command += ["-k", key]
    run = subprocess.run(command, capture_output=True, timeout=20, check=True)
    said = (run.stdout + run.stderr).decode(errors="replace")
    assert said.count("AccessionNumber") == 2  # of the query, and of one answer
    assert "[YAMADA]" in said


def test_a_wrong_character_set_is_said_once_for_each_study(caplog):
    images = [
        image(f"A{i}", None, PatientName=as_latin_1("Søren")) for i in range(3)
    ] + [image("PLAIN", None, PatientName="Plain")]  # fmt: skip
    images[1].StudyInstanceUID = images[0].StudyInstanceUID
    with PracticePacs() as pacs, caplog.at_level(logging.WARNING):
        store(pacs.node, images)
    said = [line for record in caplog.records if "character set" in (line := record.getMessage())]
    assert said == [
        f"Study {study}: it declares no character set, and its text is UTF-8, and was read so."
        for study in (images[0].StudyInstanceUID, images[2].StudyInstanceUID)
    ]


def test_a_query_in_a_wrong_character_set_is_said_once(pacs, caplog):
    for _ in range(3):
        asked(pacs, "ISO_IR 101", PatientName="Søren*".encode().decode("iso8859_2"))
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if line.startswith("A query: it declares")] == [
        "A query: it declares the character set 'ISO_IR 101', and its text is UTF-8, and was read "
        "so."
    ]


def test_a_file_with_a_wrong_character_set_is_read_so_after_a_restart(tmp_path):
    with PracticePacs(folder=tmp_path) as pacs:
        pacs.add([image("A1", "ISO_IR 100", PatientName=as_latin_1("山田^太郎"))])
        assert asked(pacs, UTF_8, PatientName="山田*") == ["A1"]
    archive = Archive(tmp_path, host="127.0.0.1")
    assert archive.held("STUDY")[0]["PatientName"] == "山田^太郎"
    archive.close()


def with_bytes(ds, **values):
    """The data set as it is read from a file in which these values stand, byte for byte."""
    for number, (keyword, value) in enumerate(values.items(), start=1):
        placeholder = f"{number}" * len(value)
        vr = dictionary_VR(keyword)
        ds[keyword] = DataElement(keyword, vr, placeholder, validation_mode=IGNORE)
    content = BytesIO()
    dcmwrite(content, ds, enforce_file_format=True)
    content = content.getvalue()
    for number, value in enumerate(values.values(), start=1):
        placeholder = f"{number}".encode() * len(value)
        assert content.count(placeholder) == 1
        content = content.replace(placeholder, value)
    return dcmread(BytesIO(content))


@pytest.mark.parametrize(
    ("charset", "name", "meant"),
    [
        ("ISO_IR 192", "Müller".encode("latin-1"), "Müller"),
        ("ISO_IR 192", "Müller".encode(), "Müller"),
        ("ISO_IR 13", "Søren^Åse^Sofie".encode(), "Søren^Åse^Sofie"),
        (JAPANESE, b"Yamada=\x1b$B;3ED\x1b(B", "Yamada=山田"),
        (None, b"Yamada=\x1b$B;3ED\x1b(B", "Yamada=山田"),
    ],
)
def test_bytes_that_are_not_in_the_declared_character_set(charset, name, meant):
    sent = with_bytes(image("A1", charset), PatientName=name)
    with PracticePacs() as pacs:
        store(pacs.node, [sent])
        assert pacs.held("STUDY")[0]["PatientName"] == meant
        assert asked(pacs, UTF_8, PatientName=meant) == ["A1"]


def test_elements_that_break_their_rules_are_kept(caplog):
    values = {
        "SeriesNumber": b"the first one ",
        "StudyDate": b"in early May",
        "StudyTime": b"25 past ten ",
    }
    sent = with_bytes(image("A1"), **values)
    with PracticePacs() as pacs:
        store(pacs.node, [sent])
        (series,) = pacs.held("SERIES")
    assert {keyword: series[keyword] for keyword in values} == {
        "SeriesNumber": "the first one", "StudyDate": "in early May", "StudyTime": "25 past ten",
    }  # fmt: skip


def test_text_that_only_looks_like_utf_8_stays_as_it_is_declared(tmp_path):
    names = {"ISO_IR 13": "ﾏｲ", "ISO_IR 166": "ยก", "GB18030": "联通", "ISO_IR 100": "Ü"}
    with PracticePacs(folder=tmp_path) as pacs:
        store(pacs.node, [image(f"A{i}", charset, PatientName=name)
                          for i, (charset, name) in enumerate(names.items())])  # fmt: skip
        assert [study["PatientName"] for study in pacs.held("STUDY")] == list(names.values())


def test_titles_with_spaces_around_them(tmp_path):
    latin = image("A1")
    with (
        PracticePacs(ae_title=" PACS", allowed_ae_titles=["ADA "]) as pacs,
        Receiver(tmp_path, ae_title="DEST ") as receiver,
    ):
        node = Node("PACS\0", " 127.0.0.1 ", pacs.node.port, local_ae_title=" ADA")
        assert (pacs.node.ae_title, receiver.node.ae_title) == ("PACS", "DEST")
        assert echo(node) == echo(receiver.node) == 0x0000
        pacs.allow(" EVE ")
        assert echo(Node("PACS", "127.0.0.1", pacs.node.port, local_ae_title="EVE")) == 0x0000
        pacs.know(Node("DEST ", "127.0.0.1", receiver.node.port))
        store(node, [latin])
        assert move_study(node, latin.StudyInstanceUID, receiver, progress=False).received == 1


def test_one_title_with_and_without_spaces_is_one_shared_pacs():
    pacs = PracticePacs.shared(" SPACED ")
    assert PracticePacs.shared("SPACED") is pacs
    pacs.stop()
