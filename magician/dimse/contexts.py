"""Presentation contexts: which objects and encodings are offered and taken (PS3.8 9.3.2.2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPIPHTJ2KReferenced,
    RLELossless,
)
from pynetdicom import (
    ALL_TRANSFER_SYNTAXES,
    StoragePresentationContexts,
    sop_class,
)
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
JPIP_REFERENCED = UID("1.2.840.10008.1.2.4.94")  # its pixels are elsewhere (PS3.5 A.6)
# Objects of a C-GET are taken as they are stored: each encoding in a context of its own, so that
# the PACS need not convert. The ones that CT uses come first, for a study with so many classes that
# not all encodings find room.
USUAL_SYNTAXES = [
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless,
    JPEGLSLossless, RLELossless, JPEGLossless, JPEG2000, JPEGLSNearLossless, JPEGBaseline8Bit,
    JPEGExtended12Bit, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K, JPIP_REFERENCED,
    JPIPHTJ2KReferenced,
]  # fmt: skip
# What a modality (0008,0060) makes, by the keywords of its SOP classes (PS3.4 B.5)
CLASSES_OF_MODALITY = {
    "CT": ("CTImageStorage", "EnhancedCTImageStorage"),
    "MR": ("MRImageStorage", "EnhancedMRImageStorage", "MRSpectroscopyStorage"),
    "PT": ("PositronEmissionTomographyImageStorage",),
    "NM": ("NuclearMedicineImageStorage",),
    "US": ("UltrasoundImageStorage", "UltrasoundMultiFrameImageStorage"),
    "CR": ("ComputedRadiographyImageStorage",),
    "DX": ("DigitalXRayImageStorageForPresentation", "DigitalXRayImageStorageForProcessing"),
    "XA": ("XRayAngiographicImageStorage",),
    "RF": ("XRayRadiofluoroscopicImageStorage",),
    "SEG": ("SegmentationStorage",),
    "SR": ("Comprehensive3DSRStorage", "ComprehensiveSRStorage", "EnhancedSRStorage"),
    "OT": ("SecondaryCaptureImageStorage",),
}


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


def contexts_to_receive(
    told: Collection[str], modalities: Collection[str] = (), *, others: bool = False
) -> list[PresentationContext]:
    """Build the presentation contexts in which a PACS may send during a C-GET, at most 127: the
    retrieve itself needs one more.

    Parameters
    ----------
    told : collection of SOP Class UIDs
        The classes that the PACS tells: each is offered in as many encodings as find room.
    modalities : collection of str
        Their classes are offered in the same way.
    others : bool
        The PACS may hold other classes, too: each of these is offered uncompressed.

    Raises
    ------
    ValueError
        If there are more classes than one association carries.
    """
    keywords = [name for code in modalities for name in CLASSES_OF_MODALITY.get(code, ())]
    first = sorted({*told, *(getattr(sop_class, keyword) for keyword in keywords)})
    room = MAX_CONTEXTS - 1 - len(first)
    if room < 0:
        raise ValueError(f"{len(first)} SOP classes; one association carries {MAX_CONTEXTS - 1}.")
    storage = [context.abstract_syntax for context in StoragePresentationContexts]
    rest = [uid for uid in storage if others and uid not in first][:room]
    syntaxes = USUAL_SYNTAXES[: (MAX_CONTEXTS - 1 - len(rest)) // max(1, len(first))]
    return [
        *(build_context(UID(uid), syntax) for uid in first for syntax in syntaxes),
        *(build_context(uid, UNCOMPRESSED) for uid in rest),
    ]
