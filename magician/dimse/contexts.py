"""Presentation contexts: which objects and encodings are offered and taken (PS3.8 9.3.2.2)."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import ALL_TRANSFER_SYNTAXES
from pynetdicom.presentation import PresentationContext, build_context

from magician.files import JPIP_DEFLATED

MAX_CONTEXTS = 128  # a context ID is an odd number from 1 to 255 (PS3.8 9.3.2.2)
TRANSFER_SYNTAXES_NOT_SUPPORTED = 4  # the answer to a presentation context (PS3.8 Table 9-18)
UNCOMPRESSED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
# Deflated data sets are not taken: a few kilobytes of them can be inflated to gigabytes.
DEFLATED = {DeflatedExplicitVRLittleEndian, *JPIP_DEFLATED}
# What a listener takes. Explicit VR comes first, because an acceptor chooses in its own order.
SYNTAXES_TAKEN = [
    *UNCOMPRESSED,
    *(uid for uid in ALL_TRANSFER_SYNTAXES if uid not in UNCOMPRESSED and uid not in DEFLATED),
]


def contexts_for(headers: Iterable[Dataset]) -> list[PresentationContext]:
    """Build the presentation contexts in which objects can be sent: one for each kind of object.

    Raises
    ------
    ValueError
        If there are more kinds than one association carries.
    """
    kinds = dict.fromkeys(kind_of(header) for header in headers)
    if len(kinds) > MAX_CONTEXTS:
        raise ValueError(
            f"{len(kinds)} kinds of objects; one association carries {MAX_CONTEXTS}. "
            f"Send fewer at once."
        )
    return [build_context(UID(sop_class), list(syntaxes)) for sop_class, syntaxes in kinds]


def kind_of(header: Dataset) -> tuple[str, tuple[str, ...]]:
    """Tell the kind of an object: its SOP class, and the transfer syntaxes that can carry it."""
    syntax = header.file_meta.TransferSyntaxUID
    # uncompressed little endian can be re-encoded on the way, so either of the two will do
    return str(header.SOPClassUID), tuple(UNCOMPRESSED) if syntax in UNCOMPRESSED else (syntax,)
