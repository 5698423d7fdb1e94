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
    "study's UIDs": "213fa8e7efc99ba941838537fcc2f08a4dce94c525856a5aa808656ff91f2932",
    "study": "d8cb5f6146f4153f40ae949c37533908968ac5bae987c0f8cc46180fe01bf8bc",
    "truth": "7e70b24165ce061029d2b266a901d69c0982fb86ca27a6e7329e47e5eeec9aaa",
    "volume": "431cdd14c5f5eb7ad5a78c63a0e085ca64aefedc1974b8cf6063f8f555e37856",
    "patient's UIDs": "4f21c81e32d3cebb9d88ee565ffb95234dbe875101d46df117a90f604d193813",
    "patient's SEG": "9fa39cc5e83f65321eb560a2c470158a61289452967a2a8f4293cd33e1678399",
    "patient's SR": "cdd427af0bb3d5b79335098b76cfb0de71eb575e9c690ef771fbcce0892db61e",
    "patient's SC": "1896b17b039f4f0441dae46609b0294a0a6b1dadf111b978ae34a0b51869be03",
    "patient's CT": "409d633dbeeca4b9577e1f1a0868422772aca0ceff17fca664c982ebfa4d3393",
    "Ada's UIDs": "849ef0f815aaac460e4b469c2724557a7917b6d9e2d2d5453ec472055585025d",
    "Ada's SEG": "22dd7588686b113172bcb8fef5590ea136517d03e4b7c86de379ae66ee7ccb89",
    "Ada's SR": "5fb344420143e8c52cf20ec69113bc89416ef58944691f8e74aee4625a00defb",
    "Ada's SC": "2a76d3e9fd9d8aa20cfc0369a797d9dff2226a795c0d1ae3c4f7188d148538cb",
    "Ada's CT": "d49c719bdd1fd77812246536c247ebc9efc03020f6438f329d00ef4076c9fe6c",
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
