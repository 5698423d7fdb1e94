"""A small PACS in the notebook's own process, to practise against.

It answers C-ECHO, C-STORE, C-FIND, C-GET and C-MOVE (Study Root) as PS3.4 says, and it is strict
where strictness teaches something: it insists on its AE title, and it sends by C-MOVE only to
destinations that it knows. It is made for teaching, not for patients: nothing is backed up, and
connections are encrypted only when it is given `tls`.
"""

from __future__ import annotations

import logging
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from magician.dimse.contexts import SYNTAXES_TAKEN, UNCOMPRESSED, contexts_for
from magician.dimse.reception import Refused, keep, read_object
from magician.dimse.status import NOT_AUTHORISED, NOT_MATCHING, SUCCESS
from magician.dimse.storage_quota import StorageQuota
from magician.errors import MagicianError
from magician.files import instance_path, is_uid, open_folder, save_dataset
from magician.node import Node, check_ae_title, is_loopback
from magician.practice_pacs.association_log import Activity
from magician.practice_pacs.index import KEYWORDS, LEVELS, Index
from magician.privacy import may_hold, may_hold_identified, refuse_identified
from magician.upper_layer.acceptor import Listener, call_for_move, start_listening, stop_listening
from magician.upper_layer.limits import DEFAULT_LIMITS, Limits

logger = logging.getLogger(__name__)

MATCH, CANCELLED, BAD_IDENTIFIER = 0xFF00, 0xFE00, 0xA900
INDEXED = [*KEYWORDS, "PatientIdentityRemoved", "SpecificCharacterSet"]


class PracticePacs:
    """A PACS that listens on this computer.

    Parameters
    ----------
    ae_title : str
        Its name; a caller must use exactly this one.
    host : str
        The address to listen on. The default, loopback, can be reached from this computer only. On
        any other address it neither takes nor serves objects that do not say
        PatientIdentityRemoved=YES.
    port : int
        0 takes a free port.
    folder : path, optional
        Where it keeps its files, one for each instance. What lies there already is served again.
        Without a folder it keeps them in a temporary one, which `stop` removes.
    allowed_ae_titles : sequence of str, optional
        Who may call. Free on loopback; beyond it the list is required.
    tls : ssl.SSLContext, optional
        Take encrypted connections only, with this context: see `magician.tls.server_tls` (PS3.15
        Annex B).
    limits : Limits
        What its callers may take: sizes, numbers, seconds.

    Examples
    --------
    >>> with PracticePacs() as pacs:
    ...     describe_status(echo(pacs.node))
    '0x0000 (Success)'
    """

    _shared: ClassVar[dict[str, PracticePacs]] = {}

    def __init__(
        self,
        *,
        ae_title: str = "PRACTICE",
        host: str = "127.0.0.1",
        port: int = 0,
        folder=None,
        allowed_ae_titles: Sequence[str] | None = None,
        tls: ssl.SSLContext | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        self._ae_title, self._host, self._port, self._tls = (
            check_ae_title(ae_title),
            host,
            port,
            tls,
        )
        self._folder_wanted = None if folder is None else Path(folder)
        self._allowed = (
            None
            if allowed_ae_titles is None
            else [check_ae_title(title) for title in allowed_ae_titles]
        )
        if not is_loopback(host) and not self._allowed:
            raise ValueError(
                f"A practice PACS on {host} can be reached from other computers: say in allowed_ae_titles who may "
                f"call it, or leave the host out."
            )
        self._destinations: dict[str, Node] = {}
        self._lock = threading.Lock()
        self._server = None
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._followers: list[Callable[[], None]] = []

    @classmethod
    def shared(cls, ae_title: str = "PRACTICE") -> PracticePacs:
        """Return the one practice PACS of this process under a title, started, however often a cell
        asks for it.
        """
        if ae_title not in cls._shared:
            cls._shared[ae_title] = cls(ae_title=ae_title)
        return cls._shared[ae_title].start()

    def start(self) -> PracticePacs:
        """Begin to listen; harmless when it does already."""
        if self._server is None:
            self._open_folder()
            try:
                self._server, self._node = start_listening(
                    self._make_ae(),
                    self._host,
                    self._port,
                    self._handlers(),
                    limits=self._limits,
                    tls=self._tls,
                )
            except BaseException:
                self._close_folder()
                raise
        return self

    def stop(self) -> None:
        """Stop listening and remove a temporary folder; harmless when it is stopped already."""
        if self._server is not None:
            while self._followers:
                self._followers.pop()()
            stop_listening(self._server)
            self._server = None
            self._close_folder()

    def __enter__(self) -> PracticePacs:
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()

    @property
    def node(self) -> Node:
        """How to reach this PACS.

        A caller of one with TLS adds a client's context of its own:
        ``dataclasses.replace(pacs.node, tls=context)``.
        """
        self._require_started()
        return self._node

    @property
    def folder(self) -> Path:
        """Where this PACS keeps its files."""
        self._require_started()
        return self._folder

    @property
    def beyond_loopback(self) -> bool:
        """Whether other computers may reach it; then all that it holds says
        PatientIdentityRemoved=YES.
        """
        return not may_hold_identified(self._host)

    def held(self, level: str, **unique_keys: str) -> list[dict[str, str]]:
        """List what this PACS holds, without the network.

        Parameters
        ----------
        level : str
            ``"STUDY"``, ``"SERIES"`` or ``"IMAGE"`` (PS3.4 C.6.2.1).
        **unique_keys : str
            StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID: only what has these.

        Returns
        -------
        list of dict
            Of each study, series or instance every element that can be queried, as text by keyword,
            and the `path` of its file. Series are in order of their number, instances too.
        """
        self._require_started()
        return self._index.held(level, unique_keys)

    def when_stopped(self, call: Callable[[], None]) -> None:
        """Call this once when the PACS stops, before its files are gone; for what shows them."""
        self._followers.append(call)

    def know(self, node: Node) -> None:
        """Enter a C-MOVE destination: from now on this AE title means this host and port, with the
        node's `tls`.

        To a destination on another computer it sends only objects that say
        PatientIdentityRemoved=YES.
        """
        self._destinations[node.ae_title] = node

    def add(self, datasets: Iterable[Dataset]) -> None:
        """Put data sets into the PACS without the network; an instance that it holds already is
        kept as it is.

        Raises
        ------
        MagicianError
            If an object lacks the UIDs of its study, series or instance.
        NotDeidentified
            If the PACS can be reached from other computers, and an object does not say
            PatientIdentityRemoved=YES.
        """
        self._require_started()
        datasets = list(datasets)
        if not all(_has_its_place(dataset) for dataset in datasets):
            raise MagicianError(
                "An object without study, series and instance UIDs can't be kept; none was added."
            )
        refuse_identified(datasets, self._host, f"a PACS on {self._host}")
        for dataset in datasets:
            with self._lock:
                if self._index.study_of(dataset.SOPInstanceUID) is None:
                    self._index.add(dataset, save_dataset(dataset, self._folder))

    def _require_started(self) -> None:
        if self._server is None:
            raise MagicianError(
                "This practice PACS is not started: call .start(), or use it in a with block."
            )

    def _open_folder(self) -> None:
        if self._folder_wanted is None:
            self._temporary = tempfile.TemporaryDirectory(
                prefix="practice-pacs-", ignore_cleanup_errors=True
            )
        self._folder = Path(self._temporary.name) if self._temporary else self._folder_wanted
        open_folder(self._folder)
        self._index = Index()
        self._quota = StorageQuota(
            self._folder,
            instances=self._limits.instances,
            total_bytes=self._limits.total_bytes,
        )
        for path in sorted(self._folder.glob("*.dcm")):
            try:
                header = dcmread(path, stop_before_pixels=True, specific_tags=INDEXED)
                named_rightly = path == instance_path(
                    self._folder, str(header.get("SOPInstanceUID", ""))
                )
                if named_rightly and self._may_hold(header):
                    self._index.add(header, path)
            except Exception as error:  # a damaged file can fail in any of pydicom's ways
                logger.warning("Left %s out: %s", path.name, error)

    def _close_folder(self) -> None:
        self._index.close()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _make_ae(self) -> Listener:
        ae = Listener(self._ae_title, self._allowed or [])
        ae.add_supported_context(Verification)
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
        for context in AllStoragePresentationContexts:
            # both roles: we receive by C-STORE, and send on the caller's association during a C-GET
            ae.add_supported_context(
                context.abstract_syntax, SYNTAXES_TAKEN, scu_role=True, scp_role=True
            )
        return ae

    def _handlers(self) -> list[tuple]:
        return [
            *Activity(logger).handlers,
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_GET, self._get),
            (evt.EVT_C_MOVE, self._move),
        ]

    def _store(self, event: evt.Event) -> int:
        try:
            self._keep(event, *read_object(event, INDEXED))
        except Refused as refusal:
            logger.warning("Refused %s", refusal)
            return refusal.status
        return SUCCESS

    def _keep(self, event: evt.Event, header: Dataset, content: bytes) -> None:
        if not self._may_hold(header):
            raise Refused(NOT_AUTHORISED, "an object that does not say PatientIdentityRemoved=YES")
        if not _has_its_place(header):
            raise Refused(NOT_MATCHING, "an object without proper study, series and instance UIDs")
        with self._lock:
            known_in = self._index.study_of(header.SOPInstanceUID)
            if known_in is None:
                self._index.add(header, keep(event, self._folder, header, content, self._quota))
            elif known_in != header.StudyInstanceUID:
                raise Refused(
                    NOT_MATCHING, f"{header.SOPInstanceUID}, which is already in another study"
                )
            # else nothing: a PACS keeps the first object that it got under a UID

    def _may_hold(self, header: Dataset) -> bool:
        return may_hold(self._host, [header])

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        if identifier.get("QueryRetrieveLevel") not in LEVELS:
            yield BAD_IDENTIFIER, None
            return
        for answer in self._index.find(identifier):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            answer.RetrieveAETitle = self._ae_title
            yield MATCH, answer

    def _get(self, event: evt.Event) -> Iterator:
        paths = self._selected(event.identifier)
        if paths is None:
            yield 1
            yield BAD_IDENTIFIER, None
            return
        yield len(paths)
        for status, dataset in self._datasets(event, paths):
            yield status, dataset and _as_agreed(dataset, event.assoc)

    def _move(self, event: evt.Event) -> Iterator:
        destination = self._destinations.get(event.move_destination)
        if destination is None:
            yield None, None  # answered with 0xA801, move destination unknown
            return
        paths = self._selected(event.identifier)
        keywords = ["SOPClassUID", "PatientIdentityRemoved"]
        headers = [
            dcmread(path, stop_before_pixels=True, specific_tags=keywords) for path in paths or []
        ]
        contexts = contexts_for(headers) or [build_context(Verification)]
        yield call_for_move(destination, contexts)
        if paths is None:
            yield 1
            yield BAD_IDENTIFIER, None
        elif not may_hold(destination.host, headers):
            logger.warning(
                "Refused to send objects that do not say PatientIdentityRemoved=YES to %s",
                destination,
            )
            yield 1
            yield NOT_AUTHORISED, None
        else:
            yield len(paths)
            yield from self._datasets(event, paths)

    def _selected(self, identifier: Dataset) -> list[Path] | None:
        """The files that a retrieve asks for; None if the identifier lacks the unique key of its
        level.
        """
        level = identifier.get("QueryRetrieveLevel")
        if level not in LEVELS or not all(
            identifier.get(LEVELS[name][0]) for name in ("STUDY", level)
        ):
            return None
        return self._index.paths(identifier)

    @staticmethod
    def _datasets(event: evt.Event, paths: list[Path]) -> Iterator[tuple[int, Dataset | None]]:
        for path in paths:
            if event.is_cancelled:
                yield CANCELLED, None
                return
            yield MATCH, dcmread(path)


def _as_agreed(dataset: Dataset, association: Association) -> Dataset:
    """Decompress what a caller of a C-GET takes only uncompressed; objects are else sent as they
    are stored.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    agreed = {
        c.transfer_syntax[0]
        for c in association.accepted_contexts
        if c.abstract_syntax == dataset.SOPClassUID
    }
    if syntax.is_compressed and syntax not in agreed and agreed & set(UNCOMPRESSED):
        dataset.decompress(generate_instance_uid=False)
    return dataset


def _has_its_place(header: Dataset) -> bool:
    """Tell whether study, series and instance UID are there and are UIDs."""
    return all(is_uid(str(header.get(keys[0], ""))) for keys in LEVELS.values())
