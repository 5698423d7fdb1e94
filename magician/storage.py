"""Send objects to a PACS (`store`) and let a PACS send objects to us (`Receiver`): the Storage service, PS3.4 Annex B.

What becomes of a received object is told in `magician._reception`.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification

from magician._reception import HEADER_KEYWORDS, OUT_OF_RESOURCES, SUCCESS, Refused, Room, keep, read_object
from magician.association import MAX_CONTEXTS, associate, status_of
from magician.errors import (
    AssociationAborted,
    DimseFailure,
    MagicianError,
    PacsTimeout,
    ServiceNotAccepted,
    describe_status,
)
from magician.files import is_temporary, open_folder, read_whole
from magician.node import Node, check_ae_title, is_loopback
from magician.privacy import refuse_identified
from magician.progress import track
from magician.upper_layer.acceptor import Listener, start_listening, stop_listening
from magician.upper_layer.limits import DEFAULT_LIMITS, Limits

logger = logging.getLogger(__name__)

LAST_OBJECT_S = 5  # how long a retrieve that is over waits for an object that is still being written
UNCOMPRESSED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
# What a listener takes: everything, and explicit VR first, because an acceptor chooses in its own order
# Deflated data sets are not: of some kilobytes that arrive, gigabytes can be inflated
SYNTAXES_TAKEN = [
    *UNCOMPRESSED,
    *(uid for uid in ALL_TRANSFER_SYNTAXES if uid not in UNCOMPRESSED and not UID(uid).is_deflated),
]


class Watcher(Protocol):
    """Who wants to know what a receiver gets; called in the thread of the association that brings it."""

    def arrived(self, path: Path) -> None: ...

    def refused(self, refusal: Refused) -> None: ...


class Receiver:
    """A Storage SCP: the place to which a C-MOVE lets a PACS send.

    Use it in a ``with`` block; it listens until the end of the block.

    Parameters
    ----------
    folder : path
        Where objects go, as ``<SOPInstanceUID>.dcm``; made if it does not exist.
    ae_title : str
        The name that the PACS must know, together with host and port.
    host : str
        The address to listen on. The default, loopback, can be reached from this computer only.
    port : int
        0 takes a free port.
    tls : ssl.SSLContext, optional
        Take encrypted connections only, with this context: see `magician.tls.server_tls` (PS3.15 Annex B).
    limits : Limits
        What its callers may take: sizes, numbers, seconds.

    Attributes
    ----------
    node : Node
        How to reach this receiver. A caller of one with TLS adds a client's context of its own:
        ``dataclasses.replace(receiver.node, tls=context)``.
    received : list of Path
        The files that have arrived so far, in order of arrival.
    """

    def __init__(
        self,
        folder,
        *,
        ae_title: str = "MAGICIAN",
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.folder, self._limits = Path(folder), limits
        self._ae_title, self._host, self._port, self._tls = check_ae_title(ae_title), host, port, tls
        self._arrived: dict[Path, None] = {}
        self._watchers: list[Watcher] = []
        self._lock = threading.Lock()
        self._being_kept, self._all_kept = 0, threading.Condition(self._lock)
        self._stopping = False
        self._server = None

    def __enter__(self) -> Receiver:
        open_folder(self.folder)
        ae = Listener(ae_title=self._ae_title)
        ae.require_called_aet = True
        ae.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, SYNTAXES_TAKEN)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_ECHO, lambda event: SUCCESS)]
        self._room, self._stopping = Room(self._limits, self.folder), False
        self._server, self.node = start_listening(
            ae, self._host, self._port, handlers, limits=self._limits, tls=self._tls
        )
        return self

    def __exit__(self, *exception) -> None:
        if self._server is not None:
            with self._lock:
                self._stopping = True
            stop_listening(self._server)
            self._server = None

    @property
    def received(self) -> list[Path]:
        with self._lock:
            return list(self._arrived)

    @contextmanager
    def watched_by(self, watcher: Watcher) -> Iterator[None]:
        """Tell `watcher` what arrives in the ``with`` block, and what can't be kept.

        The block ends when what has come is written: a C-MOVE that breaks off may be over before its last object is.
        """
        with self._lock:
            self._watchers.append(watcher)
        try:
            yield
        finally:
            with self._all_kept:
                self._all_kept.wait_for(lambda: not self._being_kept, LAST_OBJECT_S)
                self._watchers.remove(watcher)

    def _store(self, event: evt.Event) -> int:
        with self._lock:
            if self._stopping:  # who waits for what has come has perhaps stopped waiting
                return OUT_OF_RESOURCES
            self._being_kept += 1
        try:
            return self._keep(event)
        finally:
            with self._all_kept:
                self._being_kept -= 1
                self._all_kept.notify_all()

    def _keep(self, event: evt.Event) -> int:
        try:
            path = keep(event, self.folder, *read_object(event), self._room)
        except Refused as refusal:
            logger.warning("Refused %s", refusal)
            for watcher in self._watching():
                watcher.refused(refusal)
            return refusal.status
        with self._lock:
            self._arrived[path] = None
        for watcher in self._watching():
            watcher.arrived(path)
        return SUCCESS

    def _watching(self) -> list[Watcher]:
        with self._lock:
            return list(self._watchers)


@dataclass(frozen=True)
class Stored:
    """What `store` did.

    Attributes
    ----------
    sent : int
        Objects that the peer has stored, with or without a warning.
    warnings : tuple of str
        One sentence for each object that it stored with a warning status.
    """

    sent: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class AcceptedContext:
    """One kind of object that we want to send, and whether the peer takes it."""

    sop_class: str
    transfer_syntax: str
    objects: int
    accepted: bool


def store(node: Node, datasets_or_paths: Iterable, *, allow_identified: bool = False, progress: bool = True) -> Stored:
    """Send objects to a PACS by C-STORE (PS3.4 Annex B).

    Parameters
    ----------
    node : Node
    datasets_or_paths : iterable of Dataset or path
        Data sets need a complete ``file_meta``, as those read from a file have. The hidden ``.part`` files that a
        killed program has left in a folder are passed over.
    allow_identified : bool
        Objects leave this computer only if each of them says PatientIdentityRemoved=YES, or if you say True here.
    progress : bool
        Show a progress bar when it takes longer than two seconds.

    Raises
    ------
    NotDeidentified
        Before anything is sent, see `allow_identified`. The flag is a claim, not a proof, and a tunnel that ends
        on this computer looks like this computer.
    ServiceNotAccepted
        Before anything is sent, if the peer does not take one of the kinds of objects.
    DimseFailure
        If some objects were refused; the others were sent. The message lists the refused ones.
    PacsUnreachable, PacsTimeout, AssociationRejected, AssociationAborted
        See `magician.association.associate`.
    """
    items = _listed(datasets_or_paths)
    if not items:
        return Stored(0)
    headers = [_header(item) for item in items]
    if not is_loopback(node.host) and not allow_identified:
        refuse_identified(headers, f"{node}")
    with associate(node, contexts_for(headers)) as association:
        refused = [row for row in _acceptance(association, headers) if not row.accepted]
        if refused:
            kinds = ", ".join(f"{row.sop_class} as {row.transfer_syntax} ({row.objects})" for row in refused)
            raise ServiceNotAccepted(
                f"{node} does not accept {kinds}; nothing was sent. Its administrator must allow these kinds of "
                f"objects, or leave them out."
            )
        return _send(association, node, items, headers, progress)


def accepted_contexts(node: Node, datasets_or_paths: Iterable) -> list[AcceptedContext]:
    """Ask a PACS which of these kinds of objects it would take, without sending any.

    Returns
    -------
    list of AcceptedContext
        One for each SOP class and transfer syntax among the objects, in the order of their first appearance.
    """
    headers = [_header(item) for item in _listed(datasets_or_paths)]
    if not headers:
        return []
    try:
        with associate(node, contexts_for(headers)) as association:
            return _acceptance(association, headers)
    except ServiceNotAccepted:
        return _acceptance(None, headers)


def contexts_for(headers: Iterable[Dataset]) -> list[PresentationContext]:
    """The presentation contexts with which these objects can be sent: one for each class and encoding."""
    kinds = dict.fromkeys(_kind(header) for header in headers)
    if len(kinds) > MAX_CONTEXTS:
        raise ValueError(f"{len(kinds)} kinds of objects; one association carries {MAX_CONTEXTS}. Send fewer at once.")
    return [build_context(UID(sop_class), list(syntaxes)) for sop_class, syntaxes in kinds]


def _listed(datasets_or_paths: Iterable) -> list:
    if isinstance(datasets_or_paths, (Dataset, str, Path)):
        raise TypeError("A list of data sets or files is needed: put the one into [ ], or list the folder's files.")
    items = list(datasets_or_paths)
    return [item for item in items if isinstance(item, Dataset) or not is_temporary(Path(item))]


def _kind(header: Dataset) -> tuple[str, tuple[str, ...]]:
    syntax = header.file_meta.TransferSyntaxUID
    # uncompressed little endian can be re-encoded on the way, so either of the two will do
    return str(header.SOPClassUID), tuple(UNCOMPRESSED) if syntax in UNCOMPRESSED else (syntax,)


def _header(item) -> Dataset:
    """A data set, or the few elements of a file that tell how it has to be sent."""
    if isinstance(item, Dataset):
        header = item
    else:
        try:
            header = dcmread(item, stop_before_pixels=True, specific_tags=HEADER_KEYWORDS)
        except InvalidDicomError as error:
            raise MagicianError(f"{item} is not a DICOM file; nothing was sent.") from error
        except OSError:
            raise
        except Exception as error:  # a damaged file can fail in any of pydicom's ways
            raise MagicianError(f"{item} can't be read as a DICOM file ({error}); nothing was sent.") from error
    missing = [keyword for keyword in ("SOPClassUID", "SOPInstanceUID") if keyword not in header]
    if getattr(header, "file_meta", None) is None or "TransferSyntaxUID" not in header.file_meta:
        missing.append("TransferSyntaxUID in its file_meta")
    if missing:
        name = header.get("SOPInstanceUID", item if not isinstance(item, Dataset) else "an object")
        raise MagicianError(f"{name} can't be sent: it has no {', no '.join(missing)}. Nothing was sent.")
    return header


def _acceptance(association, headers: list[Dataset]) -> list[AcceptedContext]:
    counts: dict[tuple, int] = {}
    for header in headers:
        counts[_kind(header)] = counts.get(_kind(header), 0) + 1
    accepted = {
        (context.abstract_syntax, syntax)
        for context in (association.accepted_contexts if association else [])
        for syntax in context.transfer_syntax
    }
    rows = []
    for (sop_class, syntaxes), count in counts.items():
        agreed = [syntax for syntax in syntaxes if (sop_class, syntax) in accepted]
        name = UID((agreed or syntaxes)[0]).name
        rows.append(AcceptedContext(UID(sop_class).name, name, count, bool(agreed)))
    return rows


def _send(association, node: Node, items: list, headers: list[Dataset], progress: bool) -> Stored:
    warnings, failures, status = [], [], SUCCESS
    each = zip(items, track(headers, "C-STORE", "object", progress=progress), strict=True)
    for number, (item, header) in enumerate(each):
        answer = _send_one(association, node, item, header, f"{number} of {len(items)} objects were sent")
        words = f"{header.SOPInstanceUID}: {describe_status(answer, 'C-STORE')}"
        if answer >> 12 == 0xB:
            warnings.append(words)
        elif answer != SUCCESS:
            failures.append(words)
            status = answer
    if failures:
        listed = "; ".join(failures[:5]) + ("; ..." if len(failures) > 5 else "")
        raise DimseFailure(
            f"{node} stored {len(items) - len(failures)} of {len(items)} objects and refused {len(failures)}: "
            f"{listed}. Its log says why.",
            status,
        )
    return Stored(len(items), tuple(warnings))


def _send_one(association, node: Node, item, header: Dataset, sent_before: str) -> int:
    """Send one object and return the status of the answer; an error says what was sent before."""
    started = time.monotonic()
    try:
        response = association.send_c_store(item if isinstance(item, Dataset) else _whole_file(item, sent_before))
        return status_of(response, node, "C-STORE", started)
    except (ValueError, AttributeError, TypeError) as error:  # pynetdicom's words for what it can't encode
        raise MagicianError(f"{header.SOPInstanceUID} can't be sent ({error}); {sent_before}.") from error
    except (PacsTimeout, AssociationAborted) as error:
        error.args = (f"{error} Before that, {sent_before}.",)
        raise


def _whole_file(path, sent_before: str) -> Dataset:
    """Read a file that is to be sent; one that is cut short would arrive as it is, and count as sent."""
    try:
        read_whole(Path(path))
        return dcmread(path)
    except Exception as error:  # a damaged file can fail in any of pydicom's ways
        raise MagicianError(f"{path} is not whole ({error}); {sent_before}.") from error
