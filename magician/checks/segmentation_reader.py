"""The reader of a SEG: labels on the grid of a CT, from the SEG alone (PS3.3 A.51)."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from magician.checks.read_back import GRID_TOLERANCE, SIDES, Frame, frames_of, require_lung
from magician.ct.volume import CTVolume
from magician.errors import ResultError
from magician.results.identity import learner_uid


def read_segmentation(seg_dataset: Dataset, volume: CTVolume) -> np.ndarray:
    """Rebuild the labels on the grid of a CT volume from a SEG object alone.

    Only the SEG decides. Each frame is put where its own position and orientation say, in any
    order. The code of a segment says which lung it is, not its number. Frames that were left out
    are empty.

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
        the volume, has a segment that is neither lung, or claims a voxel twice.
    """
    if (
        seg_dataset.get("SOPClassUID") != SegmentationStorage
        or seg_dataset.get("SegmentationType") != "BINARY"
    ):
        raise ResultError("This is not a binary DICOM Segmentation object.")
    _check_frame_of_reference(seg_dataset, volume)
    rows, columns = seg_dataset.get("Rows"), seg_dataset.get("Columns")
    if (rows, columns) != volume.hu.shape[1:]:
        raise ResultError(
            f"The frames of the SEG have {rows} rows and {columns} columns, the CT images "
            f"{volume.hu.shape[1]} and {volume.hu.shape[2]}."
        )
    frames = frames_of(seg_dataset)
    for segment in seg_dataset.SegmentSequence:  # also one without frames
        require_lung(segment)
    labels = np.zeros(volume.hu.shape, np.uint8)
    for number, frame in enumerate(frames, start=1):
        _check_on_grid(frame, volume.affine, number)
        _write_labels(labels, frame, volume.affine, number)
    return labels


def _check_frame_of_reference(seg: Dataset, volume: CTVolume) -> None:
    """Raise an error unless the SEG lies in the CT's frame of reference, or in that of its copy."""
    source = volume.headers[0]
    alias = str(seg.get("PatientName") or "").split("^")[0]
    copied = learner_uid(source.FrameOfReferenceUID, str(source.StudyInstanceUID), alias)
    if seg.get("FrameOfReferenceUID") not in (source.FrameOfReferenceUID, copied):
        raise ResultError(
            "The SEG lies in another frame of reference than the CT, "
            "so their positions don't compare."
        )


def _check_on_grid(frame: Frame, grid: np.ndarray, number: int) -> None:
    """Raise an error unless every pixel of a frame, set or not, lies on a voxel of its own."""
    to_voxel = np.linalg.inv(grid)
    first = to_voxel[:3, :3] @ frame.origin + to_voxel[:3, 3]
    exact = np.array([first, to_voxel[:3, :3] @ frame.down, to_voxel[:3, :3] @ frame.right])
    rounded = np.rint(exact)
    # Small errors of a step add up, so that the far end of the frame decides
    off = (np.abs(exact - rounded).max(axis=1) * [1, *frame.pixels.shape]).max()
    steps = rounded[1:]
    one_voxel_steps = np.abs(steps).sum(axis=1).tolist() == [1, 1] and steps[0] @ steps[1] == 0
    if off > GRID_TOLERANCE or not one_voxel_steps:
        raise ResultError(
            f"Frame {number} of the SEG, at {frame.origin.tolist()} mm, does not lie on the grid "
            f"of the CT: its first pixel would be voxel {first.round(2).tolist()} "
            f"(slice, row, column)."
        )


def _write_labels(labels: np.ndarray, frame: Frame, grid: np.ndarray, number: int) -> None:
    """Write the label of a frame's lung into the voxels on which its pixels lie."""
    voxels = np.rint(frame.voxels_in(grid)).astype(int)
    if (voxels < 0).any() or (voxels >= np.array(labels.shape)[:, None]).any():
        raise ResultError(f"Frame {number} of the SEG reaches out of the CT volume.")
    if labels[tuple(voxels)].any():
        raise ResultError(
            f"Frame {number} of the SEG claims voxels that an earlier frame has already."
        )
    labels[tuple(voxels)] = SIDES.index(frame.side) + 1
