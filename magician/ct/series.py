"""Which series lie in a folder: the first step of :mod:`magician.ct.volume`."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import MediaStorageDirectoryStorage

from magician.ct.multiframe import ENHANCED, frames_of
from magician.errors import SeriesError
from magician.files import is_temporary
from magician.progress import track

_logger = logging.getLogger(__name__)

# What tells which images belong together, form a volume, and are worth reading
_INDEX_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
    "Modality", "ImageType", "InstanceNumber", "PatientID", "AcquisitionNumber", "AcquisitionTime",
    "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing", "Rows", "Columns",
    "PhotometricInterpretation", "SliceThickness", "ConvolutionKernel", "ContrastBolusAgent",
]  # fmt: skip


@dataclass
class Series:
    """The files of one series, before anything but headers has been read.

    Attributes
    ----------
    uid : str
    headers, paths : list
        One for each image; of an enhanced multi-frame image, one for each frame.
    images : int
        Number of DICOM objects.
    fault : str
        Why an object can't be taken apart; empty if all could.
    slices : list of int
        Which of the headers are no localizers.
    """

    uid: str
    headers: list[Dataset]
    paths: list[Path]
    images: int
    fault: str = ""

    def __post_init__(self) -> None:
        first = self.headers[0]
        self.modality = str(first.get("Modality") or "")
        self.description = str(first.get("SeriesDescription") or "")
        self.number = _series_number(first)
        self.slices = [i for i, header in enumerate(self.headers) if not is_localizer(header)]


def image_type(header: Dataset) -> list[str]:
    """Return the values of Image Type (0008,0008), PS3.3 C.7.6.1.1.2."""
    values = header.get("ImageType") or []
    return [values] if isinstance(values, str) else [str(value) for value in values]


def is_localizer(header: Dataset) -> bool:
    """Say whether a CT image is a localizer (PS3.3 C.8.2.1.1.1)."""
    return "LOCALIZER" in image_type(header)


def find_series(
    folder: str | os.PathLike[str], *, progress: bool
) -> tuple[list[Series], list[Path]]:
    """Return the series below a folder by series number, and the DICOM files that can't be read.

    Raises
    ------
    SeriesError
        If there is no such folder, or no DICOM file in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SeriesError(f"There is no folder {folder}. Was anything retrieved into it?")
    found: dict[str, list[tuple[Dataset, Path]]] = defaultdict(list)
    damaged = []
    for path in track(sorted(folder.rglob("*")), "looking for DICOM", "file", progress=progress):
        if is_temporary(path) or not (path.is_file() and _looks_like_dicom(path)):
            continue
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=_INDEX_TAGS)
            if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
                continue
            # its functional groups are large, and seldom wanted
            if header.get("SOPClassUID") in ENHANCED:
                header = dcmread(path, stop_before_pixels=True)
            found[str(header.SeriesInstanceUID)].append((header, path))
        # pydicom raises many kinds for files that are cut short or forged
        except Exception as error:
            _logger.warning("can't read the DICOM file %s: %s", path, error)
            damaged.append(path)
    if not found and not damaged:
        raise SeriesError(f"There is no DICOM file in {folder} or below it.")
    series = [_make_series(uid, items) for uid, items in found.items()]
    return sorted(series, key=lambda one: (one.number, one.uid)), damaged


def _looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as file:  # PS3.10 7.1: 128 bytes of preamble, then DICM
        return file.read(132)[128:] == b"DICM"


def _make_series(uid: str, items: list[tuple[Dataset, Path]]) -> Series:
    unique: dict[str, Path] = {}
    images = []
    for header, path in items:
        instance = str(header.get("SOPInstanceUID"))
        if instance in unique and path.read_bytes() == unique[instance].read_bytes():
            # the same file twice; another file under the same UID is for the reader to refuse
            continue
        unique.setdefault(instance, path)
        images.append((header, path))
    try:
        slices = [(part, path) for image, path in images for part in _parts(image)]
        fault = ""
    except Exception as error:  # ours, or whatever pydicom says about sequences that are none
        slices, fault = images, str(error)
    return Series(
        uid, [header for header, _ in slices], [path for _, path in slices], len(images), fault
    )


def _parts(image: Dataset) -> Sequence[Dataset]:
    return frames_of(image) if image.get("SOPClassUID") in ENHANCED else [image]


def _series_number(header: Dataset) -> int:
    try:
        return int(header.SeriesNumber)
    # missing, empty or no number: it only sorts a list
    except (AttributeError, TypeError, ValueError):
        return 0
