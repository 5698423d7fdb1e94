"""The reasons for which an association fails: one error for each situation (PS3.8 9.3).

An error says what happened, and which side has to change what.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from magician.dimse.contexts import TRANSFER_SYNTAXES_NOT_SUPPORTED
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
from magician.node import Node, explain_stopped, stopped_title
from magician.upper_layer.requestor import Connection, NoAnswerToConnect, connection_of
from magician.upper_layer.tls_failures import (
    explain_tls_failure,
    refusal_after_handshake,
    speaks_tls,
)

# The first bytes of servers that do not speak DICOM
FOREIGN = {b"HTTP/": "a web server", b"SSH-": "an SSH server", b"220": "a mail or FTP server"}
ABORT_PDU = 0x07  # PDU type of an A-ABORT (PS3.8 9.3.8)
ABORT_REASONS = {  # of a service provider, the source 2 (PS3.8 Table 9-26)
    (2, 1): "because it does not know the type of our message",
    (2, 2): "because it did not expect our message",
    (2, 4): "because it does not know a part of our message",
    (2, 5): "because it did not expect a part of our message",
    (2, 6): "because it takes a value of our message for invalid",
}
TRANSIENT = 2
REJECTION_RESULTS = {1: "Rejected (Permanent)", TRANSIENT: "Rejected (Transient)"}
REJECTION_REASONS = {  # by source and reason (PS3.8 Table 9-21)
    (1, 1): "No reason given",
    (1, 2): "Application context name not supported",
    (1, 3): "Calling AE title not recognised",
    (1, 7): "Called AE title not recognised",
    (2, 1): "No reason given",
    (2, 2): "Protocol version not supported",
    (3, 1): "Temporary congestion",
    (3, 2): "Local limit exceeded",
}


def explain_failure(
    association: Association, node: Node, wanted: Sequence[PresentationContext]
) -> MagicianError:
    """Make the error that says why `association` was not established.

    Parameters
    ----------
    association : Association
        The association after its attempt.
    node : Node
        The peer that was called.
    wanted : sequence of PresentationContext
        The presentation contexts that were proposed.
    """
    connection, answer = connection_of(association), association.acceptor.primitive
    if connection.layer == "TCP":
        return _not_connected(connection, node)
    if connection.layer == "TLS":
        return explain_tls_failure(connection.failure, node)
    if association.is_rejected:
        return _rejected(connection, node)
    if answer is not None and answer.result == 0x00:
        return (
            explain_early_loss(node)
            if association.accepted_contexts
            else _no_service(association, node, wanted)
        )
    return _no_dicom_answer(connection, node)


def _not_connected(connection: Connection, node: Node) -> MagicianError:
    """Make the error for a node of which no address took the connection; it names them if there are
    several.
    """
    error, address = connection.failure, f"{node.host}:{node.port}"
    tried = f" We tried {' and '.join(connection.tried)}." if len(connection.tried) > 1 else ""
    if isinstance(error, TimeoutError):
        seen = (
            f"No answer from {address} within {node.connect_s:g} s (connect_s): a wrong host, or a "
            f"firewall that drops packets.{tried}"
        )
        change = "Ask the network's administrator to let this computer reach it."
        return NoAnswerToConnect.of(Finding("TCP", seen, "we, or the network", change))
    if isinstance(error, ConnectionRefusedError) and (title := stopped_title(node)):
        seen = (
            f"Nothing listens on {address} any more: the practice PACS {title} that was there has "
            f"been stopped, perhaps by the clean-up cell."
        )
        return PacsUnreachable.of(Finding("TCP", seen, "we", explain_stopped(title)))
    if isinstance(error, ConnectionRefusedError):
        change = "Is the PACS started, and are host and port right?"
        return PacsUnreachable.of(
            Finding("TCP", f"Nothing listens on {address}.{tried}", "we, or the PACS", change)
        )
    reason = os.strerror(error.errno or errno.EIO)
    seen = f"This computer finds no way to {address} ({reason}).{tried}"
    change = (
        "Check the host and this computer's network (cable, VPN), or ask the network's "
        "administrator."
    )
    return PacsUnreachable.of(Finding("TCP", seen, "we, or the network", change))


def _rejected(connection: Connection, node: Node) -> MagicianError:
    """Make the error for the peer's own reason (PS3.8 Table 9-21)."""
    result, *cause = connection.numbers
    reason = REJECTION_REASONS.get(tuple(cause), "reason {1} of source {0}".format(*cause))
    words = f"{REJECTION_RESULTS.get(result, f'result {result}')}: {reason}"
    if result not in REJECTION_RESULTS or tuple(cause) not in REJECTION_REASONS:
        words += ", which the standard does not define"
    seen = f"{node.host}:{node.port} answered but refused the association ({words})."
    if "Called AE" in reason:
        seen += f" It does not go by the AE title {node.ae_title!r}."
        change = (
            "Ask its administrator for the exact title (letter case counts) and put it into the "
            "node."
        )
        side = "we"
    elif "Calling AE" in reason:
        seen += f" It does not know us as {node.local_ae_title!r}."
        change = (
            "Ask its administrator to add this AE title, or set local_ae_title to one that it "
            "knows."
        )
        side = "we, or the PACS"
    elif result == TRANSIENT:
        change = (
            "It is busy: try again later. If it always is, its administrator must let it hold more "
            "associations."
        )
        side = "the PACS"
    else:
        change = "Its administrator can see the cause in its log."
        side = "the PACS"
    return AssociationRejected.of(Finding("association", seen, side, change))


def _no_service(
    association: Association, node: Node, wanted: Sequence[PresentationContext]
) -> MagicianError:
    names = ", ".join(dict.fromkeys(context.abstract_syntax.name for context in wanted))
    results = {context.result for context in association.rejected_contexts}
    deviations = "; ".join(connection_of(association).deviations)
    odd = f" Its answer deviates from the standard: {deviations}." if deviations else ""
    if results == {TRANSFER_SYNTAXES_NOT_SUPPORTED}:
        proposed = {syntax.name: None for context in wanted for syntax in context.transfer_syntax}
        seen = (
            f"{node} accepted the association and knows {names}, but in none of the transfer "
            f"syntaxes that we proposed ({', '.join(proposed)}).{odd}"
        )
        change = (
            "Send in a transfer syntax that it takes (its conformance statement lists them), or "
            "its administrator must allow ours."
        )
        finding = Finding("presentation contexts", seen, "we, or the PACS", change)
        return ServiceNotAccepted.of(finding)
    seen = (
        f"{node} accepted the association but none of the services that we asked for "
        f"({names}).{odd}"
    )
    change = (
        f"Its administrator must switch them on for {node.local_ae_title!r}, or this is the wrong "
        f"server."
    )
    return ServiceNotAccepted.of(Finding("presentation contexts", seen, "the PACS", change))


def explain_early_loss(node: Node) -> AssociationAborted:
    """Make the error for an association that stood, and was lost before the first request."""
    seen = f"{node} ended the association before our request was sent."
    return AssociationAborted.of(
        Finding("association", seen, "the PACS", "It may have stopped: try again.")
    )


def _no_dicom_answer(connection: Connection, node: Node) -> MagicianError:
    """Make the error for a connection that brought no valid answer (PS3.8 9.3.3, 9.3.4)."""
    address, first = f"{node.host}:{node.port}", connection.first_bytes
    foreign = next((name for start, name in FOREIGN.items() if first.startswith(start)), None)
    if connection.is_foreign:
        comparison = f", as {foreign} does" if foreign else ""
        seen = f"{address} does not speak DICOM: it answered {first!r}{comparison}."
        change = "Is this a DICOM port? Ask the PACS's administrator for the right one."
        return AssociationAborted.of(Finding("association", seen, "we", change))
    if first and first[0] == ABORT_PDU:
        reason = ABORT_REASONS.get(connection.numbers, "without a reason")
        seen = f"{address} aborted the association that we asked for (A-ABORT), {reason}."
        change = (
            "Its administrator can see the cause in its log: perhaps it refuses our IP address."
        )
        return AssociationAborted.of(Finding("association", seen, "the PACS", change))
    if first:
        what = connection.wrong_answer or f"a broken message, which began with {first!r}"
        seen = f"{address} answered our association request with {what}."
        change = (
            "Is this a DICOM port? If so, its administrator can see in its log what it meant to "
            "say."
        )
        return AssociationAborted.of(Finding("association", seen, "the PACS", change))
    if connection.waited_s >= 0.95 * node.associate_s:
        seen = (
            f"{address} accepted the connection, then did not answer our association request "
            f"within {node.associate_s:g} s (associate_s)."
        )
        change = "Is this port a DICOM port, and is the PACS awake?"
        return PacsTimeout.of(Finding("association", seen, "we, or the PACS", change))
    return _closed(connection, node)


def _closed(connection: Connection, node: Node) -> MagicianError:
    """Make the error for a connection that the peer closed without a word.

    TLS on one side only looks like this, so a second connection tests for it.
    """
    address = f"{node.host}:{node.port}"
    if node.tls and (error := refusal_after_handshake(connection, node)):
        return explain_tls_failure(error, node)
    if not node.tls and speaks_tls(connection, node):
        seen = f"{address} closed the connection: it expects TLS, and we spoke plain DICOM."
        change = (
            "Give the node a context: tls=client_tls(ca=...), with the authority of the PACS's "
            "certificate."
        )
        return TlsFailure.of(Finding("TLS", seen, "we", change))
    seen = f"{address} closed the connection without a DICOM answer."
    change = (
        "Is this a DICOM port? A web server does this; so does a PACS that refuses our IP address."
    )
    return AssociationAborted.of(Finding("association", seen, "we, or the PACS", change))
