"""Repairs of an association's two threads: without them answers are lost, and waits never end.

The thread of the association, the *reactor*, takes incoming messages off a queue and serves
requests. The thread of the upper layer reads and writes PDUs, and runs the state machine (PS3.8
9.2).
`prepare_association` says which repairs an association gets, and in which order; README.md in this
folder lists what each of them is tied to.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_CANCEL, C_FIND
from pynetdicom.pdu_primitives import A_P_ABORT
from pynetdicom.status import STATUS_PENDING, code_to_category

from magician.upper_layer.peer_faults import (
    UNREADABLE,
    caller_of,
    end_unreadable,
    note_fault,
    read_pdus_in_words,
    wrong_response,
)
from magician.upper_layer.throughput import speed_up

logger = logging.getLogger(__name__)

NO_MESSAGE = (None, None)  # what pynetdicom enters into the queue when the peer is gone
LARGEST_MATCH_BYTES = 1024**2  # a real one has less than a thousandth of it
IDLE = "Sta1"  # the state of a state machine without a connection (PS3.8 9.2.2)


def prepare_association(association: Association) -> None:
    """Repair an association and make it fast, before its threads start: the only place that does,
    for those that we ask for (`requestor`) as for those that we accept (`acceptor`).

    Its socket must be, or become, a `connection.BoundedConnection`: the repairs close it, and the
    thread sleeps on it. Nothing may be applied twice, because a repair wraps what it finds.
    """
    if association.is_requestor:
        # Before all else: `speed_up` replaces `kill`, which opens this checkpoint.
        repair_checkpoint(association)
    read_pdus_in_words(association)
    # What pynetdicom does itself, guarded, while it is still pynetdicom's own.
    end_on_broken_messages(association)
    end_on_unreadable_commands(association)
    end_on_failed_requests(association)
    repair_waiting(association)
    # Last: from here on sending and ending are ours, and no repair wraps them.
    speed_up(association)


def stop_waiting_for_messages(association: Association) -> None:
    """End the wait for the next message of an association, as if its peer were gone.

    Who waits for an answer then aborts the association.
    """
    association.dimse.msg_queue.put(NO_MESSAGE)


class _Checkpoint:
    """The gate at which the reactor pauses. It replaces the `threading.Event` of pynetdicom.

    Whoever passes says so before anybody else can look.
    """

    def __init__(self, association: Association) -> None:
        self._association = association
        self._open, self._is_waiting = True, False
        self._changed = threading.Condition()

    def set(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._open = False

    def wait(self) -> None:
        with self._changed:
            self._is_waiting = True
            self._changed.wait_for(lambda: self._open)
            self._is_waiting = False
            self._tell()

    def settle(self) -> None:
        """Say again whether the reactor is paused, after something else has said so."""
        with self._changed:
            self._tell()

    def _tell(self) -> None:
        self._association._is_paused = self._is_waiting


def repair_checkpoint(association: Association) -> None:
    """Make it safe to send one request closely after another.

    `send_c_find` and its like pause the reactor by clearing a flag, and go on once the reactor says
    that it is paused. When a request follows closely on another, the reactor may just have been
    woken without having taken that word back. Then it takes the answer to the new request, which
    nobody gets. Of 150 pairs of C-ECHO and C-FIND on a busy computer, 4 ended in a time-out.

    The checkpoint came with pull request 351 of pynetdicom; see also its issue 435.
    """
    association._reactor_checkpoint = _Checkpoint(association)


def end_on_broken_messages(association: Association) -> None:
    """End an association whose peer sends a PDU that pynetdicom's state machine can't follow.

    Some broken messages raise an exception in the thread of the upper layer (PS3.8 9.2 has an event
    for each, pynetdicom not for all). The thread then dies, and who waits for an answer waits in
    vain. Issues 109, 119 and 1004 of pynetdicom tell of such waits.
    """
    machine, dul = association.dul.state_machine, association.dul
    do_action = machine.do_action

    def do_action_or_end(event: str) -> None:
        try:
            do_action(event)
        except Exception as error:
            note_fault(association, f"a broken message: {type(error).__name__}: {error}")
            dul.socket.close()
            # a listener's thread does not expect it before
            if association.is_requestor or association.is_established:
                dul.to_user_queue.put(A_P_ABORT())
            stop_waiting_for_messages(association)
            evt.trigger(association, evt.EVT_CONN_CLOSE, {"address": None})
            machine.current_state = IDLE
            dul.kill_dul()

    machine.do_action = do_action_or_end


def end_on_unreadable_commands(association: Association) -> None:
    """End an association whose peer sends a command set that can't be decoded (PS3.7 6.3.1).

    For some of them pynetdicom raises an exception, for others it only tells its state machine. Who
    waits for an answer would wait until the time is up.
    """
    receive, dul = association.dimse.receive_primitive, association.dul

    def receive_or_end(fragments) -> None:
        try:
            receive(fragments)
        except Exception as error:
            reason = f" ({type(error).__name__})"
        else:
            reason = "" if UNREADABLE in dul.event_queue.queue else None
        if reason is not None:
            association.dimse.message = None
            end_unreadable(association, f"a message whose command set can't be decoded{reason}")

    association.dimse.receive_primitive = receive_or_end


def end_on_failed_requests(association: Association) -> None:
    """End an association when serving a request of its peer raises an exception.

    The reactor would die of it, with the connection open. The same issues as in
    `end_on_broken_messages` tell of it.

    A report of an event (PS3.7 10.1.1) is served in a thread of its own. pynetdicom then takes back
    that the reactor is paused, and who waits for that waits for ever.
    """
    serve = association._serve_request

    def serve_or_end(message, context_id: int) -> None:
        if association.is_acceptor and not message.is_valid_request:  # it would be ignored
            what = type(message).__name__.replace("_", "-")
            return end_unreadable(association, f"a {what} that lacks what each must have")
        try:
            serve(message, context_id)
            if association.is_requestor:
                association._reactor_checkpoint.settle()
        except Exception as error:
            logger.warning(
                "Ended the association with %s over a request: %s: %s",
                caller_of(association),
                type(error).__name__,
                error,
            )
            association.dul.socket.force_close()  # the thread that reads notices, and ends the rest

    association._serve_request = serve_or_end


def repair_waiting(association: Association) -> None:
    """Build the one `get_msg` of an association, by which its threads wait for a message.

    It waits as long as bytes move, here or where the connection's `other_life_signs` look: a large
    message, or the images of a C-MOVE, may take longer than the time within which we want an
    answer. It ends at once over a connection that has closed. It takes no message for the response
    to ours that is none. And it ends an association whose peer cancels more than it asked for,
    which pynetdicom takes for a request.
    """
    get_msg = association.dimse.get_msg

    def get_expected(block: bool) -> tuple:
        context_id, message = get_msg(block)
        if isinstance(message, C_CANCEL):  # pynetdicom keeps the first ten elsewhere
            logger.warning("Ended an association whose peer cancelled more than it asked for")
            association.dul.socket.force_close()
            return NO_MESSAGE
        if block and message is not None and (fault := wrong_response(association, message)):
            note_fault(association, fault)
            return NO_MESSAGE
        return context_id, message

    association.dimse.get_msg = lambda block=False: _wait_while_bytes_move(
        association, get_expected, block
    )


def _wait_while_bytes_move(
    association: Association, get_msg: Callable[[bool], tuple], block: bool
) -> tuple:
    if block and association.dul.socket.is_closed:
        # The entry that says so may have been taken already, by the thread that had no use for it.
        return get_msg(False)
    while True:
        asked_at = time.monotonic()
        answer = get_msg(block)
        timed_out = (
            block
            and answer == NO_MESSAGE
            and time.monotonic() - asked_at >= (association.dimse_timeout or 0)
        )
        if not timed_out or not association.is_established:
            return answer
        if association.dul.socket.last_life_sign <= asked_at:
            association.dul.socket.timed_out = True
            return answer


def find_responses(
    association: Association, identifier: Dataset, sop_class_uid: str
) -> Iterator[tuple[Dataset, bytes]]:
    """Send a C-FIND; return an iterator over its responses and their identifiers (PS3.7 9.1.2).

    It does what the iterator of pynetdicom's `send_c_find` does, and leaves each identifier as it
    came: pydicom warns of odd text to all who listen, or fails, and the identifier is lost. If no
    response comes, the last one is empty. A message of more than `LARGEST_MATCH_BYTES` ends the
    association.

    Raises
    ------
    RuntimeError
        If the association is lost already.
    """
    association.send_c_find(identifier, sop_class_uid)  # it sends at once
    return _found_responses(association)


def _found_responses(association: Association) -> Iterator[tuple[Dataset, bytes]]:
    connection = association.dul.socket
    most, connection.object_bytes = connection.object_bytes, LARGEST_MATCH_BYTES
    try:
        is_pending = True
        while is_pending:
            _, message = association.dimse.get_msg(block=True)
            response, identifier = Dataset(), b""
            if message is None:
                association._handle_no_response()
            elif not isinstance(message, C_FIND) or not message.is_valid_response:
                association.abort()
            else:
                response.Status = message.Status
                if message.ErrorComment:
                    response.ErrorComment = message.ErrorComment
                identifier = message.Identifier.getvalue() if message.Identifier else b""
            is_pending = code_to_category(response.get("Status", 0)) == STATUS_PENDING
            yield response, identifier
    finally:
        connection.object_bytes = most
        association._reactor_checkpoint.set()
