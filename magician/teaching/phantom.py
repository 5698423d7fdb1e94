"""The teaching study: a chest CT that no patient ever had, with the truth about its lungs.

`teaching_study` gives what a scanner would send to a PACS: 93 axial images, numbered from head to
feet as many scanners do, and two localizers (scouts) in a series of their own. The anatomy is
computed, not copied (`anatomy/`), so there is no licence and no privacy question, and the right
answer is known for every voxel. A seed is a patient: a class of thirty can have thirty different
ones.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from magician.anatomy.chest import MATRIX, PIXEL_MM, SLICE_MM, SLICES, STEPS, make_chest
from magician.anatomy.scanner import KERNELS

# Raise this number whenever the pixels of a seed change: other pixels must never travel under the
# same UIDs.
REVISION = 2

_NAMESPACE = uuid.UUID("6f2b8b1e-64a5-5d5c-9f0c-2f3a0d6a1c57")
_IMPLEMENTATION_CLASS_UID = f"2.25.{uuid.uuid5(_NAMESPACE, 'implementation').int}"
_FEET_Z_MM = -318.0
_DATE = "20250303"
_BAR = "{l_bar}{bar}| {elapsed}<{remaining}"  # steps mean nothing to whoever waits
_NAMES = {
    "F": (
        "Dorothy",
        "Marie",
        "Grace",
        "Rosalind",
        "Ada",
        "Lise",
        "Emmy",
        "Katherine",
        "Mileva",
        "Hedy",
    ),
    "M": (
        "Wilhelm",
        "Godfrey",
        "Allan",
        "Johann",
        "Alan",
        "Felix",
        "Gottfried",
        "Niels",
        "Charles",
        "Leopold",
    ),
}


@dataclass(frozen=True)
class TeachingStudy:
    """A study as it would lie in a PACS, and what is true about it.

    Attributes
    ----------
    datasets : list of Dataset
        93 axial CT images from head to feet, then 2 localizers; each has its `file_meta`.
    truth : array of uint8, shape (93, 512, 512), axes (slice, row, column)
        0 outside, 1 right lung, 2 left lung. Slices run from feet to head: the order that
        `read_series` gives, and the reverse of `datasets`. Rows run from anterior to posterior,
        columns from the patient's right to left.
    """

    datasets: list[Dataset]
    truth: np.ndarray


def teaching_study(
    *,
    seed: int | str = 0,
    accession_number: str = "1400059968",
    disease: bool = True,
    kernel: str = "soft",
    progress: bool = True,
) -> TeachingStudy:
    """Make a chest CT study with a consolidation that a plain threshold misses.

    The first call for a seed takes some seconds; the pixels are then kept in this process. Every
    call returns new datasets and a new truth array, so what a caller changes stays with that
    caller.

    Parameters
    ----------
    seed : int or str
        Another seed is another patient; any learner's name will do. ``0`` and ``"0"`` are the same
        patient. The seed itself is written nowhere.
    accession_number : str, at most 16 characters
    disease : bool
        False leaves out the consolidation and the nodule, and nothing else: another study of the
        same patient.
    kernel : str
        ``"soft"``, or ``"sharp"``: the finer and noisier reconstruction that is made for lungs.
    progress : bool
        Show a progress bar while the images are computed.

    Returns
    -------
    TeachingStudy
        The same arguments give the same bytes with the same versions of numpy and scipy on the same
        processor type.

    Raises
    ------
    ValueError
        If ``accession_number`` is not a valid SH value (PS3.5 6.2), ``seed`` is not an int or str,
        or there is no such ``kernel``.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, str)):
        raise ValueError(f"seed must be an int or a str, not {seed!r}.")
    if not accession_number.isprintable() or "\\" in accession_number or len(accession_number) > 16:
        raise ValueError(
            f"An accession number has at most 16 printable characters and no backslash: {accession_number!r}."
        )
    if kernel not in KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(map(repr, KERNELS))}, not {kernel!r}.")
    pixels = _pixels(str(seed), bool(disease), kernel, _Progress(progress))
    patient = _Patient(str(seed), accession_number, disease, kernel)
    count = len(pixels.axial)
    images = [
        _axial_image(patient, pixels.axial[index], index, instance_number=count - index)
        for index in reversed(range(count))
    ]
    if pixels.contrast:
        for image in images:
            image.ContrastBolusAgent = "IODINATED CONTRAST"
            image.ContrastBolusRoute = "IV"
    scouts = [
        _localizer(patient, stored, number) for number, stored in enumerate(pixels.scouts, start=1)
    ]
    return TeachingStudy(datasets=images + scouts, truth=pixels.truth.copy())


def instance_uids(*, seed: int | str, accession_number: str) -> list[str]:
    """The SOP Instance UIDs of `teaching_study` with these arguments, in its order; no image is
    computed.
    """
    patient = _Patient(str(seed), accession_number, disease=True, kernel="soft")
    axial = [patient.uid(f"axial {index}") for index in reversed(range(SLICES))]
    return axial + [patient.uid(f"localizer {number}") for number in (1, 2)]


# ---------------------------------------------------------------------------------------------------- pixels


@dataclass(frozen=True)
class _Pixels:
    axial: tuple[bytes, ...]
    scouts: tuple[np.ndarray, np.ndarray]
    truth: np.ndarray
    contrast: bool


@dataclass(frozen=True)
class _Progress:
    """Whether to show a bar; all are equal, so that it makes no difference to what is remembered."""

    shown: bool = field(compare=False)


@lru_cache(maxsize=2)
def _pixels(seed: str, disease: bool, kernel: str, progress: _Progress) -> _Pixels:
    """Compute the images of a seed once; the accession number changes no pixel."""
    from tqdm.auto import tqdm

    with tqdm(
        total=STEPS, desc="teaching patient", bar_format=_BAR, disable=not progress.shown
    ) as bar:
        chest = make_chest(
            _number(seed, "anatomy"),
            sex=_sex(seed),
            disease=disease,
            kernel=kernel,
            advance=bar.update,
        )
    axial = tuple((plane + np.int16(1024)).astype("<i2").tobytes() for plane in chest.hu)
    return _Pixels(axial, _scouts(chest.hu), chest.labels, chest.contrast)


def _scouts(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project the volume from the front and from the side, as a scanner does before the scan.

    Parameters
    ----------
    hu : array of int16, shape (slices, rows, columns), slices from feet to head, in HU

    Returns
    -------
    two arrays of int16, shape (rows, columns), head at the top: seen from the front (columns from
    the patient's right to left) and from the side (columns from anterior to posterior); stored
    values, not HU
    """
    from scipy import ndimage

    views = []
    for axis in (1, 2):
        # The mean of HU along a ray is a line integral of attenuation, up to a constant.
        view = hu.mean(axis=axis, dtype=np.float32)[::-1] + 1000.0
        rows = round(hu.shape[0] * SLICE_MM / PIXEL_MM)
        view = ndimage.zoom(view, (rows / hu.shape[0], 1), order=1, grid_mode=True, mode="nearest")
        # Scanners compress and sharpen their scouts: ribs would otherwise drown between lung and
        # spine.
        view = 1000 * (np.maximum(view, 0) / 600) ** 0.8
        view += 1.6 * (view - ndimage.gaussian_filter(view, 2.0)) + 0.8 * (
            view - ndimage.gaussian_filter(view, 12.0)
        )
        views.append(np.clip(view, 0, 4095).astype(np.int16))
    return views[0], views[1]


# --------------------------------------------------------------------------------------------------- headers


def _number(seed: str, role: str, revision: int = 1) -> int:
    # Who a patient is does not change with the revision of the pixels: a class keeps its patients,
    # with new UIDs.
    return uuid.uuid5(_NAMESPACE, f"{revision}\x1f{seed}\x1f{role}").int


def _sex(seed: str) -> str:
    return "FM"[_number(seed, "sex") % 2]


class _Patient:
    """Identity of a seed: everything that must be the same in all objects of its study."""

    def __init__(self, seed: str, accession_number: str, disease: bool, kernel: str) -> None:
        self.kernel = kernel.upper()
        self.sex = _sex(seed)
        names = _NAMES[self.sex]
        self.name = f"Phantom^{names[_number(seed, 'name') % len(names)]}"
        self.age = f"{35 + _number(seed, 'age') % 45:03d}Y"
        self.patient_id = f"PHANTOM-{_number(seed, 'patient id') % 10**8:08d}"
        self.accession_number = accession_number
        self._key = (
            f"{seed}\x1f{accession_number}"
            + "\x1fhealthy" * (not disease)
            + "\x1fsharp" * (kernel == "sharp")
        )

    def uid(self, role: str) -> str:
        return f"2.25.{_number(self._key, role, REVISION)}"


def _ct_image(patient: _Patient, role: str, stored: bytes, rows: int, columns: int) -> Dataset:
    """Everything that an axial image and a localizer have in common (CT Image IOD, PS3.3 A.3)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # counted when it is written
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = patient.uid(role)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = "MAGICIAN"

    image = Dataset()
    image.file_meta = meta
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = patient.uid(role)
    _patient_and_study(image, patient)
    _equipment(image)
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


def _patient_and_study(image: Dataset, patient: _Patient) -> None:
    image.PatientName = patient.name
    image.PatientID = patient.patient_id
    image.PatientBirthDate = ""
    image.PatientSex = patient.sex
    image.PatientAge = patient.age
    image.PatientIdentityRemoved = "YES"
    image.DeidentificationMethod = "Computed phantom: no patient was ever scanned"
    image.StudyInstanceUID = patient.uid("study")
    image.StudyID = "1"
    image.StudyDate = _DATE
    image.StudyTime = "101500"
    image.AccessionNumber = patient.accession_number
    image.ReferringPhysicianName = ""
    image.StudyDescription = "CT CHEST TEACHING PHANTOM"
    image.Modality = "CT"
    image.BodyPartExamined = "CHEST"
    image.PatientPosition = "HFS"
    image.SeriesDate = image.AcquisitionDate = image.ContentDate = _DATE


def _equipment(image: Dataset) -> None:
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


def _axial_image(patient: _Patient, stored: bytes, index: int, *, instance_number: int) -> Dataset:
    """Make the image of slice ``index``, counted from the feet."""
    size = MATRIX
    image = _ct_image(patient, f"axial {index}", stored, size, size)
    z = _FEET_Z_MM + index * SLICE_MM
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
    return image


def _localizer(patient: _Patient, stored: np.ndarray, number: int) -> Dataset:
    """Make localizer 1 (from the front) or 2 (from the side); the plane goes through the middle of
    the volume.
    """
    rows, columns = stored.shape
    image = _ct_image(patient, f"localizer {number}", stored.astype("<i2").tobytes(), rows, columns)
    corner = -(columns - 1) / 2 * PIXEL_MM
    top = _FEET_Z_MM - SLICE_MM / 2 + (rows - 0.5) * PIXEL_MM
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
