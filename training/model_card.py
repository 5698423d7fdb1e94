"""The model card of the bundled network, written from what benchmarks/accuracy.py measured.

python benchmarks/accuracy.py --json build/accuracy.json --real folder/of/real/cases
python training/model_card.py build/accuracy.json
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FAULTS = Path(__file__).with_name("known_faults.md")  # found by looking, so written by hand


def write_card(weights: Path, measured: dict) -> Path:
    """Write ``MODEL_CARD.md`` beside the weights, from what `accuracy.measure_all` returned."""
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    pairs = zip(measured["teaching_ill"], measured["teaching_healthy"], strict=True)
    card = CARD.format(
        version=metadata["version"],
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        megabytes=weights.stat().st_size / 1e6,
        date=datetime.date.today().isoformat(),
        machine=measured["machine"],
        summaries="\n".join(f"- {title}: {text}" for title, text in measured["summaries"].items()),
        teaching="\n".join(
            f"| {seed} | {ill['right']:.3f} | {ill['left']:.3f} | {ill['both']:.3f} "
            f"| {ill['threshold']:.3f} | {healthy['right']:.3f} | {healthy['left']:.3f} |"
            for seed, (ill, healthy) in enumerate(pairs)
        ),
        real="\n".join(
            f"| {row['name']} | {row['slices']} | {row['both']:.3f} "
            f"| {row['right_on_the_right']:.1%} | {row['left_on_the_left']:.1%} |"
            for row in measured["real"]
        )
        or "| not measured | | | | |",
        faults=FAULTS.read_text(encoding="utf-8"),
        **json.loads(metadata["training"]),
    )
    path = weights.with_name("MODEL_CARD.md")
    path.write_text(wrap(card), encoding="utf-8")
    return path


def wrap(card: str) -> str:
    """Wrap prose and lists at 100 characters; headings and tables stay as they are."""
    blocks = []
    for block in card.split("\n\n"):
        if block.startswith(("#", "|")):
            blocks.append(block)
        elif block.startswith("- "):
            blocks.append("\n".join(_fill(item, indent="  ") for item in block.split("\n")))
        else:
            blocks.append(_fill(block))
    return "\n\n".join(blocks) + "\n"


def _fill(text: str, indent: str = "") -> str:
    text = " ".join(text.split())
    return textwrap.fill(
        text, 100, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


CARD = """# Model card: lung_unet {version}

**What it is.** A small U-Net that labels, in axial chest CT, 0 = outside, 1 = the patient's right
lung, 2 = the left lung. File `lung_unet.safetensors`, {megabytes:.1f} MB, fp16, SHA-256 `{sha256}`.

**Intended use.** Research and teaching: to show how an algorithm is connected to a PACS. **Not for
diagnosis, not a medical device.**

**Architecture.** lungmask's `UNet(n_classes=3, in_channels=1, depth=5, wf=4, padding=True,
batch_norm=True, up_mode="upsample")`: 1.8 million parameters in use, slice by slice. The
`residual_*` layers of that class are never used in this form and are not stored. Input as for
lungmask: HU clipped to -1024..600, cropped to the body, 256 x 256, scaled to 0..1. Outcome: the
largest piece of each lung, holes filled. Network form, preparation and tidying: Hofmanninger et al.
2020, arXiv:2001.11767; none of lungmask's weights were used.

**Training data.** {phantoms} procedural phantoms of `training/chest_phantoms.py`, seeds from {seed}
x 10000 on, and nothing else. No image of any person was trained on.

**Training.** Seed {seed}, {steps} steps in {minutes:.0f} minutes on {device}, torch {torch};
cross-entropy plus soft Dice, AdamW, no left-right flips. `python training/train_lung_unet.py` did
it, from nothing.

**Label convention.** Vessels and airways inside a lung belong to it; the trachea, the main bronchi
and the large vessels of the hilum do not. Disease belongs to the lung: consolidation, masses,
pleural fluid, emphysema.

## Measured

{date}, {machine}, fp32, by `python benchmarks/accuracy.py`. Dice: twice the shared voxels over the
sum of both masks. Beside the network: a threshold at -400 HU, without what lies outside the body
and without small pieces.

{summaries}

Teaching studies come from another generator and were never trained on; phantoms of the training
generator have seeds that were kept back, and partial scans and gross disease among them. Each lung
of the teaching studies:

| seed | right, ill | left, ill | both, ill | threshold, ill | right, healthy | left, healthy |
|---|---|---|---|---|---|---|
{teaching}

Real CT, both lungs together, against a classical method (threshold, region growing, closing) that
leaves out tumours which touch the pleura: a gross check, not a ranking. The last columns say how
much of each lung lies on its side of the mid-line.

| case | slices | Dice | right | left |
|---|---|---|---|---|
{real}

Cases: LIDC-IDRI (Armato et al., doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0) and Lung-PET-CT-Dx
(Li et al., doi:10.7937/TCIA.2020.NNC2-0461, CC BY 4.0), of The Cancer Imaging Archive.

![The four worst teaching studies, four slices each: right lung red, left lung blue; missed green,
too much yellow.](../../training/worst_slices.jpg)

{faults}
**Licence.** Apache-2.0, weights included.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("measured", type=Path, help="what benchmarks/accuracy.py --json wrote")
    bundled = REPOSITORY / "magician" / "segmentation" / "weights" / "lung_unet.safetensors"
    parser.add_argument("--weights", type=Path, default=bundled)
    arguments = parser.parse_args()
    print(write_card(arguments.weights, json.loads(arguments.measured.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
