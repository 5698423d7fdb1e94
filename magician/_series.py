"""Which series lie in a folder, and which of them is the CT to read; the first half of :mod:`magician.volume`."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
)

from magician._progress import track
from magician.errors import SeriesError

_logger = logging.getLogger(__name__)

_INDEX_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]


@dataclass(frozen=True)
class SeriesSummary:
    """One series of a folder, in a form for a table.

    Attributes
    ----------
    series_instance_uid, modality, description : str
    images : int
        Number of DICOM objects.
    chosen : bool
        Whether :func:`magician.volume.read_series` reads this one when it is not told which.
    reason : str
        One sentence: why it was chosen, or why not.
    """

    series_instance_uid: str
    modality: str
    description: str
    images: int
    chosen: bool
    reason: str


@dataclass
class Series:
    """The files of one series, before anything but a few header elements has been read."""

    uid: str
    headers: list[Dataset]
    paths: list[Path]

    def __post_init__(self) -> None:
        first = self.headers[0]
        self.modality = str(first.get("Modality") or "")
        self.description = str(first.get("SeriesDescription") or "")
        self.number = _series_number(first)
        self.slices = [i for i, header in enumerate(self.headers) if not is_localizer(header)]

    def why_unreadable(self) -> str:
        """Return why this can't be a CT volume, whoever asks for it; empty if it can."""
        classes = {str(header.get("SOPClassUID")) for header in self.headers}
        if classes == {EnhancedCTImageStorage}:
            return "It is an enhanced multi-frame CT, which is not read here: ask the PACS for single images."
        if SecondaryCaptureImageStorage in classes:
            return "It holds secondary captures: pictures, without Hounsfield units or positions."
        if classes != {CTImageStorage} or self.modality != "CT":
            return f"It holds no CT images (modality {self.modality or 'not given'})."
        if not self.slices:
            return "It holds only localizers (scouts): pictures for planning the scan."
        if len(self.slices) < 2:
            return "It holds one image only, which has no thickness to measure."
        return ""

    def why_second_choice(self) -> str:
        """Return why this is not read unless somebody asks for it; empty if it may be chosen."""
        if why := self.why_unreadable():
            return why
        if any("DERIVED" in image_type(self.headers[i])[:1] for i in self.slices):
            return "Its images are derived from other images (Image Type DERIVED)."
        if not is_axial(self.headers[self.slices[0]]):
            return "Its images are not axial."
        return ""

    def coverage_mm(self) -> float:
        """Return how far the axial slices reach from feet to head in mm, as far as the headers say."""
        try:
            heights = [float(self.headers[i].ImagePositionPatient[2]) for i in self.slices]
        except (AttributeError, TypeError, ValueError, IndexError):
            return 0.0
        return max(heights) - min(heights)


def image_type(header: Dataset) -> list[str]:
    """Return the values of Image Type (0008,0008), PS3.3 C.7.6.1.1.2."""
    values = header.get("ImageType") or []
    return [values] if isinstance(values, str) else [str(value) for value in values]


def is_localizer(header: Dataset) -> bool:
    """Say whether a CT image is a localizer (PS3.3 C.8.2.1.1.1)."""
    return "LOCALIZER" in image_type(header)


def is_axial(header: Dataset) -> bool:
    """Say whether the slice normal runs mostly along the body; also where no orientation is given."""
    try:
        axes = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    except (AttributeError, TypeError, ValueError):
        return True  # the reader will say what is wrong with it
    return int(np.argmax(np.abs(np.cross(*axes)))) == 2


def find_series(folder: str | os.PathLike[str], *, progress: bool) -> tuple[list[Series], list[Path]]:
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
        if not (path.is_file() and _looks_like_dicom(path)):
            continue
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=_INDEX_TAGS)
            if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
                continue
            found[str(header.SeriesInstanceUID)].append((header, path))
        except Exception as error:  # pydicom raises many kinds for files that are cut short or forged
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
    headers, paths = [], []
    for header, path in items:
        instance = str(header.get("SOPInstanceUID"))
        if instance in unique and path.read_bytes() == unique[instance].read_bytes():
            continue  # the same file twice; another file under the same UID is for the reader to refuse
        unique.setdefault(instance, path)
        headers.append(header)
        paths.append(path)
    return Series(uid, headers, paths)


def _series_number(header: Dataset) -> int:
    try:
        return int(header.SeriesNumber)
    except (AttributeError, TypeError, ValueError):  # missing, empty or no number: it only sorts a list
        return 0


def choose(series: list[Series]) -> list[SeriesSummary]:
    """Say of each series whether it is the one to read, and why."""
    candidates = [one for one in series if not one.why_second_choice()]
    studies = {str(one.headers[0].get("StudyInstanceUID")) for one in candidates}
    best = None
    if len(studies) == 1:
        # Most images first, then the longer reach; the UID only so that the same folder gives the same answer.
        best = min(candidates, key=lambda one: (-len(one.slices), -round(one.coverage_mm(), 1), one.uid))
    return [
        SeriesSummary(
            one.uid, one.modality, one.description, len(one.paths), one is best, _reason(one, best, candidates)
        )
        for one in series
    ]


def _reason(one: Series, best: Series | None, candidates: list[Series]) -> str:
    if why := one.why_second_choice():
        return why
    if best is None:
        return "The folder holds CT of several studies: say which series to read."
    what = f"{len(one.slices)} images over {one.coverage_mm():.0f} mm"
    if one is not best:
        return f"It holds {what}, not more than the chosen series."
    if len(candidates) == 1:
        return f"It is the only series of axial CT images: {what}."
    return f"It holds the most axial CT images: {what}."
