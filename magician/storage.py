"""Send objects to a PACS (`store`) and let a PACS send objects to us (`Receiver`): the Storage service, PS3.4 Annex B.

What comes from a network is not to be trusted: a received object is named by its SOP Instance UID only after that
has been checked to be a UID, and appears in its folder whole or not at all.
"""

from __future__ import annotations

import errno
import logging
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification

from magician._files import instance_path, write_whole
from magician.association import (
    MAX_CONTEXTS,
    MAX_PDU_BYTES,
    Node,
    associate,
    check_ae_title,
    disable_nagle,
    is_loopback,
    status_of,
)
from magician.errors import (
    DimseFailure,
    MagicianError,
    NotDeidentified,
    ServiceNotAccepted,
    describe_status,
)

logger = logging.getLogger(__name__)

UNCOMPRESSED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
# What a listener takes: everything, and explicit VR first, because an acceptor chooses in its own order
SYNTAXES_TAKEN = [*UNCOMPRESSED, *(uid for uid in ALL_TRANSFER_SYNTAXES if uid not in UNCOMPRESSED)]

# Connections that may wait to be accepted: a class that runs the same cell at once. The socketserver's own 5 would let
# the others try again after a second, and after some seconds in vain.
CALLERS_WAITING = 128

# Answers to a C-STORE (PS3.4 Table B.2-1, PS3.7 9.1.1.1.9)
SUCCESS, OUT_OF_RESOURCES, NOT_MATCHING, NOT_UNDERSTOOD, NOT_AUTHORISED = 0x0000, 0xA700, 0xA900, 0xC000, 0x0124

# What a receiver looks at before it keeps an object
HEADER_KEYWORDS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientIdentityRemoved"]


def receive(event: evt.Event, folder: Path, header: Dataset) -> int:
    """Keep the object of a C-STORE request as ``<SOPInstanceUID>.dcm``, byte for byte as it was sent.

    Parameters
    ----------
    event : pynetdicom.events.Event
        A C-STORE request.
    folder : Path
        It must exist.
    header : Dataset
        What `read_header` returned for the same event.

    Returns
    -------
    int
        The status to answer with: 0x0000, 0xA900 for an object that contradicts its request, 0xA700 when it could
        not be written.
    """
    uid = str(header.get("SOPInstanceUID", ""))
    if uid != event.request.AffectedSOPInstanceUID or header.get("SOPClassUID") != event.request.AffectedSOPClassUID:
        logger.warning("Refused an object that is not what its C-STORE request says: %r", uid)
        return NOT_MATCHING
    try:
        write_whole(instance_path(folder, uid), event.encoded_dataset())
    except ValueError as error:
        logger.warning("Refused an object: %s", error)
        return NOT_MATCHING
    except OSError as error:
        logger.error("Could not write %s: %s", uid, error)
        return OUT_OF_RESOURCES
    return SUCCESS


def read_header(event: evt.Event, keywords: Sequence[str] = HEADER_KEYWORDS) -> Dataset | None:
    """Read a few elements of the object of a C-STORE request; None if it can't be read as a data set."""
    try:
        header = dcmread(BytesIO(event.encoded_dataset()), stop_before_pixels=True, specific_tags=list(keywords))
        for element in header:  # pydicom decodes values when they are looked at: make it look now
            element.value  # noqa: B018
    except Exception as error:  # a hostile object can fail in any of pydicom's ways; all mean the same here
        logger.warning("Refused an object that can't be read as DICOM: %s", error)
        return None
    return header


class _OfferedContext(PresentationContext):
    """A presentation context that is quick to copy: pynetdicom deep-copies all of them for every association."""

    def __init__(self, template: PresentationContext) -> None:
        vars(self).update(vars(template))

    def __deepcopy__(self, memo: dict) -> _OfferedContext:
        twin = _OfferedContext(self)
        twin._transfer_syntax = list(self._transfer_syntax)
        return twin


def start_listening(ae: AE, host: str, port: int, handlers: list[tuple], tls: ssl.SSLContext | None = None):
    """Start the server thread of an application entity; returns the server and the node by which to reach it.

    The node has no TLS context of its own: that of a listener holds its private key, a caller's the authority.

    Raises
    ------
    MagicianError
        If the address is taken or can't be had.
    ValueError
        If `host` is empty, which would mean every address of this computer.
    """
    if not host:
        raise ValueError("An empty host would be every address of this computer: write '0.0.0.0' if that is meant.")
    ae.maximum_pdu_size = MAX_PDU_BYTES
    try:
        handlers = [(evt.EVT_CONN_OPEN, disable_nagle), *handlers]
        offered = [_OfferedContext(context) for context in ae.supported_contexts]
        server = ae.start_server(
            (host, port), block=False, evt_handlers=handlers, contexts=offered, ssl_context=tls
        )
    except OSError as error:
        raise MagicianError(
            f"{ae.ae_title!r} can't listen on {host}:{port} ({error.strerror or error}). {_advice(error)}"
        ) from error
    server.socket.listen(CALLERS_WAITING)
    reachable = "127.0.0.1" if host == "0.0.0.0" else host
    return server, Node(ae.ae_title, reachable, server.socket.getsockname()[1])


def _advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "Stop what uses this port, or choose another: port 0 finds a free one."
    if error.errno == errno.EACCES:
        return "Ports below 1024 are an administrator's: choose a larger one, for instance 11112."
    return "The host must be an address of this computer."


def stop_listening(server) -> None:
    """Stop a server that `start_listening` started, and break off the associations that are still open.

    pynetdicom would leave them open, and a process does not end before they do.
    """
    server.shutdown()
    associations = server.active_associations
    for association in associations:
        association.abort(block=False)  # a caller that does not read must not keep the others waiting
    for association in associations:
        association.join(timeout=1)


class Receiver:
    """A Storage SCP: the place to which a C-MOVE lets a PACS send.

    Use it in a ``with`` block; it listens until the end of the block.

    Parameters
    ----------
    folder : path
        Where objects go, as ``<SOPInstanceUID>.dcm``; made if it does not exist.
    ae_title : str
        The name that the PACS must know, together with host and port.
    host : str
        The address to listen on. The default, loopback, can be reached from this computer only.
    port : int
        0 takes a free port.
    tls : ssl.SSLContext, optional
        Take encrypted connections only, with this server's context (PS3.15 Annex B).

    Attributes
    ----------
    node : Node
        How to reach this receiver. A caller of one with TLS adds a client's context of its own:
        ``dataclasses.replace(receiver.node, tls=context)``.
    received : list of Path
        The files that have arrived so far, in order of arrival.
    """

    def __init__(
        self,
        folder,
        *,
        ae_title: str = "MAGICIAN",
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._ae_title, self._host, self._port, self._tls = check_ae_title(ae_title), host, port, tls
        self._arrived: dict[Path, None] = {}
        self._lock = threading.Lock()
        self._server = None

    def __enter__(self) -> Receiver:
        self.folder.mkdir(parents=True, exist_ok=True)
        ae = AE(ae_title=self._ae_title)
        ae.require_called_aet = True
        ae.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, SYNTAXES_TAKEN)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_ECHO, lambda event: SUCCESS)]
        self._server, self.node = start_listening(ae, self._host, self._port, handlers, self._tls)
        return self

    def __exit__(self, *exception) -> None:
        stop_listening(self._server)

    @property
    def received(self) -> list[Path]:
        with self._lock:
            return list(self._arrived)

    def _store(self, event: evt.Event) -> int:
        header = read_header(event)
        if header is None:
            return NOT_UNDERSTOOD
        status = receive(event, self.folder, header)
        if status == SUCCESS:
            with self._lock:
                self._arrived[instance_path(self.folder, header.SOPInstanceUID)] = None
        return status


@dataclass(frozen=True)
class Stored:
    """What `store` did.

    Attributes
    ----------
    sent : int
        Objects that the peer has stored, with or without a warning.
    warnings : tuple of str
        One sentence for each object that it stored with a warning status.
    """

    sent: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class AcceptedContext:
    """One kind of object that we want to send, and whether the peer takes it."""

    sop_class: str
    transfer_syntax: str
    objects: int
    accepted: bool


def store(node: Node, datasets_or_paths: Iterable, *, allow_identified: bool = False) -> Stored:
    """Send objects to a PACS by C-STORE (PS3.4 Annex B).

    Parameters
    ----------
    node : Node
    datasets_or_paths : iterable of Dataset or path
        Data sets need a complete ``file_meta``, as those read from a file have.
    allow_identified : bool
        Objects leave this computer only if each of them says PatientIdentityRemoved=YES, or if you say True here.

    Raises
    ------
    NotDeidentified
        Before anything is sent, see `allow_identified`. The flag is a claim, not a proof, and a tunnel that ends
        on this computer looks like this computer.
    ServiceNotAccepted
        Before anything is sent, if the peer does not take one of the kinds of objects.
    DimseFailure
        If some objects were refused; the others were sent. The message lists the refused ones.
    PacsUnreachable, PacsTimeout, AssociationRejected, AssociationAborted
        See `magician.association.associate`.
    """
    items = _listed(datasets_or_paths)
    if not items:
        return Stored(0)
    headers = [_header(item) for item in items]
    if not is_loopback(node.host) and not allow_identified:
        refuse_identified(headers, f"{node}")
    with associate(node, contexts_for(headers)) as association:
        refused = [row for row in _acceptance(association, headers) if not row.accepted]
        if refused:
            kinds = ", ".join(f"{row.sop_class} as {row.transfer_syntax} ({row.objects})" for row in refused)
            raise ServiceNotAccepted(
                f"{node} does not accept {kinds}; nothing was sent. Its administrator must allow these kinds of "
                f"objects, or leave them out."
            )
        return _send(association, node, items, headers)


def accepted_contexts(node: Node, datasets_or_paths: Iterable) -> list[AcceptedContext]:
    """Ask a PACS which of these kinds of objects it would take, without sending any.

    Returns
    -------
    list of AcceptedContext
        One for each SOP class and transfer syntax among the objects, in the order of their first appearance.
    """
    headers = [_header(item) for item in _listed(datasets_or_paths)]
    if not headers:
        return []
    try:
        with associate(node, contexts_for(headers)) as association:
            return _acceptance(association, headers)
    except ServiceNotAccepted:
        return _acceptance(None, headers)


def refuse_identified(headers: Iterable[Dataset], whereto: str) -> None:
    """Raise `NotDeidentified` unless every header says PatientIdentityRemoved=YES (0012,0062)."""
    identified = [header for header in headers if header.get("PatientIdentityRemoved") != "YES"]
    if identified:
        raise NotDeidentified(
            f"{len(identified)} object(s) do not say PatientIdentityRemoved=YES, and {whereto} is not this "
            f"computer; nothing was sent. De-identify them first, or, if you may send patients' data there, say "
            f"allow_identified=True."
        )


def contexts_for(headers: Iterable[Dataset]) -> list[PresentationContext]:
    """The presentation contexts with which these objects can be sent: one for each class and encoding."""
    kinds = dict.fromkeys(_kind(header) for header in headers)
    if len(kinds) > MAX_CONTEXTS:
        raise ValueError(f"{len(kinds)} kinds of objects; one association carries {MAX_CONTEXTS}. Send fewer at once.")
    return [build_context(UID(sop_class), list(syntaxes)) for sop_class, syntaxes in kinds]


def _listed(datasets_or_paths: Iterable) -> list:
    if isinstance(datasets_or_paths, (Dataset, str, Path)):
        raise TypeError("A list of data sets or files is needed: put the one into [ ], or list the folder's files.")
    return list(datasets_or_paths)


def _kind(header: Dataset) -> tuple[str, tuple[str, ...]]:
    syntax = header.file_meta.TransferSyntaxUID
    # uncompressed little endian can be re-encoded on the way, so either of the two will do
    return str(header.SOPClassUID), tuple(UNCOMPRESSED) if syntax in UNCOMPRESSED else (syntax,)


def _header(item) -> Dataset:
    """A data set, or the few elements of a file that tell how it has to be sent."""
    if isinstance(item, Dataset):
        header = item
    else:
        try:
            header = dcmread(item, stop_before_pixels=True, specific_tags=HEADER_KEYWORDS)
        except InvalidDicomError as error:
            raise MagicianError(f"{item} is not a DICOM file; nothing was sent.") from error
    missing = [keyword for keyword in ("SOPClassUID", "SOPInstanceUID") if keyword not in header]
    if getattr(header, "file_meta", None) is None or "TransferSyntaxUID" not in header.file_meta:
        missing.append("TransferSyntaxUID in its file_meta")
    if missing:
        name = header.get("SOPInstanceUID", item if not isinstance(item, Dataset) else "an object")
        raise MagicianError(f"{name} can't be sent: it has no {', no '.join(missing)}. Nothing was sent.")
    return header


def _acceptance(association, headers: list[Dataset]) -> list[AcceptedContext]:
    counts: dict[tuple, int] = {}
    for header in headers:
        counts[_kind(header)] = counts.get(_kind(header), 0) + 1
    accepted = {
        (context.abstract_syntax, syntax)
        for context in (association.accepted_contexts if association else [])
        for syntax in context.transfer_syntax
    }
    rows = []
    for (sop_class, syntaxes), count in counts.items():
        agreed = [syntax for syntax in syntaxes if (sop_class, syntax) in accepted]
        name = UID((agreed or syntaxes)[0]).name
        rows.append(AcceptedContext(UID(sop_class).name, name, count, bool(agreed)))
    return rows


def _send(association, node: Node, items: list, headers: list[Dataset]) -> Stored:
    warnings, failures, status = [], [], SUCCESS
    for number, (item, header) in enumerate(zip(items, headers, strict=True)):
        started = time.monotonic()
        dataset = item if isinstance(item, Dataset) else dcmread(item)
        try:
            response = association.send_c_store(dataset)
        except (ValueError, AttributeError) as error:  # pynetdicom's words for what it can't encode
            sent = f"{number} of {len(items)} objects were sent"
            raise MagicianError(f"{header.SOPInstanceUID} can't be sent ({error}); {sent}.") from error
        answer = status_of(response, node, "C-STORE", started)
        words = f"{header.SOPInstanceUID}: {describe_status(answer, 'C-STORE')}"
        if answer >> 12 == 0xB:
            warnings.append(words)
        elif answer != SUCCESS:
            failures.append(words)
            status = answer
    if failures:
        listed = "; ".join(failures[:5]) + ("; ..." if len(failures) > 5 else "")
        raise DimseFailure(
            f"{node} stored {len(items) - len(failures)} of {len(items)} objects and refused {len(failures)}: "
            f"{listed}. Its log says why.",
            status,
        )
    return Stored(len(items), tuple(warnings))
