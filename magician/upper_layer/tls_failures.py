"""The reasons for which a TLS handshake fails: one error for each (PS3.15 Annex B, RFC 8446)."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from magician.errors import Finding, MagicianError, PacsTimeout, TlsFailure
from magician.upper_layer.requestor import family_of

if TYPE_CHECKING:
    from magician.node import Node
    from magician.upper_layer.requestor import Connection

PROBE_S = 3  # a server that refuses does so at once
NEED_CERTIFICATE = (
    "Give the node a certificate that the PACS trusts: client_tls(ca=..., certificate=..., "
    "key=...); its administrator tells which authority must sign it."
)
ASK_FOR_CERTIFICATE = "Ask its administrator, whose log says why, which certificate it would take."
# Parts of OpenSSL's reasons, most specific first; for each what was seen, who has to change
# something, and what
REASONS = [
    (
        "CERTIFICATE_REQUIRED",
        "it wants to see a certificate of ours, and we showed none",
        "we",
        NEED_CERTIFICATE,
    ),
    (
        "ALERT_UNKNOWN_CA",
        "it does not know the authority that signed our certificate",
        "we, or the PACS",
        "Show a certificate of an authority that it trusts, or its administrator must add ours.",
    ),
    (
        "ALERT_CERTIFICATE_EXPIRED",
        "our certificate has expired",
        "we",
        "Get a new certificate.",
    ),
    (
        "ALERT_CERTIFICATE",
        "it refuses our certificate",
        "we, or the PACS",
        ASK_FOR_CERTIFICATE,
    ),
    (
        "ALERT_BAD_CERTIFICATE",
        "it refuses our certificate",
        "we, or the PACS",
        ASK_FOR_CERTIFICATE,
    ),
    (
        "HANDSHAKE_FAILURE",
        "it refused the handshake: it wants a certificate of ours and we showed none, or the two "
        "sides have no cipher in common",
        "we",
        NEED_CERTIFICATE,
    ),
    (
        "PROTOCOL",
        "the two sides have no version of TLS in common (we want 1.2 or later)",
        "the PACS",
        "Its administrator must switch on TLS 1.2 or 1.3.",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "it does not speak TLS",
        "we",
        "If the port speaks plain DICOM, leave tls out; else ask its administrator for the port "
        "with TLS.",
    ),
]
CALLER_REFUSALS = {  # what OpenSSL calls the reason, and what a listener's log says
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate, and this listener wants one",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it speaks plain HTTP",
    "UNSUPPORTED_PROTOCOL": "its version of TLS is older than 1.2",
}
# OpenSSL's verify codes (X509_V_ERR_...)
HOST_NAME_CODES = {62, 64}  # HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH
PERIOD_CODES = {9, 10}  # not valid yet, not valid any more
AUTHORITY_CODES = {2, 18, 19, 20, 21}  # signed by itself, or by an authority that we do not know


def explain_refused_caller(error: BaseException | None) -> str:
    """Say why a listener turned a caller away."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good ({error.verify_message})"
    return CALLER_REFUSALS.get(getattr(error, "reason", None), str(error))


def explain_tls_failure(error: OSError | None, node: Node) -> MagicianError:
    """Make the error for a TLS handshake with `node` that ended with `error`."""
    address = f"{node.host}:{node.port}"
    if isinstance(error, TimeoutError):
        seen = (
            f"{address} accepted the connection, then did not finish the TLS handshake within "
            f"{node.associate_s:g} s (associate_s)."
        )
        change = "If the port speaks plain DICOM, leave tls out; else is the PACS awake?"
        return PacsTimeout.of(Finding("TLS", seen, "we, or the PACS", change))
    if isinstance(error, ssl.SSLCertVerificationError):
        reason, side, change = _explain_their_certificate(error, node)
    else:
        reason, side, change = _explain_handshake(error)
    seen = f"No encrypted connection to {address}: {reason}."
    return TlsFailure.of(Finding("TLS", seen, side, change))


def _explain_their_certificate(
    error: ssl.SSLCertVerificationError, node: Node
) -> tuple[str, str, str]:
    """Return the reason, the side that has to change something, and what it has to change."""
    if error.verify_code in HOST_NAME_CODES:
        return (
            f"its certificate is not made out to {node.host!r} ({error.verify_message})",
            "we, or the PACS",
            "Call it by the name in its certificate, or its administrator must get one with this "
            "name in it.",
        )
    if error.verify_code in PERIOD_CODES:
        return (
            f"the period of its certificate is over, or has not begun ({error.verify_message})",
            "the PACS",
            "Its administrator must renew it. If it is in date, this computer's clock is wrong.",
        )
    if error.verify_code in AUTHORITY_CODES:
        return (
            f"we do not know the authority that signed its certificate ({error.verify_message})",
            "we",
            "Ask its administrator for the authority's certificate, and name its file in "
            "client_tls(ca=...).",
        )
    return (
        f"its certificate is not good ({error.verify_message})",
        "the PACS",
        "Its administrator must get a new one.",
    )


def _explain_handshake(error: OSError | None) -> tuple[str, str, str]:
    """Return the same three parts for a handshake that failed otherwise."""
    reason = getattr(error, "reason", None) or ""
    for part, *explanation in REASONS:
        if part in reason:
            return tuple(explanation)
    return (
        f"it ended the handshake ({reason or error or 'closed'})",
        "we, or the PACS",
        "If the port speaks plain DICOM, leave tls out; else its log says why.",
    )


def refusal_after_handshake(connection: Connection, node: Node) -> OSError | None:
    """Return the alert by which a server of TLS 1.3 refuses our certificate, if there is one.

    The alert comes after the handshake, and is lost if we have sent something by then. So this
    connects again, and only listens.
    """
    if isinstance(connection.failure, ssl.SSLError) and connection.failure.reason:
        return connection.failure
    return _handshake(connection, node, node.tls)


def speaks_tls(connection: Connection, node: Node) -> bool:
    """Tell whether a port that closed a plain DICOM connection speaks TLS.

    Nothing is sent over the second connection.
    """
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    error = _handshake(connection, node, anyone)
    return error is None or "ALERT" in (getattr(error, "reason", None) or "")


def _handshake(connection: Connection, node: Node, context: ssl.SSLContext) -> OSError | None:
    """Repeat the handshake, listen for a moment, and return the error if there was one."""
    address = connection.assoc.acceptor.address_info.as_tuple
    try:
        with socket.socket(family_of(address), socket.SOCK_STREAM) as plain:
            plain.settimeout(min(PROBE_S, node.connect_s))
            plain.connect(address)
            plain.settimeout(min(PROBE_S, node.associate_s))
            with context.wrap_socket(plain, server_hostname=node.host) as secure:
                with suppress(TimeoutError):  # a server that accepts us waits for our request
                    secure.recv(1)
    except OSError as error:
        return error
    return None
