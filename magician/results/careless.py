"""Careless results: DICOM objects with errors, to practise finding and repairing them.

Many scripts make overlay images in this way: they fill in what comes to mind. The script of the
article that the notebook follows does so, too. Orthanc and the practice PACS store these images
with 0x0000. Never send them anywhere else: `make_results` makes proper ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from copy import deepcopy

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from magician.ct.volume import CTVolume
from magician.results.make import Results
from magician.segmentation.lungs import LungSegmentation

__all__ = ["careless_overlay"]


def careless_overlay(
    volume: CTVolume, segmentation: LungSegmentation, *, images: int = 3
) -> list[Dataset]:
    """Make Secondary Capture images of the middle slices, with seven errors in each.

    Missing are PatientOrientation, a body part or a side, PlanarConfiguration, PixelRepresentation,
    ConversionType, and two elements of the file meta information.

    More errors are there that no validator sees. The patient's name is no DICOM name. Nothing names
    the CT: patient and study are new ones, and the time of the study differs from image to image.

    Parameters
    ----------
    volume : CTVolume
    segmentation : LungSegmentation
        On the grid of ``volume.hu``.
    images : int
        How many, at least 1.

    Returns
    -------
    list of Dataset
        RGB images of 8 bits; the same input gives the same ones.
    """
    middle = np.linspace(0, len(volume.hu) - 1, images + 2).round().astype(int)[1:-1]
    return [_image(volume, segmentation.labels[i], i, number) for number, i in enumerate(middle)]


def _image(volume: CTVolume, labels: np.ndarray, index: int, number: int) -> Dataset:
    source = volume.headers[index]
    rgb = np.repeat(
        np.clip((volume.hu[index] + 1024) / 8, 0, 255).astype(np.uint8)[..., None], 3, axis=-1
    )
    rgb[labels > 0, 2] = 255
    ds = Dataset()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.SOPInstanceUID = _uid(source.SOPInstanceUID)
    ds.StudyInstanceUID = _uid(source.StudyInstanceUID)
    ds.SeriesInstanceUID = _uid(source.SeriesInstanceUID)
    ds.PatientName = "Putyournamehere"
    ds.PatientID = "123456"
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.StudyDate, ds.StudyTime = "20260102", f"0304{number:02d}"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.Modality = "CT"
    ds.Manufacturer = ""
    ds.SeriesNumber, ds.InstanceNumber = 1, number
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 3, "RGB"
    ds.Rows, ds.Columns = rgb.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = rgb.tobytes()
    ds["PixelData"].VR = "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = "1.2.3.1"
    return ds


def _uid(source_uid: str) -> str:
    """Return a UID below 1.2.3.1, which belongs to somebody else."""
    return f"1.2.3.1.{uuid.uuid5(uuid.NAMESPACE_OID, source_uid).int}"[:64]


def hide_number(number: str, place: str, image: Dataset, results: Results) -> None:
    """Write a patient's number where a program that goes by keywords does not look for it.

    Parameters
    ----------
    number : str
    place : str
        ``"private"`` is a private element of the image, ``"text"`` a text of the report,
        ``"description"`` that of a segment of the SEG.
    image : Dataset
    results : Results
        One of these is changed.
    """
    if place == "private":
        image.private_block(0x11, "RECEPTION 1.0", create=True).add_new(1, "LO", number)
    elif place == "text":
        text = next(one for one in results.sr.iterall() if one.keyword == "TextValue")
        text.value = f"{text.value} for {number}"
    else:
        results.seg.SegmentSequence[0].SegmentDescription = f"Lung of {number}"


def with_new_uids(objects: Iterable[Dataset]) -> list[Dataset]:
    """Copy objects as a program makes them that draws each SOP Instance UID by chance."""
    copies = deepcopy(list(objects))
    for one in copies:
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"2.25.{uuid.uuid4().int}"
    return copies
