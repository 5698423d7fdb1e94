"""The image half works where pynetdicom is missing, and the network half where PyTorch is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import magician

TESTS = Path(__file__).resolve().parents[1]
NETWORK = ("pynetdicom",)
IMAGES = ("torch", "lungmask", "SimpleITK", "highdicom", "matplotlib", "ipywidgets", "anywidget")
NETWORK_ROOMS = {"upper_layer", "dimse", "client", "practice_pacs"}
# the proof asks a PACS, and so do lessons, checks and drills: they need both halves
BOTH = {
    "verify_round_trip", "RoundTrip", "lesson", "check", "Answer", "drill", "my_progress",
    "predict",
}  # fmt: skip


def run(code, folder, *, without):
    """Run code in a fresh process where the import of some packages fails; returns its output."""
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({without}))\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(TESTS), "TQDM_DISABLE": "1", "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(*, of_the_network):
    return [
        name
        for name in magician.__all__
        if name not in BOTH
        and (magician.MODULE_OF[name].split(".")[0] in NETWORK_ROOMS) == of_the_network
    ]


def test_every_name_of_the_image_half_loads_without_pynetdicom(tmp_path):
    chosen = names(of_the_network=False)
    assert {"check_conformance", "read_segmentation", "teaching_study", "Node"} <= set(chosen)
    code = f"from magician import {', '.join(chosen)}"
    assert run(code, tmp_path, without=NETWORK) == ""


def test_every_name_of_the_network_half_loads_without_the_image_half(tmp_path):
    chosen = names(of_the_network=True)
    assert {"PracticePacs", "diagnose", "get_study", "Receiver", "store"} <= set(chosen)
    code = f"from magician import {', '.join(chosen)}"
    assert run(code, tmp_path, without=(*IMAGES, "scipy", "skimage")) == ""


def test_a_series_becomes_results_without_pynetdicom(tmp_path):
    code = """
from pathlib import Path
from helpers import ct_series, lung_segmentation, truth_labels, write_series
from magician import (
    check_conformance, list_series, make_results, montage, read_segmentation, read_series,
    save, threshold_lungs, window_viewer,
)
folder = write_series(ct_series(), Path("ct"))
print([series.images for series in list_series(folder)])
volume = read_series(folder)
print(threshold_lungs(volume).shape)
segmentation = lung_segmentation(volume, truth_labels(list(volume.headers)))
results = make_results(volume, segmentation)
print((read_segmentation(results.seg, volume) == segmentation.labels).all())
print(check_conformance(results.all, sources=volume.headers).ok, len(save(results.all, "results")))
montage(volume, segmentation), window_viewer(volume, segmentation)
"""
    printed = run(code, tmp_path, without=NETWORK).splitlines()
    assert printed == ["[12]", "(12, 64, 72)", "True", "True 14"]


def test_the_network_segments_a_series_without_pynetdicom(tmp_path):
    code = """
from pathlib import Path
from helpers import ct_series, write_series
from magician import read_series, segment_lungs
volume = read_series(write_series(ct_series(slices=4), Path("ct")))
print(segment_lungs(volume, device="cpu", progress=False).labels.shape)
"""
    assert run(code, tmp_path, without=NETWORK) == "(4, 64, 72)\n"


def test_the_teaching_study_is_made_without_pynetdicom(tmp_path):
    code = "from magician import teaching_study; print(len(teaching_study().datasets))"
    assert run(code, tmp_path, without=NETWORK) == "95\n"


def test_the_network_half_works_without_torch(tmp_path):
    code = """
from helpers import ct_series
from magician import PracticePacs, Receiver, diagnose, find_studies, get_study, move_study, store
with PracticePacs() as pacs, Receiver("moved") as receiver:
    print(store(pacs.node, ct_series()).sent)
    (study,) = find_studies(pacs.node)
    print(get_study(pacs.node, study.StudyInstanceUID, "got").received)
    pacs.know(receiver.node)
    print(move_study(pacs.node, study.StudyInstanceUID, receiver).received)
    print(diagnose(pacs.node).ok)
"""
    assert run(code, tmp_path, without=IMAGES).split() == ["12", "12", "12", "True"]


@pytest.mark.parametrize("module", ["read_back", "conformance", "consistency"])
def test_checks_of_objects_need_no_network(module, tmp_path):
    run(f"import magician.checks.{module}", tmp_path, without=NETWORK)
