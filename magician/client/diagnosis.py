"""Find out where a connection to a PACS stops, and who has to change what (`diagnose`).

A connection stands on layers, each of which needs the ones before it: a host name, TCP, perhaps
TLS, the association with its two AE titles, the presentation contexts, and at last the services.
`diagnose` climbs them one by one. It asks for nothing that a PACS holds, and stores nothing there.
"""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

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
from magician.dimse.association import associate, tls_session
from magician.dimse.query import FIND, query
from magician.dimse.status import SUCCESS, describe_response, is_pending, require_status
from magician.errors import LAYERS, AssociationAborted, DimseFailure, Finding, MagicianError
from magician.node import Node

OK, WARNING, STOPPED, NOT_OFFERED, NOT_TRIED = (
    "ok",
    "warning",
    "stopped",
    "not offered",
    "not tried",
)

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
ENOUGH_MATCHES = 3  # for a query that should have none
LONGEST_CELL = 600  # a PACS may say more than anybody wants to read


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


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found: a table in a notebook, and text elsewhere.

    Attributes
    ----------
    node : Node
        Who was called.
    rows : tuple of Row
        One for each layer, from the lowest to the highest.
    """

    node: Node
    rows: tuple[Row, ...]

    @property
    def stopped_at(self) -> Row | None:
        """The row at which it stops, or None."""
        return next((row for row in self.rows if row.outcome == STOPPED), None)

    @property
    def ok(self) -> bool:
        """Whether nothing stops; there may still be warnings, and services that are not offered."""
        return self.stopped_at is None

    def __getitem__(self, layer: str) -> Row:
        """The row of a layer, as ``diagnosis["C-FIND"]``."""
        return {row.layer: row for row in self.rows}[layer]

    @property
    def summary(self) -> str:
        """One sentence."""
        warnings = ", ".join(row.layer for row in self.rows if row.outcome == WARNING)
        if self.stopped_at:
            outcome = f"it stops at: {self.stopped_at.layer}"
        else:
            outcome = f"it works, with a warning at: {warnings}" if warnings else "all well"
        return f"{self.node}, called by {self.node.local_ae_title}: {outcome}"

    def __str__(self) -> str:
        lines = [self.summary]
        for row in self.rows:
            lines.append(f"  {row.layer:<21}  {row.outcome:<11}  {row.seen}".rstrip())
            if row.change:
                lines.append(" " * 38 + f"-> {row.side}: {row.change}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        cells = [["layer", "outcome", "seen", "who must change something", "what"]]
        cells += [[row.layer, row.outcome, row.seen, row.side, row.change] for row in self.rows]
        lines = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in line)
            + "</tr>"
            for line in cells
        )
        return f"<p>{html.escape(self.summary)}</p><table>{lines}</table>"


def diagnose(node: Node) -> Diagnosis:
    """Climb the layers of a connection, and tell where it stops and who has to change what.

    A failing peer is what this function is for: it is reported and never raised. The node's
    ``connect_s``, ``associate_s`` and ``dimse_s`` limit each step as they limit
    `magician.dimse.association.associate`.

    Parameters
    ----------
    node : Node

    Returns
    -------
    Diagnosis
        ``.ok``, ``.rows``, ``.stopped_at``; show it as the last line of a notebook's cell, or print
        it.

    Examples
    --------
    >>> print(diagnose(Node("PACS", "127.0.0.1", 1)).stopped_at.seen)
    Nothing listens on 127.0.0.1:1.
    """
    rows: dict[str, Row] = {}
    try:
        with associate(node, [*SERVICES.values(), *KINDS.values()]) as association:
            for row in _climb(association, node):
                rows[row.layer] = row
        # after the first association: some PACS take only one at a time
        if rows["C-GET"].outcome == OK:
            rows["C-GET"] = _getting(node)
    except MagicianError as error:
        finding = error.finding
        rows[finding.layer] = Row(
            finding.layer, STOPPED, finding.seen[:LONGEST_CELL], finding.side, finding.change
        )
    return Diagnosis(node, tuple(_every_layer(rows, node)))


def _every_layer(rows: dict[str, Row], node: Node) -> Iterator[Row]:
    """Add the layers without a row of their own: passed on the way up, or not reached."""
    passed = True
    for layer in LAYERS:
        row = rows.get(layer, Row(layer, OK))
        if layer in rows or layer != "TLS" or node.tls:
            yield row if passed or row.outcome == NOT_OFFERED else replace(row, outcome=NOT_TRIED)
        passed = passed and row.outcome != STOPPED


def _climb(association: Association, node: Node) -> Iterator[Row]:
    """The rows from TCP upwards, once the association stands; an error where it stops."""
    offered = {context.abstract_syntax for context in association.accepted_contexts}
    services = [name for name, uid in SERVICES.items() if uid in offered]
    kinds = [name for name, uid in KINDS.items() if uid in offered]
    yield from _below(association, node)
    yield Row("presentation contexts", OK, _what_it_is(services, kinds))
    yield from _retrieving(services, node)
    yield _storing(kinds)
    yield (
        _echoing(association, node)
        if "C-ECHO" in services
        else Row(
            "C-ECHO",
            WARNING,
            "It does not offer C-ECHO, which every DICOM server must.",
            "the PACS",
            "Switch it on.",
        )
    )
    yield _finding(association, node) if "C-FIND" in services else Row("C-FIND", NOT_OFFERED)


def _below(association: Association, node: Node) -> Iterator[Row]:
    address = association.acceptor.address_info.address
    yield Row(
        "host name", OK, f"{node.host} is {address}" if address != node.host else "an IP address"
    )
    yield Row("TCP", OK, f"{address}:{node.port} takes connections")
    if node.tls:
        secure = tls_session(association)
        yield Row(
            "TLS",
            OK,
            f"{secure.version()}, {secure.cipher()[0]}; the certificate is made out to {node.host}",
        )
    program = association.acceptor.implementation_version_name
    calls_itself = f"; its software calls itself {program!r}" if program else ""
    seen = f"{node.ae_title!r} accepts {node.local_ae_title!r}{calls_itself}"
    yield Row("association", OK, seen)


def _what_it_is(services: list[str], kinds: list[str]) -> str:
    if "C-FIND" in services:
        what = "a PACS that can be asked"
    elif "C-GET" in services or "C-MOVE" in services:
        what = "an archive that sends, and can't be asked what it holds"
    elif kinds:
        what = "a storage destination: it takes what is sent to it, and can't be asked"
    else:
        what = "a server that answers C-ECHO and no more"
    return f"{what}; it offers {', '.join(services + [f'storage of {kind}' for kind in kinds])}"


def _retrieving(services: list[str], node: Node) -> Iterator[Row]:
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
        yield Row(
            "C-MOVE",
            WARNING,
            seen,
            "the PACS",
            f"Switch one of them on for {node.local_ae_title!r}.",
        )
    else:
        yield Row("C-MOVE", NOT_OFFERED)


def _getting(node: Node) -> Row:
    """C-GET needs more than its own context: the PACS must agree to send on our association (PS3.7
    D.3.3.4).
    """
    get, kinds = SERVICES["C-GET"], list(KINDS.values())
    try:
        with associate(node, [get, *kinds], storage_roles=kinds) as association:
            sent = {
                context.abstract_syntax
                for context in association.accepted_contexts
                if context.as_scp
            }
    except MagicianError as error:
        return Row(
            "C-GET",
            WARNING,
            f"offered, but: {error.finding.seen}",
            error.finding.side,
            error.finding.change,
        )
    names = ", ".join(name for name, uid in KINDS.items() if uid in sent)
    if CTImageStorage in sent:
        return Row("C-GET", OK, f"offered; it would send us {names}")
    seen = f"offered, but it would not send us CT images (role selection refused{f'; {names} only' if names else ''})"
    return Row(
        "C-GET",
        WARNING,
        seen,
        "we, or the PACS",
        "Use C-MOVE, or its administrator must allow it to send CT.",
    )


def _storing(kinds: list[str]) -> Row:
    if not kinds:
        return Row("C-STORE", NOT_OFFERED)
    refused = [name for name in KINDS if name not in kinds]
    if refused:
        seen, change = (
            f"takes {', '.join(kinds)}, not {', '.join(refused)}",
            "Allow these kinds of objects.",
        )
        return Row("C-STORE", WARNING, seen, "the PACS", change)
    return Row("C-STORE", OK, f"offered for {', '.join(kinds)}; nothing was sent")


def _echoing(association: Association, node: Node) -> Row:
    started = time.monotonic()
    response = _ask(association.send_c_echo, node, "C-ECHO")
    if require_status(response, node, "C-ECHO", started) != SUCCESS:
        raise _refused(response, node, "C-ECHO")
    return Row("C-ECHO", OK, describe_response(response, "C-ECHO"))


def _ask(send: Callable, node: Node, service: str):
    try:
        return send()
    # pynetdicom's, for an association that was lost since the answer before
    except RuntimeError as error:
        seen = f"{node} ended the association before our {service}."
        change = "Its administrator must look whether it has stopped or been restarted."
        raise AssociationAborted.of(Finding(service, seen, "the PACS", change)) from error


def _refused(response: Dataset, node: Node, service: str) -> DimseFailure:
    seen = f"{node} answered our {service} with {describe_response(response, service)}."
    change = f"Its administrator can see the cause in its log; perhaps {node.local_ae_title!r} is not allowed this."
    return DimseFailure.of(Finding(service, seen, "the PACS", change), response.Status)


def _finding(association: Association, node: Node) -> Row:
    """Ask for a study that does not exist: a PACS that lets us query answers that it has none."""
    identifier = query("STUDY", {"StudyInstanceUID": generate_uid()}, ["StudyDate"])
    matches, started = 0, time.monotonic()
    try:
        for response, _ in _ask(lambda: association.send_c_find(identifier, FIND), node, "C-FIND"):
            status = require_status(response, node, "C-FIND", started)
            if status == SUCCESS:
                break
            if not is_pending(status):
                raise _refused(response, node, "C-FIND")
            matches += 1
            if matches == ENOUGH_MATCHES:
                association.abort()
                break
            started = time.monotonic()
    except AssociationAborted:
        raise _not_allowed_to_find(node) from None
    if matches:
        seen = (
            "answered, with studies that we did not ask for: it ignores StudyInstanceUID in a query"
        )
        return Row(
            "C-FIND",
            WARNING,
            seen,
            "the PACS",
            "Its vendor must mend that; check each answer until then.",
        )
    return Row(
        "C-FIND", OK, "allowed: it answered a query for a study that does not exist with no match"
    )


def _not_allowed_to_find(node: Node) -> AssociationAborted:
    """Tell a PACS that does not want our queries from one that has just stopped: ask whether it is
    still there.
    """
    try:
        echo(node)
    except MagicianError as error:
        seen = f"{node} ended the association at our C-FIND, and then: {error.finding.seen}"
        change = "Its administrator must look whether it has stopped or been restarted, and why: our query may do that."
    else:
        seen = (
            f"{node} ended the association instead of answering our C-FIND, and still answers a C-ECHO: it lets "
            f"{node.local_ae_title!r} connect, but not query."
        )
        change = (
            f"Its administrator must add {node.local_ae_title!r}, with our host, to those whom it answers "
            f"(in Orthanc: DicomModalities)."
        )
    return AssociationAborted.of(Finding("C-FIND", seen, "the PACS", change))
