"""How fast is the network side?

Our client beside DCMTK's, our practice PACS beside pynetdicom's qrscp, in one run:

    unshare --net sh -c 'ip link set lo up && python benchmarks/network.py'

Debian's Orthanc listens on all interfaces: a network namespace of its own keeps it on this
computer. It is started with TCP_NODELAY=1, as are DCMTK's programs; without that all wait for each
other's acknowledgements. 93 CT slices of 512x512, 49 MB, under fresh UIDs wherever they are sent.
The contestants of a row take turns, so that a busy machine slows all alike; what counts is the
ratio of their medians. What is received is counted after each turn. qrscp needs SQLAlchemy, which
nothing else here needs: `pip install sqlalchemy`, or its rows are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks"), str(REPOSITORY / "tests")]

from magician import (  # noqa: E402
    Node,
    associate,
    echo,
    find_instances,
    find_studies,
    get_study,
    store,
)
from magician.dimse.query import FIND, STUDY_ANSWERS, build_query, send_query  # noqa: E402
from magician.files import save_dataset  # noqa: E402

SLICES = 93
NODELAY = {**os.environ, "TCP_NODELAY": "1"}
PRACTICE = """
import sys
from magician import Node, PracticePacs
with PracticePacs(ae_title="SERVER", folder=sys.argv[1], port=int(sys.argv[2])) as pacs:
    pacs.know(Node("MAGICIAN", "127.0.0.1", int(sys.argv[3])))
    print("ready", flush=True)
    sys.stdin.read()
"""


class Study:
    """A study of noise, as files; each call of `fresh` makes the same pixels under other UIDs."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        noise = np.random.default_rng(0)
        self._pixels = [
            noise.integers(-1000, 1000, (512, 512), np.int16).tobytes() for _ in range(SLICES)
        ]

    def fresh(self) -> tuple[str, str, Path]:
        """Write the study anew; return its study and series UID, and its folder."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        study, series = generate_uid(), generate_uid()
        for number in range(SLICES):
            save_dataset(self._slice(study, series, number), folder)
        return study, series, folder

    def _slice(self, study: str, series: str, number: int) -> Dataset:
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.PatientName, ds.PatientID, ds.PatientIdentityRemoved = "Noise^Pure", "NOISE", "YES"
        ds.Modality, ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "CT", "1", 1, number + 1
        ds.AccessionNumber, ds.StudyDate, ds.StudyTime = "NOISE", "20250101", "120000"
        ds.Rows = ds.Columns = 512
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.PixelData = self._pixels[number]
        return ds


def dcmtk(program: str, node: Node, *arguments) -> None:
    """Run one of DCMTK's clients."""
    titles = ["-aet", "MAGICIAN", "-aec", node.ae_title]
    command = [program, *titles, *map(str, arguments), node.host, str(node.port)]
    subprocess.run(command, check=True, capture_output=True, env=NODELAY, timeout=300)


def storescu(node: Node, folder: Path) -> None:
    """Send a folder with DCMTK's client."""
    titles = ["-aet", "MAGICIAN", "-aec", node.ae_title]
    command = ["storescu", *titles, node.host, str(node.port), "+sd", str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=NODELAY, timeout=300)


def keys(study: str) -> list[str]:
    return ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]


@contextmanager
def empty_folder(expected: int = SLICES) -> Iterator[Path]:
    """A folder for what is retrieved; raises if it is not all there in the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        if (count := len(list(Path(folder).iterdir()))) != expected:
            raise RuntimeError(f"{count} of {expected} files were retrieved")


def timed(act: Callable, argument) -> float:
    began = time.perf_counter()
    act(argument)
    return time.perf_counter() - began


def race(title: str, contestants: dict[str, tuple[Callable, Callable]], rounds: int) -> None:
    """Let contestants take turns, and print a row for each.

    A contestant has two functions: one prepares an argument and is not timed, the other takes it.
    The last contestant is the peer.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, (prepare, act) in contestants.items():
            seconds = timed(act, prepare())
            if number:  # the first round warms up
                times[name].append(seconds)
    medians = {name: statistics.median(column) for name, column in times.items()}
    peer = list(medians)[-1]
    for name, median in medians.items():
        ratio = f"{median / medians[peer]:6.2f}" if name != peer else "  1   "
        print(f"{title:32} {name:24} {1000 * median:9.1f} {ratio}", flush=True)


def nothing() -> None:
    return None


def beside_dcmtk(orthanc: Node, study: Study, rounds: int) -> None:
    """Our client and DCMTK's, against Orthanc."""
    uid, _, folder = study.fresh()
    storescu(orthanc, folder)

    def ours_get(_) -> None:
        with empty_folder() as inbox:
            get_study(orthanc, uid, inbox, progress=False)

    def theirs_get(_) -> None:
        with empty_folder() as inbox:
            dcmtk("getscu", orthanc, *keys(uid), "-od", inbox)

    def files() -> Path:
        return study.fresh()[2]

    def ours_store(folder: Path) -> None:
        store(orthanc, sorted(folder.iterdir()), progress=False)
        shutil.rmtree(folder)

    def theirs_store(folder: Path) -> None:
        storescu(orthanc, folder)
        shutil.rmtree(folder)

    race(
        "retrieve by C-GET from Orthanc",
        {"get_study": (nothing, ours_get), "getscu": (nothing, theirs_get)},
        rounds,
    )
    race(
        "send to Orthanc", {"store": (files, ours_store), "storescu": (files, theirs_store)}, rounds
    )

    with associate(orthanc, [FIND]) as association:
        identifier = build_query("STUDY", {"StudyInstanceUID": uid}, STUDY_ANSWERS)
        alone = {"one C-FIND": (nothing, lambda _: send_query(association, orthanc, identifier))}
        race("ask Orthanc, already associated", alone, 10 * rounds)
    race(
        "ask Orthanc",
        {"find_studies": (nothing, lambda _: find_studies(orthanc, study_instance_uid=uid))},
        rounds,
    )


@contextmanager
def practice_pacs(folder: Path, destination: int) -> Iterator[Node]:
    from orthanc import free_port

    port = free_port()
    (folder / "practice").mkdir()
    command = [
        sys.executable,
        "-c",
        PRACTICE,
        str(folder / "practice"),
        str(port),
        str(destination),
    ]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        try:
            process.stdout.readline()
            yield Node("SERVER", "127.0.0.1", port)
        finally:
            process.terminate()


@contextmanager
def qrscp(folder: Path, destination: int) -> Iterator[Node]:
    """Start pynetdicom's qrscp in a process of its own.

    Importing it changes settings of pydicom for the whole process.
    """
    from orthanc import free_port

    port, home = free_port(), folder / "qrscp"
    home.mkdir()
    (home / "settings.ini").write_text(
        f"[DEFAULT]\nae_title: SERVER\nport: {port}\nmax_pdu: 16382\n"
        "acse_timeout: 30\ndimse_timeout: 30\nnetwork_timeout: 30\n"
        f"bind_address: 127.0.0.1\ninstance_location: {home}/instances\n"
        f"database_location: {home}/instances.sqlite\nlog_identifier: False\n\n"
        f"[MAGICIAN]\naddress: 127.0.0.1\nport: {destination}\n"
    )
    command = [sys.executable, "-m", "pynetdicom", "qrscp", "-c", str(home / "settings.ini"), "-q"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            node = Node("SERVER", "127.0.0.1", port)
            for _ in range(600):
                try:
                    echo(node)
                    break
                except Exception:
                    time.sleep(0.1)
            yield node
        finally:
            process.terminate()


def beside_qrscp(
    practice: Node, peer: Node | None, destination: int, study: Study, rounds: int
) -> None:
    """Our practice PACS and qrscp, against the same clients."""
    nodes = {"practice PACS": practice} | ({"qrscp": peer} if peer else {})
    uid, series, folder = study.fresh()
    for node in nodes.values():
        storescu(node, folder)

    def get(node: Node) -> None:
        with empty_folder() as inbox:
            dcmtk("getscu", node, *keys(uid), "-od", inbox)

    def move(node: Node) -> None:
        with empty_folder() as inbox:
            dcmtk("movescu", node, *keys(uid), "+P", destination, "-aem", "MAGICIAN", "-od", inbox)

    def images(node: Node) -> None:
        if len(find_instances(node, uid, series)) != SLICES:
            raise RuntimeError("not all images were found")

    def send(argument: tuple[Node, Path]) -> None:
        storescu(*argument)
        shutil.rmtree(argument[1])

    def row(title: str, act: Callable[[Node], object], times: int = 1) -> None:
        race(
            title,
            {name: (lambda node=node: node, act) for name, node in nodes.items()},
            times * rounds,
        )

    row("C-ECHO", echo, 5)
    row("C-FIND, 93 images", images, 5)
    row("C-FIND, one study", lambda node: find_studies(node, study_instance_uid=uid), 5)
    row("C-GET by getscu", get)
    row("C-MOVE by movescu", move)
    senders = {
        name: (lambda node=node: (node, study.fresh()[2]), send) for name, node in nodes.items()
    }
    race("C-STORE by storescu", senders, rounds)


def main() -> None:
    from accuracy import machine
    from orthanc import free_port, running_orthanc

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(machine())
    print(
        f"{SLICES} slices; medians of {rounds} rounds in ms, "
        "and the ratio to the last contestant of a row"
    )
    with tempfile.TemporaryDirectory() as name:
        folder, destination = Path(name), free_port()
        study = Study(folder)
        with running_orthanc(folder, known={"MAGICIAN": destination}) as orthanc:
            beside_dcmtk(orthanc, study, rounds)
        with practice_pacs(folder, destination) as practice:
            if importlib.util.find_spec("sqlalchemy") is None:
                print("(SQLAlchemy is not installed: without qrscp)")
                beside_qrscp(practice, None, destination, study, rounds)
            else:
                with qrscp(folder, destination) as peer:
                    beside_qrscp(practice, peer, destination, study, rounds)


if __name__ == "__main__":
    main()
