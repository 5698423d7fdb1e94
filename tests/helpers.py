"""What several test files need: where the real data lie, which programs are there, and a small CT
series.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1, 0, 0, 0, 1, 0)
PRONE = (-1, 0, 0, 0, -1, 0)
FLIPPED = (1, 0, 0, 0, -1, 0)  # the slice normal, row x column, points to the feet
CORONAL = (1, 0, 0, 0, 0, -1)
# turned by 5 and by about 15 degrees
OBLIQUE = (0.9961947, 0.0871557, 0, -0.0840960, 0.9612230, 0.2625480)
ORIENTATIONS = {
    "axial": AXIAL,
    "prone": PRONE,
    "flipped": FLIPPED,
    "coronal": CORONAL,
    "oblique": OBLIQUE,
}


def interop_required() -> bool:
    """Whether a missing program is a failure and not a reason to skip."""
    return os.environ.get("MAGICIAN_REQUIRE_INTEROP") == "1"


def require_program(name: str) -> str:
    """Return the path of a program; where it is missing, skip (or fail, if interoperation is
    required).
    """
    # those that pip installs
    found = shutil.which(name) or shutil.which(name, path=Path(sys.executable).parent)
    if found is None:
        reason = f"the program {name} is not installed"
        if interop_required():
            pytest.fail(f"{reason}, and MAGICIAN_REQUIRE_INTEROP=1")
        pytest.skip(reason)
    return found


def real_data(*parts: str) -> Path:
    """Return a folder of the real CT data, or skip.

    They are looked for in MAGICIAN_REAL_DATA, else in ../shared/data beside the checkout.
    """
    checkout = Path(__file__).resolve().parents[1]
    root = Path(os.environ.get("MAGICIAN_REAL_DATA") or checkout.parent / "shared" / "data")
    folder = root.joinpath(*parts)
    if not folder.exists():
        pytest.skip(
            f"the real CT data are not here ({folder.name}); set MAGICIAN_REAL_DATA to their folder"
        )
    return folder


def dciodvfy(path: Path) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings that dciodvfy has about one file."""
    command = [require_program("dciodvfy"), str(path)]
    output = subprocess.run(command, capture_output=True, check=False, timeout=60).stderr
    lines = output.decode("utf-8", errors="replace").splitlines()
    return [x for x in lines if x.startswith("Error")], [
        x for x in lines if x.startswith("Warning")
    ]


def dcentvfy(paths: list[Path]) -> list[str]:
    """Return the errors that dcentvfy has about files that belong together."""
    command = [require_program("dcentvfy"), *map(str, paths)]
    result = subprocess.run(command, capture_output=True, check=False, timeout=60)
    lines = (result.stdout + result.stderr).decode("utf-8", errors="replace").splitlines()
    return [x for x in lines if x.startswith("Error")]


def lung_truth(points: np.ndarray) -> np.ndarray:
    """Return 1 in the right and 2 in the left lung of the small phantom, for points (..., 3) in LPS
    mm.
    """

    def ellipsoid(centre, radii):
        return (((points - np.array(centre)) / np.array(radii)) ** 2).sum(axis=-1) <= 1

    labels = np.zeros(points.shape[:-1], np.uint8)
    labels[ellipsoid((-20, 0, -150), (15, 22, 16))] = 1  # LPS: x grows to the patient's left
    labels[ellipsoid((21, 3, -152), (12, 20, 13))] = 2
    return labels


def voxel_points(datasets: list[Dataset]) -> np.ndarray:
    """Return the patient coordinates of voxel centres in mm, (slices, rows, columns, 3)."""
    points = []
    for ds in datasets:
        along_row, along_column = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        row_step, column_step = map(float, ds.PixelSpacing)
        row, column = np.mgrid[: ds.Rows, : ds.Columns][..., None]
        origin = np.array(ds.ImagePositionPatient, float)
        points.append(origin + row * row_step * along_column + column * column_step * along_row)
    return np.array(points)


def truth_labels(datasets: list[Dataset]) -> np.ndarray:
    """Return the true lung labels of a series made by `ct_series`, in the order of its
    datasets.
    """
    return lung_truth(voxel_points(datasets))


def ct_series(
    *,
    slices: int = 12,
    rows: int = 64,
    columns: int = 72,
    spacing_mm: tuple[float, float, float] = (3.0, 1.5, 1.5),
    orientation: tuple[float, ...] = AXIAL,
    centre_mm: tuple[float, float, float] = (0.0, 0.0, -150.0),
    accession_number: str = "A-1",
    seed: int = 0,
) -> list[Dataset]:
    """Make a small CT series of a body with two lungs, in order along the slice normal.

    The anatomy is fixed in the patient (LPS, mm), so any orientation and spacing shows the same
    lungs: the right one larger and higher. Values are stored unsigned with an intercept of -1024.
    """
    axes = np.array(orientation, float).reshape(2, 3)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    normal = np.cross(axes[0], axes[1])
    corner = (
        np.array(centre_mm)
        - axes[0] * spacing_mm[2] * (columns - 1) / 2
        - axes[1] * spacing_mm[1] * (rows - 1) / 2
        - normal * spacing_mm[0] * (slices - 1) / 2
    )
    datasets = []
    for i in range(slices):
        ds = _ct_header(i, seed)
        ds.AccessionNumber = accession_number
        ds.Rows, ds.Columns = rows, columns
        ds.PixelSpacing = [spacing_mm[1], spacing_mm[2]]
        ds.SliceThickness = spacing_mm[0]
        ds.ImageOrientationPatient = [round(x, 10) for x in axes.ravel().tolist()]
        ds.ImagePositionPatient = [
            round(x, 6) for x in (corner + i * spacing_mm[0] * normal).tolist()
        ]
        datasets.append(ds)
    points = voxel_points(datasets)
    hu = np.where((points[..., 0] / 46) ** 2 + (points[..., 1] / 40) ** 2 <= 1, 40, -1000)
    hu = np.where(lung_truth(points) > 0, -850, hu)
    hu = hu + np.random.default_rng(seed).integers(-20, 21, hu.shape)
    for ds, plane in zip(datasets, hu, strict=True):
        set_stored_values(ds, plane + 1024)
    return datasets


def set_stored_values(ds: Dataset, values: np.ndarray) -> None:
    """Replace the pixel data of an uncompressed 16-bit dataset, shape (rows, columns)."""
    dtype = np.int16 if ds.PixelRepresentation else np.uint16
    ds.PixelData = np.clip(values, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype).tobytes()
    ds["PixelData"].VR = "OW"


def write_series(datasets: list[Dataset], folder: Path) -> Path:
    """Write datasets into a folder under names that say nothing about their order, and return the
    folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for ds in datasets:
        shuffled = generate_uid(entropy_srcs=[ds.SOPInstanceUID])[-12:]
        ds.save_as(folder / f"{shuffled}.dcm", enforce_file_format=True)
    return folder


def _uid(*parts: object) -> str:
    return generate_uid(entropy_srcs=["magician tests", *map(str, parts)])


def _ct_header(index: int, seed: int) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = _uid(seed, "image", index)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200102"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101112"
    ds.Modality = "CT"
    ds.Manufacturer = "Test"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "Chest"
    ds.SeriesDescription = "Small phantom"
    ds.PatientName = "Phantom^Small"
    ds.PatientID = f"SMALL-{seed}"
    ds.PatientBirthDate = "19600101"
    ds.PatientSex = "O"
    ds.PatientAge = "060Y"
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Never had a patient"
    ds.BodyPartExamined = "CHEST"
    ds.KVP = 120
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = _uid(seed, "study")
    ds.SeriesInstanceUID = _uid(seed, "series")
    ds.StudyID = "1"
    ds.SeriesNumber = 2
    ds.AcquisitionNumber = 1
    ds.InstanceNumber = index + 1
    ds.FrameOfReferenceUID = _uid(seed, "frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.RescaleIntercept = -1024
    ds.RescaleSlope = 1
    ds.RescaleType = "HU"
    return ds


def lung_segmentation(volume, labels: np.ndarray, **changes: object):
    """Return a segmentation, as the network gives it, with these labels on a volume's grid."""
    from magician.segmentation.lungs import LungSegmentation

    facts = {
        "labels": labels,
        "spacing_mm": volume.spacing_mm,
        "model_name": "test-model",
        "model_version": "1.0",
        "weights_sha256": "0" * 64,
        "device": "cpu",
        "precision": "fp32",
        "seconds": 0.0,
    }
    return LungSegmentation(**(facts | changes))
