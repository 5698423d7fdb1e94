"""The DICOM headers of the teaching study: who the patient of a seed is, and what its images say.

A seed is a patient. Name, sex, age, numbers and UIDs follow from it, so that all objects of a study
agree and a second computation gives the same ones. Images are of the CT Image IOD (PS3.3 A.3).
"""

from __future__ import annotations

import uuid

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from magician.anatomy.chest import MATRIX, PIXEL_MM, SLICE_MM

# Raise this number whenever the pixels or the headers of a seed change: two different objects must
# never travel under the same UID.
REVISION = 3

NAMESPACE = uuid.UUID("6f2b8b1e-64a5-5d5c-9f0c-2f3a0d6a1c57")
IMPLEMENTATION_CLASS_UID = f"2.25.{uuid.uuid5(NAMESPACE, 'implementation').int}"
FEET_Z_MM = -318.0
DATE = "20250303"
GIVEN_NAMES = {
    "F": ["Dorothy", "Marie", "Grace", "Rosalind", "Ada",
          "Lise", "Emmy", "Katherine", "Mileva", "Hedy"],
    "M": ["Wilhelm", "Godfrey", "Allan", "Johann", "Alan",
          "Felix", "Gottfried", "Niels", "Charles", "Leopold"],
}  # fmt: skip


def seeded_number(seed: str, role: str, revision: int = 1) -> int:
    """Derive a number of 128 bits from a seed; each role and each revision gives another one.

    UIDs follow `REVISION`. Who the patient is does not: a class keeps its patients when the objects
    change.
    """
    return uuid.uuid5(NAMESPACE, f"{revision}\x1f{seed}\x1f{role}").int


def patient_sex(seed: str) -> str:
    """Give the Patient's Sex of a seed: ``"F"`` or ``"M"``."""
    return "FM"[seeded_number(seed, "sex") % 2]


class Patient:
    """The patient of a seed, and the study: everything that all objects of the study share."""

    def __init__(self, seed: str, accession_number: str, disease: bool, kernel: str) -> None:
        self.kernel = kernel.upper()
        self.sex = patient_sex(seed)
        names = GIVEN_NAMES[self.sex]
        given_name = names[seeded_number(seed, "name") % len(names)]
        self.age = f"{35 + seeded_number(seed, 'age') % 45:03d}Y"
        self.patient_id = f"PHANTOM-{seeded_number(seed, 'patient id') % 10**8:08d}"
        # many seeds share a given name: the end of the PatientID tells their patients apart
        self.name = f"Phantom^{given_name} {self.patient_id[-5:]}"
        self.accession_number = accession_number
        self._key = (
            f"{seed}\x1f{accession_number}"
            + "\x1fhealthy" * (not disease)
            + "\x1fsharp" * (kernel == "sharp")
        )

    def uid(self, role: str) -> str:
        """Give the UID of the object that plays this role in the study."""
        return f"2.25.{seeded_number(self._key, role, REVISION)}"


def _ct_image(patient: Patient, role: str, stored: bytes, rows: int, columns: int) -> Dataset:
    """Make an image with what axial images and localizers have in common (PS3.3 A.3)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # counted when it is written
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = patient.uid(role)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = "MAGICIAN"

    image = Dataset()
    image.file_meta = meta
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = patient.uid(role)
    _describe_patient_and_study(image, patient)
    _describe_equipment(image)
    image.FrameOfReferenceUID = patient.uid("frame of reference")
    image.PositionReferenceIndicator = ""
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows = rows
    image.Columns = columns
    image.PixelSpacing = [PIXEL_MM, PIXEL_MM]
    image.BitsAllocated = 16
    image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = 1
    image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"
    image.RescaleIntercept = -1024
    image.RescaleSlope = 1
    image.PixelData = stored
    return image


def _describe_patient_and_study(image: Dataset, patient: Patient) -> None:
    image.PatientName = patient.name
    image.PatientID = patient.patient_id
    image.PatientBirthDate = ""
    image.PatientSex = patient.sex
    image.PatientAge = patient.age
    image.PatientIdentityRemoved = "YES"
    image.DeidentificationMethod = "Computed phantom: no patient was ever scanned"
    image.StudyInstanceUID = patient.uid("study")
    image.StudyID = "1"
    image.StudyDate = DATE
    image.StudyTime = "101500"
    image.AccessionNumber = patient.accession_number
    image.ReferringPhysicianName = ""
    image.StudyDescription = "CT CHEST TEACHING PHANTOM"
    image.Modality = "CT"
    image.BodyPartExamined = "CHEST"
    image.PatientPosition = "HFS"
    image.SeriesDate = image.AcquisitionDate = image.ContentDate = DATE


def _describe_equipment(image: Dataset) -> None:
    image.Manufacturer = "Magician"
    image.ManufacturerModelName = "Procedural chest phantom"
    image.SoftwareVersions = f"phantom {REVISION}"
    image.KVP = 120
    image.DataCollectionDiameter = 500
    image.GantryDetectorTilt = 0
    image.TableHeight = 150
    image.RotationDirection = "CW"
    image.FilterType = "BODY"
    image.ConvolutionKernel = "SOFT"


def axial_image(
    patient: Patient, stored: bytes, index: int, *, instance_number: int, contrast: bool
) -> Dataset:
    """Make the image of one axial slice.

    Parameters
    ----------
    patient : Patient
    stored : bytes
        Stored values, little endian, 16 bits: HU + 1024.
    index : int
        Number of the slice, counted from the feet, from 0.
    instance_number : int
    contrast : bool
        Whether contrast medium was given.
    """
    size = MATRIX
    image = _ct_image(patient, f"axial {index}", stored, size, size)
    z = FEET_Z_MM + index * SLICE_MM
    corner = -(size - 1) / 2 * PIXEL_MM
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.SeriesInstanceUID = patient.uid("axial series")
    image.SeriesNumber = 2
    image.SeriesDescription = f"CHEST 3.0 {patient.kernel}"
    image.ConvolutionKernel = patient.kernel
    image.ProtocolName = "CHEST ROUTINE"
    image.SeriesTime = image.AcquisitionTime = image.ContentTime = "101730"
    image.AcquisitionNumber = 2
    image.InstanceNumber = instance_number
    image.ScanOptions = "HELIX"
    image.SliceThickness = SLICE_MM
    image.ReconstructionDiameter = size * PIXEL_MM
    image.XRayTubeCurrent = 210
    image.ExposureTime = 500
    image.Exposure = 105
    image.ImagePositionPatient = [corner, corner, z]
    image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.SliceLocation = z
    image.RescaleType = "HU"
    image.WindowCenter = [40, -600]
    image.WindowWidth = [400, 1500]
    image.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
    if contrast:
        image.ContrastBolusAgent = "IODINATED CONTRAST"
        image.ContrastBolusRoute = "IV"
    return image


def localizer(patient: Patient, stored: np.ndarray, number: int) -> Dataset:
    """Make a localizer; its plane goes through the middle of the volume.

    Parameters
    ----------
    patient : Patient
    stored : array of int16, shape (rows, columns), head at the top; stored values, not HU
    number : int
        1 for the view from the front, 2 for the view from the side.
    """
    rows, columns = stored.shape
    image = _ct_image(patient, f"localizer {number}", stored.astype("<i2").tobytes(), rows, columns)
    corner = -(columns - 1) / 2 * PIXEL_MM
    top = FEET_Z_MM - SLICE_MM / 2 + (rows - 0.5) * PIXEL_MM
    image.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    image.SeriesInstanceUID = patient.uid("localizer series")
    image.SeriesNumber = 1
    image.SeriesDescription = "SCOUT"
    image.SeriesTime = image.AcquisitionTime = image.ContentTime = "101612"
    image.AcquisitionNumber = 1
    image.InstanceNumber = number
    image.SliceThickness = columns * PIXEL_MM
    image.XRayTubeCurrent = 35
    image.ImagePositionPatient = [corner, 0, top] if number == 1 else [0, corner, top]
    image.ImageOrientationPatient = [1, 0, 0, 0, 0, -1] if number == 1 else [0, 1, 0, 0, 0, -1]
    image.WindowCenter = -200
    image.WindowWidth = 1500
    return image
