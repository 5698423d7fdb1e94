"""How much memory the kernel of a lesson holds, cell by cell.

The cells of a notebook run in order in a kernel of this Python, as *Run All* runs them. After each
cell the highest resident memory during it (VmHWM), the memory that is resident then (VmRSS) and the
seconds are printed; at the end the peak of all, and the seconds of processor time. Linux only.

    python benchmarks/memory.py [notebooks/01_connect_ai_to_pacs.ipynb]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOK = REPOSITORY / "notebooks" / "01_connect_ai_to_pacs.ipynb"
MB = 1e6


def main(arguments: list[str]) -> int:
    path = Path(arguments[0]) if arguments else NOTEBOOK
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MAGICIAN_PROGRESS"] = str(Path(folder, "progress.json"))
        os.environ.setdefault("TQDM_DISABLE", "1")
        run(nbformat.read(path, as_version=4), Path(folder))
    return 0


def run(notebook, folder: Path) -> None:
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],
    )
    peaks, used, started = [], [], {}

    def begin(cell, cell_index):
        if cell.cell_type == "code":
            forget_peak(process_of(client))
            started[cell_index] = time.perf_counter()

    def end(cell, cell_index, execute_reply):
        seconds = time.perf_counter() - started[cell_index]
        peak, now = resident(process_of(client))
        peaks.append(peak)
        used.append(processor_seconds(process_of(client)))
        name = cell.source.splitlines()[0].removeprefix("# ")
        print(f"{peak / MB:6.0f} MB {now / MB:6.0f} MB {seconds:6.1f} s  {name}", flush=True)

    print("  peak      then  seconds  cell")
    client.on_cell_start, client.on_cell_executed = begin, end
    client.execute()
    print(f"{max(peaks) / MB:6.0f} MB at the peak of all, {used[-1]:.0f} s of processor time")


def process_of(client: NotebookClient) -> Path:
    return Path("/proc", str(client.km.provisioner.pid))


def forget_peak(process: Path) -> None:
    (process / "clear_refs").write_text("5")  # proc(5): VmHWM begins anew at VmRSS


def resident(process: Path) -> tuple[int, int]:
    """Return the highest and the present resident memory in bytes."""
    status = (process / "status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return tuple(int(lines[name].split()[0]) * 1024 for name in ("VmHWM", "VmRSS"))


def processor_seconds(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
