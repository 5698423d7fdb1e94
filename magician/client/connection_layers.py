"""The layers of a connection to a DICOM peer: each is checked, and a `Row` says what was found.

A layer needs the ones below it: host name, TCP, perhaps TLS, the association with its two AE titles
(PS3.8), the presentation contexts, and at last the services. Nothing that a PACS holds is asked
for, and nothing is stored there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from magician.client.echo import echo
from magician.dimse.answers import Answers
from magician.dimse.association import associate, classes_without_role, tls_session
from magician.dimse.contexts import TRANSFER_SYNTAXES_NOT_SUPPORTED
from magician.dimse.query import FIND, build_query, follow_query
from magician.dimse.status import SUCCESS, describe_response, is_pending, require_status
from magician.errors import AssociationAborted, DimseFailure, Finding, MagicianError
from magician.node import Node

OK, WARNING, STOPPED = "ok", "warning", "stopped"
NOT_OFFERED, NOT_TRIED = "not offered", "not tried"

SERVICES = {
    "C-ECHO": Verification,
    "C-FIND": FIND,
    "C-GET": StudyRootQueryRetrieveInformationModelGet,
    "C-MOVE": StudyRootQueryRetrieveInformationModelMove,
}
KINDS = {
    "CT": CTImageStorage,
    "SEG": SegmentationStorage,
    "SR": Comprehensive3DSRStorage,
    "SC": SecondaryCaptureImageStorage,
}
ENOUGH_MATCHES = 3  # with another UID than was asked for
MOST_MATCHES = 100  # of a query that should have none
MOST_CHARACTERS = 600  # a PACS may say more than anybody wants to read


@dataclass(frozen=True)
class Row:
    """What was found at one layer.

    Attributes
    ----------
    layer : str
        One of `magician.errors.LAYERS`.
    outcome : str
        ``"ok"``, ``"warning"``, ``"stopped"``, ``"not offered"`` (which may be no fault) or ``"not
        tried"``.
    seen : str
        What happened there.
    side, change : str
        Who has to change something, and what; empty if nobody has to.
    """

    layer: str
    outcome: str
    seen: str = ""
    side: str = ""
    change: str = ""


def check_layers(node: Node) -> dict[str, Row]:
    """Check one layer after the other, from the lowest, up to the one at which it stops.

    Returns
    -------
    dict of Row
        By layer. A layer without a row was passed without a question of its own, or not reached.
    """
    rows: dict[str, Row] = {}
    try:
        with associate(node, [*SERVICES.values(), *KINDS.values()]) as association:
            for row in _check_established(association, node):
                rows[row.layer] = row
        # after the first association: some PACS take only one at a time
        if rows["C-GET"].outcome == OK:
            rows["C-GET"] = _check_c_get(node)
    except MagicianError as error:
        finding = error.finding
        seen = finding.seen[:MOST_CHARACTERS]
        rows[finding.layer] = Row(finding.layer, STOPPED, seen, finding.side, finding.change)
    return rows


def _check_established(association: Association, node: Node) -> Iterator[Row]:
    """Make the rows of an association that stands; raises where it stops."""
    offered = {context.abstract_syntax for context in association.accepted_contexts}
    services = [name for name, uid in SERVICES.items() if uid in offered]
    kinds = [name for name, uid in KINDS.items() if uid in offered]
    yield from _check_association(association, node)
    yield Row("presentation contexts", OK, _describe_peer(services, kinds))
    yield from _check_retrieve_services(services, node)
    yield _check_c_store(kinds, _refused_for_their_syntaxes(association))
    if "C-ECHO" in services:
        yield _check_c_echo(association, node)
    else:
        seen = "It does not offer C-ECHO, which every DICOM server must."
        yield Row("C-ECHO", WARNING, seen, "the PACS", "Switch it on.")
    yield _check_c_find(association, node) if "C-FIND" in services else Row("C-FIND", NOT_OFFERED)


def _check_association(association: Association, node: Node) -> Iterator[Row]:
    """Describe the layers below the services: they work, or there would be no association."""
    address = association.acceptor.address_info.address
    meaning = f"{node.host} is {address}" if address != node.host else "an IP address"
    yield Row("host name", OK, meaning)
    yield Row("TCP", OK, f"{address}:{node.port} takes connections")
    if node.tls:
        session = tls_session(association)
        encryption = f"{session.version()}, {session.cipher()[0]}"
        yield Row("TLS", OK, f"{encryption}; the certificate is made out to {node.host}")
    program = association.acceptor.implementation_version_name
    calls_itself = f"; its software calls itself {program!r}" if program else ""
    seen = f"{node.ae_title!r} accepts {node.local_ae_title!r}{calls_itself}"
    yield Row("association", OK, seen)


def _describe_peer(services: list[str], kinds: list[str]) -> str:
    """Say what a peer is, from the services and the kinds of objects that it accepts."""
    if "C-FIND" in services:
        what = "a PACS that can be asked"
    elif "C-GET" in services or "C-MOVE" in services:
        what = "an archive that sends, and can't be asked what it holds"
    elif kinds:
        what = "a storage destination: it takes what is sent to it, and can't be asked"
    else:
        what = "a server that answers C-ECHO and no more"
    return f"{what}; it offers {', '.join(services + [f'storage of {kind}' for kind in kinds])}"


def _check_retrieve_services(services: list[str], node: Node) -> Iterator[Row]:
    """Say which retrieve services are offered. It is a fault only if both are missing."""
    can_be_asked = "C-FIND" in services
    if "C-GET" in services:
        yield Row("C-GET", OK, "offered")
    elif can_be_asked and "C-MOVE" in services:
        yield Row("C-GET", NOT_OFFERED, "Many PACS have no C-GET.", "we", "Use C-MOVE: move_study.")
    else:
        yield Row("C-GET", NOT_OFFERED)
    if "C-MOVE" in services:
        yield Row("C-MOVE", OK, "offered; whether it knows the destination shows only in a C-MOVE")
    elif can_be_asked and "C-GET" not in services:
        seen = "It can be asked what it holds, and offers neither C-GET nor C-MOVE."
        change = f"Switch one of them on for {node.local_ae_title!r}."
        yield Row("C-MOVE", WARNING, seen, "the PACS", change)
    else:
        yield Row("C-MOVE", NOT_OFFERED)


def _check_c_get(node: Node) -> Row:
    """Check whether the PACS agrees to send on our association (role selection, PS3.7 D.3.3.4).

    C-GET needs that beside its own presentation context.
    """
    get, kinds = SERVICES["C-GET"], list(KINDS.values())
    try:
        with associate(node, [get, *kinds], storage_roles=kinds) as association:
            contexts = association.accepted_contexts
            unanswered = classes_without_role(association)
            agreed = {c.abstract_syntax for c in contexts if c.as_scp} - unanswered
    except MagicianError as error:
        finding = error.finding
        seen = f"offered, but: {finding.seen}"
        return Row("C-GET", WARNING, seen, finding.side, finding.change)
    names = ", ".join(name for name, uid in KINDS.items() if uid in agreed)
    if CTImageStorage in agreed:
        return Row("C-GET", OK, f"offered; it would send us {names}")
    rest = f"; {names} only" if names else ""
    answer = "not answered" if CTImageStorage in unanswered else "refused"
    seen = f"offered, but it would not send us CT images (role selection {answer}{rest})"
    change = "Use C-MOVE, or its administrator must allow it to send CT."
    return Row("C-GET", WARNING, seen, "we, or the PACS", change)


def _refused_for_their_syntaxes(association: Association) -> list[str]:
    """List the kinds of objects that the peer knows, and takes in none of the transfer syntaxes
    that we have proposed.
    """
    refused = {
        context.abstract_syntax
        for context in association.rejected_contexts
        if context.result == TRANSFER_SYNTAXES_NOT_SUPPORTED
    }
    return [name for name, uid in KINDS.items() if uid in refused]


def _check_c_store(kinds: list[str], no_common_syntax: list[str]) -> Row:
    """Say which kinds of objects the peer stores, of those that this package makes."""
    if no_common_syntax:
        seen = (
            f"knows {', '.join(no_common_syntax)}, and takes none of the transfer syntaxes that we "
            f"proposed: uncompressed"
        )
        change = (
            "Send objects in a transfer syntax that it takes (its conformance statement lists "
            "them), or its administrator must allow uncompressed ones."
        )
        return Row("C-STORE", WARNING, seen, "we, or the PACS", change)
    if not kinds:
        return Row("C-STORE", NOT_OFFERED)
    refused = [name for name in KINDS if name not in kinds]
    if refused:
        seen = f"takes {', '.join(kinds)}, not {', '.join(refused)}"
        return Row("C-STORE", WARNING, seen, "the PACS", "Allow these kinds of objects.")
    return Row("C-STORE", OK, f"offered for {', '.join(kinds)}; nothing was sent")


def _check_c_echo(association: Association, node: Node) -> Row:
    response = _send_request(association.send_c_echo, node, "C-ECHO")
    if require_status(response, association, node, "C-ECHO") != SUCCESS:
        raise _refusal(response, node, "C-ECHO")
    return Row("C-ECHO", OK, describe_response(response, "C-ECHO"))


def _send_request(send: Callable, node: Node, service: str):
    """Return what `send` returns; a lost association is then named as lost before this service."""
    try:
        return send()
    except RuntimeError as error:  # pynetdicom's, for an association that is lost already
        seen = f"{node} ended the association before our {service}."
        change = "Its administrator must look whether it has stopped or been restarted."
        raise AssociationAborted.of(Finding(service, seen, "the PACS", change)) from error


def _refusal(response: Dataset, node: Node, service: str) -> DimseFailure:
    seen = f"{node} answered our {service} with {describe_response(response, service)}."
    change = (
        f"Its administrator can see the cause in its log; perhaps {node.local_ae_title!r} is not "
        f"allowed this."
    )
    return DimseFailure.of(Finding(service, seen, "the PACS", change), response.Status)


def _check_c_find(association: Association, node: Node) -> Row:
    """Ask for a study that does not exist: a PACS that lets us query answers that it has none."""
    identifier = build_query("STUDY", {"StudyInstanceUID": generate_uid()}, ["StudyDate"])
    answers = Answers(association, node, identifier, strict=True)
    try:
        responses = _send_request(
            lambda: follow_query(association, node, identifier, answers), node, "C-FIND"
        )
        for response in responses:
            is_refusal = not is_pending(response.Status) and response.Status != SUCCESS
            if is_refusal and not answers.others:
                raise _refusal(response, node, "C-FIND")
            if answers.others == ENOUGH_MATCHES or answers.came == MOST_MATCHES:
                association.abort()
                break
    except AssociationAborted:
        raise _explain_abort_of_c_find(node) from None
    if answers.others:
        seen = (
            "answered, with studies that we did not ask for: it ignores StudyInstanceUID in a query"
        )
        change = "Its vendor must mend that; check each answer until then."
        return Row("C-FIND", WARNING, seen, "the PACS", change)
    seen = "allowed: it answered a query for a study that does not exist with no match"
    return Row("C-FIND", OK, seen)


def _explain_abort_of_c_find(node: Node) -> AssociationAborted:
    """Make the error for a C-FIND that was answered by an abort.

    A C-ECHO tells whether the PACS refuses our queries or has stopped.
    """
    try:
        echo(node)
    except MagicianError as error:
        seen = f"{node} ended the association at our C-FIND, and then: {error.finding.seen}"
        change = (
            "Its administrator must look whether it has stopped or been restarted, and why: our "
            "query may do that."
        )
    else:
        seen = (
            f"{node} ended the association instead of answering our C-FIND, and still answers a "
            f"C-ECHO: it lets {node.local_ae_title!r} connect, but not query."
        )
        change = (
            f"Its administrator must add {node.local_ae_title!r}, with our host, to those whom it "
            f"answers (in Orthanc: DicomModalities)."
        )
    return AssociationAborted.of(Finding("C-FIND", seen, "the PACS", change))
