"""C-STORE: objects go to a PACS (PS3.4 Annex B)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from magician.dimse.association import associate
from magician.dimse.contexts import contexts_for, kind_of
from magician.dimse.reception import HEADER_KEYWORDS
from magician.dimse.status import SUCCESS, describe_status, is_warning, require_status
from magician.errors import (
    AssociationAborted,
    DimseFailure,
    MagicianError,
    PacsTimeout,
    ServiceNotAccepted,
)
from magician.files import is_temporary, read_whole
from magician.node import Node
from magician.privacy import refuse_identified
from magician.progress import track


@dataclass(frozen=True)
class Stored:
    """What `store` did.

    Attributes
    ----------
    sent : int
        Objects that the peer has stored, with or without a warning.
    warnings : tuple of str
        One sentence for each object that it stored with a warning status.
    """

    sent: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class AcceptedContext:
    """One kind of object that we want to send, and whether the peer takes it."""

    sop_class: str
    transfer_syntax: str
    objects: int
    accepted: bool


def store(
    node: Node,
    datasets_or_paths: Iterable,
    *,
    allow_identified: bool = False,
    progress: bool = True,
) -> Stored:
    """Send objects to a PACS by C-STORE (PS3.4 Annex B).

    Parameters
    ----------
    node : Node
    datasets_or_paths : iterable of Dataset or path
        Data sets need a complete ``file_meta``, as those read from a file have. The hidden
        ``.part`` files that a killed program has left in a folder are passed over.
    allow_identified : bool
        Objects leave this computer only if each of them says PatientIdentityRemoved=YES, or if you
        say True here.
    progress : bool
        Show a progress bar when it takes longer than two seconds.

    Raises
    ------
    NotDeidentified
        Before anything is sent, see `allow_identified`. The flag is a claim, not a proof, and a
        tunnel that ends on this computer looks like this computer.
    ServiceNotAccepted
        Before anything is sent, if the peer does not take one of the kinds of objects.
    DimseFailure
        If some objects were refused; the others were sent. The message lists the refused ones.
    PacsUnreachable, PacsTimeout, AssociationRejected, AssociationAborted
        See `magician.dimse.association.associate`.
    """
    items = _listed(datasets_or_paths)
    if not items:
        return Stored(0)
    headers = [_header(item) for item in items]
    refuse_identified(headers, node.host, f"{node}", allow_identified=allow_identified)
    with associate(node, contexts_for(headers)) as association:
        refused = [row for row in _acceptance(association, headers) if not row.accepted]
        if refused:
            kinds = ", ".join(
                f"{row.sop_class} as {row.transfer_syntax} ({row.objects})" for row in refused
            )
            raise ServiceNotAccepted(
                f"{node} does not accept {kinds}; nothing was sent. Its administrator must allow these kinds of "
                f"objects, or leave them out."
            )
        return _send(association, node, items, headers, progress)


def accepted_contexts(node: Node, datasets_or_paths: Iterable) -> list[AcceptedContext]:
    """Ask a PACS which of these kinds of objects it would take, without sending any.

    Returns
    -------
    list of AcceptedContext
        One for each SOP class and transfer syntax among the objects, in the order of their first
        appearance.
    """
    headers = [_header(item) for item in _listed(datasets_or_paths)]
    if not headers:
        return []
    try:
        with associate(node, contexts_for(headers)) as association:
            return _acceptance(association, headers)
    except ServiceNotAccepted:
        return _acceptance(None, headers)


def _listed(datasets_or_paths: Iterable) -> list:
    if isinstance(datasets_or_paths, (Dataset, str, Path)):
        raise TypeError(
            "A list of data sets or files is needed: put the one into [ ], or list the folder's files."
        )
    items = list(datasets_or_paths)
    return [item for item in items if isinstance(item, Dataset) or not is_temporary(Path(item))]


def _header(item) -> Dataset:
    """A data set, or the few elements of a file that tell how it has to be sent."""
    if isinstance(item, Dataset):
        header = item
    else:
        try:
            header = dcmread(item, stop_before_pixels=True, specific_tags=HEADER_KEYWORDS)
        except InvalidDicomError as error:
            raise MagicianError(f"{item} is not a DICOM file; nothing was sent.") from error
        except OSError:
            raise
        except Exception as error:  # a damaged file can fail in any of pydicom's ways
            raise MagicianError(
                f"{item} can't be read as a DICOM file ({error}); nothing was sent."
            ) from error
    missing = [keyword for keyword in ("SOPClassUID", "SOPInstanceUID") if keyword not in header]
    if getattr(header, "file_meta", None) is None or "TransferSyntaxUID" not in header.file_meta:
        missing.append("TransferSyntaxUID in its file_meta")
    if missing:
        name = header.get("SOPInstanceUID", item if not isinstance(item, Dataset) else "an object")
        raise MagicianError(
            f"{name} can't be sent: it has no {', no '.join(missing)}. Nothing was sent."
        )
    return header


def _acceptance(association, headers: list[Dataset]) -> list[AcceptedContext]:
    counts: dict[tuple, int] = {}
    for header in headers:
        counts[kind_of(header)] = counts.get(kind_of(header), 0) + 1
    accepted = {
        (context.abstract_syntax, syntax)
        for context in (association.accepted_contexts if association else [])
        for syntax in context.transfer_syntax
    }
    rows = []
    for (sop_class, syntaxes), count in counts.items():
        agreed = [syntax for syntax in syntaxes if (sop_class, syntax) in accepted]
        name = UID((agreed or syntaxes)[0]).name
        rows.append(AcceptedContext(UID(sop_class).name, name, count, bool(agreed)))
    return rows


def _send(association, node: Node, items: list, headers: list[Dataset], progress: bool) -> Stored:
    warnings, failures, status = [], [], SUCCESS
    each = zip(items, track(headers, "C-STORE", "object", progress=progress), strict=True)
    for number, (item, header) in enumerate(each):
        answer = _send_one(
            association, node, item, header, f"{number} of {len(items)} objects were sent"
        )
        words = f"{header.SOPInstanceUID}: {describe_status(answer, 'C-STORE')}"
        if is_warning(answer):
            warnings.append(words)
        elif answer != SUCCESS:
            failures.append(words)
            status = answer
    if failures:
        listed = "; ".join(failures[:5]) + ("; ..." if len(failures) > 5 else "")
        raise DimseFailure(
            f"{node} stored {len(items) - len(failures)} of {len(items)} objects and refused {len(failures)}: "
            f"{listed}. Its log says why.",
            status,
        )
    return Stored(len(items), tuple(warnings))


def _send_one(association, node: Node, item, header: Dataset, sent_before: str) -> int:
    """Send one object and return the status of the answer; an error says what was sent before."""
    started = time.monotonic()
    try:
        response = association.send_c_store(
            item if isinstance(item, Dataset) else _whole_file(item, sent_before)
        )
        return require_status(response, node, "C-STORE", started)
    # pynetdicom's words for what it can't encode
    except (ValueError, AttributeError, TypeError) as error:
        raise MagicianError(
            f"{header.SOPInstanceUID} can't be sent ({error}); {sent_before}."
        ) from error
    except (PacsTimeout, AssociationAborted) as error:
        error.args = (f"{error} Before that, {sent_before}.",)
        raise


def _whole_file(path, sent_before: str) -> Dataset:
    """Read a file that is to be sent; one that is cut short would arrive as it is, and count as
    sent.
    """
    try:
        read_whole(Path(path))
        return dcmread(path)
    except Exception as error:  # a damaged file can fail in any of pydicom's ways
        raise MagicianError(f"{path} is not whole ({error}); {sent_before}.") from error
