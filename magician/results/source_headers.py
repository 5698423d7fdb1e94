"""Source headers: what results, and a learner's copies of the CT, may take over from the CT.

Elements are chosen by their keywords, from a list for each purpose. What is in no list, such as
private elements and free text about a patient, is never taken over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from copy import deepcopy

from pydicom import DataElement, Dataset

logger = logging.getLogger(__name__)

# Patient and study (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2), which results repeat in the patient's study
PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight",
    "OtherPatientIDsSequence", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "StudyInstanceUID", "StudyDate", "StudyTime",
    "AccessionNumber", "IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "StudyID",
    "StudyDescription", "ReferencedStudySequence",
)  # fmt: skip
# Those of them that must be present, and may be empty (type 2)
PATIENT_AND_STUDY_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "StudyID",
)  # fmt: skip
# What the invented patient of a learner keeps: the examination, and nothing about a person. A class
# asks its PACS for the accession number; where it has to be unique, it would have to go as well.
EXAMINATION = (
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "StudyDate", "StudyTime", "AccessionNumber", "StudyID", "StudyDescription",
)  # fmt: skip
# What highdicom reads from a source image, and the equipment that acquired it
GEOMETRY = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
    "FrameOfReferenceUID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient",
    "ImagePositionPatient", "Manufacturer", "ManufacturerModelName", "SoftwareVersions",
    "BodyPartExamined", "LossyImageCompression", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)  # fmt: skip
# What a learner's copy of a CT image keeps besides its geometry: how the picture was made. No free
# text about a patient, no dates beside the study's, no names, no references to other objects.
TECHNIQUE = (
    "ImageType", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "ContentDate",
    "ContentTime", "SeriesDescription", "SeriesNumber", "AcquisitionNumber", "InstanceNumber",
    "PatientPosition", "PositionReferenceIndicator", "SliceLocation", "SliceThickness",
    "SpacingBetweenSlices", "KVP", "ScanOptions", "DataCollectionDiameter",
    "ReconstructionDiameter", "DistanceSourceToDetector", "DistanceSourceToPatient",
    "GantryDetectorTilt", "TableHeight", "RotationDirection", "ExposureTime", "XRayTubeCurrent",
    "Exposure", "FilterType", "GeneratorPower", "FocalSpots", "ConvolutionKernel",
    "ContrastBolusAgent", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "SmallestImagePixelValue", "LargestImagePixelValue", "RescaleIntercept", "RescaleSlope",
    "RescaleType", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation",
    "LongitudinalTemporalInformationModified",
)  # fmt: skip
CT_TYPE_2 = (
    "Manufacturer", "PatientPosition", "PositionReferenceIndicator", "SliceThickness", "KVP",
    "AcquisitionNumber",
)  # fmt: skip


def patient_and_study_of(header: Dataset) -> Dataset:
    """Return the patient and the study of a CT, for results that join that study."""
    patient = pick_elements(header, PATIENT_AND_STUDY, type_2=PATIENT_AND_STUDY_TYPE_2)
    references = patient.get("ReferencedStudySequence")
    if references is not None and not all(
        item.get("ReferencedSOPClassUID") and item.get("ReferencedSOPInstanceUID")
        for item in references
    ):
        del patient.ReferencedStudySequence  # optional, and useless without both (PS3.3 C.7.2.1)
    return patient


def examination_of(header: Dataset) -> Dataset:
    """Return the examination of a CT without its patient: what identifies a person is empty."""
    return pick_elements(header, EXAMINATION, type_2=PATIENT_AND_STUDY_TYPE_2)


def geometry_of(header: Dataset, slice_spacing_mm: float) -> Dataset:
    """Return a source header without a patient: geometry and equipment of one slice.

    Parameters
    ----------
    header : Dataset
    slice_spacing_mm : float
        As measured from the positions, because a header may give a wrong one.
    """
    source = pick_elements(header, GEOMETRY, type_2=PATIENT_AND_STUDY_TYPE_2)
    source.SpacingBetweenSlices = round(slice_spacing_mm, 6)
    source.SliceThickness = header.get("SliceThickness") or source.SpacingBetweenSlices
    return source


def image_without_patient(image: Dataset) -> Dataset:
    """Return the header of a CT image without a patient: geometry, equipment and technique."""
    return pick_elements(image, (*GEOMETRY, *TECHNIQUE), type_2=CT_TYPE_2)


def complete_body_part(dataset: Dataset) -> None:
    """Write CHEST if the source names no body part: Laterality would be required (C.7.3.1)."""
    if not dataset.get("BodyPartExamined"):
        dataset.BodyPartExamined = "CHEST"


def pick_elements(header: Dataset, keywords: Iterable[str], type_2: Iterable[str] = ()) -> Dataset:
    """Copy the elements with these keywords, as far as a header has them.

    Elements of ``type_2`` that were not copied are added empty. An element whose value can't be
    read is left out, with a warning in the log.
    """
    picked = Dataset()
    for keyword in keywords:
        try:
            if keyword in header:
                picked.add(copy_element(header[keyword]))
        except (ValueError, TypeError, OverflowError) as error:
            logger.warning("left out %s of the source, which is broken: %s", keyword, error)
    for keyword in type_2:
        if keyword not in picked:
            setattr(picked, keyword, None)
    return picked


def copy_element(element: DataElement) -> DataElement:
    """Return an element of its own, so that a change to one object does not show in another."""
    return DataElement(element.tag, element.VR, deepcopy(element.value))
