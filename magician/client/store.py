"""Storage: sends objects to a PACS by C-STORE (PS3.4 Annex B)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from magician.dimse.association import associate
from magician.dimse.contexts import contexts_for, kind_of
from magician.dimse.reception import HEADER_KEYWORDS, MAX_UID_CHARACTERS, read_header
from magician.dimse.status import SUCCESS, describe_response, is_warning, require_status
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
    """The outcome of `store`.

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
    """One kind of object to send, and whether the peer accepts it.

    Attributes
    ----------
    sop_class, transfer_syntax : str
        Their names. Of several possible transfer syntaxes, the one that the peer accepts.
    objects : int
        How many of the objects are of this kind.
    accepted : bool
    """

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
        A data set needs a complete ``file_meta``, as after reading it from a file. The hidden
        ``.part`` files that a killed program leaves in a folder are skipped.
    allow_identified : bool
        Objects leave this computer only if each of them says PatientIdentityRemoved=YES, or if you
        say True here.
    progress : bool
        Show a progress bar when it takes longer than two seconds.

    Raises
    ------
    NotDeidentified
        Before anything is sent, see `allow_identified`. The flag is a claim and not a proof, and a
        tunnel that ends on this computer looks like this computer.
    ServiceNotAccepted
        Before anything is sent, if the peer does not accept one of the kinds of objects.
    DimseFailure
        If some objects were refused; the others were sent. The message lists the refused ones, with
        what the peer says of each.
    MagicianError
        If this side can't read an object, or can't encode it.
    PacsUnreachable, PacsTimeout, AssociationRejected, AssociationAborted
        See `magician.dimse.association.associate`.
    """
    items = _list_items(datasets_or_paths)
    if not items:
        return Stored(0)
    headers = [_read_header(item) for item in items]
    refuse_identified(headers, node.host, f"{node}", allow_identified=allow_identified)
    with associate(node, contexts_for(headers)) as association:
        _require_acceptance(association, node, headers)
        return _send_objects(association, node, items, headers, progress)


def accepted_contexts(node: Node, datasets_or_paths: Iterable) -> list[AcceptedContext]:
    """Ask a PACS which of these kinds of objects it accepts, without sending any.

    Parameters
    ----------
    node, datasets_or_paths
        As for `store`.

    Returns
    -------
    list of AcceptedContext
        One for each SOP class and transfer syntax among the objects, in the order of their first
        appearance.

    Raises
    ------
    PacsUnreachable, PacsTimeout, AssociationRejected, AssociationAborted
        See `magician.dimse.association.associate`.
    """
    headers = [_read_header(item) for item in _list_items(datasets_or_paths)]
    if not headers:
        return []
    try:
        with associate(node, contexts_for(headers)) as association:
            return _compare_contexts(headers, association.accepted_contexts)
    except ServiceNotAccepted:
        return _compare_contexts(headers, [])


def _list_items(datasets_or_paths: Iterable) -> list:
    if isinstance(datasets_or_paths, (Dataset, str, Path)):
        raise TypeError(
            "A list of data sets or files is needed: put the one into [ ], or list the folder's "
            "files."
        )
    items = list(datasets_or_paths)
    return [item for item in items if isinstance(item, Dataset) or not is_temporary(Path(item))]


def _read_header(item) -> Dataset:
    """Return a data set as it is; of a file, the elements that tell how and whether to send it."""
    if isinstance(item, Dataset):
        header = item
    else:
        try:
            read = dcmread(item, stop_before_pixels=True, specific_tags=HEADER_KEYWORDS)
            header = read_header(read)
            header.file_meta = read.file_meta
        except InvalidDicomError as error:
            raise MagicianError(f"{item} is not a DICOM file; nothing was sent.") from error
        except OSError:
            raise
        except Exception as error:  # a damaged file can raise any error in pydicom
            raise MagicianError(
                f"{item} can't be read as a DICOM file ({error}); nothing was sent."
            ) from error
    missing = [keyword for keyword in ("SOPClassUID", "SOPInstanceUID") if not header.get(keyword)]
    if getattr(header, "file_meta", None) is None or "TransferSyntaxUID" not in header.file_meta:
        missing.append("TransferSyntaxUID in its file_meta")
    if missing:
        name = header.get("SOPInstanceUID", item if not isinstance(item, Dataset) else "an object")
        raise MagicianError(
            f"{name} can't be sent: it has no {', no '.join(missing)}. Nothing was sent."
        )
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        uid = str(header[keyword].value)
        if len(uid) > MAX_UID_CHARACTERS:
            raise MagicianError(
                f"{uid[:MAX_UID_CHARACTERS]}... can't be sent: its {keyword} has {len(uid)} "
                f"characters, and a C-STORE request carries {MAX_UID_CHARACTERS} (PS3.5 9.1). "
                f"Nothing was sent. Mend the object, or leave it out."
            )
    return header


def _require_acceptance(association: Association, node: Node, headers: list[Dataset]) -> None:
    rows = _compare_contexts(headers, association.accepted_contexts)
    refused = [row for row in rows if not row.accepted]
    if refused:
        kinds = ", ".join(
            f"{row.sop_class} as {row.transfer_syntax} ({row.objects})" for row in refused
        )
        raise ServiceNotAccepted(
            f"{node} does not accept {kinds}; nothing was sent. Its administrator must allow these "
            f"kinds of objects, or leave them out."
        )


def _compare_contexts(
    headers: list[Dataset], contexts: Sequence[PresentationContext]
) -> list[AcceptedContext]:
    """Compare the kinds of objects with the presentation contexts that the peer has accepted."""
    counts = Counter(map(kind_of, headers))
    accepted = {
        (context.abstract_syntax, syntax)
        for context in contexts
        for syntax in context.transfer_syntax
    }
    rows = []
    for (sop_class, syntaxes), count in counts.items():
        agreed = [syntax for syntax in syntaxes if (sop_class, syntax) in accepted]
        name = UID((agreed or syntaxes)[0]).name
        rows.append(AcceptedContext(UID(sop_class).name, name, count, bool(agreed)))
    return rows


def _send_objects(
    association: Association, node: Node, items: list, headers: list[Dataset], progress: bool
) -> Stored:
    """Send every object; raises `DimseFailure` at the end if the peer has refused some of them."""
    warnings, failures, last_failure, unexplained = [], [], SUCCESS, False
    pairs = zip(items, track(headers, "C-STORE", "object", progress=progress), strict=True)
    for number, (item, header) in enumerate(pairs):
        sent_before = f"{number} of {len(items)} objects were sent"
        response = _send_object(association, node, item, header, sent_before)
        if response.Status == SUCCESS:
            continue
        answer = f"{header.SOPInstanceUID}: {describe_response(response, 'C-STORE')}"
        if is_warning(response.Status):
            warnings.append(answer)
        else:
            failures.append(answer)
            last_failure = response.Status
            unexplained = unexplained or not response.get("ErrorComment")
    if failures:
        listed = "; ".join(failures[:5]) + ("; ..." if len(failures) > 5 else "")
        raise DimseFailure(
            f"{node} stored {len(items) - len(failures)} of {len(items)} objects and refused "
            f"{len(failures)}: {listed}.{' Its log says why.' if unexplained else ''}",
            last_failure,
        )
    return Stored(len(items), tuple(warnings))


def _send_object(
    association: Association, node: Node, item, header: Dataset, sent_before: str
) -> Dataset:
    """Send one object and return the answer; an error says what was sent before."""
    try:
        dataset = item if isinstance(item, Dataset) else _read_object(item, sent_before)
        response = association.send_c_store(dataset)
        require_status(response, association, node, "C-STORE")
        return response
    except (ValueError, AttributeError, TypeError) as error:  # from pynetdicom's encoder
        raise MagicianError(
            f"{header.SOPInstanceUID} can't be sent: this side can't encode it ({error}), and "
            f"{node} was not asked; {sent_before}. Mend the object, or leave it out."
        ) from error
    except (PacsTimeout, AssociationAborted) as error:
        error.args = (f"{error} Before that, {sent_before}.",)
        raise


def _read_object(path, sent_before: str) -> Dataset:
    """Read a file that is to be sent. A file that is cut short would arrive and count as sent."""
    try:
        return read_whole(Path(path))
    except EOFError as error:
        raise MagicianError(f"{path} is not whole ({error}); {sent_before}.") from error
    except Exception as error:  # a damaged file can raise any error in pydicom
        raise MagicianError(
            f"{path} can't be read as a DICOM file ({error}); {sent_before}."
        ) from error
