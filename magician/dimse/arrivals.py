"""The arrivals of a retrieve: which instances should come, which are here, and which are missing.

They stop a retrieve that can't succeed: one whose objects can't be written, or whose PACS sends
without end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association

from magician.dimse.query import Expected
from magician.dimse.reception import HEADER_KEYWORDS, Refused, read_object, write_object
from magician.dimse.status import NOT_MATCHING, OUT_OF_RESOURCES, SUCCESS
from magician.files import StorageQuota, instance_path, is_uid, read_whole
from magician.progress import progress_bar
from magician.upper_layer.reactor_fixes import stop_waiting_for_messages

logger = logging.getLogger(__name__)

OFFERS_AN_INSTANCE = 2  # a PACS may send an object again, but not over and over
MOST_FOREIGN = 100_000  # objects that may come of what was not asked for
MOST_REFUSALS = 1000  # that are remembered, each with its reason
LOOK_AGAIN_S = 0.05


class Arrivals:
    """The instances that a retrieve waits for, and those that are here.

    Parameters
    ----------
    expected : Expected
        What the PACS holds.
    folder : Path, optional
        Where their files go. A file that lies there already, whole and of this study, counts as
        arrived. None if the instances go to another node.
    quota : StorageQuota, optional
        How much more the folder may hold of what comes during a C-GET; a receiver has its own.
    named : collection of SOP Instance UIDs
        Instances that the PACS does not list, and has named as failed in an earlier retrieve.

    Attributes
    ----------
    paths : dict of Path
        The files that are here by SOP Instance UID, in order of arrival.
    association : pynetdicom.association.Association or None
        The association over which the missing instances are requested.
    unlisted_uids : set of str
        SOP Instance UIDs of objects of this study that came, and that the PACS had not listed.
    here_before : set of str
        Those of them that lay in the folder, and have not come again.
    merged : dict of str
        The Study Instance UID of each listed object that carries another one than its study now
        has: studies were merged.
    foreign_uids : set of str
        SOP Instance UIDs of objects that came, and belong to what was not asked for.
    refusals : dict of Refused
        Why this computer refused an object, by SOP Instance UID.
    local_failure : Refused or None
        Why this computer stopped the retrieve: a full disk, or a PACS that sends without end.
    classes_not_taken : dict of str
        Why our receiver did not take a SOP class, by its name.
    named : set of str
        SOP Instance UIDs that the PACS has named as failed, and does not list.
    takes_lists : bool
        Whether the PACS answers a request that names instances by their UIDs.
    count : int
        How many objects came over the network; an object that is sent twice counts twice.
    last_arrival_at : float
        ``time.monotonic()`` of the last object.
    """

    def __init__(
        self,
        expected: Expected,
        folder: Path | None = None,
        quota: StorageQuota | None = None,
        *,
        named: Collection[str] = (),
    ) -> None:
        self.expected, self.folder = expected, folder
        self.paths: dict[str, Path] = {}
        self.association: Association | None = None
        self.unlisted_uids: set[str] = set()
        self.here_before: set[str] = set()
        self.merged: dict[str, str] = {}
        self.foreign_uids: set[str] = set()
        self.refusals: dict[str, Refused] = {}
        self.classes_not_taken: dict[str, str] = {}
        self.named, self.takes_lists = set(named), True
        self.local_failure: Refused | None = None
        self.count = 0
        self.last_arrival_at = time.monotonic()
        self._series_of = {uid: i.series_instance_uid for uid, i in expected.instances.items()}
        self._offers, self._offers_allowed = 0, 0
        self._lock = threading.Lock()  # a receiver calls us from its own threads
        self._bar = None
        self._quota = quota
        if folder is not None:
            self._enter_files()

    @property
    def listed_missing(self) -> list[str]:
        """The listed SOP Instance UIDs that have not arrived, in the order of the PACS."""
        return [uid for uid in self.expected.instances if uid not in self.paths]

    @property
    def named_missing(self) -> list[str]:
        """Those that have not arrived, and that the PACS has named without listing them."""
        return sorted(self.named - self.paths.keys() - self.expected.instances.keys())

    @property
    def missing(self) -> list[str]:
        """The SOP Instance UIDs that are known and have not arrived."""
        return self.listed_missing + self.named_missing

    def unlisted_of(self, uids: Collection[str]) -> set[str]:
        """Tell which of these are neither listed nor here, nor belong to what was not asked for."""
        known = self.expected.instances.keys() | self.paths.keys() | self.foreign_uids
        return set(uids) - known

    @property
    def is_short(self) -> bool:
        """Whether instances have not arrived that the PACS lists or counts."""
        return bool(self.missing) or len(self.paths) < self.expected.number

    def arrived_of(self, series_instance_uid: str) -> int:
        """How many instances of a series are here."""
        return sum(self._series_of[uid] == series_instance_uid for uid in self.paths)

    def _enter_files(self) -> None:
        """Count what lies in the folder already: what is listed, and more of the same series."""
        for uid in self.expected.instances:
            if is_uid(uid) and self._is_whole(path := instance_path(self.folder, uid)):
                self.paths[uid] = path
        for path in sorted(self.folder.glob("*.dcm")):
            if path.stem not in self.expected.instances and self._is_of_told_series(path):
                self._keep_unlisted(path.stem, self._series_of[path.stem])
                self.paths[path.stem] = path
                self.here_before.add(path.stem)

    def _is_whole(self, path: Path) -> bool:
        if not path.is_file():
            return False
        try:
            dataset = read_whole(path)
            found = (dataset.SOPInstanceUID, dataset.StudyInstanceUID)
        # a damaged file can fail in any of pydicom's ways; it is fetched again
        except Exception as error:
            logger.warning("%s is not whole and is fetched again: %s", path.name, error)
            return False
        return found == (path.stem, self.expected.study_instance_uid)

    def _is_of_told_series(self, path: Path) -> bool:
        """Tell whether a file that is not listed belongs to a series that the PACS has told.

        An earlier retrieve may have brought it. A result that was written on this computer has a
        series of its own, which the PACS does not know.
        """
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=HEADER_KEYWORDS)
            series_uid = str(header.get("SeriesInstanceUID", ""))
            if series_uid not in self.expected.series_uids or not self._is_whole(path):
                return False
        except Exception:  # no DICOM file: it is none of ours
            return False
        self._series_of[path.stem] = series_uid
        return True

    @contextmanager
    def collecting_over(
        self, association: Association, service: str, progress: bool
    ) -> Iterator[None]:
        """Collect what an association brings, with a progress bar if it takes long."""
        self.association, self.last_arrival_at = association, time.monotonic()
        total, done = max(self.expected.number, len(self.paths)), len(self.paths)
        with progress_bar(
            None, service, "object", progress=progress, total=total or None, done=done
        ) as self._bar:
            yield

    def allow_offers(self) -> None:
        """Let the PACS send, beyond what it has sent, as many objects as a request may bring."""
        most = max(1, self.expected.number, len(self.paths))
        self._offers_allowed = self._offers + OFFERS_AN_INSTANCE * most

    def handle_store(self, event: evt.Event) -> int | Dataset:
        """Keep the object of a C-STORE request that comes during a C-GET; return the answer."""
        try:
            self._count_offer()
            header, content = read_object(event)
            self._require_wanted(header)
            path = write_object(event, self.folder, header, content, self._quota)
            self.arrived(path, header)
        except Refused as refusal:
            logger.warning("Refused %s", refusal)
            self.refused(refusal)
            return refusal.response
        return SUCCESS

    def _count_offer(self) -> None:
        """Count an object that is sent during a C-GET; stop a PACS that sends without end."""
        self._offers += 1
        if self._offers > self._offers_allowed:
            refusal = Refused(NOT_MATCHING, "an object: more were sent than we asked for")
            self._stop_retrieve(refusal)
            raise refusal

    def _require_wanted(self, header: Dataset) -> None:
        if not self._is_wanted(header):
            uid = str(header.get("SOPInstanceUID", ""))
            if uid not in self.foreign_uids and len(self.foreign_uids) < MOST_FOREIGN:
                self.foreign_uids.add(uid)  # some PACS send the whole study for one series
                self._offers_allowed += OFFERS_AN_INSTANCE
            what = "series" if self._is_of_the_study(header) else "study"
            reason = f"{uid}, which is of another {what} than the one that we asked for"
            raise Refused(NOT_MATCHING, reason, uid=uid)

    def _is_wanted(self, header: Dataset) -> bool:
        """Tell whether an object was listed, or belongs to what we have asked for."""
        if header.get("SOPInstanceUID", "") in self.expected.instances:
            return True
        wanted = self.expected.series_instance_uid
        is_of_series = not wanted or header.get("SeriesInstanceUID", "") == wanted
        return self._is_of_the_study(header) and is_of_series

    def _is_of_the_study(self, header: Dataset) -> bool:
        return header.get("StudyInstanceUID", "") == self.expected.study_instance_uid

    def arrived(self, path: Path, header: Dataset) -> None:
        """Count a file that is here now; one that was not asked for is not counted."""
        uid = path.stem
        if not self._is_wanted(header):  # a receiver may get objects of others
            self.foreign_uids.add(uid)
            return
        with self._lock:
            self.count, self.last_arrival_at = self.count + 1, time.monotonic()
            if uid not in self.paths:
                self._bar.update()
            if uid not in self.expected.instances and uid not in self.unlisted_uids:
                self._keep_unlisted(uid, str(header.get("SeriesInstanceUID", "")))
            if not self._is_of_the_study(header):
                self.merged[uid] = str(header.get("StudyInstanceUID", "") or "none")
            self.refusals.pop(uid, None)
            self.here_before.discard(uid)
            self.paths[uid] = path

    def _keep_unlisted(self, uid: str, series_instance_uid: str) -> None:
        self.unlisted_uids.add(uid)
        self._series_of[uid] = series_instance_uid
        self._offers_allowed += OFFERS_AN_INSTANCE

    def refused(self, refusal: Refused) -> None:
        """Remember what this computer refused; stop the retrieve if it can't write: the next object
        would fare no better.
        """
        with self._lock:
            self.last_arrival_at = time.monotonic()
            if refusal.uid and len(self.refusals) < MOST_REFUSALS:
                self.refusals[refusal.uid] = refusal
        is_ours = refusal.status == OUT_OF_RESOURCES
        if is_ours and isinstance(refusal.__cause__, OSError):
            self._stop_retrieve(refusal)

    def not_taken(self, sop_class: str, why: str) -> None:
        """Remember a SOP class that our receiver does not take, by its name."""
        with self._lock:
            if len(self.classes_not_taken) < MOST_REFUSALS:
                self.classes_not_taken[sop_class] = why

    def _stop_retrieve(self, failure: Refused) -> None:
        if self.local_failure is None:
            self.local_failure = failure
            stop_waiting_for_messages(self.association)

    def wait_for_late(self, seconds: float, is_arriving: Callable[[], float]) -> None:
        """Wait for objects that are still on their way after the last response of a C-MOVE.

        Parameters
        ----------
        seconds : float
            How long nothing may have moved.
        is_arriving : callable
            It returns ``time.monotonic()`` of the last bytes that came.
        """
        since = time.monotonic()
        while (self.is_short or not self.expected.has_number) and not self.local_failure:
            moved_at = max(since, self.last_arrival_at, is_arriving())
            if time.monotonic() - moved_at >= seconds:
                return
            time.sleep(LOOK_AGAIN_S)

    def refused_classes(
        self, association: Association, not_sent: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Names of the SOP classes that we wait for and that the peer did not agree to send;
        `not_sent` are more of these.
        """
        agreed = {c.abstract_syntax for c in association.accepted_contexts if c.as_scp}
        awaited = {self.expected.instances[uid].sop_class_uid for uid in self.listed_missing}
        refused = awaited - (agreed - set(not_sent))
        return tuple(sorted(UID(uid).name for uid in refused if uid))
