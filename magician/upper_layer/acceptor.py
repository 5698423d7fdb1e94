"""The side that accepts associations: a listener that stays up, whoever connects to it.

pynetdicom's server makes two threads for every connection, waits for ever for its PDUs, and lets
one slow TLS handshake stop all others. Here each of these has a limit. What exceeds a limit is
refused and logged.
"""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import (
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from magician.errors import MagicianError
from magician.node import Node, explain_bind_error, note_started, require_host
from magician.upper_layer.connection import BoundedConnection
from magician.upper_layer.limits import MAX_PDU_BYTES, Limits
from magician.upper_layer.reactor_fixes import prepare_association, stop_waiting_for_messages
from magician.upper_layer.requestor import Connection, Route, resolve_host
from magician.upper_layer.tls_failures import explain_refused_caller

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.05  # how often a listener looks whether it has been stopped
GRACE_PERIOD_S = 1  # how long `stop_listening` lets the associations end by themselves


def end_closed_association(event: evt.Event) -> None:
    """End an association whose connection has closed; the handler of EVT_CONN_CLOSE.

    pynetdicom ends it in the thread that is busy sending objects. That thread would wait for an
    answer to each further object.
    """
    event.assoc.is_established = False
    stop_waiting_for_messages(event.assoc)
    if event.assoc.is_acceptor and event.assoc.requestor.primitive is None:
        event.assoc.dul.to_user_queue.put(None)  # no association request will come any more


class AcceptedConnection(BoundedConnection):
    """The connection of an association that we accept.

    It takes the place of the connection that pynetdicom has made, with all that it holds: making
    another would report a second connection to the state machine.
    """

    def __init__(self, accepted: AssociationSocket, limits: Limits) -> None:
        vars(self).update(vars(accepted))
        self.object_bytes = limits.object_bytes
        self._idle_s = limits.idle_s

    @contextmanager
    def _time_limit(self, started: float) -> Iterator[None]:
        """Raise before a step on the socket if the time for the whole PDU is up; the socket itself
        limits the time of the step.
        """
        if time.monotonic() > started + self._idle_s:
            raise TimeoutError(f"a PDU did not come within {self._idle_s:g} s")
        yield

    def _send_piece(self, piece: memoryview) -> None:
        opened = self.socket
        if opened is None:
            raise ConnectionAbortedError("the peer has closed the connection")
        opened.sendall(piece)


class _ConnectionHandler(RequestHandler):
    """Makes an association of a connection."""

    def _create_association(self):
        association = super()._create_association()
        connection = AcceptedConnection(association.dul.socket, self.server.limits)
        connection.socket.settimeout(self.server.limits.idle_s)
        association.dul.socket = connection
        prepare_association(association)
        return association


class ListenerServer(ThreadedAssociationServer):
    """Hands each connection to a thread of its own, the TLS handshake included."""

    # Connections that may wait to be accepted, when a whole class runs the same cell at once. With
    # socketserver's own 5, the others try again after a second, and after some seconds they fail.
    request_queue_size = 128
    # otherwise a stop waits for a caller that is silent in the middle of a TLS handshake
    daemon_threads = True

    def __init__(self, *args, limits: Limits, **keywords) -> None:
        self.limits = limits
        # connections that are not associations yet
        self._pending_connections: set[socket.socket] = set()
        self._pending_lock = threading.Lock()
        super().__init__(*args, request_handler=_ConnectionHandler, **keywords)

    def get_request(self) -> tuple[socket.socket, tuple]:
        try:
            connection, address = self.socket.accept()
        except OSError:  # too many open files: the caller stays in the queue while we wait
            time.sleep(POLL_INTERVAL_S)
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
        with self._pending_lock:
            open_connections = len(self._pending_connections) + len(self.active_associations)
            if open_connections >= 2 * self.limits.associations:
                logger.warning("Closed a connection from %s: too many are open", client_address[0])
                return False
            self._pending_connections.add(request)
        return True

    def process_request(self, request: socket.socket, client_address) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._forget_pending(request)
            raise

    def finish_request(self, request: socket.socket, client_address) -> None:
        try:
            if isinstance(request, ssl.SSLSocket):
                request.do_handshake()
            super().finish_request(request, client_address)
        finally:
            self._forget_pending(request)

    def _forget_pending(self, request: socket.socket) -> None:
        with self._pending_lock:
            self._pending_connections.discard(request)

    def close_pending_connections(self) -> None:
        """Close the connections that are not associations yet."""
        with self._pending_lock:
            pending = list(self._pending_connections)
        for connection in pending:
            with suppress(OSError):
                # the plain socket of TLS connections too, without TLS's own end
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: socket.socket, client_address: tuple) -> None:
        """Log why a caller was refused; socketserver would print it."""
        reason = explain_refused_caller(sys.exc_info()[1])
        logger.warning("%s turned %s away: %s", self.ae_title, client_address[0], reason)


class Listener(AE):
    """An application entity that listens, and that calls the destinations of a C-MOVE with the
    same limits as every caller of ours.

    Parameters
    ----------
    ae_title : str
        Its title. Callers must call it by exactly this title.
    calling_titles : sequence of str
        The titles of those who may call; empty if everybody may.
    implementation_class_uid : str
        By which UID it says what it is (PS3.7 D.3.3.2); pynetdicom's own if empty.
    """

    def __init__(
        self,
        ae_title: str,
        calling_titles: Sequence[str] = (),
        *,
        implementation_class_uid: str = "",
    ) -> None:
        super().__init__(ae_title=ae_title)
        if implementation_class_uid:
            self.implementation_class_uid = implementation_class_uid
        self.require_called_aet = True
        self.admit(calling_titles)

    def admit(self, calling_titles: Sequence[str]) -> None:
        """Let these titles call from now on; everybody if there are none."""
        self.require_calling_aet = list(calling_titles)

    def _create_socket(self, assoc: Association, address, tls_args: Route) -> Connection:
        prepare_association(assoc)
        # its node holds the TLS context, and how long to wait
        return Connection(assoc, address, tls_args)


def call_for_move(
    destination: Node, contexts: Sequence[PresentationContext]
) -> tuple[str, int, dict]:
    """Return what a handler of EVT_C_MOVE yields first: where to call, and how (PS3.4 C.4.2).

    It works for the handlers of a `Listener` only, which takes the route in the place of TLS
    arguments.

    Raises
    ------
    PacsUnreachable
        If the name of the destination's host is not known.
    """
    handlers = [(evt.EVT_CONN_CLOSE, end_closed_association)]
    route = resolve_host(destination)
    options = {"contexts": contexts, "evt_handlers": handlers, "tls_args": route}
    return route.first, destination.port, options


def redirect_move(call: tuple, host: str, port: int) -> tuple[str, int, dict]:
    """Let what `call_for_move` has returned call another host and port."""
    options = call[2]
    there = replace(options["tls_args"].node, host=host, port=port)
    return call_for_move(there, options["contexts"])


class _OfferedContext(PresentationContext):
    """A presentation context that is quick to copy: pynetdicom deep-copies all of them for every
    association.

    It takes over all attributes of its template, whichever these are, because the constructor of a
    context takes none of them.
    """

    def __init__(self, template: PresentationContext) -> None:
        vars(self).update(vars(template))

    def __deepcopy__(self, memo: dict) -> _OfferedContext:
        copied = _OfferedContext(self)
        copied._transfer_syntax = list(self._transfer_syntax)
        return copied


def start_listening(
    ae: Listener,
    host: str,
    port: int,
    handlers: list[tuple],
    *,
    limits: Limits,
    tls: ssl.SSLContext | None = None,
) -> tuple[ListenerServer, Node]:
    """Start the server thread of an application entity.

    Returns the server, and the node by which to reach it. The node has no TLS context of its own:
    that of a listener holds its private key, a caller's holds the authority.

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
    options = {"server_class": ListenerServer, "limits": limits, "ssl_context": tls}
    try:
        handlers = [(evt.EVT_CONN_CLOSE, end_closed_association), *handlers]
        server = ae.make_server((host, port), evt_handlers=handlers, contexts=offered, **options)
    except OSError as error:
        raise MagicianError(
            f"{ae.ae_title!r} can't listen on {host}:{port} ({error.strerror or error}). "
            f"{explain_bind_error(error)}"
        ) from error
    ae._servers.append(server)  # as pynetdicom's own start_server does: its shutdown removes it
    threading.Thread(
        target=server.serve_forever,
        args=[POLL_INTERVAL_S],
        name=f"Listener {ae.ae_title}",
        daemon=True,
    ).start()
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    node = Node(ae.ae_title, reachable, server.socket.getsockname()[1])
    note_started(node)
    return server, node


def last_activity_of(server: ListenerServer | None) -> float:
    """Tell when a part of a message last came from a caller, by ``time.monotonic()``."""
    associations = server.active_associations if server else []
    return max((assoc.dul.socket.last_activity for assoc in associations), default=0.0)


def stop_listening(server: ListenerServer) -> None:
    """Stop a server and end the associations that are still open: by an abort first (PS3.8 9.3.8),
    then by closing their connections.
    """
    server.shutdown()
    server.close_pending_connections()
    associations = server.active_associations
    for association in associations:
        association.abort(block=False)
    deadline = time.monotonic() + GRACE_PERIOD_S
    for association in associations:
        association.join(max(0.0, deadline - time.monotonic()))
    for association in associations:
        if association.is_alive():
            # wakes a thread that is stuck in sending or receiving
            association.dul.socket.force_close()
            association.join(GRACE_PERIOD_S)
