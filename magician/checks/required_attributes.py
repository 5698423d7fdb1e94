"""Required attributes of the kinds of objects that this library makes, in tables that one can read.

The tables give attributes that are always required, by the clause of PS3.3 that requires them. They
are no complete validator: attributes that depend on other values are checked in some cases only,
each in a function below.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    UID,
    Comprehensive3DSRStorage,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from magician.checks.defined_terms import complaints_about_values
from magician.files import is_uid

PIXELS = (
    "SamplesPerPixel PhotometricInterpretation Rows Columns "
    "BitsAllocated BitsStored HighBit PixelRepresentation"
)
# clause: (attributes of type 1, which must have a value; of type 2, which must be present and may
# be empty)
REQUIRED = {
    "C.7.1.1": ("", "PatientName PatientID PatientBirthDate PatientSex"),
    "C.7.2.1": (
        "StudyInstanceUID",
        "StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber",
    ),
    "C.7.3.1": ("Modality SeriesInstanceUID", "SeriesNumber"),
    "C.7.4.1": ("FrameOfReferenceUID", "PositionReferenceIndicator"),
    "C.7.5.1": ("", "Manufacturer"),
    "C.7.5.2": ("Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions", ""),
    "C.7.6.1": ("", "InstanceNumber"),
    "C.7.6.2": ("PixelSpacing ImageOrientationPatient ImagePositionPatient", "SliceThickness"),
    "C.7.6.3": (f"{PIXELS} PixelData", ""),
    "C.7.6.16": (
        "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence "
        "ContentDate ContentTime NumberOfFrames",
        "",
    ),
    "C.7.6.17": ("DimensionOrganizationSequence DimensionIndexSequence", ""),
    "C.8.2.1": ("ImageType RescaleIntercept RescaleSlope", "KVP AcquisitionNumber"),
    "C.8.6.1": ("ConversionType", ""),
    "C.8.20.2": (
        "ImageType InstanceNumber ContentLabel SegmentationType SegmentSequence",
        "ContentDescription",
    ),
    "C.12.1": ("SOPClassUID SOPInstanceUID", ""),
    "C.17.1": ("SeriesNumber", "ReferencedPerformedProcedureStepSequence"),
    "C.17.2": (
        "InstanceNumber CompletionFlag VerificationFlag ContentDate ContentTime",
        "PerformedProcedureCodeSequence",
    ),
    "C.17.3": ("ValueType ConceptNameCodeSequence ContinuityOfContent ContentSequence", ""),
}
ALWAYS = "C.7.1.1 C.7.2.1 C.7.3.1 C.12.1"
MODULES = {
    SecondaryCaptureImageStorage: f"{ALWAYS} C.7.6.1 C.7.6.3 C.8.6.1",  # A.8.1
    SegmentationStorage: f"{ALWAYS} C.7.4.1 C.7.5.2 C.7.6.3 C.7.6.16 C.7.6.17 C.8.20.2",  # A.51
    Comprehensive3DSRStorage: f"{ALWAYS} C.7.5.1 C.17.1 C.17.2 C.17.3",  # A.35.13
    CTImageStorage: f"{ALWAYS} C.7.4.1 C.7.5.1 C.7.6.1 C.7.6.2 C.7.6.3 C.8.2.1",  # A.3
}
FILE_META = (
    "FileMetaInformationGroupLength FileMetaInformationVersion MediaStorageSOPClassUID "
    "MediaStorageSOPInstanceUID TransferSyntaxUID ImplementationClassUID"
)
SEGMENT = (
    "SegmentNumber SegmentLabel SegmentAlgorithmType SegmentedPropertyCategoryCodeSequence "
    "SegmentedPropertyTypeCodeSequence"
)
# Functional groups that every frame of a SEG needs, of its own or shared
GROUPS_OF_A_FRAME = "PixelMeasures PlaneOrientation PlanePosition SegmentIdentification"


def kind_of(dataset: Dataset) -> str:
    """Return the name of an object's SOP class without "Storage", such as "Segmentation"."""
    uid = UID(str(dataset.get("SOPClassUID") or ""))
    return uid.name.removesuffix(" Storage") or "object without a SOP class"


def complaints_about(dataset: Dataset) -> Iterator[str]:
    """Complain about everything that is missing or wrong in one object."""
    yield from _file_meta(dataset)
    for clause in MODULES.get(dataset.get("SOPClassUID"), ALWAYS).split():
        filled, present = REQUIRED[clause]
        yield from _missing(dataset, filled.split(), 1, f"PS3.3 {clause}")
        yield from _missing(dataset, present.split(), 2, f"PS3.3 {clause}")
    if dataset.get("SOPClassUID") == SecondaryCaptureImageStorage:
        yield from _secondary_capture(dataset)
    if dataset.get("SOPClassUID") == SegmentationStorage:
        yield from _segmentation(dataset)
    yield from complaints_about_values(dataset)
    yield from _pixels(dataset)
    yield from _uids(dataset)


def _missing(dataset: Dataset, keywords: Iterable[str], kind: int, clause: str) -> Iterator[str]:
    for keyword in keywords:
        if keyword not in dataset:
            yield f"{keyword} is missing (type {kind}, {clause})"
        elif kind == 1 and _is_empty(dataset[keyword].value):
            yield f"{keyword} is empty (type 1, {clause})"


def _is_empty(value: object) -> bool:
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def _file_meta(dataset: Dataset) -> Iterator[str]:
    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        yield "there is no file meta information (PS3.10 7.1)"
        return
    yield from _missing(meta, FILE_META.split(), 1, "PS3.10 7.1")
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if meta.get(f"MediaStorage{keyword}", "") not in ("", dataset.get(keyword)):
            yield f"MediaStorage{keyword} is not {keyword} (PS3.10 7.1)"


def _secondary_capture(dataset: Dataset) -> Iterator[str]:
    if "PatientOrientation" not in dataset and "ImageOrientationPatient" not in dataset:
        yield "PatientOrientation is missing, and there is no position (type 2C, PS3.3 C.7.6.1)"
    if not dataset.get("BodyPartExamined") and "Laterality" not in dataset:
        yield (
            "Laterality is missing, and no BodyPartExamined tells that there is only one "
            "(type 2C, PS3.3 C.7.3.1)"
        )
    if dataset.get("SamplesPerPixel", 1) > 1 and "PlanarConfiguration" not in dataset:
        yield (
            "PlanarConfiguration is missing, and a pixel has several samples "
            "(type 1C, PS3.3 C.7.6.3)"
        )


def _segmentation(dataset: Dataset) -> Iterator[str]:
    yield from _segments(dataset)
    yield from _frames(dataset)
    yield from _segments_of_frames(dataset)


def _segments(dataset: Dataset) -> Iterator[str]:
    """Complain about incomplete segments, and about numbers other than 1, 2, 3 and so on."""
    segments = dataset.get("SegmentSequence") or []
    for segment in segments:
        clause = f"PS3.3 C.8.20.2, segment {segment.get('SegmentNumber', '?')}"
        yield from _missing(segment, SEGMENT.split(), 1, clause)
        if segment.get("SegmentAlgorithmType") != "MANUAL":
            yield from _missing(segment, ["SegmentAlgorithmName"], 1, clause)
    numbers = _segment_numbers(dataset)
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"SegmentNumber has to count 1, 2, 3 and so on, and is {numbers} (PS3.3 C.8.20.2)"


def _frames(dataset: Dataset) -> Iterator[str]:
    """Complain about frames that are not described, or lack a functional group."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(frames) != dataset.get("NumberOfFrames"):
        yield (
            f"NumberOfFrames is {dataset.get('NumberOfFrames')}, "
            f"and {len(frames)} are described (PS3.3 C.7.6.16)"
        )
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for group in GROUPS_OF_A_FRAME.split():
        if shared.get(f"{group}Sequence"):
            continue
        without = sum(not frame.get(f"{group}Sequence") for frame in frames)
        if without:
            yield f"{group}Sequence is missing for {without} of {len(frames)} frames (PS3.3 A.51.5)"


def _segments_of_frames(dataset: Dataset) -> Iterator[str]:
    """Complain about frames of segments that do not exist."""
    referenced = {
        identification.get("ReferencedSegmentNumber")
        for frame in dataset.get("PerFrameFunctionalGroupsSequence") or []
        for identification in frame.get("SegmentIdentificationSequence") or []
    }
    unknown = sorted(referenced - set(_segment_numbers(dataset)), key=str)
    if unknown:
        yield f"frames belong to segments {unknown} that there are not (PS3.3 C.8.20.2)"


def _segment_numbers(dataset: Dataset) -> list[int | None]:
    return [segment.get("SegmentNumber") for segment in dataset.get("SegmentSequence") or []]


def _pixels(dataset: Dataset) -> Iterator[str]:
    """Complain if uncompressed pixels are more or fewer than the attributes say (PS3.5 8.1.1)."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    syntax = UID(str(meta.get("TransferSyntaxUID") or ""))
    size = [
        dataset.get(keyword) for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    ]
    if (
        "PixelData" not in dataset
        or None in size
        or not syntax.is_transfer_syntax
        or syntax.is_compressed
    ):
        return
    needed = -(-int(np.prod(size)) * int(dataset.get("NumberOfFrames") or 1) // 16) * 2
    if len(dataset.PixelData) != needed:
        yield (
            f"PixelData has {len(dataset.PixelData)} bytes, "
            f"its attributes say {needed} (PS3.5 8.1.1)"
        )


def _uids(dataset: Dataset) -> Iterator[str]:
    parts = [dataset, *([dataset.file_meta] if getattr(dataset, "file_meta", None) else [])]
    bad = {
        f"{element.keyword or element.tag} {value!s:.70} is not a UID (PS3.5 9.1)"
        for part in parts
        for element in part.iterall()
        if element.VR == "UI" and not _is_empty(element.value)
        for value in ([element.value] if isinstance(element.value, str) else element.value)
        if not is_uid(str(value))
        or any(n != "0" and n.startswith("0") for n in str(value).split("."))
    }
    yield from sorted(bad)
