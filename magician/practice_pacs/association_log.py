"""One line in the log of a listener for each association: who called, what was asked, and how it
ended.
"""

from __future__ import annotations

import logging
from collections import Counter
from weakref import WeakKeyDictionary

from pynetdicom import evt
from pynetdicom.association import Association

# DIMSE messages (PS3.7 9.1) that are worth counting, in words. An object goes out by C-STORE in a
# C-GET.
RECEIVED = {
    "C_ECHO_RQ": "C-ECHO",
    "C_FIND_RQ": "C-FIND",
    "C_GET_RQ": "C-GET",
    "C_MOVE_RQ": "C-MOVE",
    "C_STORE_RQ": "C-STORE",
}
SENT = {"C_STORE_RQ": "objects sent"}


class Activity:
    """Counts the messages of each association, and logs the counts when it ends.

    Parameters
    ----------
    logger : logging.Logger
        Gets the lines, at level INFO.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._counts: WeakKeyDictionary[Association, Counter] = WeakKeyDictionary()

    @property
    def handlers(self) -> list[tuple]:
        """The event handlers to start a listener with."""
        return [
            (evt.EVT_ACCEPTED, self._begin),
            (evt.EVT_DIMSE_RECV, self._count, [RECEIVED]),
            (evt.EVT_DIMSE_SENT, self._count, [SENT]),
            (evt.EVT_RELEASED, self._end, ["released"]),
            (evt.EVT_ABORTED, self._end, ["broken off"]),
            (evt.EVT_REJECTED, self._refused),
        ]

    def _begin(self, event: evt.Event) -> None:
        self._counts[event.assoc] = Counter()

    def _count(self, event: evt.Event, names: dict[str, str]) -> None:
        name = names.get(type(event.message).__name__)
        if name:
            self._counts[event.assoc][name] += 1

    def _end(self, event: evt.Event, how: str) -> None:
        counts = self._counts.pop(event.assoc, None)
        if counts is not None:
            what = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing asked"
            self._logger.info("%s: %s; %s", _caller(event.assoc), what, how)

    def _refused(self, event: evt.Event) -> None:
        self._logger.info(
            "%s: refused (%s)", _caller(event.assoc), event.assoc.acceptor.primitive.reason_str
        )


def _caller(association: Association) -> str:
    caller = association.requestor
    return f"{caller.ae_title!r} at {caller.address}"  # quoted: a title comes from the network
