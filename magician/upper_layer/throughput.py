"""The speed of an association: its thread sleeps until there is work, and sends a message at once.

pynetdicom's thread for a connection looks every millisecond whether there is something to read or
to send, and sends a message as many small steps. Here it sleeps on the socket (its side of this is
`connection.BoundedConnection.ready`), and sends a message in one step. Pull request 139 of
pynetdicom, open since 2018, and its issues 650 and 701 ask for more speed.
"""

from __future__ import annotations

import logging
import queue
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

from pynetdicom import _handlers, evt
from pynetdicom.association import Association
from pynetdicom.dimse import _RQ_TO_MESSAGE, _RSP_TO_MESSAGE
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA

from magician.upper_layer.encoding import c_store_response

P_DATA_TF_TYPE = b"\x04\x00"  # PS3.8 9.3.5
LAST_OF_COMMAND = b"\x03"  # message control header of a command's last fragment (PS3.8 E.2)
LOG_HANDLERS = {  # what pynetdicom writes into its log about everything that comes and goes
    evt.EVT_DIMSE_RECV: _handlers.standard_dimse_recv_handler,
    evt.EVT_DIMSE_SENT: _handlers.standard_dimse_sent_handler,
    evt.EVT_PDU_RECV: _handlers.standard_pdu_recv_handler,
    evt.EVT_PDU_SENT: _handlers.standard_pdu_sent_handler,
}


def speed_up(association: Association) -> None:
    """Make an association fast that has not begun yet."""
    _omit_unread_log(association)
    _sleep_until_there_is_work(association)
    association.kill = lambda: _end_threads(association)
    association.dul._send = lambda pdu: _send_pdu(association, pdu)
    association.dimse.send_msg = lambda primitive, context_id: _send_message(
        association, primitive, context_id
    )


def _omit_unread_log(association: Association) -> None:
    """Unbind what composes the text of pynetdicom's log, unless somebody reads it."""
    if not logging.getLogger("pynetdicom").isEnabledFor(logging.INFO):
        for event, handler in LOG_HANDLERS.items():
            association.unbind(event, handler)


def _sleep_until_there_is_work(association: Association) -> None:
    outbox, thread = _WakingQueue(), association.dul
    thread.daemon = True  # an interrupted program must be able to end
    thread.to_provider_queue = outbox
    thread._run_loop_delay = 0  # the socket does the waiting
    run = thread.run

    def run_and_close() -> None:
        try:
            run()
        finally:
            outbox.close()

    thread.run = run_and_close


class _WakingQueue(queue.Queue):
    """A queue of what is to be sent. It wakes the thread that sleeps on the socket.

    Attributes
    ----------
    wake_reader : socket.socket
        It has something to read when something has been put into the queue.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wake_reader, self._wake_writer = socket.socketpair()
        self.wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    def put(self, item, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        with suppress(OSError):  # it is awake already, or it has ended
            self._wake_writer.send(b"!")

    def close(self) -> None:
        self.wake_reader.close()
        self._wake_writer.close()


def _end_threads(association: Association) -> None:
    """End the threads of an association, as pynetdicom's `kill` does, which looks only every 10 ms
    whether they have ended.
    """
    association._reactor_checkpoint.set()
    association._kill, association.is_established, association._is_paused = True, False, True
    while association.dul.is_alive() and not association.dul.stop_dul():
        time.sleep(0.0005)


def _send_message(association: Association, primitive, context_id: int) -> None:
    """Queue a DIMSE message, all its fragments at once (PS3.7 6.3.1)."""
    whole = P_DATA()
    if primitive.MessageIDBeingRespondedTo is None:
        association.dul.socket.asked = (type(primitive), primitive.MessageID)
    if _is_plain_store_response(primitive) and not association.get_handlers(evt.EVT_DIMSE_SENT):
        whole.presentation_data_value_list.append((context_id, _store_response(primitive)))
    else:
        for fragment in _fragments(association, primitive, context_id):
            whole.presentation_data_value_list.extend(fragment.presentation_data_value_list)
    association.dul.send_pdu(whole)


def _fragments(association: Association, primitive, context_id: int) -> Iterator[P_DATA]:
    """Encode a message as pynetdicom does."""
    kinds = _RQ_TO_MESSAGE if primitive.MessageIDBeingRespondedTo is None else _RSP_TO_MESSAGE
    message = kinds[type(primitive)]()
    message.primitive_to_message(primitive)
    message.context_id = context_id
    evt.trigger(association, evt.EVT_DIMSE_SENT, {"message": message})
    yield from message.encode_msg(context_id, association.dimse.maximum_pdu_size)


def _store_response(primitive: C_STORE) -> bytes:
    """Encode our answer to a C-STORE request in one step.

    During a C-GET there is one for each object; encoded element by element they cost our process
    a tenth of its time.
    """
    return LAST_OF_COMMAND + c_store_response(
        primitive.MessageIDBeingRespondedTo,
        primitive.AffectedSOPClassUID,
        primitive.AffectedSOPInstanceUID,
        primitive.Status,
        primitive.ErrorComment or "",
    )


def _is_plain_store_response(primitive) -> bool:
    """Tell whether a primitive is the answer to a C-STORE request, with no more than a
    status and a comment.
    """
    return (
        isinstance(primitive, C_STORE)
        and primitive.MessageIDBeingRespondedTo is not None
        and bool(primitive.AffectedSOPClassUID and primitive.AffectedSOPInstanceUID)
        and primitive.OffendingElement is None
    )


def _send_pdu(association: Association, pdu) -> None:
    """Send a PDU. Of a whole message, each fragment goes in a P-DATA-TF PDU of its own, because the
    peer limits the length of a PDU (PS3.8 D.1).
    """
    if association.dul.socket is None:
        return
    if isinstance(pdu, P_DATA_TF):
        fragments = [item.encode() for item in pdu.presentation_data_value_items]
        encoded = b"".join(P_DATA_TF_TYPE + len(f).to_bytes(4, "big") + f for f in fragments)
    else:
        encoded = pdu.encode()
    association.dul.socket.send(encoded)
    evt.trigger(association, evt.EVT_PDU_SENT, {"pdu": pdu})
