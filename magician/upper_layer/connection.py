"""The connection of an association: it sleeps until there is work, and limits sizes and times.

pynetdicom reads a PDU of any length that its header claims (PS3.8 9.3.1), waits for the rest of it
for ever, and asks every millisecond whether there is something to read. It puts messages of any
number of PDUs together in memory (PS3.7 6.3.1). `BoundedConnection` has a limit for each of these;
`requestor.Connection` and `acceptor.AcceptedConnection` say how long they wait.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

# We ask for 128 KiB of data at a time; a request for an association has no limit of its own.
LARGEST_PDU_BYTES = 1024**2
LARGEST_OBJECT_BYTES = 1024**3
PIECE_BYTES = 128 * 1024  # of what is sent at a time
# The thread also has to notice that a timer has run out, or that it is to end.
LONGEST_SLEEP_S = 0.02
MAX_QUEUED_MESSAGES = 8  # messages that have been read and not yet dealt with
BUSY_SLEEP_S = 0.002  # while so many are queued
CONNECTION_CLOSED = "Evt17"  # "transport connection closed indication" (PS3.8 9.2.1)


class MessageTooLarge(OSError):
    """A message that is larger than we take.

    Attributes
    ----------
    uid : str
        The SOP Instance UID of the object that it brings; empty if it brings none.
    """

    def __init__(self, most: int, uid: str) -> None:
        super().__init__(f"the peer sent a message of more than {most} bytes")
        self.uid = uid


class BoundedConnection(AssociationSocket):
    """The connection of an association, with limits on size and time.

    Attributes
    ----------
    object_bytes : int or None
        The largest message that we take; None stands for `LARGEST_OBJECT_BYTES`.
    failure : OSError or None
        What ended the connection.
    first_bytes : bytes
        The start of the peer's first message: in DICOM the header of a PDU, 6 bytes.
    last_activity : float
        ``time.monotonic()`` when a part of a message last went through.
    other_life_signs : callable
        It returns ``time.monotonic()`` of the last sign, beside this connection, that the peer is
        at work: the images of a C-MOVE come over associations of their own.
    timed_out : bool
        Whether we have waited for the peer's next message in vain.
    wrong_answer : str
        What the peer sent that could not be taken: a message that can't be read, or a response that
        is none. Empty if it sent nothing of that kind.
    asked : tuple of type and int
        The last request that went out: its kind, and its message ID.
    calling : str
        The AE title in the peer's association request; empty if it can't be read.
    deviations : list of str
        What the peer's side of the negotiation has that the standard has not.
    numbers : tuple of int
        Of the peer's A-ASSOCIATE-RJ result, source and reason; of its A-ABORT source and reason.
    """

    object_bytes: int | None = None
    failure: OSError | None = None
    first_bytes = b""
    last_activity = 0.0
    other_life_signs: Callable[[], float] = staticmethod(lambda: 0.0)
    timed_out = False
    wrong_answer = ""
    asked: tuple[type | None, int | None] = (None, None)
    calling = ""
    deviations: Sequence[str] = ()
    numbers: tuple[int, ...] = ()

    @property
    def last_life_sign(self) -> float:
        """``time.monotonic()`` when the peer last showed that it is at work."""
        return max(self.last_activity, self.other_life_signs())

    def _time_limit(self, started: float) -> AbstractContextManager[None]:
        """Return a context for one read of a PDU whose reading began at `started`.

        It raises `TimeoutError` if the time for the PDU is up.
        """
        raise NotImplementedError

    def _send_piece(self, piece: memoryview) -> None:
        """Send some bytes within the time limit; raises `OSError`."""
        raise NotImplementedError

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended on our side."""
        return self.socket is None or self.socket.fileno() == -1

    @property
    def ready(self) -> bool:
        """Whether there is something to read. Sleeps for a moment if there is nothing to send
        either.
        """
        outbox = self.assoc.dul.to_provider_queue
        if self.socket is None or not self._is_connected:
            time.sleep(0.001)
            return False
        # A peer that sends without waiting for answers has to wait when we can't follow. A peer
        # that waits for answers never fills the queue.
        sources = [self.socket] if self.assoc.dimse.msg_queue.qsize() < MAX_QUEUED_MESSAGES else []
        if sources and isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True  # decrypted already, so that the socket itself has nothing to show
        try:
            readable = _wait_until_readable(
                [*sources, outbox.wake_reader], LONGEST_SLEEP_S if sources else BUSY_SLEEP_S
            )
            if outbox.wake_reader in readable:
                outbox.wake_reader.recv(4096)
        except (OSError, ValueError):
            self.event_queue.put(CONNECTION_CLOSED)
            return False
        return self.socket in readable

    def recv(self, nr_bytes: int) -> bytearray:
        """Read a part of a PDU; fewer bytes only if the peer has closed the connection.

        pynetdicom closes the connection on an `OSError`.
        """
        try:
            _refuse_oversized(self.assoc, nr_bytes, self.object_bytes)
            received = self._receive(nr_bytes)
        except OSError as error:
            self.failure = error
            raise
        self.last_activity = time.monotonic()
        return received

    def _receive(self, nr_bytes: int) -> bytearray:
        received, count, started = bytearray(nr_bytes), 0, time.monotonic()
        try:
            with memoryview(received) as view:
                while count < nr_bytes:
                    with self._time_limit(started):
                        more = self.socket.recv_into(view[count:])
                        if not more:
                            break
                        count += more
        finally:
            self.first_bytes = self.first_bytes or bytes(received[: min(count, 6)])
        del received[count:]
        return received

    def send(self, bytestream: bytes) -> None:
        """Send PDUs; as pynetdicom wants it, a failure is an event and not an exception."""
        try:
            for piece in _split_into_pieces(bytestream):
                self._send_piece(piece)
                self.last_activity = time.monotonic()
        except OSError as error:
            self.failure = error
            self.event_queue.put(CONNECTION_CLOSED)
        else:
            evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})

    def force_close(self) -> None:
        """Close the socket: pynetdicom leaves it open in some of the ways in which an association
        ends.
        """
        opened = self.socket
        if opened is not None:
            with suppress(OSError):  # it is not connected any more, or never was
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    _shutdown_socket = force_close  # pynetdicom's name for it

    def close(self) -> None:
        """Close the connection when pynetdicom's state machine wants it.

        Unlike in pynetdicom's own, the connection stays marked as one that was made. Otherwise a
        peer that refuses the association at once is taken for one that could not be reached, and
        its reason is lost.
        """
        self.force_close()
        if self.socket is not None:
            self.socket = None
            self.event_queue.put(CONNECTION_CLOSED)


def _refuse_oversized(association: Association, length: int, object_bytes: int | None) -> None:
    """Raise `OSError` if the next `length` bytes are too many for one PDU, or for the message that
    they belong to.
    """
    if length > LARGEST_PDU_BYTES:
        raise OSError(f"the peer began a PDU of {length} bytes; we take {LARGEST_PDU_BYTES}")
    message = association.dimse.message
    held = 0
    if message is not None:
        held = message.encoded_command_set.tell() + (
            message.data_set.tell() if message.data_set else 0
        )
    most = object_bytes or LARGEST_OBJECT_BYTES
    if held + length > most:
        command = message.command_set if message is not None else {}
        raise MessageTooLarge(most, str(command.get("AffectedSOPInstanceUID") or ""))


def _split_into_pieces(message: bytes) -> Iterator[memoryview]:
    """Cut what is sent into pieces: a time limit is for one of them, however large the message."""
    whole = memoryview(message)
    for start in range(0, len(whole), PIECE_BYTES):
        yield whole[start : start + PIECE_BYTES]


def _wait_until_readable(sockets: list[socket.socket], seconds: float) -> list[socket.socket]:
    """Wait until some of the sockets have something to read, or are at their end; returns those."""
    if not hasattr(select, "poll"):  # Windows
        return select.select(sockets, [], [], seconds)[0]
    poll = select.poll()  # select fails with more than 1024 open files
    for sock in sockets:
        poll.register(sock, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(1000 * seconds)}
    return [sock for sock in sockets if sock.fileno() in ready]
