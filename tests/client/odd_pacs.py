"""A PACS that speaks the upper layer by itself, so that a test can change each byte that it sends.

Left alone, `OddPacs` is a good PACS: it answers C-ECHO, C-FIND, C-GET, C-MOVE and C-STORE. A test
gives it what deviates, as an argument; each has its line in the docstring of the class. What it was
asked stands in `.asked`.

The bytes follow PS3.8 9.3 (PDUs and their items) and PS3.7 6.3 and 9.3 (messages).
"""

from __future__ import annotations

import copy
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from io import BytesIO
from itertools import islice

from helpers import ct_series
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from magician.node import Node

OBJECTS = ct_series(slices=8, rows=8, columns=8)
STUDY_UID, SERIES_UID = OBJECTS[0].StudyInstanceUID, OBJECTS[0].SeriesInstanceUID
UIDS = [ds.SOPInstanceUID for ds in OBJECTS]

SUCCESS, PENDING, INCOMPLETE, DESTINATION_UNKNOWN = 0x0000, 0xFF00, 0xB000, 0xA801
SERVICES = {0x01: "C-STORE", 0x10: "C-GET", 0x20: "C-FIND", 0x21: "C-MOVE", 0x30: "C-ECHO"}
COMMAND_FIELDS = {service: number for number, service in SERVICES.items()}
CANCEL = 0x0FFF
NO_DATA_SET, WITH_DATA_SET = 0x0101, 0x0001
# Elements of a command set (group 0000) by number (PS3.7 Annex E)
SOP_CLASS, COMMAND_FIELD, MESSAGE_ID, ANSWERED_ID = 0x0002, 0x0100, 0x0110, 0x0120
DESTINATION, PRIORITY, DATA_SET_TYPE, STATUS, COMMENT = 0x0600, 0x0700, 0x0800, 0x0900, 0x0902
SOP_INSTANCE, REMAINING, COMPLETED, FAILED, WITH_WARNING = 0x1000, 0x1020, 0x1021, 0x1022, 0x1023
UNIQUE_KEYS = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
PIECE_BYTES = 16000  # of a message in one PDU


class Over(Exception):
    """The conversation has ended: released, aborted or closed."""


def pdu(kind: int, body: bytes) -> bytes:
    """One PDU (PS3.8 9.3.1)."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    """One item or sub-item of an A-ASSOCIATE PDU."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def items_in(body: bytes) -> list[tuple[int, bytes]]:
    """The items that follow one another in `body`, as (type, content)."""
    found = []
    while len(body) >= 4:
        kind, _, length = struct.unpack(">BBH", body[:4])
        found.append((kind, body[4 : 4 + length]))
        body = body[4 + length :]
    return found


def us(value: int) -> bytes:
    return struct.pack("<H", value)


def ui(value: str) -> bytes:
    return value.encode() + b"\0" * (len(value) % 2)


def command_set(elements: dict[int, bytes]) -> bytes:
    """A command set (PS3.7 6.3.1): group 0000 in implicit little endian, with its length."""
    body = b"".join(
        struct.pack("<HHI", 0, number, len(value)) + value
        for number, value in sorted(elements.items())
    )
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def encode(dataset: Dataset | bytes, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A data set as bytes; bytes stay as they are."""
    if isinstance(dataset, bytes):
        return dataset
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, syntax == ImplicitVRLittleEndian
    write_dataset(stream, dataset)
    return stream.getvalue()


def data_pdus(
    context_id: int, content: bytes, *, is_command: bool, pieces: int = PIECE_BYTES
) -> bytes:
    """P-DATA-TF PDUs that carry one half of a message (PS3.8 9.3.5)."""
    cut = [content[i : i + pieces] for i in range(0, len(content), pieces)] or [b""]
    out = b""
    for number, piece in enumerate(cut, 1):
        control = is_command | (2 if number == len(cut) else 0)
        header = struct.pack(">IBB", len(piece) + 2, context_id, control)
        out += pdu(0x04, header + piece)
    return out


@dataclass(frozen=True)
class Proposal:
    """What a caller proposes in its A-ASSOCIATE-RQ (PS3.8 9.3.2)."""

    titles: bytes
    contexts: dict[int, tuple[str, list[str]]]  # abstract syntax and transfer syntaxes by ID
    roles: list[bytes]  # the contents of its role-selection sub-items

    @classmethod
    def read(cls, body: bytes) -> Proposal:
        contexts, roles = {}, []
        for kind, content in items_in(body[68:]):
            if kind == 0x20:
                named = [(k, text.rstrip(b"\0 ").decode()) for k, text in items_in(content[4:])]
                abstract = next(text for k, text in named if k == 0x30)
                contexts[content[0]] = abstract, [text for k, text in named if k == 0x40]
            elif kind == 0x50:
                roles = [text for k, text in items_in(content) if k == 0x54]
        return cls(body[4:36], contexts, roles)

    def chosen(self, context_id: int) -> str:
        """The transfer syntax that we take of those proposed."""
        syntaxes = self.contexts[context_id][1]
        return ExplicitVRLittleEndian if ExplicitVRLittleEndian in syntaxes else syntaxes[0]


def accept(
    proposal: Proposal,
    *,
    max_length: int | None = 16384,
    class_uid: bytes | None = b"1.2.3.4",
    version: bytes | None = b"ODD_1",
    roles: str = "agree",
    refused: Iterable[str] = (),
    titles: bytes | None = None,
    transfer_syntax: str = "",
    more_items: bytes = b"",
    more_user_items: bytes = b"",
    application_context: bytes = b"1.2.840.10008.3.1.1.1",
    protocol: int = 1,
) -> bytes:
    """An A-ASSOCIATE-AC (PS3.8 9.3.3, PS3.7 Annex D); the arguments are what can deviate.

    `roles` is ``"agree"``, ``"refuse"``, or ``"silent"``: no role-selection sub-item at all.
    """
    body = struct.pack(">HH", protocol, 0) + (titles or proposal.titles) + bytes(32)
    body += item(0x10, application_context)
    for context_id, (abstract, _) in proposal.contexts.items():
        result = 3 if abstract in set(refused) else 0
        syntax = item(0x40, (transfer_syntax or proposal.chosen(context_id)).encode())
        body += item(0x21, struct.pack("4B", context_id, 0, result, 0) + syntax)
    user = b"" if max_length is None else item(0x51, struct.pack(">I", max_length))
    user += b"" if class_uid is None else item(0x52, class_uid)
    if roles != "silent":
        for role in proposal.roles:
            user += item(0x54, role if roles == "agree" else role[:-2] + b"\0\0")
    user += b"" if version is None else item(0x55, version)
    body += more_items + item(0x50, user + more_user_items)
    return pdu(0x02, body)


@dataclass(frozen=True)
class Request:
    """One request of a caller.

    Attributes
    ----------
    service : str
    context_id : int
    command, identifier : Dataset
    syntax : str
        The transfer syntax of its presentation context.
    """

    service: str
    context_id: int
    command: Dataset
    identifier: Dataset
    syntax: str

    @property
    def level(self) -> str:
        return str(self.identifier.get("QueryRetrieveLevel", ""))

    @property
    def keys(self) -> dict[str, list[str]]:
        """The values of the identifier by keyword, as they were sent: pydicom warns of odd ones."""
        found = {}
        for tag in list(self.identifier.keys()):
            raw = self.identifier.get_item(tag).value or b""
            text = raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)
            found[keyword_for_tag(tag)] = [value.strip(" \0") for value in text.split("\\")]
        return found


class Conversation:
    """One association, seen from the side of `OddPacs`."""

    def __init__(self, pacs: OddPacs, connection: socket.socket) -> None:
        self.pacs, self._connection = pacs, connection
        self.contexts: dict[int, tuple[str, str]] = {}  # abstract and transfer syntax by ID
        self.message_id, self.cancelled = 0, False

    def write(self, content: bytes) -> None:
        """Send bytes as they are, or as the test mangles them."""
        self._connection.sendall(self.pacs.mangle(content))

    def hang_up(self) -> None:
        """Close the connection without a word."""
        self._connection.shutdown(socket.SHUT_RDWR)
        raise Over

    def half_close(self) -> None:
        """Say that nothing more comes on this connection."""
        self._connection.shutdown(socket.SHUT_WR)

    def read_pdu(self) -> tuple[int, bytes]:
        header = self._read(6)
        kind, _, length = struct.unpack(">BBI", header)
        body = self._read(length)
        if kind == 0x05 and self.pacs.answers_release:
            self.write(pdu(0x06, bytes(4)))
        if kind in (0x05, 0x06, 0x07):
            raise Over
        return kind, body

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            more = self._connection.recv(count - len(content))
            if not more:
                raise Over
            content += more
        return content

    def read_message(self) -> tuple[int, Dataset, bytes]:
        """Read the next message: its context, its command set, its data set as bytes."""
        command, content = b"", b""
        while True:
            _, body = self.read_pdu()
            while body:
                length, context_id, control = struct.unpack(">IBB", body[:6])
                piece, body = body[6 : 4 + length], body[4 + length :]
                if control & 1:
                    command += piece
                else:
                    content += piece
                if control == 3:
                    elements = read_dataset(BytesIO(command), True, True)
                if control & 2 and (control == 2 or elements[0, DATA_SET_TYPE].value == 0x0101):
                    return context_id, elements, content

    def read_request(self) -> Request:
        """Read the next request, and note it in `pacs.asked`."""
        context_id, command, content = self.read_message()
        syntax = self.contexts[context_id][1]
        identifier = Dataset()
        if content:
            identifier = read_dataset(BytesIO(content), syntax == ImplicitVRLittleEndian, True)
        service = SERVICES.get(command[0, COMMAND_FIELD].value, "")
        request = Request(service, context_id, command, identifier, syntax)
        self.pacs.asked.append(request)
        return request

    def respond(
        self,
        request: Request,
        status: int = SUCCESS,
        identifier: Dataset | bytes | None = None,
        counters: tuple[int, int, int, int] | None = None,
        comment: bytes = b"",
    ) -> None:
        """Send a response (PS3.7 9.3); `counters` are remaining, completed, failed, warning."""
        elements = {
            SOP_CLASS: ui(self.contexts[request.context_id][0]),
            COMMAND_FIELD: us(COMMAND_FIELDS[request.service] | 0x8000),
            ANSWERED_ID: us(request.command[0, MESSAGE_ID].value),
            DATA_SET_TYPE: us(NO_DATA_SET if identifier is None else WITH_DATA_SET),
            STATUS: us(status),
        }
        if comment:
            elements[COMMENT] = comment + b" " * (len(comment) % 2)
        if request.service == "C-STORE":
            elements[SOP_INSTANCE] = ui(str(request.command[0, SOP_INSTANCE].value))
        if counters is not None:
            numbers = (REMAINING, COMPLETED, FAILED, WITH_WARNING)
            elements |= dict(zip(numbers, map(us, counters), strict=True))
        self.pacs.edit_response(request, elements)
        self._write_message(request.context_id, elements, identifier, request.syntax)

    def _write_message(self, context_id, elements, dataset, syntax) -> None:
        message = data_pdus(context_id, command_set(elements), is_command=True)
        if dataset is not None:
            message += data_pdus(context_id, encode(dataset, syntax), is_command=False)
        self.write(message)

    def send_object(self, dataset: Dataset, **oddities) -> int:
        """Send one object by C-STORE over this association; returns the status of the answer.

        The oddities are those of `request_store`.
        """
        if not self.request_store(dataset, **oddities):
            return 0x0122  # SOP class not supported
        while True:
            _, answer, _ = self.read_message()
            if answer[0, COMMAND_FIELD].value != CANCEL:
                return answer[0, STATUS].value
            self.cancelled = True

    def request_store(
        self,
        dataset: Dataset,
        *,
        content: bytes | None = None,
        elements: dict[int, bytes | None] | None = None,
        pieces: int = PIECE_BYTES,
    ) -> bool:
        """Send a C-STORE request, and do not wait for its answer; False if no context fits.

        Parameters
        ----------
        dataset : Dataset
        content : bytes, optional
            What is sent in place of its bytes.
        elements : dict, optional
            Other values of the command set by element number; None leaves an element out.
        pieces : int
            How many bytes of the object one PDU carries.
        """
        wanted = (dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        fitting = [number for number, context in self.contexts.items() if context == wanted]
        if not fitting:
            return False
        self.message_id += 1
        command = {
            SOP_CLASS: ui(dataset.SOPClassUID),
            COMMAND_FIELD: us(COMMAND_FIELDS["C-STORE"]),
            MESSAGE_ID: us(self.message_id),
            PRIORITY: us(0),
            DATA_SET_TYPE: us(WITH_DATA_SET),
            SOP_INSTANCE: ui(dataset.SOPInstanceUID),
        } | (elements or {})
        present = {number: value for number, value in command.items() if value is not None}
        content = encode(dataset, wanted[1]) if content is None else content
        self.write(
            data_pdus(fitting[0], command_set(present), is_command=True)
            + data_pdus(fitting[0], content, is_command=False, pieces=pieces)
        )
        return True


def _as_it_is(*arguments) -> bytes:
    return arguments[-1]


@dataclass(eq=False)
class OddPacs:
    """A PACS on 127.0.0.1 that deviates as a test says; ``with OddPacs(...) as node`` runs it.

    Attributes
    ----------
    objects : list of Dataset
        What it holds.
    accept : callable
        It takes a `Proposal` and returns the bytes of the A-ASSOCIATE-AC.
    listed : dict
        By level, the objects that a C-FIND lists in place of those that match; each makes an
        answer.
    counts : dict
        Numbers of related instances and the like that it tells, by keyword, in place of the true
        ones; None for one that it does not tell.
    ignores : sequence of str
        Keywords of the keys that it does not compare.
    edit_answer : callable
        It takes a C-FIND request and an answer, and changes it or returns bytes in its place.
    repeats : int
        How many times it gives each answer.
    pending : int
        The status of an answer: 0xFF00 or 0xFF01.
    find_ends : dict
        The last status of a C-FIND by level, where that is not Success.
    find : callable, optional
        In place of all that: it takes the conversation and the request, and responds.
    sends : callable
        It takes a C-GET or C-MOVE request and returns the objects to send.
    pending_retrieves : bool
        Whether a Pending response follows each object that was sent.
    final : dict
        Arguments of `Conversation.respond` that the last response of a retrieve has.
    retrieve : callable, optional
        In place of all that: it takes the conversation, the request and a function that sends one
        object, and responds.
    store_status : int
    store_comment : bytes
        How it answers a C-STORE.
    edit_response : callable
        It takes a request and the elements of a response by their number, and changes them.
    mangle : callable
        It takes the bytes of each message, PDU headers included, and returns those to send.
    answers_release : bool
    associate_s, dimse_s : float
        Of the node that callers get.
    """

    objects: list[Dataset] = field(default_factory=lambda: OBJECTS)
    accept: Callable[[Proposal], bytes] = accept
    listed: dict[str, list[Dataset]] = field(default_factory=dict)
    counts: dict = field(default_factory=dict)
    ignores: tuple[str, ...] = ()
    edit_answer: Callable[[Request, Dataset], bytes | None] = lambda request, answer: None
    repeats: int = 1
    pending: int = PENDING
    find_ends: dict[str, int] = field(default_factory=dict)
    find: Callable | None = None
    sends: Callable[[Request], list[Dataset]] | None = None
    pending_retrieves: bool = True
    final: dict = field(default_factory=dict)
    retrieve: Callable | None = None
    store_status: int = SUCCESS
    store_comment: bytes = b""
    edit_response: Callable[[Request, dict], None] = lambda request, elements: None
    mangle: Callable[[bytes], bytes] = _as_it_is
    answers_release: bool = True
    associate_s: float = 5
    dimse_s: float = 5

    def __post_init__(self) -> None:
        self.asked: list[Request] = []
        self.destinations: dict[str, Node] = {}
        self.stored: list[Dataset] = []
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Node:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._run(self._listen)
        port = self._listener.getsockname()[1]
        return Node("ODD", "127.0.0.1", port, associate_s=self.associate_s, dimse_s=self.dimse_s)

    def __exit__(self, *exception) -> None:
        with suppress(OSError):  # it wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in list(self._threads):
            thread.join(5)

    def close_at_the_end(self, connection: socket.socket) -> None:
        self._connections.append(connection)

    def know(self, node: Node) -> None:
        """Enter a destination of C-MOVE."""
        self.destinations[node.ae_title] = node

    def requests(self, service: str, level: str = "") -> list[Request]:
        """What it was asked by one service, perhaps at one level only."""
        return [
            request
            for request in self.asked
            if request.service == service and level in ("", request.level)
        ]

    def matching(self, request: Request) -> list[Dataset]:
        """The objects that match a request, one for each answer at its level."""
        unique = UNIQUE_KEYS.get(request.level, "StudyInstanceUID")
        found = {}
        for ds in self.selected(request):
            found.setdefault(ds[unique].value, ds)
        return list(found.values())

    def selected(self, request: Request) -> list[Dataset]:
        """The objects that a request asks for."""
        keys = request.keys.items()
        return [ds for ds in self.objects if all(self._fits(ds, *key) for key in keys)]

    def _fits(self, ds: Dataset, keyword: str, wanted: list[str]) -> bool:
        no_keys = (*self.ignores, "SpecificCharacterSet", "QueryRetrieveLevel")
        if keyword in no_keys or keyword not in ds or not any(wanted):
            return True
        held = str(ds[keyword].value).upper()
        return any(fnmatchcase(held, one.upper()) for one in wanted)

    def _run(self, function, *arguments) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connection)
            self._run(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        talk = Conversation(self, connection)
        with connection, suppress(Over, OSError):
            _, body = talk.read_pdu()
            proposal = Proposal.read(body)
            talk.write(self.accept(proposal))
            for number, (abstract, _) in proposal.contexts.items():
                talk.contexts[number] = abstract, proposal.chosen(number)
            while True:
                self._serve(talk, talk.read_request())

    def _serve(self, talk: Conversation, request: Request) -> None:
        if request.service == "C-FIND":
            (self.find or self.find_as_usual)(talk, request)
        elif request.service in ("C-GET", "C-MOVE"):
            self._serve_retrieve(talk, request)
        elif request.service == "C-STORE":
            self.stored.append(request.identifier)
            talk.respond(request, self.store_status, comment=self.store_comment)
        elif request.service:
            talk.respond(request)

    def find_as_usual(self, talk: Conversation, request: Request) -> None:
        listed = self.listed.get(request.level)
        for ds in self.matching(request) if listed is None else listed:
            answer = self._answer(ds, request)
            for _ in range(self.repeats):
                talk.respond(request, self.pending, self.edit_answer(request, answer) or answer)
        talk.respond(request, self.find_ends.get(request.level, SUCCESS))

    def _answer(self, ds: Dataset, request: Request) -> Dataset:
        answer = Dataset()
        answer.QueryRetrieveLevel = request.level
        for keyword in request.keys:
            if keyword in ds:
                answer[keyword] = copy.copy(ds[keyword])
        of_study = [o for o in self.objects if o.StudyInstanceUID == ds.StudyInstanceUID]
        of_series = [o for o in of_study if o.SeriesInstanceUID == ds.SeriesInstanceUID]
        counts = {
            "NumberOfStudyRelatedSeries": len({o.SeriesInstanceUID for o in of_study}),
            "NumberOfStudyRelatedInstances": len(of_study),
            "NumberOfSeriesRelatedInstances": len(of_series),
        }
        for keyword, count in (counts | self.counts).items():
            if keyword in request.keys and count is not None:
                setattr(answer, keyword, count)
        return answer

    def _serve_retrieve(self, talk: Conversation, request: Request) -> None:
        retrieve = self.retrieve or self.retrieve_as_usual
        if request.service == "C-GET":
            retrieve(talk, request, talk.send_object)
            return
        try:
            delivery = self.delivery(request)
        except KeyError:
            talk.respond(request, DESTINATION_UNKNOWN)
            return
        with delivery:
            retrieve(talk, request, delivery.send_object)

    def delivery(self, request: Request) -> Delivery:
        """Connect to the destination of a C-MOVE; enter what is returned to associate."""
        return Delivery(self, self.destinations[str(request.command[0, DESTINATION].value).strip()])

    def retrieve_as_usual(self, talk: Conversation, request: Request, send: Callable) -> None:
        objects = (self.sends or self.selected)(request)
        failed = []
        for number, ds in enumerate(objects, 1):
            if talk.cancelled:
                break
            if send(ds) != SUCCESS:
                failed.append(ds.SOPInstanceUID)
            counters = (len(objects) - number, number - len(failed), len(failed), 0)
            if self.pending_retrieves and number < len(objects):
                talk.respond(request, PENDING, counters=counters)
        final = {
            "status": INCOMPLETE if failed else SUCCESS,
            "counters": (0, len(objects) - len(failed), len(failed), 0),
        }
        if failed:
            final["identifier"] = Dataset()
            final["identifier"].FailedSOPInstanceUIDList = failed
        talk.respond(request, **(final | self.final))


class Delivery(Conversation):
    """An association that `OddPacs` opens to the destination of a C-MOVE."""

    def __init__(self, pacs: OddPacs, target: Node) -> None:
        connection = socket.create_connection((target.host, target.port), 5)
        super().__init__(pacs, connection)
        pacs.close_at_the_end(connection)
        self._target = target
        kinds = dict.fromkeys(
            (ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in pacs.objects
        )
        self._proposed = {2 * i + 1: kind for i, kind in enumerate(islice(kinds, 128))}

    def __enter__(self) -> Delivery:
        body = struct.pack(
            ">HH16s16s", 1, 0, self._target.ae_title.encode().ljust(16), b"ODD".ljust(16)
        )
        body += bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1")
        for number, (abstract, syntax) in self._proposed.items():
            named = item(0x30, abstract.encode()) + item(0x40, syntax.encode())
            body += item(0x20, struct.pack("4B", number, 0, 0, 0) + named)
        body += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4"))
        self.write(pdu(0x01, body))
        kind, answer = self.read_pdu()
        for number, content in items_in(answer[68:]) if kind == 0x02 else ():
            if number == 0x21 and content[2] == 0:
                self.contexts[content[0]] = self._proposed[content[0]]
        return self

    def __exit__(self, *exception) -> None:
        with self._connection, suppress(Over, OSError):
            self.write(pdu(0x05, bytes(4)))
            self.read_pdu()
