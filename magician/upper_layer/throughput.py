"""Makes pynetdicom's associations several times faster; a part of `association` and `storage`.

pynetdicom's thread for a connection looks every millisecond whether there is something to read or
to send, and sends a message as many small steps. Here it sleeps until there is something to do, and
sends a message in one step.
"""

from __future__ import annotations

import logging
import queue
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from pynetdicom import _handlers, evt
from pynetdicom.association import Association
from pynetdicom.dimse import _RQ_TO_MESSAGE, _RSP_TO_MESSAGE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from magician.upper_layer.encoding import c_store_response

# the thread also has to notice that a timer has run out, or that it is to end
LONGEST_SLEEP_S = 0.02
PART_BYTES = 128 * 1024
MOST_WAITING = 8  # messages that have been read and not yet dealt with
BUSY_SLEEP_S = 0.002
P_DATA_TF_TYPE = b"\x04\x00"  # PS3.8 9.3.5
LAST_OF_COMMAND = b"\x03"  # message control header of a command's last fragment (PS3.8 E.2)
DESCRIPTIONS = {  # what pynetdicom writes into its log about everything that comes and goes
    evt.EVT_DIMSE_RECV: _handlers.standard_dimse_recv_handler,
    evt.EVT_DIMSE_SENT: _handlers.standard_dimse_sent_handler,
    evt.EVT_PDU_RECV: _handlers.standard_pdu_recv_handler,
    evt.EVT_PDU_SENT: _handlers.standard_pdu_sent_handler,
}


def quicken(association: Association) -> None:
    """Make an association fast that has not begun yet; its socket must be a `WakefulSocket`."""
    # else they are composed and thrown away
    if not logging.getLogger("pynetdicom").isEnabledFor(logging.INFO):
        for event, describe in DESCRIPTIONS.items():
            association.unbind(event, describe)
    outbox, thread = _RingingQueue(), association.dul
    thread.daemon = True  # an interrupted program must be able to end
    take = association.dimse.get_msg
    association.dimse.get_msg = lambda block=False: _next_message(association, take, block)
    association.dul.to_provider_queue = outbox
    association.dul._run_loop_delay = 0  # the socket does the waiting
    run = thread.run

    def run_and_close() -> None:
        try:
            run()
        finally:
            outbox.close()

    thread.run = run_and_close
    association.kill = lambda: _kill(association)
    association.dul._send = lambda pdu: _send(association, pdu)
    association.dimse.send_msg = lambda primitive, context_id: _send_message(
        association, primitive, context_id
    )


def _next_message(association: Association, take: Callable, block: bool) -> tuple:
    """Wait for a message as long as bytes move: a large one may take longer than an answer may let
    us wait.

    When a connection has closed there is nothing to wait for. What says so in the queue may have
    been taken already, by the thread that had no use for it.
    """
    if block and association.dul.socket.is_closed:
        return take(False)
    while True:
        asked = time.monotonic()
        message = take(block)
        timed_out = (
            block
            and message == (None, None)
            and time.monotonic() - asked >= (association.dimse_timeout or 0)
        )
        if not (
            timed_out and association.is_established and association.dul.socket.last_moved > asked
        ):
            return message


class _RingingQueue(queue.Queue):
    """A queue of what is to be sent, with a bell for the thread that waits for something to read."""

    def __init__(self) -> None:
        super().__init__()
        self.bell, self._button = socket.socketpair()
        self.bell.setblocking(False)
        self._button.setblocking(False)

    def put(self, item, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        with suppress(OSError):  # it rings already, or nobody waits any more
            self._button.send(b"!")

    def close(self) -> None:
        self.bell.close()
        self._button.close()


class WakefulSocket(AssociationSocket):
    """A socket on which the thread of an association sleeps until there is something to read or to
    send.

    Attributes
    ----------
    last_moved : float
        ``time.monotonic()`` when a part of a message last went through.
    """

    last_moved = 0.0

    def moved(self) -> None:
        self.last_moved = time.monotonic()

    @property
    def is_closed(self) -> bool:
        return self.socket is None or self.socket.fileno() == -1

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits for a moment if there is nothing to send
        either.
        """
        outbox = self.assoc.dul.to_provider_queue
        if self.socket is None or not self._is_connected:
            time.sleep(0.001)
            return False
        # A peer that sends without waiting for answers has to wait when we can't follow; one that
        # waits never does
        sources = [self.socket] if self.assoc.dimse.msg_queue.qsize() < MOST_WAITING else []
        if sources and isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True  # decrypted already, so that the socket itself has nothing to show
        try:
            readable = _readable(
                [*sources, outbox.bell], LONGEST_SLEEP_S if sources else BUSY_SLEEP_S
            )
            if outbox.bell in readable:
                outbox.bell.recv(4096)
        except (OSError, ValueError):
            self.event_queue.put("Evt17")  # transport connection closed
            return False
        return self.socket in readable

    def close_for_certain(self) -> None:
        """Close the socket: pynetdicom leaves it open in some of the ways in which an association
        ends.
        """
        opened = self.socket
        if opened is not None:
            with suppress(OSError):  # it is not connected any more, or never was
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    _shutdown_socket = close_for_certain  # pynetdicom's name for it


def parts(message: bytes) -> Iterator[memoryview]:
    """What is sent, in pieces: a time-out is for one of them, however large the message."""
    whole = memoryview(message)
    for start in range(0, len(whole), PART_BYTES):
        yield whole[start : start + PART_BYTES]


def _readable(sockets: list[socket.socket], seconds: float) -> list[socket.socket]:
    """Wait until one of the sockets has something to read, or is at its end; returns those."""
    if not hasattr(select, "poll"):  # Windows
        return select.select(sockets, [], [], seconds)[0]
    poll = select.poll()  # unlike select, at home with more than 1024 open files
    for one in sockets:
        poll.register(one, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(1000 * seconds)}
    return [one for one in sockets if one.fileno() in ready]


def _kill(association: Association) -> None:
    """End the threads of an association; pynetdicom's own looks only every 10 ms whether they are
    at their end.
    """
    association._reactor_checkpoint.set()
    association._kill, association.is_established, association._is_paused = True, False, True
    while association.dul.is_alive() and not association.dul.stop_dul():
        time.sleep(0.0005)


def _send_message(association: Association, primitive, context_id: int) -> None:
    """Queue a DIMSE message, all its fragments at once (PS3.7 6.3.1)."""
    whole = P_DATA()
    if _is_plain_store_response(primitive) and not association.get_handlers(evt.EVT_DIMSE_SENT):
        command = c_store_response(
            primitive.MessageIDBeingRespondedTo,
            primitive.AffectedSOPClassUID,
            primitive.AffectedSOPInstanceUID,
            primitive.Status,
        )
        whole.presentation_data_value_list.append((context_id, LAST_OF_COMMAND + command))
        association.dul.send_pdu(whole)
        return
    kinds = _RQ_TO_MESSAGE if primitive.MessageIDBeingRespondedTo is None else _RSP_TO_MESSAGE
    message = kinds[type(primitive)]()
    message.primitive_to_message(primitive)
    message.context_id = context_id
    evt.trigger(association, evt.EVT_DIMSE_SENT, {"message": message})
    fragments = message.encode_msg(context_id, association.dimse.maximum_pdu_size)
    for part in fragments:
        whole.presentation_data_value_list.extend(part.presentation_data_value_list)
    association.dul.send_pdu(whole)


def _is_plain_store_response(primitive) -> bool:
    """Tell whether it is the answer to one of many C-STORE requests, with nothing in it but the
    status.
    """
    return (
        isinstance(primitive, C_STORE)
        and primitive.MessageIDBeingRespondedTo is not None
        and bool(primitive.AffectedSOPClassUID and primitive.AffectedSOPInstanceUID)
        and primitive.OffendingElement is None
        and primitive.ErrorComment is None
    )


def _send(association: Association, pdu) -> None:
    """Send a PDU; of a whole message each fragment in a P-DATA-TF of its own, as the peer's maximum
    length asks.
    """
    if association.dul.socket is None:
        return
    if isinstance(pdu, P_DATA_TF):
        parts = [item.encode() for item in pdu.presentation_data_value_items]
        encoded = b"".join(P_DATA_TF_TYPE + len(part).to_bytes(4, "big") + part for part in parts)
    else:
        encoded = pdu.encode()
    association.dul.socket.send(encoded)
    evt.trigger(association, evt.EVT_PDU_SENT, {"pdu": pdu})
