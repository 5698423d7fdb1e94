"""Our SEG and SR as dcmqi reads them: another implementation, in C++ on DCMTK and ITK, that nobody
here wrote.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import (
    ORIENTATIONS,
    ct_series,
    lung_segmentation,
    require_program,
    truth_labels,
    write_series,
)
from pydicom import Dataset

from magician.ct.volume import CTVolume, read_series
from magician.results.make import make_results, save

RIGHT, LEFT = "3341006", "44029006"  # SNOMED CT


def run(program: str, *arguments: object) -> str:
    command = [require_program(program), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def masks_by_dcmqi(seg: Dataset, folder: Path) -> dict[str, np.ndarray]:
    """Let dcmqi turn a SEG into images.

    Returns
    -------
    dict of segment code to array, shape (voxels, 4): x, y, z in LPS mm and label of each voxel of
    the image
    """
    import SimpleITK as sitk  # noqa: N813

    path = save([seg], folder)[0]
    run(
        "segimage2itkimage",
        "--inputDICOM",
        path,
        "--outputDirectory",
        folder,
        "--outputType",
        "nrrd",
        "--prefix",
        "s",
    )
    described = json.loads((folder / "s-meta.json").read_text())["segmentAttributes"]
    found = {}
    for number, segments in enumerate(described, start=1):
        (segment,) = segments
        # NRRD says "left-posterior-superior" itself
        image = sitk.ReadImage(str(folder / f"s-{number}.nrrd"))
        labels = sitk.GetArrayFromImage(image)
        assert set(np.unique(labels)) <= {0, segment["labelID"]}
        steps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        index = np.indices(labels.shape).reshape(3, -1)[::-1]  # ITK counts columns first
        points = (steps @ index).T + image.GetOrigin()
        found[segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"]] = np.c_[
            points, labels.ravel() > 0
        ]
    return found


def mask_on_grid(voxels: np.ndarray, volume: CTVolume) -> np.ndarray:
    """Put every voxel of dcmqi's image where it lies on the CT; all of them must lie on the grid,
    and fill it.
    """
    inverse = np.linalg.inv(volume.affine)
    exact = voxels[:, :3] @ inverse[:3, :3].T + inverse[:3, 3]
    place = np.rint(exact).astype(int)
    assert np.abs(exact - place).max() < 0.01
    mask = np.full(volume.hu.shape, 255, np.uint8)
    mask[tuple(place.T)] = voxels[:, 3]
    assert mask.max() == 1  # no voxel of the CT was left out
    return mask


@pytest.fixture(scope="module", params=[*ORIENTATIONS, "head first"])
def case(request, tmp_path_factory) -> SimpleNamespace:
    """A small series, in every orientation and numbered from head to feet, and its results."""
    datasets = ct_series(
        orientation=ORIENTATIONS.get(request.param, ORIENTATIONS["axial"]), centre_mm=(4, -6, -147)
    )
    if request.param == "head first":
        datasets.reverse()
        for number, ds in enumerate(datasets, start=1):
            ds.InstanceNumber = number
    volume = read_series(
        write_series(datasets, tmp_path_factory.mktemp("ct")), datasets[0].SeriesInstanceUID
    )
    labels = truth_labels(list(volume.headers))
    return SimpleNamespace(
        volume=volume,
        labels=labels,
        results=make_results(volume, lung_segmentation(volume, labels)),
    )


@pytest.mark.parametrize(("code", "label"), [(RIGHT, 1), (LEFT, 2)], ids=["right", "left"])
def test_dcmqi_finds_each_lung_at_its_place(code, label, case, tmp_path):
    voxels = masks_by_dcmqi(case.results.seg, tmp_path)[code]
    assert np.array_equal(mask_on_grid(voxels, case.volume), case.labels == label)


def test_dcmqi_finds_the_right_lung_on_the_patients_right(case, tmp_path):
    found = masks_by_dcmqi(case.results.seg, tmp_path)
    right, left = (found[code][found[code][:, 3] > 0, 0].mean() for code in (RIGHT, LEFT))
    assert right < left - 30  # x grows to the left


@pytest.fixture
def report(case, tmp_path) -> dict:
    """What dcmqi reads in the SR."""
    path = save([case.results.sr], tmp_path)[0]
    run("tid1500reader", "--inputDICOM", path, "--outputMetadata", tmp_path / "sr.json")
    return json.loads((tmp_path / "sr.json").read_text())


def test_dcmqi_reads_the_volumes(report, case):
    ml = {
        group["Finding"]["CodeValue"]: item
        for group in report["Measurements"]
        for item in group["measurementItems"]
        if item["quantity"]["CodeMeaning"] == "Volume"
    }
    assert {item["units"]["CodeValue"] for item in ml.values()} == {"mL"}
    for code, label in ((RIGHT, 1), (LEFT, 2)):
        assert float(ml[code]["value"]) == pytest.approx(
            (case.labels == label).sum() * 3 * 1.5 * 1.5 / 1000, rel=1e-5
        )


def test_dcmqi_follows_the_report_to_the_segments(report, case):
    groups = {group["Finding"]["CodeValue"]: group for group in report["Measurements"]}
    assert {group["segmentationSOPInstanceUID"] for group in groups.values()} == {
        case.results.seg.SOPInstanceUID
    }
    for segment in case.results.seg.SegmentSequence:
        group = groups[segment.SegmentedPropertyTypeCodeSequence[0].CodeValue]
        assert group["ReferencedSegment"] == segment.SegmentNumber
        assert group["TrackingUniqueIdentifier"] == segment.TrackingUID


def test_dcmqi_reads_which_side(report):
    sides = {
        group["Finding"]["CodeValue"]: group["Laterality"]["CodeMeaning"]
        for group in report["Measurements"]
    }
    assert sides == {RIGHT: "Right", LEFT: "Left"}


def test_dcmqi_would_show_a_mirrored_mask(case, tmp_path):
    """Otherwise the tests above would prove nothing."""
    mirrored = np.flip(case.labels, 2)
    seg = make_results(case.volume, lung_segmentation(case.volume, mirrored)).seg
    voxels = masks_by_dcmqi(seg, tmp_path)[RIGHT]
    assert not np.array_equal(mask_on_grid(voxels, case.volume), case.labels == 1)
