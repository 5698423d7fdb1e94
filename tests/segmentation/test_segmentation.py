"""Segmentation: sides, orientations, refused input, weights that are not what they claim to be,
real CT.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
from helpers import (
    CORONAL,
    ORIENTATIONS,
    ct_series,
    lung_segmentation,
    real_data,
    truth_labels,
    write_series,
)

from magician.ct.volume import CTVolume, read_series
from magician.errors import NoLungsFound, SegmentationError, WeightsUnavailable
from magician.segmentation import networks
from magician.segmentation.lungs import dice, segment_lungs, volumes_ml

AXIAL_AFFINE = np.array([[0, 0, 1.5, 0], [0, 1.5, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]], float)
TILTED = (1, 0, 0, 0, 0.7660444, 0.6427876)  # rows turned by 40 degrees


def volume_of(hu: np.ndarray, affine: np.ndarray = AXIAL_AFFINE) -> CTVolume:
    spacing = tuple(np.linalg.norm(affine[:3, :3], axis=0).tolist())
    return CTVolume(hu=np.asarray(hu, np.float32), headers=(), spacing_mm=spacing, affine=affine)


def chest(folder, orientation=ORIENTATIONS["axial"]) -> tuple[CTVolume, np.ndarray]:
    """The small phantom of the helpers, read from files, and its true labels in the same order."""
    side = {"slices": 12, "rows": 64, "columns": 72, "spacing_mm": (3.0, 1.5, 1.5)}
    if orientation is CORONAL:
        side = {"slices": 56, "rows": 24, "columns": 72, "spacing_mm": (1.5, 2.0, 1.5)}
    datasets = ct_series(orientation=orientation, **side)
    volume = read_series(write_series(datasets, folder), datasets[0].SeriesInstanceUID)
    order = np.argsort(
        [
            np.dot(np.linalg.inv(volume.affine) @ [*ds.ImagePositionPatient, 1], [1, 0, 0, 0])
            for ds in datasets
        ]
    )
    return volume, truth_labels(datasets)[order]


def agreement(labels: np.ndarray, truth: np.ndarray) -> float:
    return min(dice(labels == side, truth == side) for side in (1, 2))


def run(volume: CTVolume, **options):
    return segment_lungs(volume, **({"precision": "fp32", "progress": False} | options))


@pytest.fixture(scope="module")
def axial(tmp_path_factory):
    """The small phantom, its true labels, and what the network makes of it."""
    volume, truth = chest(tmp_path_factory.mktemp("axial"))
    return volume, truth, run(volume, device="cpu")


# ------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("orientation", ["axial", "prone", "flipped", "oblique"])
def test_right_is_the_patients_right_however_the_slices_lie(tmp_path, orientation):
    """The phantom is two ellipsoids, unlike any chest: it can test sides, not quality."""
    volume, truth = chest(tmp_path, ORIENTATIONS[orientation])
    labels = run(volume).labels
    for side, other in [(1, 2), (2, 1)]:
        assert dice(labels == side, truth == side) > 0.5
        assert dice(labels == side, truth == other) < 0.05


def test_labels_of_a_flipped_volume_are_the_flipped_labels(axial):
    volume, expected = axial[0], axial[2].labels
    turned = volume.affine.copy()
    turned[:, 3] += turned[:, 2] * (volume.hu.shape[2] - 1)
    turned[:, 2] *= -1
    mirrored = run(volume_of(volume.hu[:, :, ::-1], turned)).labels
    assert np.array_equal(mirrored[:, :, ::-1], expected)


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 0, 1)], ids=["coronal", "sagittal"])
def test_slices_of_another_plane_are_turned_and_the_labels_turned_back(axial, axes):
    volume, expected = axial[0], axial[2].labels
    other = run(volume_of(volume.hu.transpose(axes), volume.affine[:, [*axes, 3]])).labels
    assert np.array_equal(other, expected.transpose(axes))


def test_a_coronal_series_read_from_files(tmp_path):
    volume, truth = chest(tmp_path, CORONAL)
    assert agreement(run(volume).labels, truth) > 0.6


def test_result_says_what_ran(axial):
    result = axial[2]
    assert (result.model_name, result.device, result.precision) == ("bundled", "cpu", "fp32")
    assert len(result.weights_sha256) == 64
    assert result.model_version[0].isdigit()
    assert result.labels.dtype == np.uint8
    assert result.seconds > 0


def test_batch_size_changes_nothing(axial):
    volume, _, result = axial
    assert np.array_equal(run(volume, batch_size=5).labels, result.labels)


def test_the_source_volume_is_left_as_it_was(axial):
    volume = axial[0]
    before = volume.hu.copy()
    run(volume)
    assert np.array_equal(volume.hu, before)


def test_bf16_is_honoured_and_close(axial):
    volume, _, full = axial
    half = run(volume, precision="bf16")
    assert half.precision == "bf16"
    assert agreement(half.labels, full.labels) > 0.95


def test_teaching_study_with_an_unseen_seed(tmp_path):
    from magician.teaching.phantom import teaching_study

    study = teaching_study(seed=5)
    volume = read_series(write_series(study.datasets, tmp_path))
    assert agreement(run(volume).labels, study.truth) >= 0.95


def test_real_chest_ct_agrees_with_its_reference_and_sides_are_right(real_chest_ct):
    import SimpleITK as sitk  # noqa: N813

    reference = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(real_chest_ct.parent / "reference_mask.nii.gz")))
        > 0
    )
    labels = run(read_series(real_chest_ct)).labels
    assert dice(labels > 0, reference) > 0.93
    middle = np.nonzero(reference)[2].mean()  # columns run to the patient's left
    assert (np.nonzero(labels == 1)[2] < middle).mean() > 0.97
    assert (np.nonzero(labels == 2)[2] > middle).mean() > 0.97


@pytest.mark.parametrize("case", ["lidc-idri-0001", "lidc-idri-0002", "lidc-idri-0003"])
def test_part_of_a_real_chest_ct(case):
    import SimpleITK as sitk  # noqa: N813

    folder = real_data(case)
    reference = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "reference_mask.nii.gz"))) > 0
    assert dice(run(read_series(folder)).labels > 0, reference) > 0.93


# ------------------------------------------------------------------ input that is refused


def noise(shape=(6, 64, 64), low=-1000, high=200) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, shape)


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        (noise((2, 64, 64)), "at least 3"),
        (noise((6, 16, 64)), "too small"),
        (noise(low=0, high=2000), "Rescale"),
        (noise(low=0, high=255), "Rescale"),
        (np.full((6, 64, 64), -1000), "Rescale"),
        (np.where(noise() > 190, np.nan, noise()), "not numbers"),
        (np.where(noise() > 190, np.inf, noise()), "not numbers"),
    ],
)
def test_not_a_chest_ct_in_hounsfield_units(hu, words):
    with pytest.raises(SegmentationError, match=words):
        run(volume_of(hu))


def test_slices_too_oblique(tmp_path):
    volume = read_series(write_series(ct_series(orientation=TILTED), tmp_path))
    with pytest.raises(SegmentationError, match="40 degrees"):
        run(volume)


def test_affine_without_geometry():
    with pytest.raises(SegmentationError, match="affine"):
        run(volume_of(noise(), np.zeros((4, 4))))


def test_no_lungs_in_the_field_of_view():
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    body = np.where(rows**2 + columns**2 < 0.6, 40.0, -1000.0)
    with pytest.raises(NoLungsFound, match="No lungs"):
        run(volume_of(np.repeat(body[None], 8, 0)))


def test_one_lung_only_is_reported_in_the_log(axial, caplog):
    volume, truth, _ = axial
    with caplog.at_level(logging.WARNING, "magician"):
        result = run(volume_of(np.where(truth == 2, 40, volume.hu), volume.affine))
    assert volumes_ml(result)["right"] > 10
    assert "left lung" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"model": "R232"}, {"device": "tpu"}, {"precision": "int8"}, {"batch_size": 0}]
)
def test_an_option_that_does_not_exist(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        run(volume_of(noise()), **wrong)


def test_gpu_asked_for_where_there_is_none():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA GPU")
    with pytest.raises(SegmentationError, match="no CUDA GPU"):
        run(volume_of(noise()), device="cuda")


# ------------------------------------------------------------------ weights


@pytest.mark.parametrize("model", ["bundled", "R231"])
def test_no_such_weights_file(model, tmp_path):
    with pytest.raises(WeightsUnavailable, match="no file"):
        run(volume_of(noise()), model=model, weights=tmp_path / "missing.pth")


@pytest.mark.parametrize("model", ["bundled", "R231"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", pickle.dumps({"a": 1})])
def test_weights_file_that_is_something_else(model, content, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(WeightsUnavailable, match="does not hold weights"):
        run(volume_of(noise()), model=model, weights=path)


def test_weights_of_another_network(tmp_path):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"last.weight": torch.zeros(3, 16, 1, 1)}, path)
    with pytest.raises(WeightsUnavailable, match="does not hold weights"):
        run(volume_of(noise()), weights=path)


def test_bundled_weights_keep_to_their_model_card():
    import hashlib

    card = networks.BUNDLED.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    assert hashlib.sha256(networks.BUNDLED.read_bytes()).hexdigest() in card


# ------------------------------------------------------------------ good manners


def test_warnings_filters_are_untouched_and_nothing_is_printed(axial, tmp_path):
    """In a process of its own, so that lungmask is really imported there for the first time."""
    volume = axial[0]
    # as large as a chest
    np.savez(tmp_path / "volume.npz", hu=volume.hu[2:10], affine=volume.affine * 2)
    code = """if True:
        import sys, warnings
        import numpy as np
        from magician.segmentation.lungs import segment_lungs
        from magician.ct.volume import CTVolume
        assert not {"torch", "lungmask", "scipy", "SimpleITK"} & set(sys.modules), "heavy import"
        import torch
        file = np.load(sys.argv[1])
        spacing_mm = (6.0, 3.0, 3.0)
        volume = CTVolume(file["hu"], headers=(), spacing_mm=spacing_mm, affine=file["affine"])
        before = list(warnings.filters)
        segment_lungs(volume, progress=False)
        assert "lungmask" in sys.modules
        assert list(warnings.filters) == before, "filters changed"
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "volume.npz")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_progress_bar_counts_slices(axial, capsys):
    run(axial[0], progress=True)
    shown = capsys.readouterr()
    assert "12/12" in shown.err
    assert shown.out == ""


# ------------------------------------------------------------------ figures


def test_volumes_in_ml(axial):
    volume = axial[0]
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[2:4, :10, :10], labels[5, :10, :10] = 1, 2
    segmentation = lung_segmentation(volume, labels, spacing_mm=(5.0, 0.5, 2.0))
    assert volumes_ml(segmentation) == pytest.approx({"right": 1.0, "left": 0.5, "total": 1.5})


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 0, 0], [0, 0, 1, 1], 0.0),
        ([1, 1, 1, 0], [0, 0, 1, 0], 0.5),
        ([0], [0], 1.0),
    ],
)
def test_dice_of_known_masks(a, b, expected):
    assert dice(np.array(a, bool), np.array(b, bool)) == expected


def test_dice_of_masks_that_do_not_belong_together():
    with pytest.raises(ValueError, match="shapes"):
        dice(np.ones((2, 2), bool), np.ones((4,), bool))
    with pytest.raises(ValueError, match="labels == 1"):
        dice(np.ones((2, 2), np.uint8), np.ones((2, 2), bool))


def test_segmentation_can_not_be_changed_by_mistake(axial):
    with pytest.raises(dataclasses.FrozenInstanceError):
        axial[2].seconds = 1.0
