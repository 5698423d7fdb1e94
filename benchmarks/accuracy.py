"""How good is a lung network? Measured where the truth is known, and on real CT.

    python benchmarks/accuracy.py --real folder/of/real/cases

Measured are teaching studies that the network never saw, each with its disease and without;
phantoms of the generator that it was trained with, of seeds that were kept back; and, where given,
real CT: one folder per case that holds the DICOM files of one series and ``reference_mask.nii.gz``,
lungs without sides, on the grid of the series. A threshold at -400 HU, less what lies outside the
body and small pieces, stands beside the network.

The slices that came out worst are drawn as pictures to ``--pictures``, and those of the worst
teaching studies together to ``worst_slices.jpg`` there, for the model card. Pictures of real
patients are personal data: keep them out of the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

from accuracy_cases import real_cases, teaching_studies, training_phantoms  # noqa: E402

WEIGHTS = REPOSITORY / "magician" / "segmentation" / "weights" / "lung_unet.safetensors"
HELD_OUT = 1_000_000  # seeds of phantoms from here on are never trained on
FEWEST_ML = 100  # of a lung that a partial scan shows less of, Dice says little


@dataclass
class Case:
    """What was measured on one case, as Dice.

    ``right``, ``left`` and ``both`` are the network's, ``threshold`` is the threshold's of both
    lungs.
    """

    name: str
    right: float
    left: float
    both: float
    threshold: float


@dataclass
class RealCase:
    """Dice with the reference, and the share of each lung that lies on its side of the patient."""

    name: str
    slices: int
    both: float
    right_on_the_right: float
    left_on_the_left: float


def segment(volume: object, weights: Path) -> np.ndarray:
    """Label the lungs by the network; all is zero where it finds none, as in some partial scans."""
    from magician.errors import NoLungsFound
    from magician.segmentation.lungs import segment_lungs

    try:
        return segment_lungs(volume, weights=weights, precision="fp32", progress=False).labels
    except NoLungsFound:
        return np.zeros(volume.hu.shape, np.uint8)


def measure(cases: Iterator, weights: Path, draw: Callable | None = None) -> list[Case]:
    from magician.segmentation.lungs import dice

    rows = []
    for name, volume, truth in cases:
        labels = segment(volume, weights)
        ml = np.prod(volume.spacing_mm) / 1000
        lungs = [
            dice(labels == side, truth == side)
            if (truth == side).sum() * ml >= FEWEST_ML
            else np.nan
            for side in (1, 2)
        ]
        if np.isnan(lungs).all():
            continue
        plain = dice(threshold(volume), truth > 0)
        rows.append(Case(name, *lungs, dice(labels > 0, truth > 0), plain))
        if draw:
            draw(name, volume, labels, truth)
    return rows


def threshold(volume: object) -> np.ndarray:
    """Find large pieces below -400 HU inside the body: the scanner's table has dark ones, too."""
    from scipy import ndimage

    from magician.segmentation.threshold import threshold_lungs

    body = np.zeros(volume.hu.shape, bool)
    for plane, inside in zip(volume.hu, body, strict=True):
        pieces, count = ndimage.label(plane > -300)
        if count:
            largest = np.bincount(pieces.ravel())[1:].argmax() + 1
            inside[:] = ndimage.binary_fill_holes(pieces == largest)
    return threshold_lungs(volume) & body


def measure_real(folder: Path, weights: Path, draw: Callable | None = None) -> list[RealCase]:
    from magician.segmentation.lungs import dice

    rows = []
    for name, volume, reference in real_cases(folder):
        labels = segment(volume, weights)
        along_slices, along_rows, along_columns, start = volume.affine[0]
        i, j, k = np.ogrid[tuple(map(slice, labels.shape))]
        x = along_slices * i + along_rows * j + along_columns * k + start
        middle = body_middle(volume.hu, x)
        sides = (x[labels == 1] < middle).mean(), (x[labels == 2] > middle).mean()
        rows.append(RealCase(name, len(labels), dice(labels > 0, reference), *map(float, sides)))
        if draw:
            draw(name, volume, labels, reference)
    return rows


def body_middle(hu: np.ndarray, x: np.ndarray) -> float:
    """Find the mid-line of the patient, halfway between the outermost ribs (mm to the left)."""
    from scipy.ndimage import binary_opening

    middles = []
    for plane, position in zip(hu, x, strict=True):
        bone = binary_opening(plane > 150, np.ones((2, 2)))
        if bone.any():
            middles.append((position[bone].min() + position[bone].max()) / 2)
    return float(np.median(middles))


def summarise(cases: list[Case]) -> str:
    """Describe the Dice of some cases in one sentence."""
    lungs = np.array([[case.right, case.left] for case in cases]).ravel()
    lungs = lungs[~np.isnan(lungs)]
    better = sum(case.both > case.threshold for case in cases)
    worst = min(cases, key=lambda case: np.nanmin([case.right, case.left]))
    both = np.median([case.both for case in cases])
    threshold = np.median([case.threshold for case in cases])
    return (
        f"{len(lungs)} lungs: median {np.median(lungs):.3f}, "
        f"tenth percentile {np.quantile(lungs, 0.1):.3f}, worst {lungs.min():.3f} ({worst.name}); "
        f"{(lungs >= 0.95).sum()} of {len(lungs)} at least 0.95. "
        f"Both lungs: median {both:.3f}, threshold {threshold:.3f}; "
        f"the network is better in {better} of {len(cases)} cases."
    )


def machine() -> str:
    import torch

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = f"{models[0]}, {len(models)} virtual cores" if models else name
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}"


def picture_name(case: str) -> str:
    return f"{case.replace(', ', '-').replace(' ', '-')}.png"


def draw_worst(folder: Path, cases: list[dict], count: int = 4) -> Path:
    """Put the pictures of the worst cases below each other, for the model card."""
    from PIL import Image

    worst = sorted(cases, key=lambda case: min(case["right"], case["left"]))[:count]
    strips = [Image.open(folder / picture_name(case["name"])).reduce(2) for case in worst]
    height = strips[0].height
    sheet = Image.new("RGB", (max(strip.width for strip in strips), height * len(strips)))
    for number, strip in enumerate(strips):
        sheet.paste(strip, (0, number * height))
    path = folder / "worst_slices.jpg"
    sheet.save(path, quality=80)
    return path


def make_drawer(folder: Path, count: int = 4) -> Callable:
    """Make a function that draws those slices of a case that have most wrong voxels.

    The right lung is red, the left blue; what was missed is green, and what is too much is yellow.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)

    def draw(name: str, volume, labels: np.ndarray, truth: np.ndarray) -> None:
        wrong = ((labels > 0) != (truth > 0)).sum(axis=(1, 2))
        tiles = []
        for index in sorted(np.argsort(wrong)[-count:]):
            grey = np.clip((volume.hu[index] + 1024) / 1400, 0, 1) * 255
            rgb = np.repeat(grey[..., None], 3, axis=2)
            found, true = labels[index], truth[index] > 0
            for mask, colour in (
                ((found == 1) & true, (255, 0, 0)),
                ((found == 2) & true, (0, 80, 255)),
                ((found == 0) & true, (0, 255, 0)),
                ((found > 0) & ~true, (255, 255, 0)),
            ):
                share = 0.7 if colour[1] == 255 else 0.35
                rgb[mask] = rgb[mask] * (1 - share) + np.array(colour) * share
            tiles.append(rgb.astype(np.uint8))
        Image.fromarray(np.hstack(tiles)).save(folder / picture_name(name))

    return draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument(
        "--seeds", type=int, default=20, help="teaching studies, and phantoms, of each kind"
    )
    parser.add_argument(
        "--real",
        type=Path,
        default=os.environ.get("MAGICIAN_REAL_DATA"),
        help="folder of real cases",
    )
    parser.add_argument(
        "--pictures", type=Path, help="draw the worst slices of every case to this folder"
    )
    parser.add_argument(
        "--json", type=Path, help="write every figure to this file, for training/model_card.py"
    )
    arguments = parser.parse_args()
    real = Path(arguments.real) if arguments.real else None
    draw = make_drawer(arguments.pictures) if arguments.pictures else None
    measured = measure_all(arguments.weights, arguments.seeds, real, draw)
    if arguments.pictures:
        print(
            draw_worst(arguments.pictures, measured["teaching_ill"] + measured["teaching_healthy"])
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1), encoding="utf-8")


def measure_all(
    weights: Path, seeds: int, real: Path | None = None, draw: Callable | None = None
) -> dict:
    """Measure everything and print it as it comes.

    Returns ``{"machine": ..., "summaries": ..., <kind of case>: rows}``.
    """
    print(machine(), flush=True)
    measured: dict = {"machine": machine(), "summaries": {}}
    held_out = range(HELD_OUT, HELD_OUT + seeds)
    for key, title, cases in (
        ("teaching_ill", "Teaching studies with disease", teaching_studies(range(seeds), True)),
        (
            "teaching_healthy",
            "Teaching studies without disease",
            teaching_studies(range(seeds), False),
        ),
        (
            "phantoms_ill",
            "Unseen training phantoms with disease",
            training_phantoms(held_out, True),
        ),
        (
            "phantoms_healthy",
            "Unseen training phantoms without disease",
            training_phantoms(held_out, False),
        ),
    ):
        rows = measure(cases, weights, draw)
        print(f"\n{title}\n  {summarise(rows)}")
        for row in rows:
            print(
                f"  {row.name:34} right {row.right:.3f}  left {row.left:.3f}  both {row.both:.3f}"
                f"  threshold {row.threshold:.3f}",
                flush=True,
            )
        measured[key] = [asdict(row) for row in rows]
        measured["summaries"][title] = summarise(rows)
    measured["real"] = []
    if real:
        print(
            "\nReal CT: Dice of both lungs with the reference, "
            "and the share of each lung on its side"
        )
        for row in measure_real(real, weights, draw):
            print(
                f"  {row.name:24} {row.slices:3} slices  {row.both:.3f}"
                f"  right {row.right_on_the_right:.2%}  left {row.left_on_the_left:.2%}"
            )
            measured["real"].append(asdict(row))
    return measured


if __name__ == "__main__":
    main()
