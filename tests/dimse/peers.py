"""Peers that misbehave, each in one way: what listens when it is not a healthy PACS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
from pynetdicom.sop_class import Verification

from magician.node import Node

# A-ASSOCIATE-RJ: result, source, reason (PS3.8 Table 9-21)
REJECTED = "03000000000400{:02x}{:02x}{:02x}"
# long: only silence should run into one
WAITS = {"connect_s": 30, "associate_s": 30, "dimse_s": 30}
ABORTED = bytes.fromhex("07000000000400000200")


@contextmanager
def scp(handlers=(), *, contexts=(Verification, FIND), **keywords) -> Iterator[Node]:
    """A bare peer of pynetdicom's, for the behaviour that a practice PACS does not have."""
    ae = AE(ae_title="PEER")
    for context in contexts:
        ae.add_supported_context(context)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers))
    try:
        port = server.socket.getsockname()[1]
        yield Node("PEER", "127.0.0.1", port, **(WAITS | keywords))
    finally:
        server.shutdown()


@contextmanager
def listening(talk: Callable[[socket.socket], None], **keywords) -> Iterator[Node]:
    """A port at which each caller meets `talk`, one after the other; an error of a cut connection
    ends the talk.
    """
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            with peer:
                peer.settimeout(30)
                with suppress(OSError):
                    talk(peer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Node("PEER", "127.0.0.1", listener.getsockname()[1], **(WAITS | keywords))
        finally:
            stop.set()
            thread.join()


def says(answer: bytes, *, first: bool = False) -> Callable[[socket.socket], None]:
    """A peer that answers with these bytes whatever it is asked, or says them `first`, and waits
    for the end.
    """

    def talk(peer: socket.socket) -> None:
        if not first:
            peer.recv(65536)
        peer.sendall(answer)
        while peer.recv(65536):
            pass

    return talk


def hangs_up(peer: socket.socket) -> None:
    """A peer that reads what it is sent and closes without a word."""
    peer.recv(65536)


def rejects(result: int, source: int, reason: int) -> Callable[[socket.socket], None]:
    return says(bytes.fromhex(REJECTED.format(result, source, reason)))


@contextmanager
def swallowing() -> Iterator[int]:
    """A port that behaves as one behind a firewall which drops packets: the backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        queued = []
        for _ in range(4):  # the kernel drops every further SYN
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
            queued.append(waiting)
        try:
            yield port
        finally:
            for waiting in queued:
                waiting.close()
