"""Peers that break: a PACS that sends what a test tells it to, and a connection that is cut at a
given point.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from helpers import ct_series
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from magician.node import Node

SERIES = ct_series(slices=5)
STUDY_UID, UIDS = SERIES[0].StudyInstanceUID, [ds.SOPInstanceUID for ds in SERIES]


class FaultyPacs:
    """A Q/R SCP of pynetdicom's that promises all of SERIES and then sends what `behave` yields."""

    def __init__(self, behave, *, promised=SERIES, destination=None, dimse_s=20):
        self.dimse_s = dimse_s
        self.behave, self.promised, self.destination = behave, promised, destination
        self.ae = AE(ae_title="FAULTY")
        self.ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        self.ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
        self.ae.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
        self.ae.add_requested_context(CTImageStorage)
        self.ae.add_supported_context(CTImageStorage, scu_role=True, scp_role=True)

    def __enter__(self):
        handlers = [
            (evt.EVT_C_FIND, self.find),
            (evt.EVT_C_GET, self.get),
            (evt.EVT_C_MOVE, self.move),
        ]
        self.server = self.ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        return Node(
            "FAULTY", "127.0.0.1", self.server.socket.getsockname()[1], dimse_s=self.dimse_s
        )

    def __exit__(self, *exception):
        self.server.shutdown()

    def find(self, event):
        for ds in (
            self.promised if event.identifier.QueryRetrieveLevel == "IMAGE" else self.promised[:1]
        ):
            answer = Dataset()
            answer.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
            for keyword in (
                "StudyInstanceUID",
                "SeriesInstanceUID",
                "SOPInstanceUID",
                "SOPClassUID",
            ):
                setattr(answer, keyword, ds[keyword].value)
            yield 0xFF00, answer

    def get(self, event):
        yield len(self.promised)
        yield from self.behave(event)

    def move(self, event):
        yield self.destination or (None, None)
        yield len(self.promised)
        yield from self.behave(event)


class Proxy:
    """Passes bytes on between a caller and a PACS, until the PACS has sent a given number of PDUs.

    Parameters
    ----------
    target : Node
    connection : int
        Which of the connections through it suffers, counted from 1; the others are passed on as
        they are.
    pdus : int
        How many PDUs of the PACS pass on that one before something happens.
    extra : int
        How many bytes of the next PDU pass too.
    then : str
        ``"cut"`` closes both sides, ``"stall"`` passes nothing more on and keeps them open.
    """

    def __init__(
        self, target: Node, *, connection: int, pdus: int, extra: int = 0, then: str = "cut"
    ) -> None:
        self._target, self._connection = target, connection
        self._pdus, self._extra, self._then = pdus, extra, then
        self.happened = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> Node:
        self._run(self._accept)
        port = self._listener.getsockname()[1]
        return Node(
            self._target.ae_title, "127.0.0.1", port, dimse_s=1 if self._then == "stall" else 20
        )

    def __exit__(self, *exception) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            self._close(sock)
        for thread in self._threads:
            thread.join(5)

    def _run(self, function, *arguments) -> None:
        self._threads.append(threading.Thread(target=function, args=arguments, daemon=True))
        self._threads[-1].start()

    @staticmethod
    def _close(sock: socket.socket) -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            pacs = socket.create_connection((self._target.host, self._target.port))
            self._sockets += [caller, pacs]
            self._run(self._pass_all, caller, pacs)
            self._run(
                self._pass_some if number == self._connection else self._pass_all, pacs, caller
            )

    def _pass_all(self, source: socket.socket, drain: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                drain.sendall(piece)
        except OSError:
            pass
        self._close(source)
        self._close(drain)

    def _pass_some(self, source: socket.socket, drain: socket.socket) -> None:
        try:
            for _ in range(self._pdus):
                header = source.recv(6, socket.MSG_WAITALL)
                drain.sendall(
                    header + source.recv(int.from_bytes(header[2:6], "big"), socket.MSG_WAITALL)
                )
            drain.sendall(source.recv(self._extra, socket.MSG_WAITALL))
        except OSError:
            return
        self.happened.set()
        if self._then == "cut":
            self._close(source)
            self._close(drain)
