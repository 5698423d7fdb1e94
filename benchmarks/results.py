"""What do results cost, in CPU-seconds and bytes?

Measured is the making, saving, checking and proving of results of one chest CT:

    python benchmarks/results.py

The CT is a teaching study of 93 slices of 512x512, its mask the truth. Each step is taken
`--rounds` times, and the median counts; CPU-seconds are those of this process and of the programs
that it calls, dciodvfy among them. highdicom is imported before; how long that takes is a row of
its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY)]

GOAL_S = 4  # for making all objects


def cpu_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def timed(step: Callable, rounds: int = 1) -> tuple[float, object]:
    """Measure a step: the median CPU-seconds of some rounds, and what the last one returned."""
    seconds = []
    for _ in range(rounds):
        start = cpu_seconds()
        outcome = step()
        seconds.append(cpu_seconds() - start)
    return statistics.median(seconds), outcome


def machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":")[1].strip()
        for line in info.read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0]}, {len(names)} cores; Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds

    def imports():
        import highdicom  # noqa: F401

    import_s, _ = timed(imports)
    from magician import (
        PracticePacs,
        check_conformance,
        make_results,
        read_series,
        save,
        teaching_study,
        verify_round_trip,
    )
    from magician.segmentation.lungs import LungSegmentation

    with tempfile.TemporaryDirectory() as folder:
        study = teaching_study(progress=False)
        save(study.datasets, Path(folder) / "ct", progress=False)
        volume = read_series(Path(folder) / "ct", progress=False)
        lungs = LungSegmentation(
            study.truth, volume.spacing_mm, "truth", "1", "0" * 64, "cpu", "fp32", 0.0
        )
        make_s, results = timed(lambda: make_results(volume, lungs, progress=False), rounds)
        copies_s, _ = timed(
            lambda: make_results(volume, lungs, learner="A", include_ct=True, progress=False),
            rounds,
        )
        save_s, paths = timed(
            lambda: save(results.all, Path(folder) / "out", progress=False), rounds
        )
        check_s, found = timed(
            lambda: check_conformance(results.all, sources=volume.headers, progress=False)
        )
        with PracticePacs() as pacs:
            pacs.add([*study.datasets, *results.all])
            proof_s, proof = timed(
                lambda: verify_round_trip(pacs.node, volume, results, progress=False), rounds
            )
        sizes = {path.stem: path.stat().st_size for path in paths}

    print(machine())
    print(f"importing highdicom            {import_s:6.1f} CPU-seconds")
    print(
        f"making SEG, SR, {len(results.overlay)} overlays    {make_s:6.1f}   "
        f"(goal: at most {GOAL_S})"
    )
    print(f"  and a learner's copy of CT   {copies_s:6.1f}")
    print(f"saving them                    {save_s:6.1f}")
    print(f"check_conformance              {check_s:6.1f}   {found.summary}")
    print(f"verify_round_trip              {proof_s:6.1f}   {proof.summary}")
    overlay = sum(sizes[image.SOPInstanceUID] for image in results.overlay)
    for name, size in (
        ("SEG", sizes[results.seg.SOPInstanceUID]),
        ("SR", sizes[results.sr.SOPInstanceUID]),
    ):
        print(f"{name:<30} {size / 1000:8.1f} kB")
    print(f"overlay                        {overlay / 1000:8.1f} kB")
    return 0 if make_s <= GOAL_S and found.ok and proof.ok else 1


if __name__ == "__main__":
    sys.exit(main())
