"""Mends a race in pynetdicom by which an association can lose an answer; a part of `association`
and `storage`.

An association of pynetdicom's has a thread, the reactor, that takes incoming messages off a queue.
`send_c_find` and its like pause it by clearing a flag, and go on once it says that it is paused.
When a request follows closely on another, the reactor may just have been woken, and not have taken
that back yet: then it takes the answer to the new request, which nobody gets. Of 150 pairs of
C-ECHO and C-FIND on a busy computer, 4 ended in a time-out.
"""

from __future__ import annotations

import logging
import threading

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.pdu_primitives import A_P_ABORT

logger = logging.getLogger(__name__)


def stop_waiting_for_messages(association: Association) -> None:
    """End the wait for the next message of an association, as if its peer were gone.

    The wait ends with an abort: this is what pynetdicom itself enters when the peer is gone.
    """
    association.dimse.msg_queue.put((None, None))


class _Checkpoint:
    """What pynetdicom uses a `threading.Event` for; but whoever is let pass says so before anybody
    else can look.
    """

    def __init__(self, association: Association) -> None:
        self._association = association
        self._open = True
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
            self._changed.wait_for(lambda: self._open)
            self._association._is_paused = False


def mend_reactor(association: Association) -> None:
    """Make it safe to send one request after another on `association`, which must not have begun
    yet.
    """
    association._reactor_checkpoint = _Checkpoint(association)
    survive_nonsense(association)


def survive_nonsense(association: Association) -> None:
    """End `association`, which must not have begun yet, when its peer sends what pynetdicom can't
    follow.

    Some broken messages raise an exception in the thread that reads them (PS3.8 9.2 has an event
    for each, pynetdicom not for all). The thread then dies, and who waits for an answer waits in
    vain.
    """
    machine, dul = association.dul.state_machine, association.dul
    proceed, serve, take = machine.do_action, association._serve_request, association.dimse.get_msg

    def end() -> None:
        dul.socket.close_for_certain()  # the thread that reads notices, and ends the rest

    def serve_or_end(message, context_id: int) -> None:
        try:
            serve(message, context_id)
        except Exception as error:
            logger.warning(
                "Ended an association over a request: %s: %s", type(error).__name__, error
            )
            end()

    def take_or_end(block: bool = False):
        context_id, message = take(block)
        if isinstance(message, C_CANCEL):  # pynetdicom keeps ten of them elsewhere
            logger.warning("Ended an association whose peer cancelled more than it asked for")
            end()
            return None, None
        return context_id, message

    def proceed_or_end(event: str) -> None:
        try:
            proceed(event)
        except Exception as error:
            logger.warning(
                "Ended an association whose peer sent a broken message: %s: %s",
                type(error).__name__,
                error,
            )
            dul.socket.close()
            # whoever listens does not expect it before
            if association.is_requestor or association.is_established:
                dul.to_user_queue.put(A_P_ABORT())
            stop_waiting_for_messages(association)
            evt.trigger(association, evt.EVT_CONN_CLOSE, {"address": None})
            machine.current_state = "Sta1"
            dul.kill_dul()

    machine.do_action = proceed_or_end
    association._serve_request = serve_or_end
    association.dimse.get_msg = take_or_end
