"""A Storage SCP (`Receiver`): the place to which a PACS sends during a C-MOVE (PS3.4 Annex B)."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from magician.dimse.contexts import (
    MAX_CONTEXTS,
    SYNTAXES_TAKEN,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
)
from magician.dimse.reception import Refused, read_object, write_object
from magician.dimse.status import OUT_OF_RESOURCES, SUCCESS
from magician.errors import MagicianError
from magician.files import StorageQuota, open_folder
from magician.node import Node, check_ae_title
from magician.upper_layer.acceptor import (
    Listener,
    last_activity_of,
    start_listening,
    stop_listening,
)
from magician.upper_layer.connection import MessageTooLarge
from magician.upper_layer.limits import DEFAULT_LIMITS, Limits
from magician.upper_layer.requestor import connection_of
from magician.upper_layer.unknown_storage import negotiating_storage

logger = logging.getLogger(__name__)

# The longest that a finished retrieve waits until the last object is written
LAST_OBJECT_S = 5


class Watcher(Protocol):
    """An observer of what a receiver gets.

    It is called in the thread of the association that brings the object.
    """

    def arrived(self, path: Path, header: Dataset) -> None: ...

    def refused(self, refusal: Refused) -> None: ...

    def not_taken(self, sop_class: str, why: str) -> None: ...


class Receiver:
    """A Storage SCP: the place to which a PACS sends during a C-MOVE.

    Use it in a ``with`` block; it listens until the end of the block.

    Parameters
    ----------
    folder : path
        Where objects go, as ``<SOPInstanceUID>.dcm``; made if it does not exist.
    ae_title : str
        Its name. The PACS must know it, together with host and port.
    host : str
        The address to listen on. The default, loopback, can be reached from this computer only.
    port : int
        0 takes a free port.
    tls : ssl.SSLContext, optional
        Take encrypted connections only, with this context: see `magician.tls.server_tls` (PS3.15
        Annex B).
    limits : Limits
        The limits for its callers: sizes, numbers, seconds.
    unknown_storage : bool
        Take objects of private and retired SOP classes, too, because a caller proposes them.

    Attributes
    ----------
    folder : Path
    node : Node
        Its address, once it listens.
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
        unknown_storage: bool = True,
    ) -> None:
        self.folder, self._limits = Path(folder), limits
        self._unknown_storage = unknown_storage
        self._ae_title, self._tls = check_ae_title(ae_title), tls
        self._host, self._port = host, port
        self._received: dict[Path, None] = {}  # a set in order of arrival
        self._watchers: list[Watcher] = []
        self._lock = threading.Lock()
        self._being_written, self._all_written = 0, threading.Condition(self._lock)
        self._stopping = False
        self._quota: StorageQuota | None = None
        self._server = None
        self._node: Node | None = None

    def __enter__(self) -> Receiver:
        open_folder(self.folder)
        ae = Listener(self._ae_title)
        ae.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, SYNTAXES_TAKEN)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_ACCEPTED, self._tell_not_taken),
            (evt.EVT_CONN_CLOSE, self._tell_too_large),
            negotiating_storage(SYNTAXES_TAKEN, unknown=self._unknown_storage),
        ]
        self._quota = StorageQuota(
            self.folder,
            instances=self._limits.instances,
            total_bytes=self._limits.total_bytes,
        )
        self._stopping = False
        self._server, self._node = start_listening(
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
    def node(self) -> Node:
        """The address of this receiver.

        With TLS, a caller adds a context of its own:
        ``dataclasses.replace(receiver.node, tls=context)``.
        """
        if self._node is None:
            raise MagicianError("This receiver does not listen yet: use it in a with block.")
        return self._node

    @property
    def received(self) -> list[Path]:
        """The files that have arrived so far, in order of arrival."""
        with self._lock:
            return list(self._received)

    def last_activity(self) -> float:
        """Tell when a part of a message last came from any caller, by ``time.monotonic()``."""
        return last_activity_of(self._server)

    @contextmanager
    def watched_by(self, watcher: Watcher) -> Iterator[None]:
        """Tell `watcher` of each object that is written or refused during the ``with`` block.

        The block ends when no object is being written any more: a C-MOVE that breaks off may end
        before its last object is written.
        """
        with self._lock:
            self._watchers.append(watcher)
        try:
            yield
        finally:
            with self._all_written:
                self._all_written.wait_for(lambda: not self._being_written, LAST_OBJECT_S)
                self._watchers.remove(watcher)

    def _store(self, event: evt.Event) -> int | Dataset:
        with self._lock:
            if self._stopping:  # perhaps nobody waits for this object any more
                return Refused(OUT_OF_RESOURCES, "This receiver is being stopped").response
            self._being_written += 1
        try:
            return self._write(event)
        finally:
            with self._all_written:
                self._being_written -= 1
                self._all_written.notify_all()

    def _write(self, event: evt.Event) -> int | Dataset:
        try:
            header, content = read_object(event)
            path = write_object(event, self.folder, header, content, self._quota)
        except Refused as refusal:
            logger.warning("Refused %s", refusal)
            self._tell_refused(refusal)
            return refusal.response
        with self._lock:
            self._received[path] = None
        for watcher in self._current_watchers():
            watcher.arrived(path, header)
        return SUCCESS

    def _tell_too_large(self, event: evt.Event) -> None:
        """Tell of an object that is larger than we take: it has ended its connection."""
        failure = connection_of(event.assoc).failure
        if isinstance(failure, MessageTooLarge) and failure.uid:
            reason = (
                f"{failure.uid}, which has more than {self._limits.object_bytes} bytes "
                f"(limits.object_bytes)"
            )
            self._tell_refused(Refused(OUT_OF_RESOURCES, reason, uid=failure.uid))

    def _tell_not_taken(self, event: evt.Event) -> None:
        """Tell of the presentation contexts that we refuse: their objects never come."""
        association = event.assoc
        for context in association.rejected_contexts[:MAX_CONTEXTS]:
            name, why = UID(context.abstract_syntax).name, "a kind of object that it does not store"
            if context.result == TRANSFER_SYNTAXES_NOT_SUPPORTED:
                name += f" as {UID(context.transfer_syntax[0]).name}"
                why = "an encoding that can't be read here"
            for watcher in self._current_watchers():
                watcher.not_taken(name, why)

    def _tell_refused(self, refusal: Refused) -> None:
        for watcher in self._current_watchers():
            watcher.refused(refusal)

    def _current_watchers(self) -> list[Watcher]:
        with self._lock:
            return list(self._watchers)
