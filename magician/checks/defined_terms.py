"""Enumerated values and defined terms: what an attribute may hold, by the clause that says so.

An enumerated value is one of a closed list. A list of defined terms is open: a vendor may add terms
(PS3.5 6.3). So a foreign term is named only where it is surely a mistake. These are ConversionType,
PhotometricInterpretation and PatientPosition; BodyPartExamined and Modality only in an image that
names no source, because an image that has one takes them over from a scanner, which may use terms
of its own. RescaleType, ScanOptions and the third value of ImageType are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

# keyword: (clause, what it may be); of every object, at any depth
VALUES = {
    "PatientSex": ("C.7.1.1", "M F O"),
    "PatientIdentityRemoved": ("C.7.1.1", "YES NO"),
    "Laterality": ("C.7.3.1", "R L"),
    "PatientPosition": (
        "C.7.3.1.1.2",
        "HFP HFS HFDR HFDL FFDR FFDL FFP FFS LFP LFS RFP RFS AFDR AFDL PFDR PFDL",
    ),
    "ImageLaterality": ("C.7.6.1", "R L U B"),
    "BurnedInAnnotation": ("C.7.6.1", "YES NO"),
    "RecognizableVisualFeatures": ("C.7.6.1", "YES NO"),
    "LossyImageCompression": ("C.7.6.1", "00 01"),
    "PixelRepresentation": ("C.7.6.3", "0 1"),
    "PlanarConfiguration": ("C.7.6.3", "0 1"),
    "ConversionType": ("C.8.6.1", "DV DI DF WSD SD SI DRW SYN"),
    "RotationDirection": ("C.8.2.1", "CW CC"),
    "SegmentAlgorithmType": ("C.8.20.2", "AUTOMATIC SEMIAUTOMATIC MANUAL"),
    "SegmentationType": ("C.8.20.2", "BINARY FRACTIONAL LABELMAP"),
    "SegmentationFractionalType": ("C.8.20.2", "PROBABILITY OCCUPANCY"),
    "SegmentsOverlap": ("C.8.20.2", "YES UNDEFINED NO"),
    "ContentQualification": ("C.8.13.2.1", "PRODUCT RESEARCH SERVICE"),
    "DimensionOrganizationType": ("C.7.6.17", "3D 3D_TEMPORAL TILED_FULL TILED_SPARSE"),
    "CompletionFlag": ("C.17.2", "PARTIAL COMPLETE"),
    "VerificationFlag": ("C.17.2", "UNVERIFIED VERIFIED"),
    "PreliminaryFlag": ("C.17.2", "PRELIMINARY FINAL"),
    "ContinuityOfContent": ("C.17.3", "SEPARATE CONTINUOUS"),
}
MONOCHROME = "MONOCHROME1|MONOCHROME2"
COLOUR = "RGB|YBR_FULL|YBR_FULL_422|YBR_PARTIAL_420|YBR_ICT|YBR_RCT|XYB"
# The same for one SOP class; these values may hold spaces
VALUES_OF_CLASS = {
    CTImageStorage: {
        "Modality": ("C.7.3.1.1.1", "CT"),
        "PhotometricInterpretation": ("C.8.2.1", MONOCHROME),
        "SamplesPerPixel": ("C.8.2.1", "1"),
        "BitsAllocated": ("C.8.2.1", "16"),
    },
    SegmentationStorage: {
        "Modality": ("C.8.20.1", "SEG"),
        "PhotometricInterpretation": ("C.8.20.2", "MONOCHROME2"),
        "SamplesPerPixel": ("C.8.20.2", "1"),
        "PixelRepresentation": ("C.8.20.2", "0"),
    },
    Comprehensive3DSRStorage: {
        "Modality": ("C.17.1", "SR"),
        "ValueType": ("C.17.3", "CONTAINER"),
    },
    SecondaryCaptureImageStorage: {
        "PhotometricInterpretation": ("C.7.6.3", f"{MONOCHROME}|PALETTE COLOR|{COLOUR}"),
        "SamplesPerPixel": ("C.7.6.3", "1|3"),
    },
}
RELATIONSHIPS = (
    "CONTAINS|HAS PROPERTIES|HAS OBS CONTEXT|HAS ACQ CONTEXT|INFERRED FROM|SELECTED FROM|"
    "HAS CONCEPT MOD"
)
CONTENT_ITEMS = (
    "TEXT NUM CODE DATETIME DATE TIME UIDREF PNAME COMPOSITE IMAGE WAVEFORM SCOORD SCOORD3D TCOORD "
    "CONTAINER TABLE"
)
# The first and the second value (C.7.6.1.1.2)
IMAGE_TYPE = (("ORIGINAL", "DERIVED"), ("PRIMARY", "SECONDARY"))
OPPOSITE = ("LR", "AP", "HF")
# PS3.3 C.7.3.1.1.1, those of retired modalities, too
MODALITIES = (
    "ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID "
    "GM HC HD IO IOL IVOCT IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV "
    "OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD "
    "RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC AS CD "
    "CF CP CS DD DF DM DS EC FA FS LP MA MS OPR ST VF"
)
# PS3.16 Annex L: the terms of radiology
BODY_PARTS = (
    "ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA ARM AXILLA BACK BLADDER BRAIN BREAST BRONCHUS "
    "BUTTOCK CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CHEST CHESTABDOMEN CHESTABDPELVIS "
    "CIRCLEOFWILLIS CLAVICLE COCCYX COLON CORNEA CORONARYARTERY CSPINE CTSPINE DUODENUM EAR "
    "ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FIBULA FINGER FOOT FOREARM GALLBLADDER "
    "HAND HEAD HEADNECK HEART HIP HUMERUS IAC ILEUM ILIUM JAW JEJUNUM KIDNEY KNEE LARYNX LEG "
    "LIVER LSPINE LSSPINE LUNG MANDIBLE MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST "
    "NECKCHESTABDOMEN NECKCHESTABDPELV NOSE ORBIT OVARY PANCREAS PAROTID PATELLA PELVIS "
    "PELVISLOWEXTREMT PENIS PHARYNX PHANTOM PROSTATE RECTUM RIB SCALP SCAPULA SCLERA SCROTUM "
    "SELLA SHOULDER SINUS SKULL SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR TESTIS THIGH "
    "THUMB THYMUS THYROID TIBIA TLSPINE TMJ TOE TONGUE TRACHEA TSPINE UMBILICUS UPRARM URETER "
    "URETHRA UTERUS VAGINA VULVA WHOLEBODY WRIST ZYGOMA THORAX"
)


def complaints_about_values(dataset: Dataset) -> Iterator[str]:
    """Complain about values that an attribute can't have, each with its clause.

    An empty value is no matter of these lists: `complaints_about` knows which need one.
    """
    yield from dict.fromkeys(_not_in_list(dataset))  # many items, one sentence
    yield from _image_type(dataset)
    yield from _orientation(dataset)
    yield from _samples(dataset)
    yield from _open_lists(dataset)


def _not_in_list(dataset: Dataset) -> Iterator[str]:
    lists = {keyword: (clause, words.split()) for keyword, (clause, words) in VALUES.items()}
    of_class = VALUES_OF_CLASS.get(dataset.get("SOPClassUID"), {})
    lists |= {keyword: (clause, words.split("|")) for keyword, (clause, words) in of_class.items()}
    for keyword, (clause, allowed) in lists.items():
        yield from _foreign(dataset, keyword, allowed, clause)
    content = {
        "RelationshipType": ("C.17.3.2.4", RELATIONSHIPS.split("|")),
        "ValueType": ("C.17.3.2.1", CONTENT_ITEMS.split()),
    }
    inside = {keyword: found for keyword, found in (lists | content).items() if keyword in NESTED}
    for item in _items(dataset):
        for keyword, (clause, allowed) in inside.items():
            yield from _foreign(item, keyword, allowed, clause)


# What an item of a sequence is looked at for
NESTED = ("RelationshipType", "ValueType", "ContinuityOfContent", "SegmentAlgorithmType")


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for keyword in ("SegmentSequence", "ContentSequence"):
        for item in dataset.get(keyword) or []:
            yield item
            yield from _items(item)


def _foreign(dataset: Dataset, keyword: str, allowed: list[str], clause: str) -> Iterator[str]:
    value = dataset.get(keyword)
    if value not in (None, "") and str(value).strip() not in allowed:
        yield f"{keyword} is {_shown(value)}, and has to be {_either(allowed)} (PS3.3 {clause})"


def _shown(value: object) -> str:
    text = "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _either(allowed: list[str]) -> str:
    return " or ".join([", ".join(allowed[:-1]), allowed[-1]] if len(allowed) > 1 else allowed)


def _values(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword)
    if value in (None, ""):
        return []
    return [str(one) for one in value] if isinstance(value, (MultiValue, list)) else [str(value)]


def _image_type(dataset: Dataset) -> Iterator[str]:
    found = _values(dataset, "ImageType")
    allowed = IMAGE_TYPE
    if dataset.get("SOPClassUID") == SegmentationStorage:
        allowed = (("DERIVED",), ("PRIMARY",))  # C.8.20.2
    if len(found) == 1:
        yield "ImageType has one value, and needs two at least (PS3.3 C.7.6.1.1.2)"
    for number, (value, words) in enumerate(zip(found, allowed, strict=False), start=1):
        if value not in words:
            yield (
                f"value {number} of ImageType is {_shown(value)}, and has to be "
                f"{_either(list(words))} (PS3.3 C.7.6.1.1.2)"
            )


def _orientation(dataset: Dataset) -> Iterator[str]:
    """Complain about PatientOrientation, of people, that names no two directions (C.7.6.1.1.1)."""
    found = _values(dataset, "PatientOrientation")
    if not found or dataset.get("AnatomicalOrientationType") == "QUADRUPED":
        return
    if len(found) != 2 or not all(map(_is_direction, found)):
        yield (
            f"PatientOrientation is {_shown(dataset.PatientOrientation)}, and has to be two "
            "directions, one for rows and one for columns, of the letters A, P, R, L, H and F "
            "(PS3.3 C.7.6.1.1.1)"
        )


def _is_direction(letters: str) -> bool:
    axes = [next((axis for axis in OPPOSITE if letter in axis), "") for letter in letters]
    return all(axes) and 1 <= len(axes) == len(set(axes))


def _samples(dataset: Dataset) -> Iterator[str]:
    """Complain about another number of samples than the photometric interpretation needs."""
    kind, samples = dataset.get("PhotometricInterpretation"), dataset.get("SamplesPerPixel")
    for needed, kinds in ((1, f"{MONOCHROME}|PALETTE COLOR"), (3, COLOUR)):
        if kind in kinds.split("|") and samples not in (None, needed):
            yield (
                f"SamplesPerPixel is {_shown(samples)}, and {kind} needs {needed} "
                "(PS3.3 C.7.6.3.1.2)"
            )


def _open_lists(dataset: Dataset) -> Iterator[str]:
    if dataset.get("SOPClassUID") != SecondaryCaptureImageStorage:
        return
    if dataset.get("SourceImageSequence"):
        return  # the terms are those of the source
    for keyword, terms, clause in (
        ("Modality", MODALITIES, "PS3.3 C.7.3.1.1.1"),
        ("BodyPartExamined", BODY_PARTS, "PS3.16 Annex L"),
    ):
        value = dataset.get(keyword)
        if value not in (None, "") and str(value).strip() not in terms.split():
            yield f"{keyword} is {_shown(value)}, which is none of the terms of {clause}"
