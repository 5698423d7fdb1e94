"""Storage of the unknown: private and retired SOP classes, taken up because a caller proposes them.

pynetdicom accepts only abstract syntaxes that were listed before, and serves only SOP classes of
its own tables. Its switch `UNRESTRICTED_STORAGE_SERVICE` changes both for the whole process, and
takes transfer syntaxes that nobody can read. Here one listener extends its list for one
association, when that association is asked for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from pydicom.uid import UID, MediaStorageDirectoryStorage
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassCommonExtendedNegotiation
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import ServiceClass
from pynetdicom.sop_class import uid_to_service_class

from magician.files import is_uid

logger = logging.getLogger(__name__)

STORAGE_SERVICE = "1.2.840.10008.4.2"  # the Storage Service Class (PS3.4 Annex B)
DICOM_ROOT = "1.2.840.10008."
STORAGE_ROOT = f"{DICOM_ROOT}5.1.4.1.1."  # where the standard has its storage classes
# The name of a storage class; "Storage Commitment Pull Model SOP Class" is none
STORAGE_NAME = re.compile(r"Storage( SOP Class)?( - .*)?$")
LISTED = {context.abstract_syntax for context in AllStoragePresentationContexts}
NAMED_AT_MOST = 5  # a log line stays one that can be read


def is_unknown_storage(abstract_syntax: str) -> bool:
    """Tell whether an abstract syntax may be a storage SOP class that pynetdicom does not list.

    Private ones may be, retired ones of the standard, and those that came to the standard since.
    What is known to serve another purpose is none: printing, worklists, queries, media.
    """
    if not is_uid(abstract_syntax) or abstract_syntax in LISTED | {MediaStorageDirectoryStorage}:
        return False
    uid = UID(abstract_syntax)
    if uid_to_service_class(uid) is not ServiceClass:  # that of no service, in pynetdicom
        return False
    if not uid.type:  # it is not in the standard's table (PS3.6 Annex A)
        return uid.startswith(STORAGE_ROOT) or not uid.startswith(DICOM_ROOT)
    is_nameless = not uid.name and uid.startswith(STORAGE_ROOT)  # two that were retired unnamed
    return uid.type == "SOP Class" and bool(is_nameless or STORAGE_NAME.search(uid.name))


def negotiating_storage(
    syntaxes: Sequence[str], *, unknown: bool, both_roles: bool = False
) -> tuple:
    """Return the event handler by which a listener takes up storage that it has not listed.

    It also logs for which storage classes a caller proposes none of the listener's encodings.

    Parameters
    ----------
    syntaxes : sequence of str
        The transfer syntaxes that can be taken, the preferred ones first.
    unknown : bool
        Whether classes are taken up that nobody knows.
    both_roles : bool
        Whether the listener also sends such objects, during a C-GET (PS3.7 D.3.3.4).
    """
    return evt.EVT_SOP_COMMON, _negotiate, [syntaxes, unknown, both_roles]


def _negotiate(
    event: evt.Event, syntaxes: Sequence[str], unknown: bool, both_roles: bool
) -> dict[UID, SOPClassCommonExtendedNegotiation]:
    """Extend what an association supports by what its caller proposes.

    Returns the service of each SOP class that was taken up, as if the caller had said it (PS3.7
    D.3.3.6); pynetdicom asks for it to find who serves a request.
    """
    acceptor = event.assoc.acceptor
    supported = {context.abstract_syntax for context in acceptor.supported_contexts}
    proposed = _proposed_syntaxes(event.assoc)
    wanted = {uid for uid in proposed if unknown and is_unknown_storage(uid)} - supported
    storage = wanted | (LISTED & supported & set(proposed))
    unreadable = [uid for uid in proposed if uid in storage and proposed[uid].isdisjoint(syntaxes)]
    _tell_unreadable(event.assoc, {uid: proposed[uid] for uid in unreadable})
    # pynetdicom looks for the agreed one itself; all of ours would take 35 ms for 128 contexts
    contexts = [
        _context(uid, [syntax for syntax in syntaxes if syntax in proposed[uid]], both_roles)
        for uid in wanted.difference(unreadable)
    ]
    acceptor.supported_contexts = [*acceptor.supported_contexts, *contexts]
    return {context.abstract_syntax: _storage_of(context.abstract_syntax) for context in contexts}


def _proposed_syntaxes(association: Association) -> dict[UID, set[UID]]:
    """Return the transfer syntaxes that are proposed for each abstract syntax, in all contexts."""
    proposed: dict[UID, set[UID]] = {}
    for context in association.requestor.primitive.presentation_context_definition_list or ():
        proposed.setdefault(context.abstract_syntax, set()).update(context.transfer_syntax)
    return proposed


def _context(uid: UID, syntaxes: list[str], both_roles: bool) -> PresentationContext:
    context = build_context(uid, syntaxes)
    if both_roles:
        context.scu_role = context.scp_role = True
    return context


def _storage_of(uid: UID) -> SOPClassCommonExtendedNegotiation:
    item = SOPClassCommonExtendedNegotiation()
    item.sop_class_uid, item.service_class_uid = uid, STORAGE_SERVICE
    return item


def _tell_unreadable(association: Association, proposed: dict[UID, set[UID]]) -> None:
    """Log which storage classes are refused because none of their encodings can be read."""
    if not proposed:
        return
    classes = [_name(uid) for uid in list(proposed)[:NAMED_AT_MOST]]
    encodings = sorted({_name(s) for syntaxes in proposed.values() for s in syntaxes})
    logger.warning(
        "%s does not take %s%s from %r: it is proposed only as %s, which can't be read here",
        association.ae.ae_title,
        ", ".join(classes),
        ", ..." if len(proposed) > NAMED_AT_MOST else "",
        association.requestor.primitive.calling_ae_title,
        ", ".join(encodings[:NAMED_AT_MOST]),
    )


def _name(uid: str) -> str:
    """Return the name of a UID, or the UID; a peer's text is cut at the length of a UID."""
    name = UID(uid).name if is_uid(uid) else ""
    return name if name and name != uid else f"{uid[:64]!r}"
