"""The teaching study and its results are, bit for bit, what they have always been.

A digest that changes means that two different objects now have the same UID. Whoever wants other
objects raises the teaching study's `REVISION`, or the library's version, and then the digests.

Run as a program, this file prints the digests.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest

NOW = datetime(2026, 1, 2, 3, 4, 5, 678)
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
# Packages that compute pixels, draw letters or write objects: another version may change bits
DECIDING = ("numpy", "scipy", "pillow", "pydicom", "highdicom", "scikit-image")
# With these, numpy rounds differently: without them, all common processors agree
PROCESSOR_FEATURES = "X86_V4 AVX512_ICL AVX512_SPR"

EXPECTED = {
    "study's UIDs": "141c7b01f4408f9873d1470befad381d8a9e0a3459485f32267cdb2d8ab244df",
    "study": "7e53861d8375d2a84168002b22fcf967bee4051a4834c9a2e15865e584c9ba91",
    "truth": "7e70b24165ce061029d2b266a901d69c0982fb86ca27a6e7329e47e5eeec9aaa",
    "volume": "431cdd14c5f5eb7ad5a78c63a0e085ca64aefedc1974b8cf6063f8f555e37856",
    "patient's UIDs": "4825b08ef5914fba5a73bd8ed35562ca6db8034721cbc2dbe14d3f1a50a50c2c",
    "patient's SEG": "6da772cc8aa71a5bd0e952a74bb515d53a09cd1fdf170af8789186a0479dad5e",
    "patient's SR": "b279d682510b70ef353f19105f44c0805c99dbd3825a832a3e28c458d5659349",
    "patient's SC": "92e1b383c1710ec997b597473d49a33797ec20e04277630ae02b7b53fe5d3600",
    "patient's CT": "f391ebc75cdd5b79da95c8bb90799a51f350603dca0468bb4bbab032fc41207f",
    "Ada's UIDs": "eb80ea1930db9cb52e2d48be9e28d5b839f5a584af664339aa2f3ae9b1e57d22",
    "Ada's SEG": "5a055619b22d512ac16d1cacf69510c6867b28e59e459eaee147968f3be18c31",
    "Ada's SR": "d0e54ed26d87fc816244b1da553cb1f103171cd7c6c1448b36a168f0013f73ee",
    "Ada's SC": "f67566d7033a155a6f31bfe06e713ddf787089e8d2489ff566a20903db6aa0bb",
    "Ada's CT": "377494134e31d23da814deccdc9f6d28a98f68702b8febd5654606f07937ae6e",
}


def digest(parts) -> str:
    running = hashlib.sha256()
    for part in parts:
        running.update(part)
    return running.hexdigest()


def digest_of_uids(datasets) -> str:
    return digest(dataset.SOPInstanceUID.encode() + b"\n" for dataset in datasets)


def digest_of(datasets) -> str:
    """Of the data sets as they are sent, without what a program writes into a file before them."""
    from pynetdicom.dsutils import encode

    syntaxes = [dataset.file_meta.TransferSyntaxUID for dataset in datasets]
    return digest(
        syntax.encode() + encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian)
        for dataset, syntax in zip(datasets, syntaxes, strict=True)
    )


def all_digests() -> dict[str, str]:
    """Make the teaching study, read it, make results of its truth for two patients; digest all."""
    from magician import LungSegmentation, make_results, read_series, save, teaching_study

    study = teaching_study(progress=False)
    with tempfile.TemporaryDirectory() as folder:
        save(study.datasets, folder, progress=False)
        volume = read_series(folder, progress=False)
        who = ("truth", "1", "ab" * 32, "cpu", "fp32", 0.0, "nothing")
        truth = LungSegmentation(study.truth, volume.spacing_mm, *who)
        found = {
            "study's UIDs": digest_of_uids(study.datasets),
            "study": digest_of(study.datasets),
            "truth": digest([study.truth.tobytes()]),
            "volume": digest([volume.hu.tobytes(), volume.affine.tobytes()]),
        }
        for learner in ("", "Ada"):
            results = make_results(
                volume, truth, learner=learner, include_ct=True, now=NOW, progress=False
            )
            whose = learner or "patient"
            found[f"{whose}'s UIDs"] = digest_of_uids(results.all)
            found[f"{whose}'s SEG"] = digest_of([results.seg])
            found[f"{whose}'s SR"] = digest_of([results.sr])
            found[f"{whose}'s SC"] = digest_of(results.overlay)
            found[f"{whose}'s CT"] = digest_of(results.ct)
    return found


def test_the_teaching_study_and_its_results():
    tested = dict(
        line.split("#")[0].strip().lower().split("==")
        for line in CONSTRAINTS.read_text().splitlines()
        if "==" in line.split("#")[0]
    )
    other = [name for name in DECIDING if version(name) != tested[name]]
    if other:
        pytest.skip(f"other versions than the tested ones: {', '.join(other)}")
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"the digests are those of x86-64 processors, not of {platform.machine()}")
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": PROCESSOR_FEATURES}
    command = [sys.executable, "-W", "ignore", __file__]
    run = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert json.loads(run.stdout) == EXPECTED


if __name__ == "__main__":
    print(json.dumps(all_digests(), indent=4))
