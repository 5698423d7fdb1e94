"""Keys of a query: what may stand in them, and what to write instead (PS3.4 C.2.2.2, PS3.5 6.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from pydicom.valuerep import PersonName

from magician.dimse.query import require_wildcards_allowed
from magician.errors import WrongArgument
from magician.files import is_uid

FORM_OF_DATES = (
    "Write the date as YYYYMMDD, for instance '20250303'; a range as '20250101-20251231'; "
    "'20250101-' is from that day on, '-20251231' is up to that day."
)
# What is written day first, or with the year first, in a way that can mean one day only
DAY_FIRST = r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})"
YEAR_FIRST = r"(?P<year>\d{4})[-./](?P<month>\d{1,2})[-./](?P<day>\d{1,2})"
COMMON_MODALITIES = "CT, MR, PT, NM, US, DX, CR, MG, XA, RF, OT, SEG, SR"  # PS3.3 C.7.3.1.1.1


def require_text(argument: str, value: object, *, needed: bool = False) -> str:
    """Return the value of a key as text, or raise `WrongArgument` if it is none.

    Spaces around it do not count (PS3.5 6.2), and a PACS may take them for part of the value: they
    are taken off.

    Parameters
    ----------
    argument : str
        The name of the argument, for the message.
    value : object
    needed : bool
        An empty text is wrong, too.
    """
    if isinstance(value, PersonName):  # what an answer of a PACS holds
        value = str(value)
    if isinstance(value, str) and (value.strip() or not needed):
        return value.strip(" \0")
    if isinstance(value, date):
        raise WrongArgument(
            f"{argument} is a date of Python's, and a query holds text: write "
            f"{argument}='{value:%Y%m%d}'."
        )
    if isinstance(value, int) and not isinstance(value, bool):
        raise WrongArgument(
            f"{argument}={value} is a number, and a query holds text: write {argument}='{value}', "
            f"with quotes. (A number loses zeros at its beginning.)"
        )
    if needed:
        held = getattr(value, "get", lambda *_: None)("StudyInstanceUID", None)
        hint = ", for instance study.StudyInstanceUID and not study" if held else ""
        raise WrongArgument(
            f"{argument} must be a UID, as the query of the level above returns it{hint}: got "
            f"{_short(value)}."
        )
    raise WrongArgument(
        f"{argument} must be a text in quotes, or '' if it does not matter: got {_short(value)}."
    )


def require_keys(arguments: Mapping[str, object]) -> dict[str, str]:
    """Return the values of the arguments of `find_studies` as texts.

    Raises
    ------
    WrongArgument
        If one is no text, or if a PACS could never understand it.
    """
    keys = {argument: require_text(argument, value) for argument, value in arguments.items()}
    if "study_date" in keys:
        keys["study_date"] = re.sub(" *- *", "-", keys["study_date"])
        _require_date(keys["study_date"])
    _require_modality(keys.get("modality", ""))
    uid = keys.get("study_instance_uid", "")
    require_wildcards_allowed("StudyInstanceUID", uid)
    if uid and not is_uid(uid):
        raise WrongArgument(
            f"study_instance_uid={uid!r} is not a UID: digits and dots, at most 64 (PS3.5 9.1)."
        )
    return keys


def advise(keys: Mapping[str, str]) -> str:
    """Tell what to change in a query that nothing matched."""
    name, modality = keys.get("patient_name", ""), keys.get("modality", "")
    advice = []
    if name and not re.search(r"[*?]", name):
        advice.append(
            f"A name is compared as a whole (PS3.4 C.2.2.2.1): write patient_name='{name}*' for "
            f"names that begin so, or '*{name}*' for names that hold it."
        )
    if modality and modality not in COMMON_MODALITIES.split(", "):
        advice.append(f"Is {modality!r} the modality's code? Common are {COMMON_MODALITIES}.")
    if sum(map(bool, keys.values())) > 1:
        advice.append("All keys must match at once: leave some of them empty.")
    return " ".join(advice)


def _require_date(text: str) -> None:
    if not text:
        return
    days = text.split("-")
    if len(days) <= 2 and any(days) and all(map(_is_day, filter(None, days))):
        if len(days) == 2 and all(days) and days[0] > days[1]:
            raise WrongArgument(
                f"study_date={text!r} ends before it begins: write '{days[1]}-{days[0]}'."
            )
        return
    raise WrongArgument(f"study_date={text!r} is not a date of DICOM. {_meant(text)}")


def _is_day(text: str) -> bool:
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return re.fullmatch(r"[0-9]{8}", text) is not None


def _meant(text: str) -> str:
    """Tell how to write a date, and the one that was probably meant."""
    if re.fullmatch(r"[0-9]{4}", text):
        return f"The whole year is '{text}0101-{text}1231'. {FORM_OF_DATES}"
    match = re.fullmatch(DAY_FIRST, text.strip()) or re.fullmatch(YEAR_FIRST, text.strip())
    if match:
        day = f"{match['year']}{int(match['month']):02d}{int(match['day']):02d}"
        if _is_day(day):
            return f"Is '{day}' meant? {FORM_OF_DATES}"
    return FORM_OF_DATES


def _require_modality(text: str) -> None:
    if re.fullmatch(r"[A-Z0-9 _*?]{0,16}", text):
        return
    if re.fullmatch(r"[A-Z0-9 _*?]{0,16}", text.upper()):
        raise WrongArgument(
            f"DICOM writes a modality in capitals: write modality='{text.upper()}'."
        )
    raise WrongArgument(
        f"modality={text!r} is not a code of a modality. Common are {COMMON_MODALITIES}."
    )


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else type(value).__name__
