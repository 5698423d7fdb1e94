"""Whose study results belong to, and every UID in them; used by :mod:`magician.results.make`.

All results are built on *source headers* without a patient, and get patient and study in one place
at the end, so that every object of a run says the same. With a learner's name there is a second,
invented patient: nothing of the source's identity, and none of its UIDs, may appear under that
name.
"""

from __future__ import annotations

import hashlib
import logging
import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from magician.errors import ResultError
from magician.version import __version__

_logger = logging.getLogger(__name__)

DISCLAIMER = "RESEARCH - NOT FOR DIAGNOSIS"
_NAMESPACE = uuid.UUID("1f6a53b2-0f4c-5f0e-9d51-6c0f2b7a9e34")

# PS3.3 C.7.1.1, C.7.2.1 and C.7.2.2: what the source says about patient and study, and its results
# repeat.
_PATIENT_AND_STUDY = [
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "OtherPatientIDsSequence",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "StudyID",
    "StudyDescription",
    "ReferencedStudySequence",
]
_TYPE_2 = [
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
]
# What the invented patient keeps: nothing about a person, only about the examination. The accession
# number stays, because a class asks its PACS for it; where it has to be unique, it would have to go
# as well.
_LEARNER_KEEPS = [
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
]
# What highdicom reads from a source image, and the equipment that acquired it.
_GEOMETRY = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "BodyPartExamined",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
]
# What a copy of a CT image for a learner keeps besides its geometry: how the picture was made. No
# free text about a patient, no dates beside the study's, no names, no references to other objects,
# nothing private.
_TECHNIQUE = [
    "ImageType",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "SeriesDescription",
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "PatientPosition",
    "PositionReferenceIndicator",
    "SliceLocation",
    "SliceThickness",
    "SpacingBetweenSlices",
    "KVP",
    "ScanOptions",
    "DataCollectionDiameter",
    "ReconstructionDiameter",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "GantryDetectorTilt",
    "TableHeight",
    "RotationDirection",
    "ExposureTime",
    "XRayTubeCurrent",
    "Exposure",
    "FilterType",
    "GeneratorPower",
    "FocalSpots",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "LongitudinalTemporalInformationModified",
]
_CT_TYPE_2 = [
    "Manufacturer",
    "PatientPosition",
    "PositionReferenceIndicator",
    "SliceThickness",
    "KVP",
    "AcquisitionNumber",
]


def uid(*parts: object) -> UID:
    """Return the UID that belongs to these parts: 2.25. and the integer of a UUID (PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(map(str, parts))).int}")


def check_alias(learner: str) -> str:
    """Return the learner's alias as it is written, or refuse it.

    Raises
    ------
    ResultError
        If it can't be one component of a person name (PS3.5 6.2.1), or is empty though not left
        out.
    """
    alias = unicodedata.normalize("NFC", learner).strip()
    if learner and not alias:
        raise ResultError(
            "The learner's alias consists of spaces only. Choose a word, or leave it empty."
        )
    bad = sorted({c for c in learner if c in "\\=^" or not c.isprintable()})
    if bad:
        raise ResultError(
            f"The learner's alias can't contain {', '.join(map(repr, bad))}, which would break a name in DICOM. "
            f"Letters, digits, spaces and hyphens are fine."
        )
    if len(alias) > 63:
        raise ResultError(
            f"The learner's alias has {len(alias)} characters; a DICOM name has room for 63."
        )
    return alias


@dataclass(frozen=True)
class Identity:
    """Whose results these are.

    Attributes
    ----------
    learner : str
        The checked alias, or an empty string for the source's own patient.
    patient_and_study : Dataset
        What every result says about patient and study.
    sources : list of Dataset
        What the results are built on, one header for each slice: geometry and equipment, no
        patient. With a learner their UIDs are those of the learner's copies of the CT, whether
        these are made or not.
    """

    learner: str
    patient_and_study: Dataset
    sources: list[Dataset]

    def sign(self, result: Dataset) -> None:
        """Write patient and study into a result, and replace what is there."""
        result.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: every name fits
        for keyword in _PATIENT_AND_STUDY:
            if keyword in result:
                del result[keyword]
        for element in self.patient_and_study:
            result.add(_copy_element(element))


def identify(headers: Sequence[Dataset], alias: str, slice_spacing_mm: float) -> Identity:
    """Work out patient, study and source headers for the results of one series.

    Parameters
    ----------
    headers : sequence of Dataset
        The header of each slice.
    alias : str
        As :func:`check_alias` gives it: a learner, or an empty string for the source's own patient
        and study.
    slice_spacing_mm : float
        As measured from the positions; what headers say about it is not always true.
    """
    first = headers[0]
    sources = [_source(header, slice_spacing_mm) for header in headers]
    if not alias:
        return Identity("", _own_patient(first), sources)
    study = str(first.StudyInstanceUID)
    patient = _pick(first, _LEARNER_KEEPS, blank=_TYPE_2)
    patient.StudyInstanceUID = learner_uid(study, study, alias)
    patient.PatientID = (
        f"LEARNER-{uuid.uuid5(_NAMESPACE, str(patient.StudyInstanceUID)).hex[:12].upper()}"
    )
    patient.PatientName = f"{alias}^"
    return Identity(
        alias, patient, [_with_learner_uids(source, study, alias) for source in sources]
    )


def learner_uid(source_uid: str, source_study_uid: str, alias: str) -> UID:
    """Return what stands for one of the source's UIDs in a learner's study."""
    return uid("learner", source_study_uid, alias, source_uid)


def learner_image(image: Dataset, identity: Identity, source_study_uid: str) -> Dataset:
    """Return a learner's copy of one CT image: same pixels, same transfer syntax, other patient,
    other UIDs.
    """
    copy = _pick(image, [*_GEOMETRY, *_TECHNIQUE], blank=_CT_TYPE_2)
    copy = _with_learner_uids(copy, source_study_uid, identity.learner)
    complete_body_part(copy)
    copy.SeriesDescription = (
        f"Copy of {str(copy.get('SeriesDescription') or 'CT')[:24]}, {DISCLAIMER}"
    )
    identity.sign(copy)
    copy.add(image["PixelData"])
    copy.file_meta = _file_meta(copy, image.file_meta.TransferSyntaxUID)
    copy.set_original_encoding(*image.original_encoding, "utf8")
    return copy


def _file_meta(dataset: Dataset, transfer_syntax_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # counted when it is written
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax_uid
    meta.ImplementationClassUID = uid("implementation")
    meta.ImplementationVersionName = f"MAGICIAN{__version__}"[:16]
    return meta


def complete_body_part(dataset: Dataset) -> None:
    """Say what was examined where the source does not: without it, Laterality would be demanded
    (C.7.3.1).
    """
    if not dataset.get("BodyPartExamined"):
        dataset.BodyPartExamined = "CHEST"


def content_key(headers: Iterable[Dataset], labels: np.ndarray, learner: str, *model: str) -> str:
    """Return a digest of everything that changes what the results say: source, mask, model,
    version, learner.
    """
    digest = hashlib.sha256(np.ascontiguousarray(labels).tobytes())
    instances = [str(header.SOPInstanceUID) for header in headers]
    digest.update("\x1f".join([__version__, learner, *model, *instances]).encode())
    return digest.hexdigest()


def _source(header: Dataset, slice_spacing_mm: float) -> Dataset:
    source = _pick(header, _GEOMETRY, blank=_TYPE_2)
    source.SpacingBetweenSlices = round(slice_spacing_mm, 6)
    source.SliceThickness = header.get("SliceThickness") or source.SpacingBetweenSlices
    return source


def _own_patient(header: Dataset) -> Dataset:
    patient = _pick(header, _PATIENT_AND_STUDY, blank=_TYPE_2)
    references = patient.get("ReferencedStudySequence")
    if references is not None and not all(
        item.get("ReferencedSOPClassUID") and item.get("ReferencedSOPInstanceUID")
        for item in references
    ):
        del patient.ReferencedStudySequence  # optional, and useless without both (PS3.3 C.7.2.1)
    return patient


def _with_learner_uids(header: Dataset, study: str, alias: str) -> Dataset:
    for keyword in (
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
    ):
        header[keyword].value = learner_uid(header[keyword].value, study, alias)
    return header


def _pick(header: Dataset, keywords: Iterable[str], blank: Iterable[str] = ()) -> Dataset:
    """Copy some elements; those of ``blank`` are there in any case, empty if need be (type 2)."""
    picked = Dataset()
    for keyword in keywords:
        try:
            if keyword in header:
                picked.add(_copy_element(header[keyword]))
        except (ValueError, TypeError, OverflowError) as error:
            _logger.warning("left out %s of the source, which is broken: %s", keyword, error)
    for keyword in blank:
        if keyword not in picked:
            setattr(picked, keyword, None)
    return picked


def _copy_element(element: DataElement) -> DataElement:
    """Return an element of its own, so that a change to one object does not show in another."""
    return DataElement(element.tag, element.VR, deepcopy(element.value))
