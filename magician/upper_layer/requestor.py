"""The side that asks for an association: its application entity, its connection, its host names.

pynetdicom's own waits without end for a peer that falls silent in the middle of a message or stops
reading, and only logs why a connection failed. This one gives up in time, and remembers what it
saw.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation

from magician.errors import Finding, PacsTimeout, PacsUnreachable
from magician.upper_layer.connection import CONNECTION_CLOSED, BoundedConnection
from magician.upper_layer.reactor_fixes import prepare_association

if TYPE_CHECKING:
    from magician.node import Node

SOCKET_TIMEOUT_S = 0.25  # how often a waiting socket looks whether it is still wanted
PDU_TYPES = range(1, 8)  # PS3.8 9.3.1
MOST_ADDRESSES = 8  # of a host
CONNECTION_MADE = "Evt2"  # "transport connection confirm" (PS3.8 9.2.1)


# Host and port; of IPv6 also flow and scope (RFC 3493)
SocketAddress = tuple[str, int] | tuple[str, int, int, int]


@dataclass(frozen=True)
class Route:
    """A node, and the addresses of its host in the order in which they are tried."""

    node: Node
    addresses: tuple[SocketAddress, ...]

    @property
    def first(self) -> str | tuple[str, int, int]:
        """The first address as pynetdicom wants it: without the port, of IPv6 with its scope."""
        host, _, *scope = self.addresses[0]
        return (host, *scope) if scope else host


def family_of(address: SocketAddress) -> socket.AddressFamily:
    """Tell IPv4 from IPv6."""
    return socket.AF_INET if len(address) == 2 else socket.AF_INET6


class NoAnswerToConnect(PacsUnreachable, PacsTimeout):
    """No TCP connection, and that only after a time-out: both are true."""


class Connection(BoundedConnection):
    """The connection of an association that we ask for.

    Attributes
    ----------
    layer : str
        How far it came: ``"TCP"`` or ``"TLS"`` while it is being opened, then ``"association"``.
    waited_s : float
        How long we have waited for the association since the connection was made.
    tried : list of str
        The IP addresses that were tried.
    given_up : bool
        Whether nobody waits for the connection any more.
    """

    given_up = False

    def __init__(self, assoc, local: AddressInformation, route: Route) -> None:
        super().__init__(assoc, address=local)
        self.node, self._addresses = route.node, route.addresses
        self.tried: list[str] = []
        self.layer = "TCP"
        self._opened_at = float("inf")
        self._was_established = False

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._opened_at

    def connect(self, primitive) -> None:
        """Connect, and tell pynetdicom's state machine how it went (PS3.8 9.2.3)."""
        try:
            address = self._connect_to_any()
            ends = (self.assoc.requestor, self.assoc.acceptor)
            for end, name in zip(ends, (self.socket.getsockname(), address), strict=True):
                end.address_info = AddressInformation.from_tuple(name)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.node.tls:
                self.layer = "TLS"
                self.socket.settimeout(self.node.associate_s)
                self.socket = self.node.tls.wrap_socket(self.socket, server_hostname=self.node.host)
        except OSError as error:
            self.failure = error
            self.force_close()
            self.socket = None
            primitive.result = CONNECTION_CLOSED
        else:
            self.layer, self._opened_at = "association", time.monotonic()
            self.socket.settimeout(min(SOCKET_TIMEOUT_S, self.node.associate_s, self.node.dimse_s))
            self._is_connected = True
            evt.trigger(self.assoc, evt.EVT_CONN_OPEN, {"address": address})
            primitive.result = CONNECTION_MADE
        self.provider_queue.put(primitive)
        self._ready.set()

    def _create_socket(self, address: AddressInformation) -> None:
        """Make no socket yet: each address that is tried needs its own."""

    def _connect_to_any(self) -> SocketAddress:
        """Connect to the first address that answers, and return it.

        Raises
        ------
        OSError
            If none does: what tells most. A refusal comes from the computer itself; a time-out may
            be anybody's; an address without a way to it may not be ours to use.
        """
        errors: list[OSError] = []
        for address in self._addresses:
            self.tried.append(address[0])
            try:
                self.socket = socket.socket(family_of(address), socket.SOCK_STREAM)
                self.socket.settimeout(self.node.connect_s)
                self.socket.connect(address)
            except OSError as error:
                errors.append(error)
                self.force_close()
                if self.given_up:
                    break
            else:
                return address
        raise min(errors, key=_tells_less)

    def _send_piece(self, piece: memoryview) -> None:
        started = time.monotonic()
        while piece and self.socket is not None:
            with self._time_limit(started):
                piece = piece[self.socket.send(piece) :]

    @contextmanager
    def _time_limit(self, started: float) -> Iterator[None]:
        """Do one step on the socket, or nothing for a moment; raise once the time for the whole PDU
        is up.
        """
        with suppress(TimeoutError):
            yield
        if time.monotonic() >= self._deadline(started):
            raise TimeoutError("time for a PDU is up")

    def _deadline(self, started: float) -> float:
        if self.assoc.is_established:
            self._was_established = True
            return started + self.node.dimse_s
        # We do not wait at all for an association that we have given up, nor for a peer that does
        # not speak DICOM.
        if self._was_established or self.is_foreign:
            return 0
        return self._opened_at + self.node.associate_s

    @property
    def is_foreign(self) -> bool:
        """Whether the peer began with something that no DICOM message begins with (PS3.8 9.3.1)."""
        return bool(self.first_bytes) and self.first_bytes[0] not in PDU_TYPES


def _tells_less(error: OSError) -> int:
    if isinstance(error, ConnectionRefusedError):
        return 0
    return 1 if isinstance(error, TimeoutError) else 2


class Requestor(AE):
    """An application entity that calls one node, over a `Connection`.

    Parameters
    ----------
    route : Route
        From `resolve_host`.
    """

    def __init__(self, route: Route) -> None:
        node = route.node
        super().__init__(ae_title=node.local_ae_title)
        self._route = route
        self._connection: Connection | None = None
        self.connection_timeout, self.acse_timeout, self.dimse_timeout = (
            node.connect_s,
            node.associate_s,
            node.dimse_s,
        )
        self.network_timeout = None  # dimse_s is the limit; a second clock would race with it

    def _create_socket(self, assoc, address: AddressInformation, tls_args: None) -> Connection:
        prepare_association(assoc)
        self._connection = Connection(assoc, address, self._route)
        return self._connection

    def close_connection(self) -> None:
        """Close the connection of an association that was interrupted while it was being opened."""
        if self._connection is not None:
            self._connection.given_up = True
            self._connection.force_close()


def connection_of(association: Association) -> Connection:
    """Return the connection over which an association runs that we asked for."""
    return association.dul.socket


def take_whatever_is_sent(association: Association, sop_classes: Collection[str]) -> None:
    """Take objects of these classes although the peer has not answered our role selection (PS3.7
    D.3.3.4), as DCMTK does.
    """
    for context in association.accepted_contexts:
        if context.abstract_syntax in sop_classes:
            context._as_scp = True


def resolve_host(node: Node, *, most: int = MOST_ADDRESSES) -> Route:
    """Find the addresses of a node's host, IPv4 before IPv6, as most PACS listen there only.

    Parameters
    ----------
    node : Node
    most : int
        How many addresses are tried at most: each may take ``connect_s``.

    Raises
    ------
    PacsUnreachable
        If the name is not known. If no name server answers within ``connect_s``, the error is a
        `PacsTimeout`, too.
    """
    found: list = []

    def ask() -> None:
        try:
            found.append(socket.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    asking = threading.Thread(target=ask, daemon=True)  # it can't be interrupted, only left alone
    asking.start()
    asking.join(node.connect_s)
    if not found:
        seen = (
            f"No name server told the address of {node.host!r} within {node.connect_s:g} s "
            f"(connect_s)."
        )
        raise NoAnswerToConnect.of(
            Finding(
                "host name",
                seen,
                "the network",
                "Try the IP address, or ask the network's administrator.",
            )
        )
    if isinstance(found[0], Exception):
        seen = f"The host name {node.host!r} of {node} is not known to this computer ({found[0]})."
        change = "Check its spelling; inside a hospital, try the IP address."
        raise PacsUnreachable.of(Finding("host name", seen, "we", change)) from found[0]
    families = (socket.AF_INET, socket.AF_INET6)
    entries = [entry[4] for entry in found[0] if entry[0] in families]
    if node.host.lower() == "localhost":  # both, whatever its file of hosts says (RFC 6761 6.3)
        entries += [("127.0.0.1", node.port), ("::1", node.port, 0, 0)]
    # a scope stands behind the host, too, as a name; as a number it comes last
    addresses = dict.fromkeys((host.partition("%")[0], *rest) for host, *rest in entries)
    in_order = sorted(addresses, key=lambda address: family_of(address) != socket.AF_INET)
    return Route(node, tuple(in_order[:most]))
