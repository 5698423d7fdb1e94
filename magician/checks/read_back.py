"""What a SEG and an SR say, read from their elements alone; used by
:mod:`magician.checks.round_trip`.

Nothing here is shared with what makes these objects, neither code nor tables: a mistake that both
had would cancel out and prove nothing. Coordinates are DICOM's patient coordinates in mm, LPS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps

import numpy as np
from pydicom import Dataset
from pydicom.pixels import pixel_array

from magician.checks.consistency import references
from magician.errors import ResultError

SIDES = ("right", "left")
_LUNG_CODES = {"3341006": "right", "44029006": "left"}  # SNOMED CT: right lung, left lung
_BETWEEN_VOXELS = 0.1  # of a voxel: a pixel that is farther from every voxel lies between them


@dataclass(frozen=True)
class Frame:
    """One frame of a SEG.

    Attributes
    ----------
    side : str
        ``"right"`` or ``"left"``, by the code of its segment.
    pixels : array of bool, shape (rows, columns)
    origin, down, right : array, shape (3,), in LPS mm
        The centre of its first pixel, and the steps to the next row and the next column.
    slice_step_mm : float
        Spacing Between Slices.
    source : str
        SOP Instance UID of the CT image that it says it was made from; empty if it says nothing.
    """

    side: str
    pixels: np.ndarray
    origin: np.ndarray
    down: np.ndarray
    right: np.ndarray
    slice_step_mm: float
    source: str

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, as the SEG itself gives its size."""
        return float(np.linalg.norm(np.cross(self.down, self.right))) * self.slice_step_mm / 1000

    def slice_in(self, grid: np.ndarray, shape: tuple[int, ...]) -> int:
        """Return on which slice of a grid the middle of the frame lies."""
        middle = self.at(*((n - 1) / 2 * np.ones(1) for n in shape))[:, 0]
        return round(float((np.linalg.inv(grid) @ [*middle, 1])[0]))

    def at(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the patient coordinates of pixels, shape (3, pixels)."""
        return self.origin[:, None] + self.down[:, None] * row + self.right[:, None] * column


@dataclass(frozen=True)
class Measured:
    """What the SR says of one lung: volume, tracking UID, and the SEG and segment number that it
    points at.
    """

    volume_ml: float
    tracking_uid: str
    seg: str
    segment: int


def _or_say_that(what: str) -> Callable:
    """Make a reader raise a ResultError that begins so: what came back from a PACS may lack
    anything.
    """

    def decorate(read: Callable) -> Callable:
        @wraps(read)
        def reading(dataset: Dataset):
            try:
                return read(dataset)
            except ResultError:
                raise
            except Exception as error:
                raise ResultError(f"{what}: {type(error).__name__}: {error}") from error

        return reading

    return decorate


@_or_say_that("The SEG can't be read")
def frames_of(seg: Dataset) -> list[Frame]:
    """Read the frames of a SEG (PS3.3 A.51; C.7.6.16.2 for their geometry).

    Raises
    ------
    ResultError
        If it can't be read.
    """
    shape = (int(seg.NumberOfFrames), int(seg.Rows), int(seg.Columns))
    groups, shared = (
        list(seg.PerFrameFunctionalGroupsSequence),
        seg.SharedFunctionalGroupsSequence[0],
    )
    needed = -(-int(np.prod(shape)) // 16) * 2  # bits, in an even number of bytes (PS3.5 8.1.1)
    if len(groups) != shape[0] or len(seg.PixelData) != needed:
        raise ResultError(
            f"The SEG announces {shape[0]} frames, describes {len(groups)}, "
            f"and holds {len(seg.PixelData)} bytes of pixels where it needs {needed}."
        )
    sides = {number: side for side, (number, _) in segments_of(seg).items()}
    pixels = pixel_array(seg).reshape(shape).astype(bool)
    return [
        _frame(group, shared, plane, sides) for group, plane in zip(groups, pixels, strict=True)
    ]


@_or_say_that("The segments of the SEG can't be read")
def segments_of(seg: Dataset) -> dict[str, tuple[int, str]]:
    """Return the segment number and tracking UID of each lung, by the code of the segment."""
    found = {}
    for item in seg.SegmentSequence:
        code = item.SegmentedPropertyTypeCodeSequence[0].CodeValue
        if code in _LUNG_CODES:
            found[_LUNG_CODES[code]] = (int(item.SegmentNumber), str(item.get("TrackingUID", "")))
    return found


def _frame(group: Dataset, shared: Dataset, pixels: np.ndarray, sides: dict[int, str]) -> Frame:
    def macro(name: str) -> Dataset:
        return (group.get(name) or shared.get(name))[0]

    axes = np.array(macro("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
    measures = macro("PixelMeasuresSequence")
    number = int(macro("SegmentIdentificationSequence").ReferencedSegmentNumber)
    sources = [
        str(image.ReferencedSOPInstanceUID)
        for derivation in group.get("DerivationImageSequence") or []
        for image in derivation.SourceImageSequence
    ]
    return Frame(
        sides[number],
        pixels,
        np.array(macro("PlanePositionSequence").ImagePositionPatient, float),
        axes[1] * float(measures.PixelSpacing[0]),
        axes[0] * float(measures.PixelSpacing[1]),
        float(measures.SpacingBetweenSlices),
        sources[0] if len(sources) == 1 else "",
    )


def grid_of(headers) -> np.ndarray:
    """Return the affine (4, 4) from (slice, row, column, 1) to LPS mm, from the position of each
    header.
    """
    axes = np.array(headers[0].ImageOrientationPatient, float).reshape(2, 3)
    positions = np.array([header.ImagePositionPatient for header in headers], float)
    grid = np.eye(4)
    grid[:3, 0] = (positions[-1] - positions[0]) / (len(headers) - 1)
    grid[:3, 1] = axes[1] * float(headers[0].PixelSpacing[0])
    grid[:3, 2] = axes[0] * float(headers[0].PixelSpacing[1])
    grid[:3, 3] = positions[0]
    return grid


def place(
    frames: list[Frame], side: str, grid: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, int]:
    """Put the pixels of one lung where their patient coordinates lie on the grid.

    Returns
    -------
    mask : array of bool, of this shape
    lost : int
        Pixels that lie between the voxels or outside them, and those that come to lie on another
        one.
    """
    mask, lost = np.zeros(shape, bool), 0
    to_voxel = np.linalg.inv(grid)
    for frame in frames:
        if frame.side == side and frame.pixels.any():
            exact = to_voxel[:3, :3] @ frame.at(*np.nonzero(frame.pixels)) + to_voxel[:3, 3:]
            voxel = np.rint(exact).astype(int)
            good = (np.abs(exact - voxel) <= _BETWEEN_VOXELS).all(axis=0)
            good &= ((voxel >= 0) & (voxel < np.array(shape)[:, None])).all(axis=0)
            where = tuple(voxel[:, good])
            lost += int((~good).sum() + mask[where].sum())
            mask[where] = True
    return mask, lost


def centre_of(frames: list[Frame], side: str) -> np.ndarray:
    """Return the centre of gravity of one lung in LPS mm; not a number if nothing is there."""
    total, count = np.zeros(3), 0
    for frame in frames:
        if frame.side == side:
            row, column = np.nonzero(frame.pixels)
            total += frame.at(row, column).sum(axis=1)
            count += len(row)
    return total / count if count else np.full(3, np.nan)


def volume_of(frames: list[Frame], side: str) -> float:
    """Return the volume of one lung in ml, with the voxel size that the SEG gives."""
    return float(sum(frame.pixels.sum() * frame.voxel_ml for frame in frames if frame.side == side))


@_or_say_that("The SR can't be read")
def measured_by(sr: Dataset) -> dict[str, Measured]:
    """Read what an SR says of each lung (PS3.16 TID 1500: its measurement groups are of TID 1411).

    Raises
    ------
    ResultError
        If it can't be read.
    """
    return dict(_measured(group) for group in _groups(sr))


@_or_say_that("The references can't be read")
def referenced_by(dataset: Dataset) -> set[str]:
    """Return every SOP Instance UID that an object refers to, but for those of its patient, study
    and procedure.
    """
    return {uid for uid, _ in references(dataset)}


def _groups(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or []:
        if _concept(child) == "125007":  # Measurement Group
            yield child
        else:
            yield from _groups(child)


def _measured(group: Dataset) -> tuple[str, Measured]:
    content = {_concept(child): child for child in group.ContentSequence}
    volume = content["118565006"].MeasuredValueSequence[0]
    unit = volume.MeasurementUnitsCodeSequence[0].CodeValue
    if unit != "mL":
        raise ResultError(f"its volume is in {unit} and not in mL")
    segment = content["121191"].ReferencedSOPSequence[0]  # Referenced Segment
    return _LUNG_CODES[content["121071"].ConceptCodeSequence[0].CodeValue], Measured(  # Finding
        float(volume.NumericValue),
        str(content["112040"].UID),  # Tracking Unique Identifier
        str(segment.ReferencedSOPInstanceUID),
        int(segment.ReferencedSegmentNumber),
    )


def _concept(item: Dataset) -> str:
    return item.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in item else ""
