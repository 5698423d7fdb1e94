"""Labels on the grid of a CT, rebuilt from a SEG object alone; a part of
:mod:`magician.results.make`.
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import SegmentationStorage

from magician.ct.volume import CTVolume
from magician.errors import ResultError
from magician.results.identity import learner_uid
from magician.results.run import LUNG, LUNGS

_GRID_TOLERANCE = 0.1  # of a voxel: how far a frame may be off the grid of the volume


def read_segmentation(seg_dataset: Dataset, volume: CTVolume) -> np.ndarray:
    """Rebuild the labels on the grid of a CT volume from a SEG object alone.

    Nothing is taken for granted but what the SEG says of itself: each frame is put where its own
    position and orientation say, in any order, and which lung a segment is follows from its code,
    not from its number. Frames that were left out are empty.

    Parameters
    ----------
    seg_dataset : Dataset
        A binary SEG, ours or another program's.
    volume : CTVolume
        The CT that was segmented, or a learner's copy of it.

    Returns
    -------
    array of uint8, shape of ``volume.hu``; 0 outside, 1 right lung, 2 left lung

    Raises
    ------
    ResultError
        If the SEG is of another kind, lies in another frame of reference, does not fit the grid of
        the volume, or claims a voxel twice.
    """
    if (
        seg_dataset.get("SOPClassUID") != SegmentationStorage
        or seg_dataset.get("SegmentationType") != "BINARY"
    ):
        raise ResultError("This is not a binary DICOM Segmentation object.")
    _check_frame_of_reference(seg_dataset, volume)
    shape = (seg_dataset.get("Rows"), seg_dataset.get("Columns"))
    if shape != volume.hu.shape[1:]:
        raise ResultError(
            f"The frames of the SEG have {shape[0]} rows and {shape[1]} columns, the CT images "
            f"{volume.hu.shape[1]} and {volume.hu.shape[2]}."
        )
    try:
        labels_of = {int(item.SegmentNumber): _label(item) for item in seg_dataset.SegmentSequence}
        frames = pixel_array(seg_dataset).reshape(-1, *shape)
        groups = list(seg_dataset.PerFrameFunctionalGroupsSequence)
        shared = seg_dataset.SharedFunctionalGroupsSequence[0]
        if len(frames) != len(groups):
            raise ResultError(f"The SEG describes {len(groups)} frames and holds {len(frames)}.")
        to_voxel = np.linalg.inv(volume.affine)
        labels = np.zeros(volume.hu.shape, np.uint8)
        for number, (frame, group) in enumerate(zip(frames, groups, strict=True), start=1):
            label = labels_of[int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
            place = _place_on_grid(group, shared, shape, to_voxel, number)
            _put(labels, frame, label, place, number)
    except ResultError:
        raise
    except Exception as error:  # a SEG from elsewhere may lack anything
        raise ResultError(f"The SEG can't be read: {type(error).__name__}: {error}") from error
    return labels


def _check_frame_of_reference(seg: Dataset, volume: CTVolume) -> None:
    source = volume.headers[0]
    alias = str(seg.get("PatientName") or "").split("^")[0]
    copied = learner_uid(source.FrameOfReferenceUID, str(source.StudyInstanceUID), alias)
    if seg.get("FrameOfReferenceUID") not in (source.FrameOfReferenceUID, copied):
        raise ResultError(
            "The SEG lies in another frame of reference than the CT, so their positions don't compare."
        )


def _label(segment: Dataset) -> int:
    """Return the label of a segment from its code: one for each side, or Lung with a side as its
    modifier.
    """
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    sides = [item.CodeValue for item in kind.get("SegmentedPropertyTypeModifierCodeSequence") or []]
    for lung in LUNGS:
        if kind.CodeValue == lung.code.value or (
            kind.CodeValue == LUNG.value and lung.side.value in sides
        ):
            return lung.label
    raise ResultError(
        f"Segment {segment.SegmentNumber} of the SEG is {kind.get('CodeMeaning', kind.CodeValue)!r}, "
        f"which is neither right nor left lung."
    )


def _place_on_grid(
    group: Dataset, shared: Dataset, shape: tuple[int, int], to_voxel: np.ndarray, number: int
) -> np.ndarray:
    """Return, in voxels (slice, row, column), the first pixel of a frame and the steps to next row
    and column.
    """

    def found(sequence: str) -> Dataset:
        return (group.get(sequence) or shared.get(sequence))[0]

    origin = np.array(found("PlanePositionSequence").ImagePositionPatient, float)
    along_row, along_column = np.array(
        found("PlaneOrientationSequence").ImageOrientationPatient, float
    ).reshape(2, 3)
    between_rows, between_columns = map(float, found("PixelMeasuresSequence").PixelSpacing)
    exact = np.array(
        [
            to_voxel[:3, :3] @ origin + to_voxel[:3, 3],
            to_voxel[:3, :3] @ (along_column * between_rows),
            to_voxel[:3, :3] @ (along_row * between_columns),
        ]
    )
    place = np.rint(exact)
    # At the far end of a frame, small errors of a step have added up: that is where it has to fit.
    off = (np.abs(exact - place).max(axis=1) * [1, *shape]).max()
    one_voxel_steps = (
        np.array_equal(np.abs(place[1:]).sum(axis=1), [1, 1]) and place[1] @ place[2] == 0
    )
    if off > _GRID_TOLERANCE or not one_voxel_steps:
        raise ResultError(
            f"Frame {number} of the SEG, at {origin.tolist()} mm, does not lie on the grid of the CT: its first pixel "
            f"would be voxel {exact[0].round(2).tolist()} (slice, row, column)."
        )
    return place.astype(int)


def _put(labels: np.ndarray, frame: np.ndarray, label: int, place: np.ndarray, number: int) -> None:
    """Write one frame's pixels into the labels."""
    row, column = np.nonzero(frame)
    corner, down, right = place
    voxels = corner[:, None] + down[:, None] * row + right[:, None] * column
    if (voxels < 0).any() or (voxels >= np.array(labels.shape)[:, None]).any():
        raise ResultError(f"Frame {number} of the SEG reaches out of the CT volume.")
    if labels[tuple(voxels)].any():
        raise ResultError(
            f"Frame {number} of the SEG claims voxels that an earlier frame has already."
        )
    labels[tuple(voxels)] = label
