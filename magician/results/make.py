"""DICOM results of a lung segmentation: an overlay series, a mask, and a report with the volumes.

Every PACS shows the overlay (Secondary Capture). The mask (Segmentation, SEG) is for viewers and
programs that can use it. The report (Structured Report, SR) holds the numbers. They refer to the CT
images and to each other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from magician.ct.memory import reuse_freed_memory
from magician.ct.volume import CTVolume
from magician.errors import ResultError
from magician.files import is_uid, open_folder, save_dataset
from magician.progress import track
from magician.results.identity import Identity, check_alias, content_digest
from magician.results.run import Run
from magician.results.secondary_capture import overlay_objects
from magician.results.seg import segmentation_object
from magician.results.sr import mean_densities, report_object
from magician.segmentation.lungs import LungSegmentation, volumes_ml


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
    labels : array of uint8, shape (slices, rows, columns), read-only
        The mask that the results show, on the grid of the CT: 0 outside, 1 right lung, 2 left lung.
    """

    overlay: list[Dataset]
    seg: Dataset
    sr: Dataset
    ct: list[Dataset]
    labels: np.ndarray

    @property
    def all(self) -> list[Dataset]:
        """Every object: overlay, SEG, SR, CT."""
        return [*self.overlay, self.seg, self.sr, *self.ct]


@reuse_freed_memory()
def make_results(
    volume: CTVolume,
    segmentation: LungSegmentation,
    *,
    learner: str = "",
    include_ct: bool = False,
    now: datetime | None = None,
    progress: bool = True,
) -> Results:
    """Make the DICOM results of a segmentation.

    Parameters
    ----------
    volume : CTVolume
    segmentation : LungSegmentation
        Its ``labels`` are uint8 on the grid of ``volume.hu``: 0 outside, 1 right lung, 2 left lung.
    learner : str
        Without it, the results join the study of the CT as three new series. With an alias, they
        become a new study of an invented patient ``alias^`` (the classroom's way on a shared PACS),
        with UIDs and a patient ID derived from source study and alias. They repeat the accession
        number and the study's date, time, ID and description of the source, and nothing about its
        patient.
    include_ct : bool
        Add the CT images: as they are, or with a learner as copies in the learner's study. The
        results refer to these copies in either case, as the source's UIDs must not appear under
        another patient's name.
    now : datetime, optional
        The time that goes into the results.
    progress : bool
        Show a progress bar if it takes more than two seconds.

    Returns
    -------
    Results
        Complete objects, ready to be saved or sent. The same input gives the same UIDs; another
        mask, model, software version or learner gives others. A second run therefore changes
        nothing in a PACS, which has these objects already and keeps the first that it got. The
        objects of two runs differ only in the time at which each was made. The attributes of a
        series hold no time, so that objects of both runs belong together.

    Raises
    ------
    ResultError
        If volume and segmentation do not belong together, nothing was segmented, the alias can't be
        a name in DICOM, or a source header can't be used.

    Notes
    -----
    PS3.3 A.8.1 (Secondary Capture), A.51 (Segmentation), A.35.13 (Comprehensive 3D SR), PS3.16 TID
    1500.
    """
    _check_match(volume, segmentation)
    alias = check_alias(learner)
    # a copy, which stays what was sent
    labels = np.array(segmentation.labels, dtype=np.uint8, order="C")
    labels.flags.writeable = False
    model = (segmentation.model_name, segmentation.model_version, segmentation.weights_sha256)
    try:
        identity = Identity.of(volume.headers, alias, volume.spacing_mm[0])
        run = Run(
            identity.sources,
            content_digest(volume.headers, labels, alias, *model),
            model,
            segmentation.trained_on,
            now or datetime.now(),
        )
        volumes = volumes_ml(segmentation)
        seg = segmentation_object(run, labels)
        sr = report_object(run, seg, volumes, mean_densities(volume.hu, labels))
        overlay = overlay_objects(run, volume.hu, labels, volumes, progress=progress)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(f"The results can't be made from these CT headers: {error}") from error
    finally:
        _forget_tables_of_highdicom()
    for result in (*overlay, seg, sr):
        identity.sign(result)
    images = _source_images(volume, progress) if include_ct else []
    ct = [identity.copy_of(image) for image in images]
    return Results(overlay, seg, sr, ct, labels)


def _forget_tables_of_highdicom() -> None:
    """Free the tables of the standard, 64 MB, that highdicom has read to check its objects.

    It reads them again, in a third of a second, when it needs them. Its cache has no public name.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from highdicom import _standard_utils

        _standard_utils.get_module_attribute_map.cache_clear()


def _check_match(volume: CTVolume, segmentation: LungSegmentation) -> None:
    labels = np.asarray(segmentation.labels)
    if labels.shape != volume.hu.shape:
        raise ResultError(
            f"The segmentation has shape {labels.shape}, the CT {volume.hu.shape} "
            f"(slices, rows, columns): bring the mask back to the grid of the CT first."
        )
    if hasattr(volume.headers[0], "frame_number"):
        raise ResultError(
            "The volume comes from an enhanced multi-frame CT. Results refer to each CT image by "
            "its UID, which frames do not have: ask the PACS for the series as single images, or "
            "have it converted, and read that."
        )
    if len(volume.headers) != len(labels):
        raise ResultError(
            f"The CT volume has {len(labels)} slices but {len(volume.headers)} headers."
        )
    if not np.allclose(segmentation.spacing_mm, volume.spacing_mm, rtol=1e-4, atol=0):
        raise ResultError(
            f"The segmentation has spacing {segmentation.spacing_mm} mm, the CT "
            f"{volume.spacing_mm} mm (slice, row, column): its volumes would be wrong."
        )
    present = (
        np.flatnonzero(np.bincount(labels.ravel()))
        if labels.dtype == np.uint8
        else np.unique(labels)
    )
    if not set(present.tolist()) <= {0, 1, 2}:
        raise ResultError(
            f"The segmentation holds the labels {present.tolist()}; "
            f"0, 1 (right) and 2 (left) exist."
        )
    if present.tolist() == [0]:
        raise ResultError(
            "The segmentation is empty: there is no lung in it, so there is nothing to send."
        )


def _source_images(volume: CTVolume, progress: bool) -> list[Dataset]:
    """Return the CT images with their pixel data, read again from their files."""
    if not volume.paths:
        raise ResultError(
            "This CT volume did not come from files, so its images can't be included."
        )
    images = []
    sources = list(zip(volume.headers, volume.paths, strict=True))
    for header, path in track(sources, "CT images", "image", progress=progress):
        try:
            image = dcmread(path)
        except Exception as error:  # gone, or damaged since it was read
            raise ResultError(f"The CT image {path} can't be read again: {error}") from error
        if image.get("SOPInstanceUID") != header.SOPInstanceUID or "PixelData" not in image:
            raise ResultError(
                f"The file {path} has changed since the volume was read: it holds another image, "
                f"or no pixels."
            )
        images.append(image)
    return images


def save(
    datasets: Iterable[Dataset], folder: str | os.PathLike[str], *, progress: bool = True
) -> list[Path]:
    """Write each object as ``<SOPInstanceUID>.dcm`` into a folder, which is created if needed.

    Each file appears whole or not at all, also when the program is interrupted or killed. It
    replaces a file of the same name. A killed run may leave a hidden ``.part`` file: nothing here
    reads or sends it, and it is removed after an hour. Saving shows a progress bar if it takes more
    than two seconds, unless ``progress`` is False.

    Raises
    ------
    ResultError
        If an object has no valid UID for its file name, or can't be written.
    """
    folder = open_folder(folder)
    paths = []
    for dataset in track(datasets, "saving", "file", progress=progress):
        name = str(dataset.get("SOPInstanceUID", ""))
        if not is_uid(name):
            raise ResultError(f"{name!r} is no UID (PS3.5 9.1), so it can't be a file name.")
        try:
            paths.append(save_dataset(dataset, folder))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ResultError(f"The object {name} can't be written: {error}") from error
    return paths
