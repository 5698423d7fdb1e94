"""DICOM results of a lung segmentation: a series to look at, a mask, and a report with the volumes.

Every PACS shows the overlay (Secondary Capture); the mask (Segmentation, SEG) is for viewers and programs that can
use it; the report (Structured Report, SR) holds the numbers. They refer to the CT images and to each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import SegmentationStorage

from ._files import save_dataset
from ._identity import check_alias, content_key, identify, learner_image, learner_uid
from ._objects import LUNGS, Run, overlay_objects, report_object, segmentation_object
from .errors import ResultError
from .segmentation import LungSegmentation, volumes_ml
from .volume import CTVolume

_GRID_TOLERANCE = 0.1  # of a voxel: how far a frame of a SEG may be off the volume's grid


@dataclass(frozen=True, eq=False)
class Results:
    """The DICOM objects of one run.

    Attributes
    ----------
    overlay : list of Dataset
        Secondary Capture images, one for each slice, feet to head.
    seg : Dataset
        Segmentation: segment 1 is the right lung, segment 2 the left lung.
    sr : Dataset
        Structured report with the volume of each lung in mL.
    ct : list of Dataset
        The CT images, feet to head, if they were asked for.
    """

    overlay: list[Dataset]
    seg: Dataset
    sr: Dataset
    ct: list[Dataset]

    @property
    def all(self) -> list[Dataset]:
        """Every object: overlay, SEG, SR, CT."""
        return [*self.overlay, self.seg, self.sr, *self.ct]


def make_results(
    volume: CTVolume,
    segmentation: LungSegmentation,
    *,
    learner: str = "",
    include_ct: bool = False,
    now: datetime | None = None,
) -> Results:
    """Make the DICOM results of a segmentation.

    Parameters
    ----------
    volume : CTVolume
    segmentation : LungSegmentation
        Its ``labels`` are uint8 on the grid of ``volume.hu``: 0 outside, 1 right lung, 2 left lung.
    learner : str
        Left out, the results join the study of the CT as three new series. With an alias, they become a new study
        of an invented patient ``alias^`` (the classroom's way on a shared PACS), with UIDs and a patient ID derived
        from source study and alias; nothing of the source patient but the accession number is repeated.
    include_ct : bool
        Add the CT images: as they are, or with a learner as copies in the learner's study. The results refer to
        these copies in either case, as the source's UIDs must not appear under another patient's name.
    now : datetime, optional
        The time that goes into the results.

    Returns
    -------
    Results
        Complete objects, ready to be saved or sent. The same input gives the same UIDs; another mask, model,
        software version or learner gives others.

    Raises
    ------
    ResultError
        If volume and segmentation do not belong together, nothing was segmented, the alias can't be a name in
        DICOM, or a source header can't be used.

    Notes
    -----
    PS3.3 A.8.1 (Secondary Capture), A.51 (Segmentation), A.35.13 (Comprehensive 3D SR), PS3.16 TID 1500.
    """
    _check_match(volume, segmentation)
    alias = check_alias(learner)
    labels = np.ascontiguousarray(segmentation.labels, dtype=np.uint8)
    model = (segmentation.model_name, segmentation.model_version, segmentation.weights_sha256)
    try:
        identity = identify(volume.headers, alias, volume.spacing_mm[0])
        run = Run(
            identity.sources,
            content_key(volume.headers, labels, alias, *model),
            model,
            now or datetime.now(),
        )
        seg = segmentation_object(run, labels)
        sr = report_object(run, seg, volumes_ml(segmentation))
        overlay = overlay_objects(run, volume.hu, labels)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(f"The results can't be made from these CT headers: {error}") from error
    for result in (*overlay, seg, sr):
        identity.sign(result)
    ct = _source_images(volume) if include_ct else []
    if alias:
        study = str(volume.headers[0].StudyInstanceUID)
        ct = [learner_image(image, identity, study) for image in ct]
    return Results(overlay, seg, sr, ct)


def _check_match(volume: CTVolume, segmentation: LungSegmentation) -> None:
    labels = np.asarray(segmentation.labels)
    if labels.shape != volume.hu.shape:
        raise ResultError(
            f"The segmentation has shape {labels.shape}, the CT {volume.hu.shape} (slices, rows, columns): "
            f"bring the mask back to the grid of the CT first."
        )
    if len(volume.headers) != len(labels):
        raise ResultError(f"The CT volume has {len(labels)} slices but {len(volume.headers)} headers.")
    if not np.allclose(segmentation.spacing_mm, volume.spacing_mm, rtol=1e-4, atol=0):
        raise ResultError(
            f"The segmentation has spacing {segmentation.spacing_mm} mm, the CT {volume.spacing_mm} mm "
            f"(slice, row, column): its volumes would be wrong."
        )
    present = np.flatnonzero(np.bincount(labels.ravel())) if labels.dtype == np.uint8 else np.unique(labels)
    if not set(present.tolist()) <= {0, 1, 2}:
        raise ResultError(f"The segmentation holds the labels {present.tolist()}; 0, 1 (right) and 2 (left) exist.")
    if present.tolist() == [0]:
        raise ResultError("The segmentation is empty: there is no lung in it, so there is nothing to send.")


def _source_images(volume: CTVolume) -> list[Dataset]:
    """Return the CT images with their pixel data, read again from their files."""
    if "PixelData" in volume.headers[0]:
        return list(volume.headers)
    if not volume.paths:
        raise ResultError("This CT volume did not come from files, so its images can't be included.")
    images = []
    for header, path in zip(volume.headers, volume.paths, strict=True):
        try:
            image = dcmread(path)
        except Exception as error:  # gone, or damaged since it was read
            raise ResultError(f"The CT image {path} can't be read again: {error}") from error
        if image.get("SOPInstanceUID") != header.SOPInstanceUID or "PixelData" not in image:
            raise ResultError(f"The file {path} is not the CT image any more that it was when the volume was read.")
        images.append(image)
    return images


def read_segmentation(seg_dataset: Dataset, volume: CTVolume) -> np.ndarray:
    """Rebuild the labels on the grid of a CT volume from a SEG object alone.

    Nothing is taken for granted but what the SEG says of itself: each frame is put where its own position and
    orientation say, in any order, and which lung a segment is follows from its code, not from its number.
    Frames that were left out are empty.

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
        If the SEG is of another kind, lies in another frame of reference, does not fit the grid of the volume,
        or claims a voxel twice.
    """
    if seg_dataset.get("SOPClassUID") != SegmentationStorage or seg_dataset.get("SegmentationType") != "BINARY":
        raise ResultError("This is not a binary DICOM Segmentation object.")
    _check_frame_of_reference(seg_dataset, volume)
    shape = (int(seg_dataset.Rows), int(seg_dataset.Columns))
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
        labels = np.zeros(volume.hu.shape, np.uint8)
        filled = set()
        for number, (frame, group) in enumerate(zip(frames, groups, strict=True), start=1):
            label = labels_of[int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
            corner, down, right = _place_on_grid(group, shared, shape, np.linalg.inv(volume.affine), number)
            place = (label, *corner, *down, *right)
            if place in filled:
                raise ResultError(f"Frame {number} of the SEG repeats an earlier one: same segment, same position.")
            filled.add(place)
            _put(labels, frame, label, (corner, down, right), number)
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
        raise ResultError("The SEG lies in another frame of reference than the CT, so their positions don't compare.")


def _label(segment: Dataset) -> int:
    """Return the label of a segment from its code: one for each side, or Lung with a side as its modifier."""
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    sides = [item.CodeValue for item in kind.get("SegmentedPropertyTypeModifierCodeSequence") or []]
    for lung in LUNGS:
        if kind.CodeValue == lung.code.value or (kind.CodeValue == "39607008" and lung.side.value in sides):
            return lung.label
    raise ResultError(
        f"Segment {segment.SegmentNumber} of the SEG is {kind.get('CodeMeaning', kind.CodeValue)!r}, "
        f"which is neither right nor left lung."
    )


def _place_on_grid(group: Dataset, shared: Dataset, shape: tuple[int, int], to_voxel: np.ndarray, number: int):
    """Return in voxels where the first pixel of a frame lies, and the steps to the next row and next column."""
    def found(sequence: str) -> Dataset:
        return (group.get(sequence) or shared.get(sequence))[0]

    origin = np.array(found("PlanePositionSequence").ImagePositionPatient, float)
    axes = np.array(found("PlaneOrientationSequence").ImageOrientationPatient, float).reshape(2, 3)
    pixel = np.array(found("PixelMeasuresSequence").PixelSpacing, float)
    corner = to_voxel[:3, :3] @ origin + to_voxel[:3, 3]
    down = to_voxel[:3, :3] @ (axes[1] * pixel[0])
    right = to_voxel[:3, :3] @ (axes[0] * pixel[1])
    # At the far end of a frame, small errors of a step have added up: that is where it has to fit.
    off = max(
        np.abs(corner - np.rint(corner)).max(),
        np.abs(down - np.rint(down)).max() * shape[0],
        np.abs(right - np.rint(right)).max() * shape[1],
    )
    if off > _GRID_TOLERANCE:
        raise ResultError(
            f"Frame {number} of the SEG, at {origin.tolist()} mm, does not lie on the grid of the CT: it is off by "
            f"{off:.2f} voxels."
        )
    return [tuple(np.rint(vector).astype(int).tolist()) for vector in (corner, down, right)]


def _put(labels: np.ndarray, frame: np.ndarray, label: int, place: tuple, number: int) -> None:
    row, column = np.nonzero(frame)
    corner, down, right = place
    voxels = tuple(corner[axis] + row * down[axis] + column * right[axis] for axis in range(3))
    if row.size and any(v.min() < 0 or v.max() >= size for v, size in zip(voxels, labels.shape, strict=True)):
        raise ResultError(f"Frame {number} of the SEG reaches out of the CT volume.")
    if (labels[voxels] > 0).any():
        raise ResultError(f"Frame {number} of the SEG claims voxels that another segment has already.")
    labels[voxels] = label


def save(datasets: Iterable[Dataset], folder: str | os.PathLike[str]) -> list[Path]:
    """Write each object as ``<SOPInstanceUID>.dcm`` into a folder, which is created if it is not there.

    Each file appears whole or not at all; one of the same name is replaced.

    Raises
    ------
    ResultError
        If a UID is none, so that it can't be a file name, or an object can't be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        try:
            paths.append(save_dataset(dataset, folder))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ResultError(f"An object can't be written: {error}") from error
    return paths
