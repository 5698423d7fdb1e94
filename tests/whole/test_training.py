"""Training and the benchmarks run, in miniature: what they find out is no part of these tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from magician.segmentation.networks import BUNDLED

REPOSITORY = Path(__file__).resolve().parents[2]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", str(REPOSITORY / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)


def test_training_goes_on_from_its_checkpoint_and_writes_weights_that_load(tmp_path):
    import torch

    from magician.segmentation.networks import load_network

    options = [
        "--phantoms",
        2,
        "--measure",
        0,
        "--work",
        tmp_path / "work",
        "--out",
        tmp_path / "out",
    ]
    run("training/train_lung_unet.py", "--steps", 2, *options)
    weights = tmp_path / "out" / "lung_unet.safetensors"
    first = weights.read_bytes()
    again = run("training/train_lung_unet.py", "--steps", 3, *options)
    assert "going on after step 2" in again.stderr
    assert weights.read_bytes() != first
    assert not list(tmp_path.rglob("*.part"))
    network = load_network("bundled", weights, torch.device("cpu"), False)
    assert network.version == "0.1.0"


@pytest.fixture(scope="module")
def phantoms():
    sys.path.append(str(REPOSITORY / "training"))
    from chest_phantoms import Phantom

    sys.path.remove(str(REPOSITORY / "training"))
    return Phantom


def test_a_training_phantom_is_repeatable_and_its_sides_are_right(phantoms):
    hu, labels = phantoms(8).render()
    again = phantoms(8).render()
    assert np.array_equal(hu, again[0])
    assert np.array_equal(labels, again[1])
    assert hu.shape == labels.shape
    assert hu.dtype == np.int16
    columns = [np.nonzero(labels == side)[2].mean() for side in (1, 2)]
    assert columns[0] < columns[1]  # columns run from the patient's right to the left
    healthy, same_lungs = phantoms(8).render(disease=False)
    assert np.array_equal(labels, same_lungs)
    assert (healthy[labels > 0] < -500).mean() > (hu[labels > 0] < -500).mean()


def test_training_phantoms_hold_fat_gas_and_armpits_of_every_extent_outside_their_lungs(phantoms):
    shares = []
    for seed in (5, 6, 7, 8):  # of thin slices, with shoulders and abdomen in view
        phantom = phantoms(seed)
        hu, labels = phantom.render(disease=False)
        assert not labels[(phantom.dome <= 0) | (phantom.cage >= 0)].any()
        assert np.median(hu[labels > 0]) < -600
        smooth = ndimage.uniform_filter(hu.astype(np.float32), (0, 7, 7))  # evens out noise
        fat = (smooth > -150) & (smooth < -50)
        abdomen = (phantom.dome < -8) & (phantom.cage < -8)
        armpits = (phantom.cage > phantom.ribs + 4) & (phantom.skin > phantom.fat + 8)
        armpits &= np.abs(phantom.z - phantom.height + 20) < 60
        shares.append((fat[abdomen].mean(), (smooth[abdomen] < -500).mean(), fat[armpits].mean()))
    least, most = np.min(shares, 0), np.max(shares, 0)
    assert (least < (0.25, 0.02, 0.05)).all(), least
    assert (most > (0.5, 0.15, 0.2)).all(), most


def test_accuracy_is_measured_and_its_model_card_written(tmp_path):
    measured = tmp_path / "accuracy.json"
    shown = run(
        "benchmarks/accuracy.py",
        "--seeds",
        1,
        "--json",
        measured,
        "--pictures",
        tmp_path / "pictures",
    )
    assert "worst" in shown.stdout
    figures = json.loads(measured.read_text())
    ill, healthy = figures["teaching_ill"][0], figures["teaching_healthy"][0]
    assert min(ill["right"], ill["left"], healthy["right"], healthy["left"]) > 0.95
    assert ill["threshold"] < ill["both"]  # a threshold does not find the consolidation
    assert (tmp_path / "pictures" / "teaching-study-0-ill.png").exists()
    with Image.open(tmp_path / "pictures" / "worst_slices.jpg") as worst:
        assert worst.size == (4 * 256, 2 * 256)  # one patient, ill and healthy, four slices each
    copy = tmp_path / BUNDLED.name
    copy.write_bytes(BUNDLED.read_bytes())
    run("training/model_card.py", measured, "--weights", copy)
    card = (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"| 0 | {ill['right']:.3f} | {ill['left']:.3f} |" in card


def test_inference_is_measured_beside_lungmask():
    shown = run("benchmarks/inference.py", "--slices", 3, "--rounds", 1, "--threads", 1).stdout
    assert "masks of ours and of stock lungmask: identical" in shown
    assert "stock R231 / our R231" in shown
    memory = {
        line[2:30].strip(): float(line.split()[-2])
        for line in shown.splitlines()
        if line.endswith(" GB")
    }
    assert 0.2 < memory["R231"] < 3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_class_is_measured():
    shown = run("benchmarks/classroom.py", "--slices", 3, "--learners", 1, 2).stdout
    rows = [[float(figure) for figure in line.split()] for line in shown.splitlines()[-2:]]
    assert [row[0] for row in rows] == [1, 2]
    assert all(20 < at_rest <= peak < 1000 for *_, at_rest, peak in rows)
