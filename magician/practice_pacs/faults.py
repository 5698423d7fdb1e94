"""Faults of a practice PACS: things that real PACS do, to be switched on for practice.

``PracticePacs(faults=[...])`` takes the names of `FAULTS`. Some concern the port (`DeadPort`), some
what is offered, and most the answers to requests (`Faults`).
"""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial

from pydicom import Dataset
from pydicom.uid import JPEGLSLossless, RawDataStorage
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    SegmentationStorage,
    StudyRootQueryRetrieveInformationModelGet,
)

from magician.dimse.contexts import SYNTAXES_TAKEN
from magician.dimse.status import (
    INCOMPLETE,
    NOT_MATCHING,
    OUT_OF_RESOURCES,
    PENDING,
    UNABLE_TO_PROCESS,
)
from magician.errors import WrongArgument
from magician.node import is_loopback
from magician.upper_layer.acceptor import Listener, redirect_move

NOTHING_LISTENS = "nothing listens"
SWALLOWED = "packets swallowed"
SILENT = "port stays silent"
REFUSED_AT_FIND = "calling title refused at C-FIND"
SEES_NOTHING = "calling title sees nothing"
NEVER_ANSWERED = "query never answered"
KEYS_IGNORED = "keys ignored in a query"
TOO_MANY = "too many matches refused"
CUT_OFF = "matches cut off"
STUDY_LEVEL_ONLY = "queries at study level only"
NO_C_GET = "C-GET not offered"
NO_SCP_ROLE = "SCP role not accepted"
ONLY_JPEG_LS = "only JPEG-LS"
NO_SEG = "segmentations not accepted"
ONE_NOT_SENT = "an object is not sent, 0x0000"
ONE_FAILS = "an object is not sent, 0xB000"
RESTART = "restart during a retrieve"
NO_DESTINATION = "move destination unknown"
WRONG_ADDRESS = "move destination at a wrong address"
FULL_AT_FIRST = "out of resources at first"
COERCED = "stored with a warning"

FAULTS: dict[str, str] = {
    NOTHING_LISTENS: "The program is stopped, or it listens on another port: a connection is "
    "refused at once.",
    SWALLOWED: "A firewall drops what is sent to its port: nobody answers, and a connection times "
    "out. (On Linux and macOS.)",
    SILENT: "The program hangs: the connection is taken, and no association request is answered.",
    REFUSED_AT_FIND: "Everybody may associate and send a C-ECHO. A query or retrieve ends in an "
    "abort, unless allowed_ae_titles has the calling title. Orthanc does this with titles that are "
    "not in its DicomModalities.",
    SEES_NOTHING: "A query is answered with success and no match, unless allowed_ae_titles has the "
    "calling title: rights are given by AE title.",
    NEVER_ANSWERED: "An overloaded database: a C-FIND is never answered.",
    KEYS_IGNORED: "A C-FIND is answered with everything that the PACS holds, whatever was asked.",
    TOO_MANY: "A C-FIND at study level with more than 5 matches is refused with 0xA700.",
    CUT_OFF: "A C-FIND at study level is answered with the first 5 matches, and 0x0000.",
    STUDY_LEVEL_ONLY: "A C-FIND at series or image level is refused with 0xA900.",
    NO_C_GET: "C-GET is not offered: images leave by C-MOVE only.",
    NO_SCP_ROLE: "C-GET is offered, and the role selection that it needs is refused (PS3.7 "
    "D.3.3.4).",
    ONLY_JPEG_LS: "Objects are taken and sent in JPEG-LS Lossless only.",
    NO_SEG: "Segmentations are not stored: their SOP class is not accepted.",
    ONE_NOT_SENT: "A retrieve of several objects leaves one out, and ends with 0x0000.",
    ONE_FAILS: "One sub-operation of a retrieve of several objects fails: it ends with 0xB000, "
    "which names the object.",
    RESTART: "The PACS ends the association in the middle of a retrieve of several objects.",
    NO_DESTINATION: "It has lost its list of C-MOVE destinations: each is refused with 0xA801.",
    WRONG_ADDRESS: "A C-MOVE goes to another archive, which has the address that was entered for "
    "the destination. It takes everything, and the C-MOVE ends with 0x0000.",
    FULL_AT_FIRST: "The first 3 objects that are sent to it are refused with 0xA700.",
    COERCED: "Each object is stored, and answered with 0xB000: a value was changed (coerced).",
}

MOST_MATCHES = 5
REFUSED_STORES = 3

Answer = Callable[[evt.Event], Iterator]


def require_faults(names: Iterable[str], host: str) -> tuple[str, ...]:
    """Return the names of faults; raise `ValueError` if one is unknown, or beyond loopback."""
    given = (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in given if name not in FAULTS]
    if unknown:
        listed = ", ".join(map(repr, FAULTS))
        raise WrongArgument(
            f"{unknown[0]!r} is no fault of a practice PACS. The faults are {listed}."
        )
    if given and not is_loopback(host):
        raise WrongArgument(
            f"A practice PACS with faults is for this computer only, not for {host}."
        )
    return given


class Faults:
    """Changes what a practice PACS offers and answers, as the faults that it has demand.

    Parameters
    ----------
    names : sequence of str
        Of `FAULTS`.
    known_titles : list of str
        The calling titles that two of the faults let pass. The list may grow later.
    """

    def __init__(self, names: Iterable[str], known_titles: list[str]) -> None:
        self._names, self._known_titles = frozenset(names), known_titles
        self._stores, self._lock = 0, threading.Lock()

    @property
    def admits_everybody(self) -> bool:
        """Whether the calling title counts at a query and not at the association."""
        return not self._names.isdisjoint({REFUSED_AT_FIND, SEES_NOTHING})

    @property
    def dead_port(self) -> str:
        """The fault of the port, because of which no PACS answers there; empty if there is none."""
        return next((name for name in (NOTHING_LISTENS, SWALLOWED, SILENT) if self._has(name)), "")

    def _has(self, name: str) -> bool:
        return name in self._names

    def limit_contexts(self, listener: Listener) -> None:
        """Take presentation contexts from a listener that it would have offered."""
        if self._has(NO_C_GET):
            listener.remove_supported_context(StudyRootQueryRetrieveInformationModelGet)
        if self._has(NO_SEG):
            listener.remove_supported_context(SegmentationStorage)
        if self._has(NO_SCP_ROLE) or self._has(ONLY_JPEG_LS):
            syntaxes = [JPEGLSLossless] if self._has(ONLY_JPEG_LS) else SYNTAXES_TAKEN
            role = None if self._has(NO_SCP_ROLE) else True
            for context in AllStoragePresentationContexts:
                uid = context.abstract_syntax
                if not (self._has(NO_SEG) and uid == SegmentationStorage):
                    listener.remove_supported_context(uid)
                    listener.add_supported_context(uid, syntaxes, scu_role=role, scp_role=role)

    def change(self, handlers: list[tuple]) -> list[tuple]:
        """Put the faults around the event handlers of a PACS's services."""
        changes = {
            evt.EVT_C_STORE: self._store,
            evt.EVT_C_FIND: self._find,
            evt.EVT_C_GET: self._get,
            evt.EVT_C_MOVE: self._move,
        }
        return [
            (event, partial(changes[event], answer) if event in changes and self._names else answer)
            for event, answer in handlers
        ]

    def _store(self, answer: Callable[[evt.Event], int], event: evt.Event) -> int:
        with self._lock:
            self._stores += 1
            full = self._has(FULL_AT_FIRST) and self._stores <= REFUSED_STORES
        if full:
            return OUT_OF_RESOURCES
        status = answer(event)
        return INCOMPLETE if self._has(COERCED) and status == 0 else status

    def _find(self, answer: Answer, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        level = identifier.get("QueryRetrieveLevel")
        if self._is_stranger(event, REFUSED_AT_FIND):
            event.assoc.abort()
            yield UNABLE_TO_PROCESS, None
        elif self._is_stranger(event, SEES_NOTHING):
            return
        elif self._has(NEVER_ANSWERED):
            while event.assoc.is_established:
                time.sleep(0.05)
            yield UNABLE_TO_PROCESS, None
        elif self._has(STUDY_LEVEL_ONLY) and level != "STUDY":
            yield NOT_MATCHING, None
        else:
            if self._has(KEYS_IGNORED):
                for element in identifier:
                    if element.keyword != "QueryRetrieveLevel":
                        element.value = None
            yield from self._limited(list(answer(event)), level)

    def _limited(self, responses: list[tuple], level: str) -> list[tuple]:
        """Refuse or cut off too many matches at study level."""
        if level == "STUDY" and len(responses) > MOST_MATCHES:
            if self._has(TOO_MANY):
                return [(OUT_OF_RESOURCES, None)]
            if self._has(CUT_OFF):
                return responses[:MOST_MATCHES]
        return responses

    def _is_stranger(self, event: evt.Event, fault: str) -> bool:
        return self._has(fault) and event.assoc.requestor.ae_title not in self._known_titles

    def _get(self, answer: Answer, event: evt.Event) -> Iterator:
        if self._is_stranger(event, REFUSED_AT_FIND):
            event.assoc.abort()
            yield 0
            return
        responses = answer(event)
        yield from self._sub_operations(event, next(responses), responses)

    def _move(self, answer: Answer, event: evt.Event) -> Iterator:
        if self._is_stranger(event, REFUSED_AT_FIND):
            event.assoc.abort()
            yield None, None
            return
        responses = answer(event)
        destination = next(responses)
        if self._has(NO_DESTINATION) or None in destination:
            yield None, None
            return
        if self._has(WRONG_ADDRESS):  # the other archive is this one
            own = event.assoc.acceptor
            *address, options = redirect_move(
                destination, own.address_info.address, own.address_info.port
            )
            destination = (*address, {**options, "ae_title": own.ae_title})
        yield destination
        yield from self._sub_operations(event, next(responses), responses)

    def _sub_operations(self, event: evt.Event, count: int, responses: Iterator) -> Iterator:
        """Spoil the sub-operations of a C-GET or C-MOVE: first their number, then each object.

        Which object is left out depends on the study, and is the same each time. An object that is
        asked for by its own UID is sent.
        """
        identifier = event.identifier
        spoiled = -1
        if count > 1 and identifier.get("QueryRetrieveLevel") != "IMAGE":
            digest = hashlib.sha256(str(identifier.get("StudyInstanceUID")).encode()).digest()
            spoiled = int.from_bytes(digest) % count
        yield count - (self._has(ONE_NOT_SENT) and spoiled >= 0)
        for number, (status, dataset) in enumerate(responses):
            if self._has(RESTART) and count > 1 and number == count // 2:
                event.assoc.abort()
                return
            if number == spoiled and self._has(ONE_FAILS) and status == PENDING:
                dataset = _cannot_be_sent(dataset)
            if number != spoiled or not self._has(ONE_NOT_SENT):
                yield status, dataset


def _cannot_be_sent(dataset: Dataset) -> Dataset:
    """Return an object of the same UID and of a SOP class that nobody has agreed to take."""
    broken = Dataset()
    broken.SOPClassUID, broken.SOPInstanceUID = RawDataStorage, dataset.SOPInstanceUID
    broken.file_meta = dataset.file_meta
    return broken


class DeadPort:
    """A port of this computer at which no PACS answers.

    Parameters
    ----------
    fault : str
        ``"nothing listens"``, ``"packets swallowed"`` or ``"port stays silent"``.
    host, port
        Where; port 0 takes a free one.

    Attributes
    ----------
    port : int
    """

    def __init__(self, fault: str, host: str, port: int) -> None:
        self._sockets = [socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)]
        self._sockets[0].bind((host, port))
        self.port = self._sockets[0].getsockname()[1]
        if fault == SILENT:
            self._sockets[0].listen()
        elif fault == SWALLOWED:
            self._sockets[0].listen(0)
            for _ in range(4):  # a full queue: the system drops every further request to connect
                waiting = socket.socket(self._sockets[0].family)
                waiting.setblocking(False)
                waiting.connect_ex((host, self.port))
                self._sockets.append(waiting)

    def close(self) -> None:
        """Free the port."""
        for opened in self._sockets:
            with suppress(OSError):
                opened.close()
