"""A Storage SCP (`Receiver`): the place to which a C-MOVE lets a PACS send (PS3.4 Annex B)."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from magician.dimse.contexts import SYNTAXES_TAKEN
from magician.dimse.reception import Refused, keep, read_object
from magician.dimse.status import OUT_OF_RESOURCES, SUCCESS
from magician.dimse.storage_quota import StorageQuota
from magician.files import open_folder
from magician.node import check_ae_title
from magician.upper_layer.acceptor import Listener, start_listening, stop_listening
from magician.upper_layer.limits import DEFAULT_LIMITS, Limits

logger = logging.getLogger(__name__)

# how long a retrieve that is over waits for an object that is still being written
LAST_OBJECT_S = 5


class Watcher(Protocol):
    """Who wants to know what a receiver gets; called in the thread of the association that brings
    it.
    """

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
        Take encrypted connections only, with this context: see `magician.tls.server_tls` (PS3.15
        Annex B).
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
        self._ae_title, self._host, self._port, self._tls = (
            check_ae_title(ae_title),
            host,
            port,
            tls,
        )
        self._arrived: dict[Path, None] = {}
        self._watchers: list[Watcher] = []
        self._lock = threading.Lock()
        self._being_kept, self._all_kept = 0, threading.Condition(self._lock)
        self._stopping = False
        self._server = None

    def __enter__(self) -> Receiver:
        open_folder(self.folder)
        ae = Listener(self._ae_title)
        ae.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, SYNTAXES_TAKEN)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_ECHO, lambda event: SUCCESS)]
        self._quota = StorageQuota(self.folder, self._limits)
        self._stopping = False
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

        The block ends when what has come is written: a C-MOVE that breaks off may be over before
        its last object is.
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
            path = keep(event, self.folder, *read_object(event), self._quota)
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
