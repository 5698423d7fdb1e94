"""How fast, and with how much memory? Our inference beside stock lungmask, in one run.

    python benchmarks/inference.py

All contestants take turns on the same teaching study, so that a busy machine slows all alike: what
counts is the ratios. R231's weights are stand-ins of the same size and shape
(benchmarks/stand_in.py): time and memory are R231's, accuracy is not. CPU-seconds are those of this
process; wall time stands beside them. Memory is the peak of a process, a new one for each
contestant.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]


def make_contestants(hu_file: Path, weights: Path) -> dict[str, Callable[[], np.ndarray]]:
    """Make functions, each of which segments the same volume and returns its labels."""
    import torch

    from magician.ct.volume import CTVolume
    from magician.segmentation.lungs import prepare_batch, segment_lungs
    from magician.segmentation.networks import load_network, quiet_lungmask

    with quiet_lungmask():
        from lungmask.mask import LMInferer
    stored = np.load(hu_file)
    volume = CTVolume(stored["hu"], (), tuple(stored["spacing_mm"].tolist()), stored["affine"])

    @lru_cache
    def prepared() -> torch.Tensor:
        return torch.as_tensor(prepare_batch(volume.hu)[0][:, None])

    def forward() -> np.ndarray:
        """Run the network alone, on slices that are ready: no bundled model can be faster."""
        module = load_network("bundled", None, torch.device("cpu"), False).module
        with torch.inference_mode():
            batches = (
                batch.contiguous(memory_format=torch.channels_last) for batch in prepared().split(4)
            )
            return np.concatenate([module(batch).argmax(1).numpy() for batch in batches])

    def ours(model: str, precision: str) -> Callable[[], np.ndarray]:
        options = {"model": model, "weights": weights if model == "R231" else None}
        return lambda: (
            segment_lungs(
                volume, precision=precision, device="cpu", progress=False, **options
            ).labels
        )

    def stock() -> np.ndarray:
        with quiet_lungmask():
            return LMInferer(modelpath=str(weights), force_cpu=True, tqdm_disable=True).apply(
                volume.hu
            )

    return {
        "bundled, forward pass only": forward,
        "bundled": ours("bundled", "fp32"),
        "R231": ours("R231", "fp32"),
        "R231, bf16": ours("R231", "bf16"),
        "R231, stock lungmask": stock,
    }


def bf16_in_hardware() -> bool:
    import torch

    from magician.segmentation.lungs import choose_precision

    return choose_precision("auto", torch.device("cpu")) == "bf16"


def peak_memory(name: str, hu_file: Path, weights: Path) -> float:
    """Peak of the resident memory, in GB, of a process that segments once."""
    command = [sys.executable, __file__, "--once", name, str(hu_file), str(weights)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def once(name: str, hu_file: str, weights: str) -> None:
    make_contestants(Path(hu_file), Path(weights))[name]()
    status = Path("/proc/self/status")
    if status.exists():  # Linux hands ru_maxrss on from the process that started this one
        kilobytes = next(
            int(line.split()[1])
            for line in status.read_text().splitlines()
            if line.startswith("VmHWM")
        )
        print(kilobytes * 1024 / 1e9)
    else:  # macOS counts bytes
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--slices", type=int, default=93, help="the middle slices of the teaching study; 93 is all"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--once", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        once(*arguments.once)
        return
    import torch
    from accuracy import machine
    from accuracy_cases import teaching_studies
    from stand_in import stand_in_weights

    print(machine())
    _, volume, _ = next(teaching_studies([0], disease=True))
    first = (len(volume.hu) - arguments.slices) // 2
    with tempfile.TemporaryDirectory() as folder:
        hu_file, weights = Path(folder, "ct.npz"), stand_in_weights(Path(folder))
        hu = volume.hu[first : first + arguments.slices]
        np.savez(hu_file, hu=hu, spacing_mm=volume.spacing_mm, affine=volume.affine)
        contestants = make_contestants(hu_file, weights)
        if not bf16_in_hardware():
            del contestants["R231, bf16"]
            print(
                "This processor has neither avx512_bf16 nor AMX: "
                "bf16 would be emulated, and is left out."
            )
        labels = {name: run() for name, run in contestants.items()}  # and warm up
        same = np.array_equal(labels["R231"], labels["R231, stock lungmask"])
        print(f"R231, masks of ours and of stock lungmask: {'identical' if same else 'DIFFERENT'}")
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            report(threads, len(hu), measure(contestants, arguments.rounds))
        print("\nPeak memory of the process, default threads")
        for name in contestants:
            print(f"  {name:28} {peak_memory(name, hu_file, weights):5.2f} GB")


def measure(contestants: dict[str, Callable], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """(CPU-seconds, seconds) of each contestant, round by round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return times


def report(threads: int, slices: int, times: dict[str, list[tuple[float, float]]]) -> None:
    rounds = len(next(iter(times.values())))
    print(f"\n{slices} slices, {threads} thread{'s' * (threads > 1)}; medians of {rounds} rounds")
    for name, figures in times.items():
        cpu, wall = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"  {name:28} {cpu:7.1f} CPU-s {wall:7.1f} s")

    def ratio(slow: str, fast: str) -> str:
        pairs = zip(times[slow], times[fast], strict=True)
        ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in pairs]
        cpu, wall = (statistics.median(column) for column in zip(*ratios, strict=True))
        return f"{cpu:5.2f} ({wall:5.2f} in wall time)"

    print(f"  bundled, whole / forward pass     {ratio('bundled', 'bundled, forward pass only')}")
    print(f"  stock R231 / bundled              {ratio('R231, stock lungmask', 'bundled')}")
    print(f"  stock R231 / our R231             {ratio('R231, stock lungmask', 'R231')}")
    if "R231, bf16" in times:
        print(
            f"  stock R231 / our R231 in bf16     {ratio('R231, stock lungmask', 'R231, bf16')}",
            flush=True,
        )


if __name__ == "__main__":
    main()
