"""Why an association was not established: the table of situations, one error for each; a part of
`association`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from magician.dimse.tls_failures import refusal_after_handshake, speaks_tls, tls_failure
from magician.errors import (
    AssociationAborted,
    AssociationRejected,
    Finding,
    MagicianError,
    PacsTimeout,
    PacsUnreachable,
    ServiceNotAccepted,
    TlsFailure,
)
from magician.upper_layer.requestor import Connection, NoAnswerToConnect, connection_of

if TYPE_CHECKING:
    from magician.node import Node

# What other servers say first, or answer to an association request
FOREIGN = {b"HTTP/": "a web server", b"SSH-": "an SSH server", b"220": "a mail or FTP server"}
ABORT_PDU = 0x07  # PDU type of an A-ABORT (PS3.8 9.3.8)


def explain(
    association: Association, node: Node, wanted: Sequence[PresentationContext]
) -> MagicianError:
    """Tell why `association` was not established."""
    connection, answer = connection_of(association), association.acceptor.primitive
    if connection.layer == "TCP":
        return _not_connected(connection, node)
    if connection.layer == "TLS":
        return tls_failure(connection.failure, node)
    if association.is_rejected:
        return _rejected(answer.result_str, answer.reason_str, node)
    if answer is not None and answer.result == 0x00:
        return lost_early(node) if association.accepted_contexts else _no_service(wanted, node)
    return _no_dicom_answer(connection, node)


def _not_connected(connection: Connection, node: Node) -> MagicianError:
    error, where = connection.failure, f"{node.host}:{node.port}"
    if isinstance(error, TimeoutError):
        seen = f"No answer from {where} within {node.connect_s:g} s (connect_s): a wrong host, or a firewall that "
        change = "Ask the network's administrator to let this computer reach it."
        return NoAnswerToConnect.of(
            Finding("TCP", seen + "drops packets.", "we, or the network", change)
        )
    if isinstance(error, ConnectionRefusedError):
        change = "Is the PACS started, and are host and port right?"
        return PacsUnreachable.of(
            Finding("TCP", f"Nothing listens on {where}.", "we, or the PACS", change)
        )
    seen = f"This computer finds no way to {where} ({os.strerror(error.errno or errno.EIO)})."
    change = "Check the host and this computer's network (cable, VPN), or ask the network's administrator."
    return PacsUnreachable.of(Finding("TCP", seen, "we, or the network", change))


def _rejected(result: str, reason: str, node: Node) -> MagicianError:
    """The peer's own reason (PS3.8 Table 9-21), and whose turn it is."""
    seen = f"{node.host}:{node.port} answered but refused the association ({result}: {reason})."
    if "Called AE" in reason:
        seen += f" It does not go by the AE title {node.ae_title!r}."
        change = "Ask its administrator for the exact title (letter case counts) and put it into the node."
        side = "we"
    elif "Calling AE" in reason:
        seen += f" It does not know us as {node.local_ae_title!r}."
        change = "Ask its administrator to add this AE title, or set local_ae_title to one that it knows."
        side = "we, or the PACS"
    elif "Transient" in result:
        change = "It is busy: try again later. If it always is, its administrator must let it hold more associations."
        side = "the PACS"
    else:
        change = "Its administrator can see the cause in its log."
        side = "the PACS"
    return AssociationRejected.of(Finding("association", seen, side, change))


def _no_service(wanted: Sequence[PresentationContext], node: Node) -> MagicianError:
    names = ", ".join(dict.fromkeys(context.abstract_syntax.name for context in wanted))
    seen = f"{node} accepted the association but none of the services that we asked for ({names})."
    change = f"Its administrator must switch them on for {node.local_ae_title!r}, or this is the wrong server."
    return ServiceNotAccepted.of(Finding("presentation contexts", seen, "the PACS", change))


def lost_early(node: Node) -> AssociationAborted:
    """The association stood, and was gone before anything was asked over it."""
    seen = f"{node} ended the association before our request was sent."
    return AssociationAborted.of(
        Finding("association", seen, "the PACS", "It may have stopped: try again.")
    )


def _no_dicom_answer(connection: Connection, node: Node) -> MagicianError:
    """The connection stood, and no valid answer to our association request came over it (PS3.8
    9.3.3, 9.3.4).
    """
    where, first = f"{node.host}:{node.port}", connection.first_bytes
    foreign = next((name for start, name in FOREIGN.items() if first.startswith(start)), None)
    if connection.is_foreign:
        seen = f"{where} does not speak DICOM: it answered {first!r}{f', as {foreign} does' if foreign else ''}."
        change = "Is this a DICOM port? Ask the PACS's administrator for the right one."
        return AssociationAborted.of(Finding("association", seen, "we", change))
    if first and first[0] == ABORT_PDU:
        seen = f"{where} aborted the association that we asked for (A-ABORT), without a reason."
        change = (
            "Its administrator can see the cause in its log: perhaps it refuses our IP address."
        )
        return AssociationAborted.of(Finding("association", seen, "the PACS", change))
    if first:
        seen = f"{where} answered our association request with a broken message, which began with {first!r}."
        change = "Is this a DICOM port? If so, its administrator can see in its log what it meant to say."
        return AssociationAborted.of(Finding("association", seen, "the PACS", change))
    if connection.waited_s >= 0.95 * node.associate_s:
        seen = (
            f"{where} accepted the connection, then did not answer our association request within "
            f"{node.associate_s:g} s (associate_s)."
        )
        change = "Is this port a DICOM port, and is the PACS awake?"
        return PacsTimeout.of(Finding("association", seen, "we, or the PACS", change))
    return _closed(connection, node)


def _closed(connection: Connection, node: Node) -> MagicianError:
    """The peer hung up without a word. TLS on one side only looks like this, so that is looked
    into.
    """
    where = f"{node.host}:{node.port}"
    if node.tls and (error := refusal_after_handshake(connection, node)):
        return tls_failure(error, node)
    if not node.tls and speaks_tls(connection, node):
        seen = f"{where} closed the connection: it expects TLS, and we spoke plain DICOM."
        change = "Give the node a context: tls=client_tls(ca=...), with the authority of the PACS's certificate."
        return TlsFailure.of(Finding("TLS", seen, "we", change))
    seen = f"{where} closed the connection without a DICOM answer."
    change = (
        "Is this a DICOM port? A web server does this; so does a PACS that refuses our IP address."
    )
    return AssociationAborted.of(Finding("association", seen, "we, or the PACS", change))
