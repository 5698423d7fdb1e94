"""Measure the bundled network and write its model card.

    python training/model_card.py --real folder/of/real/cases

Measured are phantoms of the training generator with seeds that were not trained on, teaching studies (another
generator, never trained on), and, where given, real CT: one folder per case that holds the DICOM files of one series
and ``reference_mask.nii.gz``, lungs without sides, on the grid of the series.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import platform
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "training")]

FAULTS = Path(__file__).with_name("known_faults.md")  # found by looking, so written by hand
AXIAL = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)


def phantom_dice(weights: Path, seeds: range) -> list[tuple[str, float, float]]:
    """Dice of (right, left) on phantoms of the training generator."""
    from chest_phantoms import Phantom

    rows = []
    for seed in seeds:
        hu, truth = Phantom(seed).render()
        volume = SimpleNamespace(hu=hu.astype(np.float32), affine=AXIAL, spacing_mm=(10.0, 1.5, 1.5))
        rows.append((f"phantom {seed}", *_both_sides(weights, volume, truth)))
    return rows


def teaching_dice(weights: Path, seeds: range) -> list[tuple[str, float, float]]:
    """Dice of (right, left) on teaching studies, read from DICOM as a learner does."""
    from magician.phantom import teaching_study
    from magician.volume import read_series

    rows = []
    for seed in seeds:
        study = teaching_study(seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            for i, dataset in enumerate(study.datasets):
                dataset.save_as(Path(folder) / f"{i}.dcm", enforce_file_format=True)
            volume = read_series(folder)
        rows.append((f"teaching study, seed {seed}", *_both_sides(weights, volume, study.truth)))
    return rows


def _both_sides(weights: Path, volume, truth: np.ndarray) -> tuple[float, float]:
    from magician.errors import SegmentationError
    from magician.segmentation import dice, segment_lungs

    try:
        labels = segment_lungs(volume, weights=weights, precision="fp32", progress=False).labels
    except SegmentationError:  # nothing was found: some partial scans show next to nothing of the lungs
        labels = np.zeros_like(truth)
    return dice(labels == 1, truth == 1), dice(labels == 2, truth == 2)


def real_dice(weights: Path, folder: Path) -> list[tuple[str, int, float]]:
    """Slices, and agreement (both lungs as one) with the reference masks of real cases."""
    import SimpleITK as sitk  # noqa: N813

    from magician.segmentation import dice, segment_lungs
    from magician.volume import read_series

    rows = []
    for mask in sorted(folder.glob("*/reference_mask.nii.gz")):
        reference = sitk.GetArrayFromImage(sitk.ReadImage(str(mask))) > 0
        segmentation = segment_lungs(read_series(mask.parent), weights=weights, precision="fp32", progress=False)
        rows.append((mask.parent.name, len(reference), dice(segmentation.labels > 0, reference)))
    return rows


def write_card(weights: Path, phantoms: list, teaching: list, real: list) -> Path:
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    training = json.loads(metadata["training"])
    lungs = np.array([row[1:] for row in phantoms]) if phantoms else np.full((1, 2), np.nan)
    card = CARD.format(
        version=metadata["version"],
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        megabytes=weights.stat().st_size / 1e6,
        date=datetime.date.today().isoformat(),
        machine=_machine(),
        count=len(phantoms),
        median=np.median(lungs),
        tenth=np.quantile(lungs, 0.1),
        teaching="\n".join(f"| {name} | {right:.3f} | {left:.3f} |" for name, right, left in teaching),
        real="\n".join(f"| {name} | {slices} | {value:.3f} |" for name, slices, value in real)
        or "| not measured | | |",
        faults=FAULTS.read_text(encoding="utf-8"),
        **({"note": ""} | training),
    )
    path = weights.with_name("MODEL_CARD.md")
    path.write_text(card, encoding="utf-8")
    return path


def _machine() -> str:
    import torch

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        name = f"{models[0]}, {len(models)} virtual cores" if models else name
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}"


CARD = """# Model card: lung_unet {version}

**What it is.** A small U-Net that labels, in axial chest CT, 0 = outside, 1 = the patient's right lung, 2 =
the left lung. File `lung_unet.safetensors`, {megabytes:.1f} MB, fp16, SHA-256 `{sha256}`.

**Intended use.** Research and teaching: to show how an algorithm is connected to a PACS. **Not for
diagnosis, not a medical device.**

**Architecture.** lungmask's `UNet(n_classes=3, in_channels=1, depth=5, wf=4, padding=True, batch_norm=True,
up_mode="upsample")`: 1.8 million parameters in use, slice by slice. The `residual_*` layers of that class
are never used in this form and are not stored. Input as for lungmask: HU clipped to -1024..600, cropped to
the body, 256 x 256, scaled to 0..1. Outcome: the largest piece of each lung, holes filled. Network form,
preparation and tidying: Hofmanninger et al. 2020, arXiv:2001.11767; none of lungmask's weights were used.

**Training data.** {phantoms} procedural phantoms of `training/chest_phantoms.py`, seeds from {seed} x 10000
on, and nothing else. No image of any person was trained on.

**Training.** Seed {seed}, {steps} steps in {minutes} minutes on 2 shared cores, torch {torch};
cross-entropy plus soft Dice, AdamW, no left-right flips. `python training/train_lung_unet.py` trains a
network like it. {note}

**Label convention.** Vessels and airways inside a lung belong to it; the trachea, the main bronchi and the
large vessels of the hilum do not. Disease belongs to the lung: consolidation, masses, pleural fluid,
emphysema.

## Measured

{date}, {machine}, fp32. Dice: twice the shared voxels over the sum of both masks.

Phantoms of the training generator, {count} unseen seeds, partial scans and gross disease among them: median
Dice per lung {median:.3f}, tenth percentile {tenth:.3f}.

Teaching studies (another generator, never trained on):

| study | right | left |
|---|---|---|
{teaching}

Real CT, both lungs together, against a classical method (threshold, region growing, closing) that leaves
out tumours which touch the pleura. A gross check, not a ranking:

| case | slices | Dice |
|---|---|---|
{real}

Cases: LIDC-IDRI (Armato et al., doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0) and Lung-PET-CT-Dx (Li et
al., doi:10.7937/TCIA.2020.NNC2-0461, CC BY 4.0), of The Cancer Imaging Archive.

{faults}
**Licence.** Apache-2.0, weights included.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, default=REPOSITORY / "magician" / "weights" / "lung_unet.safetensors")
    parser.add_argument("--phantoms", type=int, default=10, help="unseen phantoms to measure")
    parser.add_argument("--teaching", type=int, default=5, help="teaching studies to measure")
    parser.add_argument("--real", type=Path, help="folder of real cases")
    arguments = parser.parse_args()
    from train_lung_unet import HELD_OUT

    path = write_card(
        arguments.weights,
        phantom_dice(arguments.weights, range(HELD_OUT, HELD_OUT + arguments.phantoms)),
        teaching_dice(arguments.weights, range(arguments.teaching)),
        real_dice(arguments.weights, arguments.real) if arguments.real else [],
    )
    print(path)


if __name__ == "__main__":
    main()
