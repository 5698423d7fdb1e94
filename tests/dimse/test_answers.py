"""Elements of an answer as text, and whether an answer contradicts a key (PS3.4 C.2.2.2)."""

import struct
import zlib

import pytest
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from magician.elements import MOST_BYTES, decode, read_text_elements
from magician.keys import Key

NAME = "Müller^Jörg"


def explicit(keyword, value, vr=None, order="<"):
    tag = tag_for_keyword(keyword)
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    return head + (vr or dictionary_VR(tag)).encode() + struct.pack(f"{order}H", len(value)) + value


def implicit(keyword, value):
    tag = tag_for_keyword(keyword)
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def begin(tag, vr=b""):
    """The head of a sequence or an item of undefined length."""
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr + b"\xff\xff\xff\xff"


def contradicts(keyword, asked, answered, *, is_sure=True):
    vr, answer = dictionary_VR(keyword), Dataset()
    if answered is not None:
        answer.add(DataElement(keyword, vr, answered, validation_mode=config.IGNORE))
    key = Key(DataElement(keyword, vr, asked, validation_mode=config.IGNORE))
    return key.contradicts(answer, is_sure=is_sure)


@pytest.mark.parametrize(
    "declared",
    [
        "", "ISO_IR 6", "ISO_IR 100", "ISO_IR 192", "ISO_IR 999", "ISO-8859-1", "ISO_8859-1",
        "8859-1", "UTF-8", "utf8", "latin1", "Latin-1", "iso_ir 100", "ISO_IR_100", "ISO IR 192",
        "ISO2022IR100", "\\ISO 2022 IR 87", "ISO 2022 IR 6\\ISO 2022 IR 87", "windows-1252",
        "unicode_escape", "nonsense", "ISO_IR 192\\ISO 2022 IR 87", "\\\\", "x" * 300,
    ],
)  # fmt: skip
@pytest.mark.parametrize("written", ["utf-8", "latin-1"])
def test_a_name_is_readable_whatever_character_set_is_declared(declared, written):
    text, wrong = decode(NAME.encode(written), declared.split("\\"))
    assert text == NAME
    is_right = (declared.split("\\")[0], written) in {
        ("ISO_IR 100", "latin-1"),
        ("ISO_IR 192", "utf-8"),
    }
    assert bool(wrong) == (not is_right)


@pytest.mark.parametrize("declared", ["GB18030", "GBK", "ISO_IR 13", "ISO_IR 166", "ISO_IR 144"])
@pytest.mark.parametrize("name", ["Müller^Jörg", "MÜLLER^JÖRG", "Öztürk^René"])
def test_accents_in_utf_8_are_read_where_another_writing_is_declared(declared, name):
    assert decode(name.encode(), [declared])[0] == name


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("GB18030", "gb18030", "王^小东"),
        ("GBK", "gbk", "联通"),
        ("ISO_IR 166", "tis-620", "ยก"),
        ("ISO_IR 166", "tis-620", "เกด"),
        ("ISO_IR 13", "shift_jis", "ﾃｽﾄｱ"),
        ("ISO_IR 144", "iso8859-5", "Иванов"),
        ("ISO_IR 101", "iso8859-2", "Łukasz"),
    ],
)
def test_a_proper_character_set_is_believed_also_where_bytes_are_utf_8_by_chance(
    declared, encoding, text
):
    assert decode(text.encode(encoding), [declared]) == (text, "")


@pytest.mark.parametrize("declared", ["GB18030", "GBK", "ISO_IR 100", ""])
def test_chinese_in_utf_8_is_read_whatever_is_declared(declared):
    text, wrong = decode("王^小东".encode(), [declared])
    assert text == "王^小东"
    assert "UTF-8" in wrong


@pytest.mark.parametrize(
    ("declared", "value", "text"),
    [
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B",
            "Yamada^Tarou=山田^太郎",
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        ),
        (
            "\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
            "Hong^Gildong=洪^吉洞",
        ),
        ("\\ISO 2022 IR 58", b"Zhang=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang=张^小东"),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", b"\xfc\x1b-L\xb8^\xfc", "üИ^ü"),
    ],
)
def test_escape_sequences_change_the_character_set(declared, value, text):
    assert decode(value, declared.split("\\")) == (text, "")


@pytest.mark.parametrize(
    ("declared", "encoding", "text"),
    [
        ("windows-1250", "cp1250", "Łukasz"),
        ("CP1252", "cp1252", "5 €"),
        ("ISO-8859-2", "iso8859-2", "Łukasz"),
        ("iso8859_5", "iso8859-5", "Иванов"),
        ("latin2", "iso8859-2", "Łukasz"),
        ("Shift_JIS", "shift_jis", "山田"),
        ("EUC-KR", "euc_kr", "홍"),
        ("koi8-r", "koi8-r", "Иванов"),
    ],
)
def test_names_of_encodings_that_are_none_of_dicom_are_understood_and_said(
    declared, encoding, text
):
    found, wrong = decode(text.encode(encoding), [declared])
    assert found == text
    assert repr(declared) in wrong


def test_escape_sequences_that_are_not_declared_are_read_and_said():
    text, wrong = decode(b"\x1b$B;3ED\x1b(B", [""])
    assert text == "山田"
    assert "declares no character set" in wrong


def test_utf_8_that_was_cut_in_a_letter_keeps_what_is_whole():
    assert decode("Müllerü".encode()[:-1], ["ISO_IR 192"])[0] == "Müller"


@pytest.mark.parametrize("value", [b"\x1b", b"\x1b$", b"\x1b$B\xff", b"\xff\xfe", b"\x1b$)C\xff"])
def test_any_bytes_are_some_text(value):
    assert isinstance(decode(value, ["ISO 2022 IR 87"])[0], str)


def test_odd_values_stay_text_and_can_be_printed():
    content = b"".join(
        explicit(keyword, value)
        for keyword, value in [
            ("SpecificCharacterSet", b"ISO-8859-1"),
            ("StudyDate", b"unknown "),
            ("AccessionNumber", b"A1\\A2 "),
            ("PatientName", b"Test^Case\0"),
            ("PatientSize", b"1,75"),
            ("StudyInstanceUID", b" 1.2.3 \0\0"),
            ("NumberOfStudyRelatedSeries", b"93.0"),
            ("NumberOfStudyRelatedInstances", b"abc "),
        ]
    )
    found, _ = read_text_elements(content, ExplicitVRLittleEndian)
    assert found.StudyInstanceUID == "1.2.3"
    assert found.StudyDate == "unknown"
    assert list(found.AccessionNumber) == ["A1", "A2"]
    assert found.PatientName == "Test^Case"
    assert found.NumberOfStudyRelatedSeries == 93
    assert found.NumberOfStudyRelatedInstances == "abc"
    assert "1,75" in str(found)


def test_a_wrong_value_representation_does_not_count():
    content = b"".join(
        [
            explicit("SpecificCharacterSet", b"nonsense", vr="IS"),
            explicit("PatientName", b"J\xf6rg", vr="LO"),
            explicit("StudyInstanceUID", b"1.22", vr="DS"),
        ]
    )
    found, _ = read_text_elements(content, ExplicitVRLittleEndian)
    assert found.StudyInstanceUID == "1.22"
    assert (found.SpecificCharacterSet, found.PatientName.family_name) == ("ISO_IR 192", "Jörg")


@pytest.mark.parametrize("number", [b"inf", b"nan", b"1e999", b"9" * 6000, b"--", b"1_0\\2"])
def test_no_number_is_too_odd(number):
    content = explicit("NumberOfStudyRelatedInstances", number)
    str(read_text_elements(content, ExplicitVRLittleEndian)[0])


def test_what_was_read_otherwise_than_declared_can_be_written_again():
    content = explicit("SpecificCharacterSet", b"ISO_IR 999 ") + explicit("PatientName", b"J\xf6rg")
    found, _ = read_text_elements(content, ExplicitVRLittleEndian)
    assert (found.SpecificCharacterSet, found.PatientName) == ("ISO_IR 192", "Jörg")


@pytest.mark.parametrize(
    ("syntax", "content"),
    [
        (ExplicitVRLittleEndian, explicit("StudyInstanceUID", b"1.22")),
        (ExplicitVRLittleEndian, implicit("StudyInstanceUID", b"1.22")),
        (ExplicitVRLittleEndian, explicit("StudyInstanceUID", b"1.22", vr="UN")[:6] +
         b"\0\0\x04\0\0\0" + b"1.22"),
        (ImplicitVRLittleEndian, implicit("StudyInstanceUID", b"1.22")),
        (ImplicitVRLittleEndian, explicit("StudyInstanceUID", b"1.22")),
        (ExplicitVRBigEndian, explicit("StudyInstanceUID", b"1.22", order=">")),
        (
            DeflatedExplicitVRLittleEndian,
            zlib.compress(explicit("StudyInstanceUID", b"1.22"), wbits=-15),
        ),
    ],
)  # fmt: skip
def test_each_way_to_write_a_data_set_is_read(syntax, content):
    found, _ = read_text_elements(content, syntax)
    assert found.StudyInstanceUID == "1.22"


def test_sequences_are_passed_over_however_deep():
    depth = 5000
    nested = (begin(0x00081032, b"SQ\0\0") + begin(0xFFFEE000)) * depth
    ends = bytes.fromhex("feff0de000000000feffdde000000000") * depth
    whole = nested + explicit("PatientID", b"inner ") + ends + explicit("StudyID", b"outer ")
    found, _ = read_text_elements(whole, ExplicitVRLittleEndian)
    assert (found.get("PatientID"), found.StudyID) == (None, "outer")


def test_a_data_set_that_is_cut_short_is_an_error_in_words():
    with pytest.raises(ValueError, match=r"\(0020,000D\) claims 4 bytes, and 3 follow"):
        read_text_elements(explicit("StudyInstanceUID", b"1.22")[:-1], ExplicitVRLittleEndian)


def test_a_deflated_data_set_is_not_inflated_without_end():
    bomb = zlib.compress(bytes(MOST_BYTES + 1), wbits=-15)
    with pytest.raises(ValueError, match="more than"):
        read_text_elements(bomb, DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("keyword", "asked", "answered"),
    [
        ("PatientName", "Müller^Jörg", "MÜLLER^JÖRG^^^"),
        ("PatientName", "Müller^Jörg", "Muller^Jorg"),
        ("PatientName", "Doe^John", " doe ^ john =="),
        ("PatientName", "Yamada^Tarou", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("PatientName", "山田^太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("PatientName", "=山田^太郎", "Yamada^Tarou=山田^太郎"),
        ("PatientName", "Yamada^Tarou=山田^太郎", "yamada^tarou"),
        ("PatientName", "Do*", "DOE^JOHN"),
        ("PatientName", "Doe^*", "Doe"),
        ("PatientName", "Müller", "M?ller"),
        ("PatientID", "P1", " P1 \0"),
        ("PatientID", "P?[1]*", "P7[1]8"),
        ("AccessionNumber", "A1", ["A0", "A1"]),
        ("ModalitiesInStudy", "CT", ["SR", "CT"]),
        ("StudyDate", "20200102", "2020.01.02"),
        ("StudyDate", "20200101-20200131", "20200102"),
        ("StudyDate", "20200101-", "2020.01.02"),
        ("StudyDate", "-20200131", "20200102"),
        ("StudyDate", "20200102", "unknown"),
        ("StudyTime", "1011", "101112"),
        ("SeriesNumber", "1", "01"),
        ("StudyInstanceUID", ["1.2", "1.3"], "1.3"),
        ("PatientID", "P1", ""),
        ("PatientID", "P1", None),
        ("PatientID", "P1", "x" * 2000),
    ],
)
def test_what_a_key_matches_contradicts_nothing(keyword, asked, answered):
    assert not contradicts(keyword, asked, answered)


@pytest.mark.parametrize(
    ("keyword", "asked", "answered"),
    [
        ("PatientName", "Doe^John", "Doe^Jane"),
        ("PatientName", "Yamada^Tarou", "Suzuki^Hana=鈴木^花"),
        ("PatientName", "=山田^太郎", "Suzuki^Hana=鈴木^花"),
        ("PatientName", "Do*", "Smith^Do"),
        ("PatientID", "P1", "p1"),
        ("PatientID", "P1", "P12"),
        ("AccessionNumber", "A1", ["A0", "A2"]),
        ("AccessionNumber", "A?", "A12"),
        ("ModalitiesInStudy", "CT", ["MR", "SR"]),
        ("StudyDate", "20200102", "2020.01.03"),
        ("StudyDate", "20200101-20200131", "20200201"),
        ("SeriesNumber", "1", "11"),
        ("StudyInstanceUID", "1.2", "1.2.3"),
    ],
)
def test_what_a_key_does_not_match_contradicts_it(keyword, asked, answered):
    assert contradicts(keyword, asked, answered)


def test_text_that_is_not_surely_read_contradicts_no_key_with_accents():
    assert contradicts("PatientName", "Müller", "Mýller")
    assert not contradicts("PatientName", "Müller", "Mýller", is_sure=False)
    assert contradicts("PatientName", "Doe", "Mýller", is_sure=False)


def test_a_key_of_many_wildcards_takes_no_time():
    assert contradicts("PatientID", "*a" * 30 + "b", "a" * 1000)
