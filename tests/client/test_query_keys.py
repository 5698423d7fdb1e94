"""The keys of a query as they are sent: spaces around them, and the forms of a date."""

import pytest

from magician.client.query_keys import require_keys, require_text
from magician.errors import WrongArgument


@pytest.mark.parametrize("argument", ["accession_number", "patient_id", "patient_name", "modality"])
@pytest.mark.parametrize("around", ["{}", " {}", "{} ", "  {}\0"])
def test_spaces_around_a_key_are_not_sent(argument, around):
    assert require_keys({argument: around.format("A1")}) == {argument: "A1"}


def test_spaces_within_a_key_are_sent():
    assert require_keys({"patient_name": " van der Berg^Jan "}) == {
        "patient_name": "van der Berg^Jan"
    }


def test_a_uid_with_spaces_around_it_is_a_uid():
    assert require_keys({"study_instance_uid": " 1.2.3\0"}) == {"study_instance_uid": "1.2.3"}
    assert require_text("study_instance_uid", " 1.2.3 ", needed=True) == "1.2.3"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("20200102", "20200102"),
        (" 20200102 ", "20200102"),
        ("20200102 - 20200103", "20200102-20200103"),
        ("20200102 -", "20200102-"),
        ("- 20200102", "-20200102"),
    ],
)
def test_a_date_or_a_range_of_dates(written, sent):
    assert require_keys({"study_date": written}) == {"study_date": sent}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("2020-01-02", "Is '20200102' meant"),
        ("2020 - 01 - 02", "Is '20200102' meant"),
        ("2020.01.02", "Is '20200102' meant"),
        ("02.01.2020", "Is '20200102' meant"),
        ("2020", "'20200101-20201231'"),
        ("20200230", "Write the date as YYYYMMDD"),
        ("20200103 - 20200102", "write '20200102-20200103'"),
        ("-", "Write the date as YYYYMMDD"),
        ("20200102\\20200103", "Write the date as YYYYMMDD"),
    ],
)
def test_another_form_of_a_date_is_refused_with_the_right_one(written, words):
    with pytest.raises(WrongArgument, match=words):
        require_keys({"study_date": written})
