"""The data of the training: phantoms on disk, their slices in memory, and random changes."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np


def make_phantoms(folder: Path, seeds: range) -> None:
    """Write one file per seed: slices, labels, and lungmask's box for each slice (`body_box`)."""
    os.nice(8)  # training comes first
    from chest_phantoms import Phantom

    for seed in seeds:
        path = folder / f"phantom{seed:07d}.npz"
        if path.exists():
            continue
        trainer = multiprocessing.parent_process()
        if trainer is not None and not trainer.is_alive():
            return
        hu, label = Phantom(seed).render()
        boxes = np.array([body_box(image) for image in hu], np.int16)
        half_done = path.with_suffix(".part")
        with half_done.open("wb") as file:
            np.savez(file, hu=hu, label=label, boxes=boxes)
        half_done.rename(path)


def body_box(image: np.ndarray) -> tuple[int, ...]:
    """Find rows and columns (first, first, end, end) of the body, as lungmask finds them."""
    import skimage.measure
    from lungmask.utils import simple_bodymask

    regions = skimage.measure.regionprops(skimage.measure.label(simple_bodymask(image)))
    return regions[0].bbox if regions else (0, 0, *image.shape)


class Pool:
    """The slices of all phantoms that are ready, in memory."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit, self.seen = folder, limit, set()
        self.hu, self.label, self.boxes = [], [], []

    def refresh(self) -> None:
        """Read the phantoms that were written since the last call."""
        for path in sorted(self.folder.glob("phantom*.npz"))[: self.limit]:
            if path.name not in self.seen:
                self.seen.add(path.name)
                with np.load(path) as file:
                    self.hu.extend(file["hu"])
                    self.label.extend(file["label"])
                    self.boxes.extend(file["boxes"].astype(np.float32))

    def draw(self, rng: np.random.Generator, count: int):
        """Draw slices at random: HU and labels (count, 1, rows, columns), and boxes (count, 4)."""
        import torch

        chosen = rng.integers(len(self.hu), size=count)
        hu = np.stack([self.hu[i] for i in chosen]).astype(np.float32)
        label = np.stack([self.label[i] for i in chosen]).astype(np.float32)
        boxes = np.stack([self.boxes[i] for i in chosen])
        return torch.from_numpy(hu)[:, None], torch.from_numpy(label)[:, None], boxes


def augment(hu, label, boxes: np.ndarray, size: int, rng: np.random.Generator):
    """Crop to the body and resize, as lungmask does, with random changes of shape and of intensity.

    No flips: left and right must stay what they are.

    Parameters
    ----------
    hu, label : tensors (batch, 1, rows, columns)
    boxes : array (batch, 4), from `body_box`
    size : rows and columns of the outcome
    rng : Generator

    Returns
    -------
    image : tensor (batch, 1, size, size), 0..1
    label : tensor (batch, size, size) of int64
    """
    import torch
    import torch.nn.functional as F

    n, extent = len(hu), hu.shape[-1]
    loose = rng.random(n) < 0.1  # sometimes the crop fails and keeps the table or all the air
    boxes = np.where(
        loose[:, None],
        boxes + rng.uniform(0, 1, (n, 1)) * (np.array([0, 0, extent, extent]) - boxes),
        boxes,
    )
    centre = (boxes[:, :2] + boxes[:, 2:]) / extent - 1
    half = (boxes[:, 2:] - boxes[:, :2]) / extent
    half = half * rng.uniform(0.88, 1.14, (n, 2))
    centre = centre + rng.uniform(-0.08, 0.08, (n, 2)) * half
    angle = np.deg2rad(rng.uniform(-10, 10, n))
    cos, sin = np.cos(angle), np.sin(angle)
    rows, columns = half[:, 0], half[:, 1]
    theta = np.stack(
        [
            np.stack([columns * cos, -columns * sin, centre[:, 1]], 1),
            np.stack([rows * sin, rows * cos, centre[:, 0]], 1),
        ],
        1,
    )
    grid = F.affine_grid(
        torch.from_numpy(theta.astype(np.float32)), (n, 1, size, size), align_corners=False
    )
    bend = rng.standard_normal((n, 2, 5, 5)) * 0.018 * rng.random((n, 1, 1, 1))
    bend = F.interpolate(torch.from_numpy(bend.astype(np.float32)), (size, size), mode="bicubic")
    grid = grid + bend.permute(0, 2, 3, 1)
    image = F.grid_sample(hu + 1024, grid, align_corners=False) - 1024
    label = F.grid_sample(label, grid, mode="nearest", align_corners=False)[:, 0].long()

    def draw_for_each(low: float, high: float):
        return torch.from_numpy(rng.uniform(low, high, (n, 1, 1, 1)).astype(np.float32))

    blurred = F.avg_pool2d(image, 3, 1, 1)
    image = torch.where(draw_for_each(0, 1) < 0.2, blurred, image)
    noise = torch.from_numpy(rng.standard_normal((n, 1, size, size), dtype=np.float32))
    noise = torch.where(draw_for_each(0, 1) < 0.4, 2.2 * F.avg_pool2d(noise, 3, 1, 1), noise)
    image = (
        image * draw_for_each(0.94, 1.06)
        + draw_for_each(-35, 35)
        + noise * draw_for_each(0, 1) ** 2 * 70
    )
    return (image.clamp(-1024, 600) + 1024) / 1624, label
