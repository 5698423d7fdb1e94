"""What is done with an object that a peer sends us, as a listener or during a C-GET; a part of
`storage`.

What comes from a network is not to be trusted: an object is named by its SOP Instance UID only
after that has been checked to be a UID, and appears in its folder whole or not at all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt

from magician.dimse.status import NOT_MATCHING, NOT_UNDERSTOOD, OUT_OF_RESOURCES
from magician.files import folder_size, instance_path, whole_dataset, write_whole
from magician.upper_layer.encoding import file_meta
from magician.upper_layer.limits import Limits

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


def keep(
    event: evt.Event,
    folder: Path,
    header: Dataset,
    content: bytes,
    room: Room | None = None,
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
    room : Room, optional
        What the folder has room for: it may refuse the object.

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
    uid = str(header.get("SOPInstanceUID", ""))
    if (
        uid != event.request.AffectedSOPInstanceUID
        or header.get("SOPClassUID") != event.request.AffectedSOPClassUID
    ):
        raise Refused(NOT_MATCHING, f"an object that is not what its C-STORE request says: {uid!r}")
    try:
        path = instance_path(folder, uid)
        if room is not None:
            room.take(len(content))
        try:
            write_whole(path, content)
        except OSError:
            if room is not None:
                room.give_back(len(content))
            raise
    except ValueError as error:
        raise Refused(NOT_MATCHING, f"an object: {error}") from error
    except OSError as error:
        raise Refused(OUT_OF_RESOURCES, f"{uid}, which could not be written: {error}") from error
    return path


class Room:
    """How much more a listener may keep in its folder; safe to use from several threads."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._instances, self._bytes = folder_size(folder)
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Count one more object; raises `Refused` with 0xA700 if there is no room for it."""
        with self._lock:
            if self._instances >= self._limits.instances:
                raise Refused(
                    OUT_OF_RESOURCES, f"an object: {self._limits.instances} are here (instances)"
                )
            if self._bytes + size > self._limits.total_bytes:
                raise Refused(
                    OUT_OF_RESOURCES, f"an object: {self._bytes} bytes are here (total_bytes)"
                )
            self._instances += 1
            self._bytes += size

    def give_back(self, size: int) -> None:
        """Take back the count of an object that could not be written after all."""
        with self._lock:
            self._instances -= 1
            self._bytes -= size
