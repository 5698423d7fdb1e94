"""The archive of a practice PACS: its files, their index, its quota and its privacy rule.

It knows no protocol. The services of each protocol, and the web page, stand on it.
"""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset

from magician.errors import MagicianError
from magician.files import (
    StorageQuota,
    instance_path,
    is_uid,
    open_folder,
    save_dataset,
    write_whole,
)
from magician.practice_pacs.element_text import read_text
from magician.practice_pacs.index import KEYWORDS, LEVELS, Index
from magician.privacy import may_hold, refuse_identified
from magician.upper_layer.limits import DEFAULT_LIMITS, Limits

logger = logging.getLogger(__name__)

# What the archive reads of an object before it keeps it
HEADER_KEYWORDS = [*KEYWORDS, "PatientIdentityRemoved", "SpecificCharacterSet"]


PLACE_KEYWORDS = [LEVELS["STUDY"][0], LEVELS["SERIES"][0]]
# What a UID of a study or series may look like: proper ones, and those of careless programs
PLACE_UID = r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}"


class ObjectNotKept(Exception):
    """An object that the archive does not take; the message is the reason."""


class ObjectMisplaced(ObjectNotKept):
    """An object whose study, series or instance UID is missing, or contradicts the archive."""


class ObjectIdentified(ObjectNotKept):
    """An object that may name a patient, for an archive that other computers can reach."""


class Archive:
    """Instances in one folder, each a file ``<SOPInstanceUID>.dcm``; safe to use from several
    threads.

    It is open from the beginning, and serves again what lies in its folder already.

    Parameters
    ----------
    folder : path, optional
        Where it keeps its files. Without a folder it keeps them in a temporary one, which `close`
        removes.
    host : str
        The address at which its objects are offered. Beyond loopback it neither takes nor serves
        objects that do not say PatientIdentityRemoved=YES.
    limits : Limits
        How many instances and bytes its folder may hold.

    Attributes
    ----------
    folder : Path
        Where it keeps its files.
    """

    def __init__(
        self, folder: Path | None = None, *, host: str, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self._host = host
        self._temporary = None
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(
                prefix="practice-pacs-", ignore_cleanup_errors=True
            )
            folder = Path(self._temporary.name)
        self.folder = open_folder(folder)
        self._quota = StorageQuota(
            self.folder, instances=limits.instances, total_bytes=limits.total_bytes
        )
        self._lock = threading.Lock()  # between asking for an instance and entering it
        self._index = Index()
        self._odd_uids: set[str] = set()  # those of which the log has told
        self._enter_files()

    def close(self) -> None:
        """Close the index, and remove a temporary folder."""
        self._index.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def held(self, level: str, **unique_keys: str) -> list[dict[str, str]]:
        """List the studies, series or instances (`level`) that have these unique keys.

        Returns
        -------
        list of dict
            Of each every element that can be queried, as text by keyword, and the `path` of its
            file. Series are in order of their number, instances too.
        """
        return self._index.held(level, unique_keys)

    def find(self, identifier: Dataset) -> list[Dataset]:
        """Answer a query: one data set for each study, series or instance that matches (PS3.4
        C.2.2.2).

        Parameters
        ----------
        identifier : Dataset
            With a QueryRetrieveLevel of `LEVELS`.
        """
        return self._index.find(identifier)

    def paths(self, identifier: Dataset) -> list[Path] | None:
        """List the files of the instances that a retrieve selects, in order of InstanceNumber.

        Returns
        -------
        list of Path, or None
            None if the identifier lacks the unique key of its level or of its study (PS3.4
            C.4.2.1.4).
        """
        level = identifier.get("QueryRetrieveLevel")
        if level not in LEVELS or not all(
            identifier.get(LEVELS[name][0]) for name in ("STUDY", level)
        ):
            return None
        return self._index.paths(identifier)

    def add(self, datasets: Iterable[Dataset]) -> None:
        """Keep data sets; an instance that the archive holds already is kept as it is.

        Raises
        ------
        MagicianError
            If an object lacks the UID of its study, series or instance, or has one that can't be
            indexed.
        NotDeidentified
            If other computers can reach the archive, and an object does not say
            PatientIdentityRemoved=YES.
        """
        datasets = list(datasets)
        for dataset in datasets:
            if fault := _fault_of_uids(dataset):
                uid = str(dataset.get("SOPInstanceUID", ""))
                raise MagicianError(
                    f"An object can't be kept ({uid or 'without UID'}): {fault}; none was added."
                )
        refuse_identified(datasets, self._host, f"a PACS on {self._host}")
        for dataset in datasets:
            self._tell_odd_uids(dataset)
            with self._lock:
                if self._index.study_of(dataset.SOPInstanceUID) is None:
                    self._index.add(dataset, save_dataset(dataset, self.folder))

    def keep(self, header: Dataset, content: bytes) -> None:
        """Keep one object as it is encoded.

        An instance that the archive holds already is kept as it is: a PACS keeps the first object
        that it got under a UID.

        Parameters
        ----------
        header : Dataset
            At least the `HEADER_KEYWORDS` that the object has.
        content : bytes
            The whole object as a DICOM file (PS3.10 7.1).

        Raises
        ------
        ObjectIdentified
            If other computers can reach the archive, and the object does not say
            PatientIdentityRemoved=YES.
        ObjectMisplaced
            If the object lacks a UID, or has one that can't be indexed, or its SOP Instance UID is
            known in another study.
        QuotaExceeded
            If the folder has no room for the object.
        OSError
            If the file can't be written.
        """
        if not may_hold(self._host, [header]):
            raise ObjectIdentified("It does not say PatientIdentityRemoved=YES")
        if fault := _fault_of_uids(header):
            raise ObjectMisplaced(fault)
        self._tell_odd_uids(header)
        with self._lock:
            study_instance_uid = self._index.study_of(header.SOPInstanceUID)
            if study_instance_uid is None:
                path = instance_path(self.folder, header.SOPInstanceUID)
                with self._quota.reserve(len(content)):
                    write_whole(path, content)
                self._index.add(header, path)
            elif study_instance_uid != header.StudyInstanceUID:
                raise ObjectMisplaced("It is already in another study")

    def _tell_odd_uids(self, header: Dataset) -> None:
        """Log a study or series UID that is none, once."""
        for keyword in PLACE_KEYWORDS:
            uid = read_text(header, keyword)[0]
            if not is_uid(uid) and uid not in self._odd_uids:
                self._odd_uids.add(uid)
                name = dictionary_description(keyword)
                logger.warning("Took objects whose %s is no UID (PS3.5 9.1): %s", name, uid)

    def _enter_files(self) -> None:
        """Enter the files that lie in the folder already."""
        for path in sorted(self.folder.glob("*.dcm")):
            try:
                header = dcmread(path, stop_before_pixels=True, specific_tags=HEADER_KEYWORDS)
                uid = str(header.get("SOPInstanceUID", ""))
                if path == instance_path(self.folder, uid) and may_hold(self._host, [header]):
                    self._index.add(header, path)
            except Exception as error:  # a damaged file can fail in any of pydicom's ways
                logger.warning("Left %s out: %s", path.name, error)


def _fault_of_uids(header: Dataset) -> str:
    """Tell why the archive can't place an object by its UIDs; empty if it can.

    The instance's becomes a file name. Those of study and series need not be UIDs, but must stand
    in queries and in addresses of the web page.
    """
    for keyword in (*PLACE_KEYWORDS, "SOPInstanceUID"):
        uid, name = read_text(header, keyword)[0], dictionary_description(keyword)
        if not uid:
            return f"It has no {name}"
        if keyword == "SOPInstanceUID" and not is_uid(uid):
            return f"Its {name} is not a UID (PS3.5 9.1)"
        if keyword in PLACE_KEYWORDS and not re.fullmatch(PLACE_UID, uid):
            if len(uid) > 64:
                return f"Its {name} has {len(uid)} characters, not 64 (PS3.5 9.1)"
            return f"Its {name} is no UID (PS3.5 9.1): {uid!r}"
    return ""
