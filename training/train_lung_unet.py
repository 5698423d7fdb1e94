"""Train the bundled lung U-Net on procedural phantoms, from nothing, with one command.

    python training/train_lung_unet.py

One process makes phantoms, and another trains on those that are ready. After ``--steps`` or
``--minutes`` the weights and their model card lie in ``--out``. A checkpoint is written every five
minutes; the same command goes on from it.

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
from training_data import Pool, augment, make_phantoms

REPOSITORY = Path(__file__).resolve().parents[1]
logger = logging.getLogger("train")


def build_network():
    from lungmask.resunet import UNet

    return UNet(
        n_classes=3, in_channels=1, depth=5, wf=4, padding=True, batch_norm=True, up_mode="upsample"
    )


def compute_loss(log_probabilities, label):
    """Add cross-entropy and the soft Dice loss of each lung, over the batch."""
    import torch.nn.functional as F

    loss = F.nll_loss(log_probabilities, label)
    probabilities = log_probabilities.exp()
    for lung in (1, 2):
        p, truth = probabilities[:, lung], (label == lung).float()
        loss = loss + 0.5 - ((p * truth).sum() + 1) / (p.sum() + truth.sum() + 2)
    return loss


def choose_step(done: float) -> tuple[int, int, float]:
    """Choose image size, batch size and learning rate: coarse images first, then fine ones.

    ``done`` (0..1) is the share of the training that is over.
    """
    size, batch = (128, 8) if done < 0.3 else (192, 6) if done < 0.6 else (256, 4)
    rate = 2e-3 * min(1.0, done / 0.015 + 0.02) * 0.5 * (1 + np.cos(np.pi * done))
    return size, batch, max(float(rate), 1e-6)


class Training:
    """A training under way: network, running average, optimiser and state, kept in a checkpoint."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        import torch

        from magician.segmentation.lungs import choose_precision

        self.arguments, self.folder = arguments, folder
        torch.manual_seed(arguments.seed)
        self.rng = np.random.default_rng(arguments.seed)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.half = choose_precision(arguments.precision, torch.device(self.device)) == "bf16"
        self.network = build_network().to(self.device, memory_format=torch.channels_last)
        # the loss is always in fp32
        self.network.last.register_forward_hook(lambda module, inputs, output: output.float())
        if self.device == "cuda":
            arguments.device = torch.cuda.get_device_name()
        else:
            arguments.device = f"{os.cpu_count()} processor cores"
        arguments.device += " in bf16" if self.half else ""
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998),
            use_buffers=True,
        )
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=1e-3, weight_decay=0.01)
        self.state = {"step": 0, "seconds": 0.0, "slices": 0, "phantoms": 0}
        self.smooth_loss = None
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.exists():
            self._load_checkpoint()

    def _load_checkpoint(self) -> None:
        import torch

        saved = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.state = state = saved["state"]
        self.rng = np.random.default_rng([self.arguments.seed, state["step"]])
        logger.info("going on after step %d, %.1f min", state["step"], state["seconds"] / 60)

    def save(self) -> None:
        """Write the checkpoint, and the weights of the running average."""
        import torch

        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "state": self.state,
            },
            self.checkpoint.with_suffix(".part"),
        )
        self.checkpoint.with_suffix(".part").rename(self.checkpoint)
        path = self.folder / "lung_unet.safetensors"
        export(self.average.module, path, self.state, self.arguments)

    def share_done(self) -> float:
        """Tell which share (0..1) of the steps or of the minutes is over."""
        budget = self.arguments.minutes * 60
        return max(self.state["step"] / self.arguments.steps, self.state["seconds"] / budget)

    def step(self, pool: Pool, size: int, batch: int, rate: float) -> None:
        """Train on one batch of random slices."""
        import torch

        for group in self.optimiser.param_groups:
            group["lr"] = rate
        image, label = augment(*pool.draw(self.rng, batch), size, self.rng)
        image = image.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            scores = self.network(image)
        loss = compute_loss(scores, label.to(self.device))
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        self.average.update_parameters(self.network)
        value, smooth = loss.item(), self.smooth_loss
        self.smooth_loss = value if smooth is None else 0.98 * smooth + 0.02 * value
        self.state["step"] += 1
        self.state["slices"] += batch

    def report(self, pool: Pool, size: int, rate: float) -> None:
        """Log how far the training is."""
        logger.info(
            "%5.1f min, step %d, %d px, rate %.5f, loss %.4f, %d phantoms, %d slices",
            self.state["seconds"] / 60,
            self.state["step"],
            size,
            rate,
            self.smooth_loss,
            len(pool.seen),
            len(pool.hu),
        )


def train(arguments: argparse.Namespace, folder: Path) -> None:
    """Train on the phantoms in a folder while they are made; weights and checkpoint lie there."""
    import torch

    training, pool = Training(arguments, folder), Pool(folder, arguments.phantoms)
    _wait_for_phantoms(pool, min(24, arguments.phantoms))
    last_save = last_look = clock = time.monotonic()
    training.network.train()
    while (done := training.share_done()) < 1:
        # or the training repeats the few phantoms that there are
        _wait_for_phantoms(pool, arguments.phantoms * min(1, 2 * done))
        size, batch, rate = choose_step(done)
        training.step(pool, size, batch, rate)
        now = time.monotonic()
        training.state["seconds"] += now - clock
        clock = now
        if now - last_look > 30:
            last_look = now
            pool.refresh()
            training.state["phantoms"] = len(pool.seen)
            complete = len(pool.seen) >= arguments.phantoms
            # the other core makes phantoms
            torch.set_num_threads(arguments.threads if complete else 1)
            training.report(pool, size, rate)
        if now - last_save > 300:
            last_save = now
            training.save()
    training.save()


def _wait_for_phantoms(pool: Pool, count: float) -> None:
    while len(pool.seen) < count:
        pool.refresh()
        time.sleep(1)


def export(network, path: Path, state: dict, arguments: argparse.Namespace) -> str:
    """Write the tensors that are used, as fp16 safetensors; return the SHA-256 of the file."""
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
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
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
    logger.info("wrote %s", weights)
    if not arguments.measure:
        return
    sys.path.append(str(REPOSITORY / "benchmarks"))
    from accuracy import measure_all
    from model_card import write_card

    write_card(weights, measure_all(weights, arguments.measure))


if __name__ == "__main__":
    # the matrices are small: one thread per process is faster than threads that wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
