"""The DIMSE services of a practice PACS: C-ECHO, C-STORE, C-FIND, C-GET and C-MOVE.

Each stands on the archive, and answers a caller with the status codes of its service class (PS3.4
Annexes A, B and C).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from magician.dimse.contexts import SYNTAXES_TAKEN, UNCOMPRESSED, contexts_for
from magician.dimse.reception import Refused, not_written, read_object, refuse_contradiction
from magician.dimse.status import (
    CANCELLED,
    NOT_AUTHORISED,
    NOT_MATCHING,
    PENDING,
    SUCCESS,
)
from magician.node import Node
from magician.practice_pacs.archive import (
    HEADER_KEYWORDS,
    Archive,
    ObjectIdentified,
    ObjectMisplaced,
)
from magician.practice_pacs.index import LEVELS
from magician.privacy import may_hold
from magician.upper_layer.acceptor import Listener, call_for_move

logger = logging.getLogger(__name__)

BAD_IDENTIFIER = NOT_MATCHING  # the identifier does not match the SOP class (PS3.4 C.4)


class DimseServices:
    """Answers the DIMSE requests that come to a practice PACS.

    Parameters
    ----------
    archive : Archive
        What the PACS holds.
    ae_title : str
        The title of the PACS, for C-FIND responses.
    destinations : mapping of str to Node
        The C-MOVE destinations that the PACS knows, by AE title. It may change later.
    """

    def __init__(self, archive: Archive, ae_title: str, destinations: Mapping[str, Node]) -> None:
        self._archive, self._ae_title, self._destinations = archive, ae_title, destinations

    @property
    def handlers(self) -> list[tuple]:
        """The event handlers to start a listener with."""
        return [
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_GET, self._get),
            (evt.EVT_C_MOVE, self._move),
        ]

    def _store(self, event: evt.Event) -> int | Dataset:
        try:
            header, content = read_object(event, HEADER_KEYWORDS)
            refuse_contradiction(event, header)
            self._keep(header, content)
        except Refused as refusal:
            logger.warning("Refused %s", refusal)
            return refusal.response
        return SUCCESS

    def _keep(self, header: Dataset, content: bytes) -> None:
        """Put an object into the archive; raises `Refused` where the archive does not take it."""
        uid = str(header.SOPInstanceUID)
        try:
            self._archive.keep(header, content)
        except ObjectIdentified as error:
            raise Refused(NOT_AUTHORISED, f"{uid}: {error}", uid=uid, comment=f"{error}") from error
        except ObjectMisplaced as error:
            raise Refused(NOT_MATCHING, f"{uid}: {error}", uid=uid, comment=f"{error}") from error
        except OSError as error:
            raise not_written(uid, error) from error

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        identifier = event.identifier
        if identifier.get("QueryRetrieveLevel") not in LEVELS:
            yield BAD_IDENTIFIER, None
            return
        for answer in self._archive.find(identifier):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            answer.RetrieveAETitle = self._ae_title
            yield PENDING, answer

    def _get(self, event: evt.Event) -> Iterator:
        paths = self._archive.paths(event.identifier)
        if paths is None:
            yield 1
            yield BAD_IDENTIFIER, None
            return
        yield len(paths)
        for status, dataset in _sub_operations(event, paths):
            yield status, dataset and _encode_as_agreed(dataset, event.assoc)

    def _move(self, event: evt.Event) -> Iterator:
        destination = self._destinations.get(event.move_destination)
        if destination is None:
            yield None, None  # answered with 0xA801, move destination unknown
            return
        paths = self._archive.paths(event.identifier)
        keywords = ["SOPClassUID", "PatientIdentityRemoved"]
        headers = [
            dcmread(path, stop_before_pixels=True, specific_tags=keywords) for path in paths or []
        ]
        contexts = contexts_for(headers) or [build_context(Verification)]
        yield call_for_move(destination, contexts)
        if paths is None:
            yield 1
            yield BAD_IDENTIFIER, None
        elif not may_hold(destination.host, headers):
            logger.warning(
                "Refused to send objects that do not say PatientIdentityRemoved=YES to %s",
                destination,
            )
            yield 1
            yield NOT_AUTHORISED, None
        else:
            yield len(paths)
            yield from _sub_operations(event, paths)


def support_services(listener: Listener) -> None:
    """Let a listener accept the presentation contexts of these services."""
    listener.add_supported_context(Verification)
    listener.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    listener.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    listener.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
    for context in AllStoragePresentationContexts:
        # both roles: we receive by C-STORE, and send on the caller's association during a C-GET
        listener.add_supported_context(
            context.abstract_syntax, SYNTAXES_TAKEN, scu_role=True, scp_role=True
        )


def _sub_operations(event: evt.Event, paths: list[Path]) -> Iterator[tuple[int, Dataset | None]]:
    """Read the objects of a C-GET or C-MOVE one by one, until the caller cancels."""
    for path in paths:
        if event.is_cancelled:
            yield CANCELLED, None
            return
        yield PENDING, dcmread(path)


def _encode_as_agreed(dataset: Dataset, association: Association) -> Dataset:
    """Decompress an object of a C-GET if the caller takes only uncompressed ones of its class;
    leave it as it is stored otherwise.

    One that can't be decompressed stays too: then it fails alone, and not the whole C-GET.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    agreed = {
        context.transfer_syntax[0]
        for context in association.accepted_contexts
        if context.abstract_syntax == dataset.SOPClassUID
    }
    if syntax.is_compressed and syntax not in agreed and agreed & set(UNCOMPRESSED):
        try:
            dataset.decompress(generate_instance_uid=False)
        except Exception as error:  # pixels elsewhere, a video, or damage: any error of a decoder
            uid = dataset.SOPInstanceUID
            logger.warning("Can't decompress %s (%s) for a caller: %s", uid, syntax.name, error)
    return dataset
