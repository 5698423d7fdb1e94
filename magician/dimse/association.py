"""An association with a PACS: `associate` opens it, and says why when that fails.

An *association* is DICOM's word for a connection on which both sides have agreed what they are
going to do (PS3.7 and PS3.8). The side that asks for services is the SCU (service class user), the
side that answers is the SCP (provider). pynetdicom does the protocol. This module lets nothing fail
silently: where pynetdicom sets a flag, `associate` raises an error that says what happened and
which side has to change what.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context, build_role

from magician.dimse.failures import explain_early_loss, explain_failure
from magician.errors import AssociationAborted, Finding, ServiceNotAccepted, WrongArgument
from magician.node import Node
from magician.upper_layer.limits import MAX_PDU_BYTES
from magician.upper_layer.requestor import (
    Requestor,
    connection_of,
    resolve_host,
    take_whatever_is_sent,
)

PDV_HEADER_BYTES = 6  # of each fragment of a message (PS3.8 9.3.5.1)


@contextmanager
def associate(
    node: Node,
    contexts: Sequence[str | PresentationContext],
    *,
    storage_roles: Sequence[str] = (),
    handlers: Sequence[tuple] = (),
) -> Iterator[Association]:
    """Open an association with `node`, and release it at the end of the ``with`` block.

    Parameters
    ----------
    node : Node
    contexts : sequence of SOP Class UIDs or presentation contexts
        What we want to do: one presentation context (PS3.8 9.3.2.2) for each kind of service or
        object.
    storage_roles : sequence of SOP Class UIDs
        Storage classes whose objects we want to *receive* over this association, as C-GET does
        (role selection, PS3.7 D.3.3.4). A peer that does not answer this is taken to agree.
    handlers : sequence of (event, function) or (event, function, arguments)
        pynetdicom event handlers, for instance for the C-STORE requests that come back during a
        C-GET.

    Yields
    ------
    pynetdicom.association.Association
        Established, with at least one accepted context.

    Raises
    ------
    PacsUnreachable, TlsFailure, PacsTimeout, AssociationRejected, AssociationAborted,
    ServiceNotAccepted
    ValueError
        If `node` is no `Node`.
    """
    if not isinstance(node, Node):
        own = getattr(node, "node", None)
        hint = ": this PACS has one, write .node behind its name" if isinstance(own, Node) else ""
        raise WrongArgument(
            f"A PACS is called by its Node, not by {type(node).__name__}{hint}. A text becomes one "
            f"by Node.parse('AET@host:port')."
        )
    wanted = [c if isinstance(c, PresentationContext) else build_context(UID(c)) for c in contexts]
    route = resolve_host(node)
    requestor = Requestor(route)
    try:
        association = requestor.associate(
            route.first,
            node.port,
            contexts=wanted,
            ae_title=node.ae_title,
            max_pdu=MAX_PDU_BYTES,
            ext_neg=[build_role(uid, scp_role=True) for uid in storage_roles],
            evt_handlers=list(handlers),
        )
    except BaseException:  # an interrupt
        requestor.close_connection()
        raise
    try:
        if not association.is_established:
            raise explain_failure(association, node, wanted)
        _require_room_for_messages(association, node)
        if storage_roles:
            take_whatever_is_sent(association, classes_without_role(association))
        with lost_means_aborted(association, node):
            yield association
        association.release()
    except BaseException:
        association.abort()  # the peer may be sending, and must stop
        raise
    finally:
        connection_of(association).force_close()


def _require_room_for_messages(association: Association, node: Node) -> None:
    most = association.acceptor.maximum_length
    if 0 < most <= PDV_HEADER_BYTES:
        seen = (
            f"{node} takes no more than {most} bytes at a time, into which no message fits "
            f"(PS3.8 D.1.1)."
        )
        raise AssociationAborted.of(Finding("association", seen, "the PACS", "It may be broken."))


@contextmanager
def lost_means_aborted(association: Association, node: Node) -> Iterator[None]:
    """Raise `AssociationAborted` where pynetdicom raises `RuntimeError`: for a request over an
    association that is lost.
    """
    try:
        yield
    except RuntimeError as error:
        if association.is_established:
            raise
        raise explain_early_loss(node) from error


def tls_session(association: Association) -> ssl.SSLSocket:
    """Return the TLS session of an association with a node that has a TLS context."""
    return connection_of(association).socket


def classes_without_role(association: Association) -> set[str]:
    """List the accepted SOP classes of which the peer has not answered our role selection.

    By the standard it does not send these to us (PS3.7 D.3.3.4). Some PACS do all the same.
    """
    answered = association.acceptor.role_selection
    return {context.abstract_syntax for context in association.accepted_contexts} - set(answered)


def watch_life_signs(association: Association, last_life_sign: Callable[[], float]) -> None:
    """Wait longer for an answer while something else shows that the peer is at work.

    `last_life_sign` returns ``time.monotonic()`` of its last sign.
    """
    connection_of(association).other_life_signs = last_life_sign


def require_service(
    association: Association, node: Node, sop_class_uid: str, other_way: str
) -> None:
    """Raise `ServiceNotAccepted` unless `node` accepted a presentation context for a SOP class; the
    error names another way.
    """
    if not any(
        context.abstract_syntax == sop_class_uid for context in association.accepted_contexts
    ):
        seen = f"{node} accepted the association but not {UID(sop_class_uid).name}."
        change = (
            f"Its administrator must switch this service on for {node.local_ae_title!r}, or "
            f"{other_way}."
        )
        raise ServiceNotAccepted.of(Finding("presentation contexts", seen, "the PACS", change))
