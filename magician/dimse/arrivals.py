"""What a retrieve has brought so far, and who has to stop it; a part of `query_retrieve`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association

from magician.dimse.reception import Refused, keep, read_object
from magician.dimse.status import NOT_MATCHING, SUCCESS
from magician.files import instance_path, is_uid, read_whole
from magician.progress import progress_bar
from magician.upper_layer.reactor_fixes import stop_waiting_for_messages

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instance:
    """One instance that a PACS says it holds; its SOP class is empty if the PACS does not tell it."""

    series_instance_uid: str
    sop_class_uid: str


class Arrivals:
    """The instances that a retrieve waits for, and those that are here.

    Parameters
    ----------
    expected : dict
        The instances that the PACS holds, by SOP Instance UID.
    study_instance_uid : str
    folder : Path, optional
        Where they go. What lies there already, whole and of this study, counts as received.

    Attributes
    ----------
    paths : dict of Path
        The files that are here by SOP Instance UID, in order of arrival.
    association : pynetdicom.association.Association
        The one over which they are asked for.
    foreign : set of str
        SOP Instance UIDs of what was sent and is no part of the study.
    failure : Refused or None
        Why this computer could not take an object, for instance a full disk: it stops the retrieve.
    came : int
        How many came since, those that were sent twice counted twice.
    heard : float
        ``time.monotonic()`` of the last arrival.
    """

    def __init__(
        self, expected: dict[str, Instance], study_instance_uid: str, folder: Path | None = None
    ) -> None:
        self.expected, self.study_instance_uid, self.folder = expected, study_instance_uid, folder
        self.paths: dict[str, Path] = {}
        self.foreign: set[str] = set()
        self.failure: Refused | None = None
        self.came = 0
        self.heard = time.monotonic()
        self._offers = 0
        self._lock = threading.Lock()  # a receiver calls us from its own threads
        self.association: Association | None = None
        self._bar = None
        for uid in expected if folder is not None else ():
            if self._is_here(uid):
                self.paths[uid] = instance_path(folder, uid)

    @property
    def missing(self) -> list[str]:
        """The SOP Instance UIDs that have not arrived, in the order in which the PACS listed them."""
        return [uid for uid in self.expected if uid not in self.paths]

    def _is_here(self, uid: str) -> bool:
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
    def over(self, association: Association, service: str, progress: bool) -> Iterator[None]:
        """Wait for what this association brings, with a progress bar if it takes long."""
        self.association, self.heard = association, time.monotonic()
        self._offers_allowed = self._offers + 2 * len(self.missing)
        total, done = len(self.expected), len(self.paths)
        with progress_bar(
            None, service, "object", progress=progress, total=total, done=done
        ) as self._bar:
            yield

    def take(self, event: evt.Event) -> int:
        """Answer one of the C-STORE requests of a C-GET; the handler of that event."""
        try:
            self._offered()
            header, content = read_object(event)
            self._require_asked_for(header)
            self.arrived(keep(event, self.folder, header, content))
        except Refused as refusal:
            logger.warning("Refused %s", refusal)
            self.refused(refusal)
            return refusal.status
        return SUCCESS

    def _require_asked_for(self, header: Dataset) -> None:
        uid = str(header.get("SOPInstanceUID", ""))
        if header.get("StudyInstanceUID") != self.study_instance_uid:
            self.foreign.add(uid)
            raise Refused(NOT_MATCHING, "an object of another study than the one that we asked for")
        if uid not in self.expected:  # perhaps it came to the PACS after our C-FIND
            raise Refused(NOT_MATCHING, f"{uid}, which the PACS had not listed")

    def arrived(self, path: Path) -> None:
        """Count a file that is here now."""
        with self._lock:
            self.came, self.heard = self.came + 1, time.monotonic()
            if path.stem in self.expected and path.stem not in self.paths:
                self._bar.update()
            if path.stem in self.expected:
                self.paths[path.stem] = path

    def refused(self, refusal: Refused) -> None:
        """Stop the retrieve if the reason lies with this computer: the next object would fare no
        better.
        """
        if isinstance(refusal.__cause__, OSError):
            self._stop(refusal)

    def _offered(self) -> None:
        """Count what a peer sends during a C-GET; one that goes on and on is stopped."""
        self._offers += 1
        if self._offers > self._offers_allowed:
            refusal = Refused(NOT_MATCHING, "an object: more were sent than we asked for")
            self._stop(refusal)
            raise refusal

    def _stop(self, failure: Refused) -> None:
        if self.failure is None:
            self.failure = failure
            stop_waiting_for_messages(self.association)

    def refused_classes(self, association: Association) -> list[str]:
        """Names of the SOP classes that we wait for and that the peer did not agree to send."""
        agreed = {context.abstract_syntax for context in association.accepted_contexts}
        waited_for = {self.expected[uid].sop_class_uid for uid in self.missing}
        return sorted(UID(uid).name for uid in waited_for - agreed if uid)
