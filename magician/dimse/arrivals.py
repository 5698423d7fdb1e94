"""The arrivals of a retrieve: which instances should come, which are here, and which are missing.

They stop a retrieve that can't succeed: one whose objects can't be written, or whose PACS sends
without end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association

from magician.dimse.query import Instance
from magician.dimse.reception import Refused, read_object, write_object
from magician.dimse.status import NOT_MATCHING, SUCCESS
from magician.files import instance_path, is_uid, read_whole
from magician.progress import progress_bar
from magician.upper_layer.reactor_fixes import stop_waiting_for_messages

logger = logging.getLogger(__name__)

OFFERS_AN_INSTANCE = 2  # a PACS may send an object again, but not over and over


class Arrivals:
    """The instances that a retrieve waits for, and those that are here.

    Parameters
    ----------
    expected : dict of Instance
        The instances that the PACS holds, by SOP Instance UID.
    study_instance_uid : str
    folder : Path, optional
        Where their files go. A file that lies there already, whole and of this study, counts as
        arrived. None if the instances go to another node.

    Attributes
    ----------
    paths : dict of Path
        The files that are here by SOP Instance UID, in order of arrival.
    association : pynetdicom.association.Association or None
        The association over which the missing instances are requested.
    foreign_uids : set of str
        SOP Instance UIDs of objects that were sent and belong to another study.
    local_failure : Refused or None
        Why this computer stopped the retrieve: a full disk, or a PACS that sends without end.
    count : int
        How many objects came over the network; an object that is sent twice counts twice.
    last_message_at : float
        ``time.monotonic()`` of the last object or response.
    """

    def __init__(
        self, expected: dict[str, Instance], study_instance_uid: str, folder: Path | None = None
    ) -> None:
        self.expected, self.study_instance_uid, self.folder = expected, study_instance_uid, folder
        self.paths: dict[str, Path] = {}
        self.association: Association | None = None
        self.foreign_uids: set[str] = set()
        self.local_failure: Refused | None = None
        self.count = 0
        self.last_message_at = time.monotonic()
        self._offers, self._offers_allowed = 0, 0
        self._lock = threading.Lock()  # a receiver calls us from its own threads
        self._bar = None
        for uid in expected if folder is not None else ():
            if self._lies_in_folder(uid):
                self.paths[uid] = instance_path(folder, uid)

    @property
    def missing(self) -> list[str]:
        """The SOP Instance UIDs that have not arrived, in the order of the PACS."""
        return [uid for uid in self.expected if uid not in self.paths]

    def _lies_in_folder(self, uid: str) -> bool:
        if not is_uid(uid) or not instance_path(self.folder, uid).is_file():
            return False
        path = instance_path(self.folder, uid)
        try:
            dataset = read_whole(path)
            found = (dataset.SOPInstanceUID, dataset.StudyInstanceUID)
        # a damaged file can fail in any of pydicom's ways; it is fetched again
        except Exception as error:
            logger.warning("%s is not whole and is fetched again: %s", path.name, error)
            return False
        return found == (uid, self.study_instance_uid)

    @contextmanager
    def collecting_over(
        self, association: Association, service: str, progress: bool
    ) -> Iterator[None]:
        """Collect what an association brings, with a progress bar if it takes long."""
        self.association, self.last_message_at = association, time.monotonic()
        self._offers_allowed = self._offers + OFFERS_AN_INSTANCE * len(self.missing)
        total, done = len(self.expected), len(self.paths)
        with progress_bar(
            None, service, "object", progress=progress, total=total, done=done
        ) as self._bar:
            yield

    def handle_store(self, event: evt.Event) -> int:
        """Keep the object of a C-STORE request that comes during a C-GET; return the status."""
        try:
            self._count_offer()
            header, content = read_object(event)
            self._require_expected(header)
            self.arrived(write_object(event, self.folder, header, content))
        except Refused as refusal:
            logger.warning("Refused %s", refusal)
            self.refused(refusal)
            return refusal.status
        return SUCCESS

    def _count_offer(self) -> None:
        """Count an object that is sent during a C-GET; stop a PACS that sends without end."""
        self._offers += 1
        if self._offers > self._offers_allowed:
            refusal = Refused(NOT_MATCHING, "an object: more were sent than we asked for")
            self._stop_retrieve(refusal)
            raise refusal

    def _require_expected(self, header: Dataset) -> None:
        uid = str(header.get("SOPInstanceUID", ""))
        if header.get("StudyInstanceUID") != self.study_instance_uid:
            self.foreign_uids.add(uid)
            raise Refused(NOT_MATCHING, "an object of another study than the one that we asked for")
        if uid not in self.expected:  # perhaps it came to the PACS after our C-FIND
            raise Refused(NOT_MATCHING, f"{uid}, which the PACS had not listed")

    def arrived(self, path: Path) -> None:
        """Count a file that is here now."""
        with self._lock:
            self.count, self.last_message_at = self.count + 1, time.monotonic()
            if path.stem in self.expected and path.stem not in self.paths:
                self._bar.update()
            if path.stem in self.expected:
                self.paths[path.stem] = path

    def refused(self, refusal: Refused) -> None:
        """Stop the retrieve if this computer can't write: the next object would fare no better."""
        if isinstance(refusal.__cause__, OSError):
            self._stop_retrieve(refusal)

    def _stop_retrieve(self, failure: Refused) -> None:
        if self.local_failure is None:
            self.local_failure = failure
            stop_waiting_for_messages(self.association)

    def note_response(self) -> None:
        """Note that the PACS has just answered: the wait for its next message begins anew."""
        self.last_message_at = time.monotonic()

    def refused_classes(self, association: Association) -> tuple[str, ...]:
        """Names of the SOP classes that we wait for and that the peer did not agree to send."""
        agreed = {context.abstract_syntax for context in association.accepted_contexts}
        awaited = {self.expected[uid].sop_class_uid for uid in self.missing}
        return tuple(sorted(UID(uid).name for uid in awaited - agreed if uid))
