"""The series that lie in a folder: headers and paths, before pixels are read."""

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

logger = logging.getLogger(__name__)

# The elements that sort images into series, give their geometry, and serve to choose a series
INDEX_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber",
    "SeriesDescription", "Modality", "ImageType", "InstanceNumber", "PatientID",
    "AcquisitionNumber", "AcquisitionTime", "ImagePositionPatient", "ImageOrientationPatient",
    "FrameOfReferenceUID", "PixelSpacing", "Rows", "Columns", "PhotometricInterpretation",
    "SliceThickness", "ConvolutionKernel", "ContrastBolusAgent",
]  # fmt: skip


@dataclass
class Series:
    """The files of one series and their headers.

    Attributes
    ----------
    uid : str
    headers, paths : list
        One for each image, or for each frame of an enhanced multi-frame image.
    images : int
        Number of DICOM objects.
    fault : str
        Why an enhanced image can't be split into frames; empty without such a fault.
    slices : list of int
        Indices of the headers that are no localizers.
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
    """Tell whether a CT image is a localizer (PS3.3 C.8.2.1.1.1)."""
    return "LOCALIZER" in image_type(header)


def collect_series(
    folder: str | os.PathLike[str], *, progress: bool
) -> tuple[list[Series], list[Path]]:
    """Return the series in a folder and below it, and the DICOM files that can't be read.

    The series are sorted by series number, then by UID.

    Raises
    ------
    SeriesError
        If there is no such folder, or no DICOM file in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SeriesError(
            f"There is no folder {folder}: nothing was retrieved into it, or a clean-up cell has "
            f"removed it. Run the cell that retrieves (Cell 7b in lesson 01), then this cell again."
        )
    found: dict[str, list[tuple[Dataset, Path]]] = defaultdict(list)
    damaged = []
    for path in track(sorted(folder.rglob("*")), "looking for DICOM", "file", progress=progress):
        if is_temporary(path) or not (path.is_file() and _looks_like_dicom(path)):
            continue
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=INDEX_TAGS)
            if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
                continue
            # Functional groups are large, and single images have none: they are read here only
            if header.get("SOPClassUID") in ENHANCED:
                header = dcmread(path, stop_before_pixels=True)
            found[str(header.SeriesInstanceUID)].append((header, path))
        # pydicom raises many kinds for damaged files
        except Exception as error:
            logger.warning("can't read the DICOM file %s: %s", path, error)
            damaged.append(path)
    if not found and not damaged:
        raise SeriesError(f"There is no DICOM file in {folder} or below it.")
    collected = [_make_series(uid, images) for uid, images in found.items()]
    return sorted(collected, key=lambda series: (series.number, series.uid)), damaged


def _looks_like_dicom(path: Path) -> bool:
    with path.open("rb") as file:  # PS3.10 7.1: 128 bytes of preamble, then DICM
        return file.read(132)[128:] == b"DICM"


def _make_series(uid: str, files: list[tuple[Dataset, Path]]) -> Series:
    first_paths: dict[str, Path] = {}
    images = []
    for header, path in files:
        instance_uid = str(header.get("SOPInstanceUID"))
        first_path = first_paths.setdefault(instance_uid, path)
        # A copy of a file counts once. Two different files with one UID both stay: as two images at
        # one position they are refused later.
        if first_path is path or path.read_bytes() != first_path.read_bytes():
            images.append((header, path))
    try:
        slices = [(header, path) for image, path in images for header in _split(image)]
        fault = ""
    except Exception as error:  # SeriesError, or any kind from pydicom for damaged sequences
        slices, fault = images, str(error)
    return Series(
        uid, [header for header, _ in slices], [path for _, path in slices], len(images), fault
    )


def _split(image: Dataset) -> Sequence[Dataset]:
    """Return the headers of the slices in one object: those of its frames, or its own."""
    return frames_of(image) if image.get("SOPClassUID") in ENHANCED else [image]


def _series_number(header: Dataset) -> int:
    try:
        return int(header.SeriesNumber)
    # It may be missing, empty or no number: it serves only to sort a list
    except (AttributeError, TypeError, ValueError):
        return 0
