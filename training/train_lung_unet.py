"""Train the bundled lung U-Net on procedural phantoms, from nothing, with one command.

    python training/train_lung_unet.py

One process makes phantoms, this one trains on those that are ready. After ``--minutes`` the weights
and their model card lie in ``--out``. A checkpoint is written every five minutes; the same command
goes on from it.

Network: U-Net (Ronneberger et al. 2015, arXiv:1505.04597) in the form that lungmask uses
(Hofmanninger et al. 2020, arXiv:2001.11767), with 16 filters in the first layer where R231 has 64.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
log = logging.getLogger("train")


# -------------------------------------------------------------------- data


def make_phantoms(folder: Path, seeds: range) -> None:
    """Write one file per seed: slices, labels and the box that lungmask would crop each slice to."""
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
    """Rows and columns (first, first, end, end) of the body, found as lungmask finds it."""
    import skimage.measure
    from lungmask.utils import simple_bodymask

    regions = skimage.measure.regionprops(skimage.measure.label(simple_bodymask(image)))
    return regions[0].bbox if regions else (0, 0, *image.shape)


class Pool:
    """Slices of all phantoms that are ready, in memory."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit, self.seen = folder, limit, set()
        self.hu, self.label, self.boxes = [], [], []

    def refresh(self) -> None:
        for path in sorted(self.folder.glob("phantom*.npz"))[: self.limit]:
            if path.name not in self.seen:
                self.seen.add(path.name)
                with np.load(path) as file:
                    self.hu.extend(file["hu"])
                    self.label.extend(file["label"])
                    self.boxes.extend(file["boxes"].astype(np.float32))

    def draw(self, rng: np.random.Generator, count: int):
        import torch

        chosen = rng.integers(len(self.hu), size=count)
        hu = np.stack([self.hu[i] for i in chosen]).astype(np.float32)
        label = np.stack([self.label[i] for i in chosen]).astype(np.float32)
        boxes = np.stack([self.boxes[i] for i in chosen])
        return torch.from_numpy(hu)[:, None], torch.from_numpy(label)[:, None], boxes


def augment(hu, label, boxes: np.ndarray, size: int, rng: np.random.Generator):
    """Crop to the body and resize, as lungmask does, with random changes of shape and of intensity.

    No flips: left and right must stay what they are.

    Returns
    -------
    image : tensor (batch, 1, size, size), 0..1
    label : tensor (batch, size, size) of int64
    """
    import torch
    import torch.nn.functional as F

    n, extent = len(hu), hu.shape[-1]
    loose = rng.random(n) < 0.1  # sometimes the crop fails and leaves the table or all the air in
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

    def each(low: float, high: float):
        return torch.from_numpy(rng.uniform(low, high, (n, 1, 1, 1)).astype(np.float32))

    blurred = F.avg_pool2d(image, 3, 1, 1)
    image = torch.where(each(0, 1) < 0.2, blurred, image)
    noise = torch.from_numpy(rng.standard_normal((n, 1, size, size), dtype=np.float32))
    noise = torch.where(each(0, 1) < 0.4, 2.2 * F.avg_pool2d(noise, 3, 1, 1), noise)
    image = image * each(0.94, 1.06) + each(-35, 35) + noise * each(0, 1) ** 2 * 70
    return (image.clamp(-1024, 600) + 1024) / 1624, label


# -------------------------------------------------------------------- training


def build_network():
    from lungmask.resunet import UNet

    return UNet(
        n_classes=3, in_channels=1, depth=5, wf=4, padding=True, batch_norm=True, up_mode="upsample"
    )


def loss_of(log_probabilities, label):
    """Cross-entropy plus soft Dice of each lung over the batch."""
    import torch.nn.functional as F

    loss = F.nll_loss(log_probabilities, label)
    probabilities = log_probabilities.exp()
    for lung in (1, 2):
        p, truth = probabilities[:, lung], (label == lung).float()
        loss = loss + 0.5 - ((p * truth).sum() + 1) / (p.sum() + truth.sum() + 2)
    return loss


def plan(done: float) -> tuple[int, int, float]:
    """Image size, batch size and learning rate at a share ``done`` (0..1) of the training: coarse
    first, then fine.
    """
    size, batch = (128, 8) if done < 0.3 else (192, 6) if done < 0.6 else (256, 4)
    rate = 2e-3 * min(1.0, done / 0.015 + 0.02) * 0.5 * (1 + np.cos(np.pi * done))
    return size, batch, max(float(rate), 1e-6)


def train(arguments: argparse.Namespace, folder: Path) -> dict:
    import torch

    from magician.segmentation.lungs import choose_precision

    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = choose_precision(arguments.precision, torch.device(device)) == "bf16"
    network = build_network().to(device, memory_format=torch.channels_last)
    # the loss is always in fp32
    network.last.register_forward_hook(lambda module, inputs, output: output.float())
    arguments.device = (
        torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} processor cores"
    )
    arguments.device += " in bf16" if half else ""
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    state = {"step": 0, "seconds": 0.0, "slices": 0, "phantoms": 0}
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        state = saved["state"]
        rng = np.random.default_rng([arguments.seed, state["step"]])
        log.info("going on after step %d, %.1f min", state["step"], state["seconds"] / 60)

    def save() -> None:
        torch.save(
            {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
                "state": state,
            },
            checkpoint.with_suffix(".part"),
        )
        checkpoint.with_suffix(".part").rename(checkpoint)
        export(average.module, folder / "lung_unet.safetensors", state, arguments)

    pool, budget = Pool(folder, arguments.phantoms), arguments.minutes * 60
    while len(pool.seen) < min(24, arguments.phantoms):
        pool.refresh()
        time.sleep(1)
    smooth, last_save, last_look = None, time.monotonic(), time.monotonic()
    clock = time.monotonic()
    network.train()
    while (done := max(state["step"] / arguments.steps, state["seconds"] / budget)) < 1:
        # or it repeats the few that there are
        while len(pool.seen) < arguments.phantoms * min(1, 2 * done):
            time.sleep(1)
            pool.refresh()
        size, batch, rate = plan(done)
        for group in optimiser.param_groups:
            group["lr"] = rate
        image, label = augment(*pool.draw(rng, batch), size, rng)
        image = image.to(device, memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=half):
            scores = network(image)
        loss = loss_of(scores, label.to(device))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        average.update_parameters(network)
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        now = time.monotonic()
        state["seconds"] += now - clock
        clock = now
        state["step"] += 1
        state["slices"] += batch
        if now - last_look > 30:
            last_look = now
            pool.refresh()
            state["phantoms"] = len(pool.seen)
            complete = len(pool.seen) >= arguments.phantoms
            # the other core makes phantoms
            torch.set_num_threads(arguments.threads if complete else 1)
            log.info(
                "%5.1f min, step %d, %d px, rate %.5f, loss %.4f, %d phantoms, %d slices",
                state["seconds"] / 60,
                state["step"],
                size,
                rate,
                smooth,
                len(pool.seen),
                len(pool.hu),
            )
        if now - last_save > 300:
            last_save = now
            save()
    save()
    return state


def export(network, path: Path, state: dict, arguments: argparse.Namespace) -> str:
    """Write the used tensors as fp16 safetensors; returns the file's SHA-256."""
    import torch
    from safetensors.torch import save_file

    # lungmask's blocks own residual_* layers that their forward pass never uses with residual=False
    tensors = {
        name: (value.half() if value.is_floating_point() else value).cpu()
        for name, value in network.state_dict().items()
        if "residual_" not in name
    }
    metadata = {
        "name": "lung_unet",
        "version": arguments.version,
        "architecture": "lungmask.resunet.UNet",
        "parameters": json.dumps(
            {
                "n_classes": 3,
                "in_channels": 1,
                "depth": 5,
                "wf": 4,
                "padding": True,
                "batch_norm": True,
                "up_mode": "upsample",
            }
        ),
        "labels": "0 outside, 1 right lung, 2 left lung",
        "licence": "Apache-2.0",
        "training": json.dumps(
            {
                "seed": arguments.seed,
                "phantoms": state["phantoms"],
                "steps": state["step"],
                "minutes": round(state["seconds"] / 60, 1),
                "device": arguments.device,
                "torch": torch.__version__,
            }
        ),
    }
    partial = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial, metadata)
    partial.rename(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=6600, help="training ends after so many steps")
    parser.add_argument(
        "--minutes", type=float, default=85, help="or, on a slow machine, after so many minutes"
    )
    parser.add_argument("--phantoms", type=int, default=512)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--precision", default="auto", help="fp32, bf16, or auto: bf16 where the hardware has it"
    )
    parser.add_argument("--version", default="0.1.0", help="version to record in the weights")
    parser.add_argument(
        "--work",
        type=Path,
        default=REPOSITORY / "build" / "training",
        help="phantoms and checkpoint",
    )
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "magician" / "segmentation" / "weights"
    )
    parser.add_argument(
        "--measure",
        type=int,
        default=5,
        help="unseen seeds to measure for the model card; 0: no card",
    )
    parser.add_argument("--phantoms-only", action="store_true", help="make the phantoms and stop")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.work.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.seed * 10_000, arguments.seed * 10_000 + arguments.phantoms)
    if arguments.phantoms_only:
        make_phantoms(arguments.work, seeds)
        return
    maker = multiprocessing.get_context("spawn").Process(
        target=make_phantoms, args=(arguments.work, seeds), daemon=True
    )
    maker.start()
    train(arguments, arguments.work)
    maker.terminate()
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights = arguments.out / "lung_unet.safetensors"
    weights.write_bytes((arguments.work / weights.name).read_bytes())
    log.info("wrote %s", weights)
    if not arguments.measure:
        return
    sys.path.append(str(REPOSITORY / "benchmarks"))
    from accuracy import measure_all
    from model_card import write_card

    write_card(weights, measure_all(weights, arguments.measure))


if __name__ == "__main__":
    # small matrices on few cores: one thread per process is faster than threads that wait for each
    # other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
