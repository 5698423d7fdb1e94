"""What is done with an object that a peer sends us, as a listener or during a C-GET; a part of
`storage`.

What comes from a network is not to be trusted: an object is named by its SOP Instance UID only
after that has been checked to be a UID, and appears in its folder whole or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt

from magician.dimse.status import NOT_MATCHING, NOT_UNDERSTOOD, OUT_OF_RESOURCES
from magician.dimse.storage_quota import StorageQuota
from magician.files import instance_path, whole_dataset, write_whole
from magician.upper_layer.encoding import file_meta

logger = logging.getLogger(__name__)
# What a receiver looks at before it keeps an object
HEADER_KEYWORDS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientIdentityRemoved",
]


class Refused(Exception):
    """An object that we do not keep.

    Attributes
    ----------
    status : int
        What to answer to the C-STORE request.
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
        dataset = whole_dataset(content, syntax, "It")
        header = Dataset(
            {dataset[keyword].tag: dataset[keyword] for keyword in keywords if keyword in dataset}
        )
        for element in header:  # pydicom decodes values when they are looked at: make it look now
            element.value  # noqa: B018
        before = file_meta(request.AffectedSOPClassUID, request.AffectedSOPInstanceUID, syntax)
    # a hostile object can fail in any of pydicom's ways; all mean the same here
    except Exception as error:
        raise Refused(NOT_UNDERSTOOD, f"an object that can't be read as DICOM: {error}") from error
    return header, before + content


def refuse_contradiction(event: evt.Event, header: Dataset) -> None:
    """Raise `Refused`, with 0xA900, if an object is not what its C-STORE request announces (PS3.7
    9.1.1.1).
    """
    uid = str(header.get("SOPInstanceUID", ""))
    if (
        uid != event.request.AffectedSOPInstanceUID
        or header.get("SOPClassUID") != event.request.AffectedSOPClassUID
    ):
        raise Refused(NOT_MATCHING, f"an object that is not what its C-STORE request says: {uid!r}")


def keep(
    event: evt.Event,
    folder: Path,
    header: Dataset,
    content: bytes,
    quota: StorageQuota | None = None,
) -> Path:
    """Keep the object of a C-STORE request as ``<SOPInstanceUID>.dcm``.

    Parameters
    ----------
    event : pynetdicom.events.Event
        A C-STORE request.
    folder : Path
        It must exist.
    header, content
        What `read_object` returned for the same event.
    quota : StorageQuota, optional
        How much more the folder may hold.

    Returns
    -------
    Path
        Its file.

    Raises
    ------
    Refused
        With 0xA900 for an object that contradicts its request or has no proper UID; with 0xA700,
        from an `OSError`, when it could not be written.
    """
    refuse_contradiction(event, header)
    uid = str(header.get("SOPInstanceUID", ""))
    try:
        path = instance_path(folder, uid)
        with nullcontext() if quota is None else quota.reserve(len(content)):
            write_whole(path, content)
    except ValueError as error:
        raise Refused(NOT_MATCHING, f"an object: {error}") from error
    except OSError as error:
        raise Refused(OUT_OF_RESOURCES, f"{uid}, which could not be written: {error}") from error
    return path
