"""The caller's end of a connection; a part of `association`.

pynetdicom's own waits without end for a peer that falls silent in the middle of a message or stops
reading, and only logs why a connection failed. This one gives up in time, and remembers what it
saw.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation

from magician.errors import Finding, PacsTimeout, PacsUnreachable
from magician.upper_layer.limits import refuse_oversized
from magician.upper_layer.reactor_fixes import mend_reactor
from magician.upper_layer.throughput import WakefulSocket, parts, quicken

if TYPE_CHECKING:
    from magician.node import Node

LOOK_UP_S = 0.25  # how often a waiting socket looks whether it is still wanted
PDU_TYPES = range(1, 8)


class NoAnswerToConnect(PacsUnreachable, PacsTimeout):
    """No TCP connection, and that only after a time-out: both are true."""


class Connection(WakefulSocket):
    """A socket for one association that we ask for.

    Attributes
    ----------
    layer : str
        How far it came: ``"TCP"`` or ``"TLS"`` while it is being opened, then ``"association"``.
    failure : OSError or None
        What ended it.
    first_bytes : bytes
        The start of the peer's first answer: in DICOM the header of a PDU, 6 bytes.
    waited_s : float
        How long the association was waited for, once the connection stood.
    """

    def __init__(self, assoc, address: AddressInformation, node: Node) -> None:
        super().__init__(assoc, address=address)
        self.node = node
        self.layer = "TCP"
        self.failure: OSError | None = None
        self.first_bytes = b""
        self._opened = float("inf")
        self._agreed = False

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self._opened

    def connect(self, primitive) -> None:
        """Connect, and tell pynetdicom's state machine how it went (PS3.8 9.2.3)."""
        address = primitive.address_info.as_tuple
        try:
            self.socket.settimeout(self.node.connect_s)
            self.socket.connect(address)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.node.tls:
                self.layer = "TLS"
                self.socket.settimeout(self.node.associate_s)
                self.socket = self.node.tls.wrap_socket(self.socket, server_hostname=self.node.host)
            self.assoc.requestor.address_info = AddressInformation.from_tuple(
                self.socket.getsockname()
            )
        except OSError as error:
            self.failure = error
            self._shutdown_socket()
            self.socket = None
            primitive.result = "Evt17"  # transport connection closed
        else:
            self.layer, self._opened = "association", time.monotonic()
            self.socket.settimeout(min(LOOK_UP_S, self.node.associate_s, self.node.dimse_s))
            self._is_connected = True
            evt.trigger(self.assoc, evt.EVT_CONN_OPEN, {"address": address})
            primitive.result = "Evt2"  # transport connection confirmed
        self.provider_queue.put(primitive)
        self._ready.set()

    def recv(self, nr_bytes: int) -> bytearray:
        """Read a part of a PDU; fewer bytes only if the peer has closed the connection."""
        try:
            refuse_oversized(self.assoc, nr_bytes)
        except OSError as error:
            self.failure = error
            raise
        read, count, started = bytearray(nr_bytes), 0, time.monotonic()
        try:
            with memoryview(read) as room:
                while count < nr_bytes:
                    with self._time_limit(started):
                        more = self.socket.recv_into(room[count:])
                        if not more:
                            break
                        count += more
        finally:
            self.first_bytes = self.first_bytes or bytes(read[: min(count, 6)])
        del read[count:]
        self.moved()
        return read

    def send(self, bytestream: bytes) -> None:
        """Send PDUs; as pynetdicom wants it, a failure is an event and not an exception."""
        try:
            for part in parts(bytestream):
                self._send_part(part)
        except OSError:
            self.event_queue.put("Evt17")  # transport connection closed
        else:
            evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})

    def _send_part(self, left: memoryview) -> None:
        started = time.monotonic()
        while left and self.socket is not None:
            with self._time_limit(started):
                left = left[self.socket.send(left) :]
        self.moved()

    @contextmanager
    def _time_limit(self, started: float) -> Iterator[None]:
        """Do one step on the socket, or nothing for a moment; raise once the time for the whole PDU
        is up.
        """
        try:
            with suppress(TimeoutError):
                yield
            if time.monotonic() >= self._deadline(started):
                raise TimeoutError("time for a PDU is up")
        except OSError as error:
            self.failure = error
            raise

    def _deadline(self, started: float) -> float:
        if self.assoc.is_established:
            self._agreed = True
            return started + self.node.dimse_s
        # an association that we have given up is worth no waiting at all, and neither is a peer
        # that talks rubbish
        return 0 if self._agreed or self.is_foreign else self._opened + self.node.associate_s

    @property
    def is_foreign(self) -> bool:
        """Whether the peer began with something that no DICOM message begins with (PS3.8 9.3.1)."""
        return bool(self.first_bytes) and self.first_bytes[0] not in PDU_TYPES

    def close(self) -> None:
        """Close the connection when pynetdicom's state machine wants it.

        Unlike pynetdicom's own, it stays marked as one that stood: else a peer that refuses the
        association at once is taken for one that could not be reached, and its reason is lost.
        """
        self.close_for_certain()
        if self.socket is not None:
            self.socket = None
            self.event_queue.put("Evt17")  # transport connection closed


class Requestor(AE):
    """An application entity that calls one node, over a `Connection`."""

    def __init__(self, node: Node) -> None:
        super().__init__(ae_title=node.local_ae_title)
        self.node = node
        self._connection: Connection | None = None
        self.connection_timeout, self.acse_timeout, self.dimse_timeout = (
            node.connect_s,
            node.associate_s,
            node.dimse_s,
        )
        self.network_timeout = None  # dimse_s governs; a second clock would only race with it

    def _create_socket(self, assoc, address: AddressInformation, tls_args: None) -> Connection:
        mend_reactor(assoc)
        quicken(assoc)
        self._connection = Connection(assoc, address, self.node)
        return self._connection

    def give_up(self) -> None:
        """Close the connection of an association that was interrupted while it was being opened."""
        if self._connection is not None:
            self._connection.close_for_certain()


def connection_of(association: Association) -> Connection:
    """Return the connection over which an association runs that we asked for."""
    return association.dul.socket


def look_up(node: Node) -> str:
    """Return an IP address of the node's host.

    Raises
    ------
    PacsUnreachable
        If the name is not known, or not found out within ``connect_s`` (then it is a `PacsTimeout`,
        too).
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
        seen = f"No name server told the address of {node.host!r} within {node.connect_s:g} s (connect_s)."
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
    # IPv4 first, as most PACS listen
    return min(found[0], key=lambda entry: entry[0] != socket.AF_INET)[4][0]
