"""The object of a C-STORE request: read, checked, written to a file (PS3.4 Annex B, PS3.7 9.1.1).

A peer sends one to a listener of ours, or during our C-GET. What comes from a network is not to be
trusted: the SOP Instance UID becomes a file name only after it was checked to be a UID, and the
file appears in its folder whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pydicom.datadict import dictionary_description, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom import evt

from magician.dimse.status import (
    COMMENT_CHARACTERS,
    NOT_MATCHING,
    NOT_UNDERSTOOD,
    OUT_OF_RESOURCES,
)
from magician.elements import text_element
from magician.files import QuotaExceeded, StorageQuota, instance_path, parse_whole, write_whole
from magician.upper_layer.encoding import file_meta

# The elements that tell whether an object may be kept or sent, and how
HEADER_KEYWORDS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientIdentityRemoved",
]
PLAIN_VR = ("UI", "CS")  # of letters that every character set has
MAX_UID_CHARACTERS = 64  # PS3.5 9.1
REASON_CHARACTERS = 400  # a hostile object may bring values of megabytes into an error's words


class Refused(Exception):
    """An object that is not kept; the message is the object and the reason.

    Parameters
    ----------
    status : int
        The answer to the C-STORE request.
    reason : str
        The object and the reason.
    uid : str
        The SOP Instance UID, as far as it is known.
    comment : str
        The reason for the sender, without what is no concern of his; `reason` if empty.
    """

    def __init__(self, status: int, reason: str, *, uid: str = "", comment: str = "") -> None:
        super().__init__(reason[:REASON_CHARACTERS])
        self.status, self.uid, self._comment = status, uid, comment or reason

    @property
    def response(self) -> Dataset:
        """The answer to the C-STORE request: the status, and the reason as its Error Comment (PS3.7
        C.1), a LO of the default character repertoire (PS3.5 6.2).
        """
        words = " ".join(self._comment.split())
        comment = "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in words)
        if len(comment) > COMMENT_CHARACTERS:
            comment = comment[: COMMENT_CHARACTERS - 3] + "..."
        response = Dataset()
        response.Status, response.ErrorComment = self.status, comment
        return response


def requested_uid(event: evt.Event) -> str:
    """Return the SOP Instance UID that a C-STORE request names, at most the 64 characters of a UID;
    empty if it names none.
    """
    return str(event.request.AffectedSOPInstanceUID or "")[:MAX_UID_CHARACTERS]


def read_object(
    event: evt.Event, keywords: Sequence[str] = HEADER_KEYWORDS
) -> tuple[Dataset, bytes]:
    """Read a few elements of the object of a C-STORE request.

    Returns
    -------
    Dataset
        Those elements.
    bytes
        The whole object as a DICOM file, its data set byte for byte as it was sent.

    Raises
    ------
    Refused
        With 0xC000, if it can't be read as a data set, or is cut short.
    """
    uid = requested_uid(event)
    try:
        request, syntax = event.request, UID(event.context.transfer_syntax)
        content = request.DataSet.getvalue()
        header = read_header(parse_whole(content, syntax, "It"), keywords)
        file_header = file_meta(request.AffectedSOPClassUID, request.AffectedSOPInstanceUID, syntax)
    except Exception as error:  # a hostile object can raise any error in pydicom
        fault = "is not whole" if isinstance(error, EOFError) else "can't be read as DICOM"
        reason = f"{uid or 'an object'}, which {fault}: {error}"
        raise Refused(NOT_UNDERSTOOD, reason, uid=uid, comment=str(error) or fault) from error
    return header, file_header + content


def read_header(dataset: Dataset, keywords: Sequence[str] = HEADER_KEYWORDS) -> Dataset:
    """Return these elements of a data set: UIDs and codes as they stand there, without their
    padding, and without pydicom's warning of each that breaks a rule; the others unread.
    """
    header = Dataset()
    for tag in map(Tag, keywords):
        element = dataset.get_item(tag)
        if isinstance(element, RawDataElement) and dictionary_VR(tag) in PLAIN_VR:
            text = (element.value or b"").decode("latin_1")
            element = text_element(tag, dictionary_VR(tag), text)
        if element is not None:
            header[tag] = element
    return header


def refuse_contradiction(event: evt.Event, header: Dataset) -> None:
    """Raise `Refused`, with 0xA900, if an object is not what its request says (PS3.7 9.1.1.1)."""
    requested = event.request.AffectedSOPClassUID, event.request.AffectedSOPInstanceUID
    for keyword, wanted in zip(("SOPClassUID", "SOPInstanceUID"), requested, strict=True):
        found = str(header.get(keyword, ""))
        if found != wanted:
            uid, name = requested_uid(event), dictionary_description(keyword)
            reason = (
                f"{uid or 'an object'}, which is not what its C-STORE request says: the {name} of "
                f"the object is {found[:MAX_UID_CHARACTERS]!r}"
            )
            comment = f"Its {name} is not the one of the request"
            raise Refused(NOT_MATCHING, reason, uid=uid, comment=comment)


def not_written(uid: str, error: OSError) -> Refused:
    """Return the refusal of an object that can't be written; where, is no concern of its sender."""
    if isinstance(error, QuotaExceeded):
        return Refused(OUT_OF_RESOURCES, f"{uid}: {error}", uid=uid, comment=f"{error}")
    reason = f"{uid}, which could not be written: {error}"
    comment = f"It could not be written: {error.strerror or type(error).__name__}"
    return Refused(OUT_OF_RESOURCES, reason, uid=uid, comment=comment)


def write_object(
    event: evt.Event,
    folder: Path,
    header: Dataset,
    content: bytes,
    quota: StorageQuota | None = None,
) -> Path:
    """Write the object of a C-STORE request as ``<SOPInstanceUID>.dcm``.

    Parameters
    ----------
    event : pynetdicom.events.Event
        A C-STORE request.
    folder : Path
        It must exist.
    header : Dataset
    content : bytes
        What `read_object` returned for the same event.
    quota : StorageQuota, optional
        How much more the folder may hold.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    Refused
        With 0xA900 if the object contradicts its request or its UID is not one; with 0xA700 if the
        quota is reached, and with 0xA700, from an `OSError`, if it can't be written.
    """
    refuse_contradiction(event, header)
    uid = str(header.get("SOPInstanceUID", ""))
    try:
        path = instance_path(folder, uid)
        with nullcontext() if quota is None else quota.reserve(len(content)):
            write_whole(path, content)
    except ValueError as error:
        comment = "Its SOP Instance UID is not a UID (PS3.5 9.1)"
        raise Refused(
            NOT_MATCHING, f"an object: {error}", uid=requested_uid(event), comment=comment
        ) from error
    except QuotaExceeded as error:  # a smaller object may still find room, so no cause is named
        raise not_written(uid, error) from None
    except OSError as error:
        raise not_written(uid, error) from error
    return path
