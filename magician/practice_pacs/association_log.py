"""The log of a listener's associations: one line for each says who called, what was asked for, and
how it ended. It also keeps which objects went out.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import Counter
from weakref import WeakKeyDictionary

from pynetdicom import evt
from pynetdicom.association import Association

from magician.upper_layer.peer_faults import caller_of

logger = logging.getLogger(__name__)

# The DIMSE messages that are counted (PS3.7 9.1), in words. During a C-GET the objects go out by
# C-STORE.
RECEIVED = {
    "C_ECHO_RQ": "C-ECHO",
    "C_FIND_RQ": "C-FIND",
    "C_GET_RQ": "C-GET",
    "C_MOVE_RQ": "C-MOVE",
    "C_STORE_RQ": "C-STORE",
}
SENT = {"C_STORE_RQ": "objects sent"}


class AssociationLog:
    """Counts the messages of each association, and logs the counts at level INFO when it ends."""

    def __init__(self) -> None:
        self._counts: WeakKeyDictionary[Association, Counter] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._sent: set[str] = set()  # as many at most as the archive holds

    @property
    def sent(self) -> frozenset[str]:
        """The SOP Instance UIDs of all objects that callers fetched by C-GET."""
        with self._lock:
            return frozenset(self._sent)

    @property
    def handlers(self) -> list[tuple]:
        """The event handlers to start a listener with."""
        return [
            (evt.EVT_ACCEPTED, self._begin_count),
            (evt.EVT_DIMSE_RECV, self._count_message, [RECEIVED]),
            (evt.EVT_DIMSE_SENT, self._count_message, [SENT]),
            (evt.EVT_DIMSE_SENT, self._remember_object),
            (evt.EVT_RELEASED, self._log_end, ["released"]),
            (evt.EVT_ABORTED, self._log_end, ["broken off"]),
            (evt.EVT_REJECTED, self._log_refusal),
        ]

    def _begin_count(self, event: evt.Event) -> None:
        self._counts.setdefault(event.assoc, Counter())

    def _count_message(self, event: evt.Event, names: dict[str, str]) -> None:
        name = names.get(type(event.message).__name__)
        if name:  # the first message may come before pynetdicom says that it accepted
            self._counts.setdefault(event.assoc, Counter())[name] += 1

    def _remember_object(self, event: evt.Event) -> None:
        if type(event.message).__name__ in SENT:
            with self._lock:
                self._sent.add(str(event.message.command_set.AffectedSOPInstanceUID))

    def _log_end(self, event: evt.Event, ending: str) -> None:
        counts = self._counts.pop(event.assoc, None)
        if counts is not None:
            requests = (
                ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing asked"
            )
            logger.info("%s: %s; %s", caller_of(event.assoc), requests, ending)

    def _log_refusal(self, event: evt.Event) -> None:
        logger.info(
            "%s: refused (%s)", caller_of(event.assoc), event.assoc.acceptor.primitive.reason_str
        )


class WithoutPynetdicom(logging.Filter):
    """Keeps pynetdicom's log off a console: what callers do wrong, our own lines say.

    An exception in our own code, which pynetdicom catches and logs, stays, as one line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] != "pynetdicom":
            return True
        error = record.exc_info[1] if record.exc_info else None
        frames = traceback.walk_tb(error.__traceback__ if error else None)
        names = [frame.f_globals.get("__name__", "") for frame, _ in frames]
        if not any(name.startswith("magician.") for name in names):
            return False
        record.msg, record.args = "A fault of this program: %s: %s", (type(error).__name__, error)
        record.exc_info = record.exc_text = None
        return True
