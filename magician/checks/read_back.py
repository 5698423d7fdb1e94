"""The contents of a SEG and of an SR, read from their elements alone (PS3.3 A.51, A.35.13).

This module shares nothing with the code that makes these objects, neither functions nor tables: a
mistake that both had would cancel out and prove nothing. Coordinates are DICOM's patient
coordinates in mm, LPS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps

import numpy as np
from pydicom import Dataset
from pydicom.pixels import pixel_array

from magician.checks.consistency import references
from magician.errors import ResultError

SIDES = ("right", "left")
# SNOMED CT: a code for each lung, or Lung with a side as its modifier
CODES_OF_A_LUNG = {"3341006": "right", "44029006": "left"}
CODE_OF_LUNG = "39607008"
CODES_OF_A_SIDE = {"24028007": "right", "7771000": "left"}
GRID_TOLERANCE = 0.1  # of a voxel: a pixel that is farther from every voxel lies between them


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
    slice_step_mm : float or None
        Spacing Between Slices; None if the SEG does not give it.
    source : str
        SOP Instance UID of the CT image that the frame was made from; empty if the SEG does not
        name exactly one.
    """

    side: str
    pixels: np.ndarray
    origin: np.ndarray
    down: np.ndarray
    right: np.ndarray
    slice_step_mm: float | None
    source: str

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, from the spacings in the SEG itself.

        Raises
        ------
        ResultError
            If the SEG does not give the spacing between slices.
        """
        if self.slice_step_mm is None:
            raise ResultError("The SEG does not give the spacing between its slices.")
        return float(np.linalg.norm(np.cross(self.down, self.right))) * self.slice_step_mm / 1000

    def slice_in(self, grid: np.ndarray, shape: tuple[int, ...]) -> int:
        """Return the index of the slice of a grid on which the middle of the frame lies.

        Parameters
        ----------
        grid : array, shape (4, 4)
            As `grid_of` gives it.
        shape : tuple of int
            (rows, columns) of the frame.
        """
        middle = self.at(*((count - 1) / 2 * np.ones(1) for count in shape))[:, 0]
        return round(float((np.linalg.inv(grid) @ [*middle, 1])[0]))

    def at(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Return the patient coordinates of pixels, shape (3, pixels)."""
        return self.origin[:, None] + self.down[:, None] * row + self.right[:, None] * column

    def voxels_in(self, grid: np.ndarray) -> np.ndarray:
        """Return the places of the set pixels on a grid: (slice, row, column), not rounded.

        Returns
        -------
        array of float, shape (3, pixels)
        """
        to_voxel = np.linalg.inv(grid)
        return to_voxel[:3, :3] @ self.at(*np.nonzero(self.pixels)) + to_voxel[:3, 3:]


@dataclass(frozen=True)
class Measured:
    """The measurements of one lung in an SR: its volume, its tracking UID, and the SOP Instance UID
    and segment number to which it refers.
    """

    volume_ml: float
    tracking_uid: str
    seg: str
    segment: int


def _or_report(failure: str) -> Callable:
    """Make a reader raise a ResultError that begins with these words, whatever it stumbles over.

    An object that comes from a PACS may lack any attribute.
    """

    def decorate(read: Callable) -> Callable:
        @wraps(read)
        def reading(dataset: Dataset):
            try:
                return read(dataset)
            except ResultError:
                raise
            except AttributeError as error:
                raise ResultError(f"{failure}: it has no {error.name or error}.") from error
            except Exception as error:
                raise ResultError(f"{failure}: {type(error).__name__}: {error}") from error

        return reading

    return decorate


@_or_report("The SEG can't be read")
def frames_of(seg: Dataset) -> list[Frame]:
    """Read the frames of a SEG (PS3.3 A.51; C.7.6.16.2 for their geometry).

    Raises
    ------
    ResultError
        If it can't be read, or a frame belongs to a segment that is neither lung.
    """
    segments = {int(segment.SegmentNumber): segment for segment in seg.SegmentSequence}
    shape = (int(seg.NumberOfFrames), int(seg.Rows), int(seg.Columns))
    groups = list(seg.PerFrameFunctionalGroupsSequence)
    shared = seg.SharedFunctionalGroupsSequence[0]
    if len(groups) != shape[0]:
        raise ResultError(f"The SEG describes {len(groups)} frames and holds {shape[0]}.")
    _check_size(seg, shape)
    pixels = pixel_array(seg).reshape(shape)
    if pixels.dtype == np.uint8 and pixels.max(initial=0) <= 1:
        pixels = pixels.view(bool)  # the same bytes: no copy of all frames
    else:
        pixels = pixels.astype(bool)
    return [
        _frame(group, shared, plane, segments) for group, plane in zip(groups, pixels, strict=True)
    ]


def _check_size(seg: Dataset, shape: tuple[int, int, int]) -> None:
    """Raise an error if uncompressed frames need another number of bytes than there are."""
    if seg.file_meta.TransferSyntaxUID.is_compressed:
        return
    needed = -(-int(np.prod(shape)) * int(seg.BitsAllocated) // 8)
    if len(seg.PixelData) not in (needed, needed + needed % 2):  # even in a file (PS3.5 8.1.1)
        raise ResultError(
            f"The SEG can't be read: it holds {len(seg.PixelData)} bytes of pixels, "
            f"and its {shape[0]} frames need {needed}."
        )


@_or_report("The segments of the SEG can't be read")
def segments_of(seg: Dataset) -> dict[str, tuple[int, str]]:
    """Return the segment number and tracking UID of each lung, by the code of the segment."""
    return {
        side_of(segment): (int(segment.SegmentNumber), str(segment.get("TrackingUID", "")))
        for segment in seg.SegmentSequence
        if side_of(segment)
    }


def require_lung(segment: Dataset) -> str:
    """Return the side of the lung that a segment is; raise `ResultError` if it is neither lung."""
    side = side_of(segment)
    if not side:
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        raise ResultError(
            f"Segment {segment.SegmentNumber} of the SEG is "
            f"{code.get('CodeMeaning', code.CodeValue)!r}, which is neither right nor left lung."
        )
    return side


def side_of(segment: Dataset) -> str:
    """Return the side of the lung that a segment is, by its code; empty if it is not one lung."""
    code = segment.SegmentedPropertyTypeCodeSequence[0]
    if code.CodeValue == CODE_OF_LUNG:
        modifiers = code.get("SegmentedPropertyTypeModifierCodeSequence") or []
        sides = {CODES_OF_A_SIDE.get(modifier.CodeValue, "") for modifier in modifiers} - {""}
        return sides.pop() if len(sides) == 1 else ""
    return CODES_OF_A_LUNG.get(code.CodeValue, "")


def _frame(
    group: Dataset, shared: Dataset, pixels: np.ndarray, segments: dict[int, Dataset]
) -> Frame:
    def macro(name: str) -> Dataset:
        return (group.get(name) or shared.get(name))[0]

    axes = np.array(macro("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
    measures = macro("PixelMeasuresSequence")
    number = int(macro("SegmentIdentificationSequence").ReferencedSegmentNumber)
    slice_step_mm = measures.get("SpacingBetweenSlices")
    sources = [
        str(image.get("ReferencedSOPInstanceUID", ""))
        for derivation in group.get("DerivationImageSequence") or []
        for image in derivation.get("SourceImageSequence") or []
    ]
    return Frame(
        require_lung(segments[number]),
        pixels,
        np.array(macro("PlanePositionSequence").ImagePositionPatient, float).reshape(3),
        axes[1] * float(measures.PixelSpacing[0]),
        axes[0] * float(measures.PixelSpacing[1]),
        None if slice_step_mm is None else float(slice_step_mm),
        sources[0] if len(sources) == 1 else "",
    )


def grid_of(headers: Sequence[Dataset]) -> np.ndarray:
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
        The number of pixels that lie between the voxels or outside them, or on a voxel that another
        pixel has already.
    """
    mask, lost = np.zeros(shape, bool), 0
    for frame in frames:
        if frame.side == side and frame.pixels.any():
            exact = frame.voxels_in(grid)
            voxels = np.rint(exact).astype(int)
            on_grid = (np.abs(exact - voxels) <= GRID_TOLERANCE).all(axis=0)
            on_grid &= ((voxels >= 0) & (voxels < np.array(shape)[:, None])).all(axis=0)
            index = tuple(voxels[:, on_grid])
            lost += int((~on_grid).sum() + mask[index].sum())
            mask[index] = True
    return mask, lost


def centre_of(frames: list[Frame], side: str) -> np.ndarray:
    """Return the centre of gravity of one lung in LPS mm; not a number if the lung is empty."""
    total, count = np.zeros(3), 0
    for frame in frames:
        if frame.side == side:
            row, column = np.nonzero(frame.pixels)
            total += frame.at(row, column).sum(axis=1)
            count += len(row)
    return total / count if count else np.full(3, np.nan)


def volume_of(frames: list[Frame], side: str) -> float:
    """Return the volume of one lung in ml, from the spacings in the SEG itself."""
    return float(sum(frame.pixels.sum() * frame.voxel_ml for frame in frames if frame.side == side))


@_or_report("The SR can't be read")
def measured_by(sr: Dataset) -> dict[str, Measured]:
    """Read the measurements of each lung in an SR (PS3.16 TID 1500, with groups of TID 1411).

    Raises
    ------
    ResultError
        If it can't be read.
    """
    return dict(_measured(group) for group in _groups(sr))


@_or_report("The references can't be read")
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
        raise ResultError(f"The volume of a lung in the SR is in {unit} and not in mL.")
    segment = content["121191"].ReferencedSOPSequence[0]  # Referenced Segment
    return CODES_OF_A_LUNG[content["121071"].ConceptCodeSequence[0].CodeValue], Measured(  # Finding
        float(volume.NumericValue),
        str(content["112040"].UID),  # Tracking Unique Identifier
        str(segment.ReferencedSOPInstanceUID),
        int(segment.ReferencedSegmentNumber),
    )


def _concept(item: Dataset) -> str:
    return item.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in item else ""
