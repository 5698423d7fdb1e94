"""How long does each learner of a class wait, and how much memory does their practice PACS take?

    python benchmarks/classroom.py

The PACS runs as a teacher runs it, `python -m magician pacs`, a new process for each size of class.
All learners begin at the same moment, spread over some processes. Each learner asks for a study of
the own, gets it by C-GET (93 slices and 2 localizers, 49 MB), waits for the others, and sends
results back (93 overlay images, SEG and SR). `get_study` raises if an image is missing, and in the
end every result is counted. All learners share the processors of one computer with the PACS: a
class with a computer for each learner waits less. Memory is that of the PACS's process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat, takewhile
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from pydicom import DataElement, dcmread
from pydicom.dataset import Dataset, FileMetaDataset

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

from magician import (  # noqa: E402
    Node,
    find_studies,
    get_study,
    make_results,
    read_series,
    save,
    store,
    teaching_study,
)
from magician.segmentation.lungs import LungSegmentation  # noqa: E402

PROCESSES = 4  # that the learners are spread over


@dataclass(frozen=True)
class Learned:
    """When one learner began and ended, in seconds of the clock."""

    began: float
    retrieved: float
    began_to_send: float
    sent: float


def relabel(ds: Dataset, learner: int) -> Dataset:
    """Copy an object for a learner: it has other UIDs, and the same bytes of pixels."""
    twin = Dataset()
    # the elements are shared, so that thirty learners do not need the memory of thirty
    twin.update(ds)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        twin[keyword] = DataElement(keyword, "UI", f"{ds[keyword].value}.{learner}")
    twin["AccessionNumber"] = DataElement("AccessionNumber", "SH", f"L{learner}")
    twin.file_meta = FileMetaDataset()
    twin.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    twin.file_meta.MediaStorageSOPInstanceUID = twin.SOPInstanceUID
    twin.file_meta.TransferSyntaxUID = ds.file_meta.TransferSyntaxUID
    return twin


def prepare(learners: int, slices: int, folder: Path) -> None:
    """Write a study for each learner into ``held``, and the results of one into ``results``."""
    study = teaching_study(progress=False)
    axial, localizers = study.datasets[:93], study.datasets[93:]
    first = (len(axial) - slices) // 2
    axial = axial[first : first + slices]
    (folder / "held").mkdir()
    for learner in range(learners):
        save([relabel(ds, learner) for ds in [*axial, *localizers]], folder / "held")
    save(axial, folder / "one")
    volume = read_series(folder / "one")
    truth = np.ascontiguousarray(study.truth[::-1][first : first + slices][::-1])
    segmentation = LungSegmentation(
        truth, volume.spacing_mm, "truth", "1", "0" * 64, "cpu", "fp32", 0.0
    )
    save(make_results(volume, segmentation).all, folder / "results")


def learn(learner: int, node: Node, results: list[Dataset]) -> Learned:
    """Be one learner: retrieve, then send."""
    own = [relabel(ds, learner) for ds in results]
    with tempfile.TemporaryDirectory() as folder:
        everybody.wait()
        began = time.time()
        (study,) = find_studies(node, accession_number=f"L{learner}")
        get_study(node, study.StudyInstanceUID, folder, progress=False)
        retrieved = time.time()
    everybody.wait()
    began_to_send = time.time()
    store(node, own, progress=False)
    return Learned(began, retrieved, began_to_send, time.time())


def learn_in_threads(learners: list[int], node: Node, folder: Path) -> list[Learned]:
    """Be several learners, in the threads of one process."""
    results = [dcmread(path) for path in sorted((folder / "results").iterdir())]
    with ThreadPoolExecutor(len(learners)) as pool:
        return list(pool.map(learn, learners, repeat(node), repeat(results)))


def meet(barrier: Barrier) -> None:
    """Begin a process of learners, who wait for each other at a barrier."""
    global everybody
    everybody = barrier


def work_at_once(learners: int, node: Node, folder: Path) -> list[Learned]:
    """Let all learners work at once, spread over several processes."""
    spawn = multiprocessing.get_context("spawn")
    shares = [
        list(range(learners))[number::PROCESSES] for number in range(min(PROCESSES, learners))
    ]
    barrier = spawn.Barrier(learners, timeout=600)
    with ProcessPoolExecutor(len(shares), spawn, initializer=meet, initargs=(barrier,)) as pool:
        return list(
            chain.from_iterable(pool.map(learn_in_threads, shares, repeat(node), repeat(folder)))
        )


def count_results(node: Node, learners: int, expected: int) -> None:
    """Raise if an object that was sent is not there: results join the study that was retrieved."""
    for learner in range(learners):
        (study,) = find_studies(node, accession_number=f"L{learner}")
        if study.NumberOfStudyRelatedInstances != expected:
            raise RuntimeError(
                f"{study.NumberOfStudyRelatedInstances} of {expected} objects of learner {learner}"
            )


@contextmanager
def class_pacs(folder: Path) -> Iterator[tuple[Node, int]]:
    """Serve a folder as a teacher does; yields the node and the process id."""
    command = [sys.executable, "-m", "magician", "pacs", "--port", "0", "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            printed = "".join(takewhile(lambda line: not line.startswith("Ready"), process.stdout))
            yield (
                Node.parse(re.search(r'PACS = "(.*)"', printed)[1], dimse_s=600, associate_s=60),
                process.pid,
            )
        finally:
            process.terminate()
            process.communicate()  # it says where its files lie: the pipe must be open


def run_class(learners: int, folder: Path) -> None:
    """Let a class of this size work, and print one line of figures."""
    held, sent = list((folder / "held").glob("*.0.dcm")), list((folder / "results").iterdir())
    with class_pacs(folder / "held") as (node, process_id):
        at_rest = memory_mb(process_id, "VmRSS")
        times = work_at_once(learners, node, folder)
        peak = memory_mb(process_id, "VmHWM")
        count_results(node, learners, len(held) + len(sent))
    for path in sent:
        for learner in range(learners):
            (folder / "held" / f"{path.stem}.{learner}.dcm").unlink()
    wall = max(learned.sent for learned in times) - min(learned.began for learned in times)
    retrieving = [learned.retrieved - learned.began for learned in times]
    sending = [learned.sent - learned.began_to_send for learned in times]
    figures = [
        f"{statistics.median(column):8.1f} {max(column):8.1f}" for column in (retrieving, sending)
    ]
    print(f"{learners:8} {wall:8.1f} {' '.join(figures)} {at_rest:8.0f} {peak:8.0f}", flush=True)


def memory_mb(process_id: int, what: str) -> float:
    """VmRSS is what a process has in memory now, VmHWM its peak (Linux)."""
    status = Path(f"/proc/{process_id}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+)", status)[1]) * 1024 / 1e6


def main() -> None:
    from accuracy import machine

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--learners", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument(
        "--slices", type=int, default=93, help="the middle slices of the teaching study; 93 is all"
    )
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        prepare(max(arguments.learners), arguments.slices, Path(folder))
        print(f"{arguments.slices} slices; seconds, and MB of the PACS's process")
        print("                     retrieving         sending            memory")
        print("learners     wall   median    worst   median    worst  at rest     peak")
        for learners in arguments.learners:
            run_class(learners, Path(folder))


if __name__ == "__main__":
    main()
