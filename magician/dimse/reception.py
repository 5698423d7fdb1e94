"""The object of a C-STORE request: read, checked, written to a file (PS3.4 Annex B, PS3.7 9.1.1).

A peer sends one to a listener of ours, or during our C-GET. What comes from a network is not to be
trusted: the SOP Instance UID becomes a file name only after it was checked to be a UID, and the
file appears in its folder whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt

from magician.dimse.status import NOT_MATCHING, NOT_UNDERSTOOD, OUT_OF_RESOURCES
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


class Refused(Exception):
    """An object that is not kept; the message is the object and the reason.

    Attributes
    ----------
    status : int
        The answer to the C-STORE request.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


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
    try:
        request, syntax = event.request, UID(event.context.transfer_syntax)
        content = request.DataSet.getvalue()
        dataset = parse_whole(content, syntax, "It")
        header = Dataset(
            {dataset[keyword].tag: dataset[keyword] for keyword in keywords if keyword in dataset}
        )
        for element in header:  # pydicom decodes a value at its first use: let that be here
            element.value  # noqa: B018
        file_header = file_meta(request.AffectedSOPClassUID, request.AffectedSOPInstanceUID, syntax)
    except Exception as error:  # a hostile object can raise any error in pydicom
        raise Refused(NOT_UNDERSTOOD, f"an object that can't be read as DICOM: {error}") from error
    return header, file_header + content


def refuse_contradiction(event: evt.Event, header: Dataset) -> None:
    """Raise `Refused`, with 0xA900, if an object is not what its request says (PS3.7 9.1.1.1)."""
    uid = str(header.get("SOPInstanceUID", ""))
    if (
        uid != event.request.AffectedSOPInstanceUID
        or header.get("SOPClassUID") != event.request.AffectedSOPClassUID
    ):
        raise Refused(NOT_MATCHING, f"an object that is not what its C-STORE request says: {uid!r}")


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
        raise Refused(NOT_MATCHING, f"an object: {error}") from error
    except QuotaExceeded as error:  # a smaller object may still find room, so no cause is named
        raise Refused(OUT_OF_RESOURCES, f"{uid}: {error}") from None
    except OSError as error:
        raise Refused(OUT_OF_RESOURCES, f"{uid}, which could not be written: {error}") from error
    return path
