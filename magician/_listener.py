"""The listening side of a connection; a part of `storage`, whose `start_listening` both listeners use."""

from __future__ import annotations

import logging
import socket
import ssl
import sys

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, AssociationSocket, ThreadedAssociationServer

from magician._reactor import mend_reactor

logger = logging.getLogger(__name__)

HANDSHAKE_S = 10
REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and this listener wants one",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it speaks plain HTTP",
    "UNSUPPORTED_PROTOCOL": "its version of TLS is older than 1.2",
}


class Listener(AE):
    """An application entity that listens."""

    def make_server(self, *arguments, server_class: type | None = None, **keywords) -> AssociationServer:
        return super().make_server(*arguments, server_class=_Server, **keywords)

    def _create_socket(self, assoc: Association, *arguments) -> AssociationSocket:
        """For the associations that a listener asks for itself: those of a C-MOVE."""
        mend_reactor(assoc)
        return super()._create_socket(assoc, *arguments)


class _Server(ThreadedAssociationServer):
    """Shakes hands with each caller in a thread of the caller's own: pynetdicom lets one that stalls stop all."""

    daemon_threads = True

    def get_request(self) -> tuple[socket.socket, tuple]:
        return self.socket.accept()

    def finish_request(self, request: socket.socket, client_address: tuple) -> None:
        if self.ssl_context:
            request.settimeout(HANDSHAKE_S)
            request = self.ssl_context.wrap_socket(request, server_side=True)
            request.settimeout(None)
        super().finish_request(request, client_address)

    def handle_error(self, request: socket.socket, client_address: tuple) -> None:
        """Log why a caller was turned away; socketserver would print it."""
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not good ({error.verify_message})"
        else:
            why = REASONS.get(getattr(error, "reason", None), error)
        logger.warning("%s turned %s away: %s", self.ae_title, client_address[0], why)
