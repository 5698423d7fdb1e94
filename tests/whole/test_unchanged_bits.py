"""The teaching study and its results are, bit for bit, what they have always been.

A digest that changes means that two different objects now have the same UID. Whoever wants other
objects raises the teaching study's `REVISION`, or the library's version, and then the digests.
"""

import hashlib
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from pynetdicom.dsutils import encode

from magician import LungSegmentation, make_results, read_series, save, teaching_study

NOW = datetime(2026, 1, 2, 3, 4, 5, 678)
# Packages that compute pixels, draw letters or write objects: another version may change bits
DECIDING = ("numpy", "scipy", "pillow", "pydicom", "highdicom", "scikit-image")

STUDY = {
    "UIDs": "213fa8e7efc99ba941838537fcc2f08a4dce94c525856a5aa808656ff91f2932",
    "objects": "7601a872e837d5da422f6ef918883c930c76d42819e1f22ffd6fac30877b111f",
    "truth": "7e70b24165ce061029d2b266a901d69c0982fb86ca27a6e7329e47e5eeec9aaa",
}
VOLUME = "8da0fc39a2228ffa0a66e6ec6fd3477590622ab5ba36ad58b6c8ce74a4cb6810"
RESULTS = {
    "": {
        "UIDs": "4f21c81e32d3cebb9d88ee565ffb95234dbe875101d46df117a90f604d193813",
        "SEG": "9fa39cc5e83f65321eb560a2c470158a61289452967a2a8f4293cd33e1678399",
        "SR": "cdd427af0bb3d5b79335098b76cfb0de71eb575e9c690ef771fbcce0892db61e",
        "SC": "4dd737412f4b8f385f112072c507e01b0aa8b45aa32bb6b1e3ec721c33b70a47",
        "CT": "818069cbcc24548689c669f3ef9a2fd9759aeb3117a258f9d39b9f9db9a434bc",
    },
    "Ada": {
        "UIDs": "849ef0f815aaac460e4b469c2724557a7917b6d9e2d2d5453ec472055585025d",
        "SEG": "22dd7588686b113172bcb8fef5590ea136517d03e4b7c86de379ae66ee7ccb89",
        "SR": "5fb344420143e8c52cf20ec69113bc89416ef58944691f8e74aee4625a00defb",
        "SC": "f43f6c3c425b09c1b0203fa9b386108f3e87910da9e2fa965c832447add6d631",
        "CT": "18494df8a839036363f809b5d429280590ea35ec9fdfefc76a0073005027fe10",
    },
}


def require_tested_versions() -> None:
    lines = (
        (Path(__file__).resolve().parents[2] / "constraints.txt").read_text().lower().splitlines()
    )
    tested = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    other = [name for name in DECIDING if version(name) != tested[name].split()[0]]
    if other:
        pytest.skip(f"other versions than the tested ones: {', '.join(other)}")


def digest(parts) -> str:
    running = hashlib.sha256()
    for part in parts:
        running.update(part)
    return running.hexdigest()


def digest_of(datasets) -> str:
    """Of the data sets as they are sent, without what a program writes into a file before them."""
    syntaxes = [dataset.file_meta.TransferSyntaxUID for dataset in datasets]
    return digest(
        syntax.encode() + encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian)
        for dataset, syntax in zip(datasets, syntaxes, strict=True)
    )


@pytest.fixture(scope="module")
def study():
    require_tested_versions()
    return teaching_study(progress=False)


@pytest.fixture(scope="module")
def case(study, tmp_path_factory):
    """The volume of the teaching study, and its truth as a segmentation."""
    folder = tmp_path_factory.mktemp("study")
    save(study.datasets, folder, progress=False)
    volume = read_series(folder, progress=False)
    who = ("truth", "1", "ab" * 32, "cpu", "fp32", 0.0, "nothing")
    return volume, LungSegmentation(study.truth, volume.spacing_mm, *who)


def test_the_teaching_study(study):
    found = {
        "UIDs": digest(dataset.SOPInstanceUID.encode() + b"\n" for dataset in study.datasets),
        "objects": digest_of(study.datasets),
        "truth": digest([study.truth.tobytes()]),
    }
    assert found == STUDY


def test_the_volume_that_is_read_from_it(case):
    assert digest([case[0].hu.tobytes(), case[0].affine.tobytes()]) == VOLUME


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_the_results_of_its_truth(case, learner):
    results = make_results(*case, learner=learner, include_ct=True, now=NOW, progress=False)
    found = {
        "UIDs": digest(dataset.SOPInstanceUID.encode() + b"\n" for dataset in results.all),
        "SEG": digest_of([results.seg]),
        "SR": digest_of([results.sr]),
        "SC": digest_of(results.overlay),
        "CT": digest_of(results.ct),
    }
    assert found == RESULTS[learner]
