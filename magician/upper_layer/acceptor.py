"""A listener that stays up: a part of `storage`, whose `Receiver` and the practice PACS use it.

pynetdicom's server waits for ever for the rest of a PDU, reads one of any length that its header
claims (PS3.8 9.3.1), makes two threads for whoever connects, and lets one stalling TLS handshake
stop all. Here each of these has a bound, and what exceeds it is refused and logged.
"""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import (
    AddressInformation,
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from magician.errors import MagicianError
from magician.node import Node, explain_bind_error, require_host
from magician.upper_layer.limits import MAX_PDU_BYTES, Limits, receive_exactly, refuse_oversized
from magician.upper_layer.reactor_fixes import (
    mend_reactor,
    stop_waiting_for_messages,
    survive_nonsense,
)
from magician.upper_layer.requestor import Connection, look_up
from magician.upper_layer.throughput import WakefulSocket, parts, quicken

logger = logging.getLogger(__name__)

LOOK_S = 0.05  # how often a listener looks whether it has been stopped
GOODBYE_S = 1  # how long `stop_listening` lets the associations end by themselves
REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and this listener wants one",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it speaks plain HTTP",
    "UNSUPPORTED_PROTOCOL": "its version of TLS is older than 1.2",
}


def connection_lost(event: evt.Event) -> None:
    """End what is going on over a connection that has closed; the handler of EVT_CONN_CLOSE.

    pynetdicom notices in the thread that is busy sending, and so would wait for an answer to each
    further object.
    """
    event.assoc.is_established = False
    stop_waiting_for_messages(event.assoc)
    if event.assoc.is_acceptor and event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)  # no association request will come any more


class _BoundedSocket(WakefulSocket):
    """The socket of one caller."""

    def __init__(self, accepted: AssociationSocket, limits: Limits) -> None:
        vars(self).update(vars(accepted))
        self._limits = limits

    def recv(self, nr_bytes: int) -> bytearray:
        """Read a part of a PDU; pynetdicom closes the connection on an `OSError`."""
        refuse_oversized(self.assoc, nr_bytes, self._limits.object_bytes)
        received = receive_exactly(self.socket, nr_bytes, self._limits.idle_s)
        self.moved()
        return received

    def send(self, bytestream: bytes) -> None:
        """Send PDUs; as pynetdicom wants it, a failure is an event and not an exception."""
        try:
            for part in parts(bytestream):
                self.socket.sendall(part)
                self.moved()
        except (OSError, AttributeError):  # it has no socket any more when the peer was faster
            self.event_queue.put("Evt17")  # transport connection closed
        else:
            evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})


class _Handler(RequestHandler):
    """Makes an association of a connection."""

    def _create_association(self):
        association = super()._create_association()
        association.dul.socket = _BoundedSocket(association.dul.socket, self.server.limits)
        association.dul.socket.socket.settimeout(self.server.limits.idle_s)
        survive_nonsense(association)
        quicken(association)
        return association


class _Server(ThreadedAssociationServer):
    """Hands each connection to a thread of its own, the TLS handshake included."""

    # Connections that may wait to be accepted: a class that runs the same cell at once. With
    # socketserver's own 5 the others try again after a second, and after some seconds in vain.
    request_queue_size = 128
    # else a stop waits for whoever is silent in the middle of a TLS handshake
    daemon_threads = True

    def __init__(self, *args, limits: Limits, **keywords) -> None:
        self.limits = limits
        self._shaking_hands: set[socket.socket] = set()  # connections on the way to an association
        self._count_lock = threading.Lock()
        super().__init__(*args, request_handler=_Handler, **keywords)

    def get_request(self) -> tuple[socket.socket, tuple]:
        try:
            connection, address = self.socket.accept()
        except OSError:  # too many open files: the caller waits in the queue, and so do we
            time.sleep(LOOK_S)
            raise
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(self.limits.associate_s)
        if self.ssl_context:
            connection = self.ssl_context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def verify_request(self, request: socket.socket, client_address) -> bool:
        """Take a connection, or close it because there are too many."""
        with self._count_lock:
            if (
                len(self._shaking_hands) + len(self.active_associations)
                >= 2 * self.limits.associations
            ):
                logger.warning("Closed a connection from %s: too many are open", client_address[0])
                return False
            self._shaking_hands.add(request)
        return True

    def process_request(self, request: socket.socket, client_address) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._has_shaken(request)
            raise

    def finish_request(self, request: socket.socket, client_address) -> None:
        try:
            if isinstance(request, ssl.SSLSocket):
                request.do_handshake()
            super().finish_request(request, client_address)
        finally:
            self._has_shaken(request)

    def _has_shaken(self, request: socket.socket) -> None:
        with self._count_lock:
            self._shaking_hands.discard(request)

    def hang_up(self) -> None:
        """Close the connections that are not associations yet."""
        with self._count_lock:
            waiting = list(self._shaking_hands)
        for connection in waiting:
            with suppress(OSError):
                # of TLS connections too, whatever they are at
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: socket.socket, client_address: tuple) -> None:
        """Log why a caller was turned away; socketserver would print it."""
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not good ({error.verify_message})"
        else:
            why = REASONS.get(getattr(error, "reason", None), error)
        logger.warning("%s turned %s away: %s", self.ae_title, client_address[0], why)


class Listener(AE):
    """An application entity that listens, and that calls the destinations of a C-MOVE as every
    caller of ours does.

    Parameters
    ----------
    ae_title : str
        Its title. Callers must call it by exactly this title.
    calling_titles : sequence of str
        The titles of those who may call; empty if everybody may.
    """

    def __init__(self, ae_title: str, calling_titles: Sequence[str] = ()) -> None:
        super().__init__(ae_title=ae_title)
        self.require_called_aet, self.require_calling_aet = True, list(calling_titles)

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: Node
    ) -> Connection:
        mend_reactor(assoc)
        quicken(assoc)
        # the node holds the TLS context, and how long to wait
        return Connection(assoc, address, tls_args)


def call_for_move(
    destination: Node, contexts: Sequence[PresentationContext]
) -> tuple[str, int, dict]:
    """Return what a handler of EVT_C_MOVE yields first: where to call, and how (PS3.4 C.4.2).

    It works for the handlers of a `Listener` only, which takes the node in the place of TLS
    arguments.

    Raises
    ------
    PacsUnreachable
        If the name of the destination's host is not known.
    """
    handlers = [(evt.EVT_CONN_CLOSE, connection_lost)]
    options = {"contexts": contexts, "evt_handlers": handlers, "tls_args": destination}
    return look_up(destination), destination.port, options


class _OfferedContext(PresentationContext):
    """A presentation context that is quick to copy: pynetdicom deep-copies all of them for every
    association.
    """

    def __init__(self, template: PresentationContext) -> None:
        vars(self).update(vars(template))

    def __deepcopy__(self, memo: dict) -> _OfferedContext:
        twin = _OfferedContext(self)
        twin._transfer_syntax = list(self._transfer_syntax)
        return twin


def start_listening(
    ae: Listener,
    host: str,
    port: int,
    handlers: list[tuple],
    *,
    limits: Limits,
    tls: ssl.SSLContext | None = None,
) -> tuple[_Server, Node]:
    """Start the server thread of an application entity; returns the server and the node by which to
    reach it.

    The node has no TLS context of its own: that of a listener holds its private key, a caller's the
    authority.

    Raises
    ------
    MagicianError
        If the address is taken or can't be had.
    ValueError
        If `host` is empty, which would mean every address of this computer; or if `tls` is a
        caller's context.
    """
    if tls is not None and tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError(
            "tls is a context for the side that calls; a listener needs its own: server_tls(...)."
        )
    require_host(host)
    ae.maximum_pdu_size, ae.maximum_associations = MAX_PDU_BYTES, limits.associations
    ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = (
        limits.associate_s,
        limits.idle_s,
        limits.idle_s,
    )
    offered = [_OfferedContext(context) for context in ae.supported_contexts]
    options = {"server_class": _Server, "limits": limits, "ssl_context": tls}
    try:
        handlers = [(evt.EVT_CONN_CLOSE, connection_lost), *handlers]
        server = ae.make_server((host, port), evt_handlers=handlers, contexts=offered, **options)
    except OSError as error:
        raise MagicianError(
            f"{ae.ae_title!r} can't listen on {host}:{port} ({error.strerror or error}). "
            f"{explain_bind_error(error)}"
        ) from error
    ae._servers.append(server)  # as pynetdicom's own start_server does: its shutdown removes it
    threading.Thread(
        target=server.serve_forever, args=[LOOK_S], name=f"Listener {ae.ae_title}", daemon=True
    ).start()
    reachable = "127.0.0.1" if host == "0.0.0.0" else host
    return server, Node(ae.ae_title, reachable, server.socket.getsockname()[1])


def stop_listening(server: _Server) -> None:
    """Stop a server, and end the associations that are still open: politely at first, then by
    closing them.
    """
    server.shutdown()
    server.hang_up()
    open_ones = server.active_associations
    for association in open_ones:
        association.abort(block=False)
    deadline = time.monotonic() + GOODBYE_S
    for association in open_ones:
        association.join(max(0.0, deadline - time.monotonic()))
    for association in open_ones:
        if association.is_alive():
            # wakes a thread that is stuck in sending or receiving
            association.dul.socket.close_for_certain()
            association.join(GOODBYE_S)
