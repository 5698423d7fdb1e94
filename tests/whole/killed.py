"""A program that can be killed at any of its steps: it makes, saves and sends results, or is a
practice PACS.

Run as a program it reads one order in JSON a line and answers each with one line. It forks for each
order, so that the libraries are loaded only once, and the fork kills itself by SIGKILL, which no
program can do anything about.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path


class Steps:
    """Counts steps, writes their names into a file, and kills this process at the one that was
    ordered.
    """

    def __init__(self, log: str, kill_at: int) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._count, self._kill_at = 0, kill_at

    def step(self, name: str) -> None:
        self._count += 1
        os.write(self._log, f"{name}\n".encode())
        if self._count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: object, name: str, words: str) -> None:
        """Make a function take a step before and after."""
        original = getattr(owner, name)

        def stepping(*args, **kwargs):
            self.step(f"before {words}")
            result = original(*args, **kwargs)
            self.step(f"after {words}")
            return result

        setattr(owner, name, stepping)

    def in_every_file(self) -> None:
        """Take steps wherever a file is made, half written, or gets its name."""
        from magician import files

        this = self

        class Halting(io.FileIO):
            def write(self, content) -> int:
                half = len(content) // 2
                super().write(content[:half])
                this.step("a file half written")
                return half + super().write(content[half:])

        files.os.fdopen = Halting
        self.around(files.Path, "replace", "a file gets its name")

    def in_every_message(self) -> None:
        """Take steps before, in the midst of and after each object that is sent."""
        from magician.upper_layer.requestor import Connection

        send = Connection.send

        def stepping(connection, content) -> None:
            if len(content) < 1000:  # not an object
                send(connection, content)
                return
            half = len(content) // 2
            self.step("before an object is sent")
            connection.socket.sendall(content[:half])
            self.step("an object half sent")
            send(connection, content[half:])
            self.step("after an object is sent")

        Connection.send = stepping


def make_save_send(order: dict, volume, labels) -> None:
    from helpers import lung_segmentation

    from magician.client.store import store
    from magician.node import Node
    from magician.results import make as result

    steps = Steps(order["log"], order["kill_at"])
    for name in ("segmentation_object", "report_object", "overlay_objects"):
        steps.around(result, name, name.replace("_", " "))
    steps.in_every_file()
    steps.in_every_message()
    segmentation = lung_segmentation(volume, labels)
    made = result.make_results(
        volume, segmentation, learner=order["learner"], now=datetime.fromisoformat(order["now"])
    )
    paths = result.save(made.all, order["folder"])
    store(Node.parse(order["node"]), paths)


def serve(order: dict, *_) -> None:
    from magician.practice_pacs.pacs import PracticePacs

    Steps(order["log"], order["kill_at"]).in_every_file()
    with PracticePacs(folder=order["folder"]) as pacs:
        Path(order["ready"]).write_text(f"{pacs.node.ae_title}@{pacs.node.host}:{pacs.node.port}")
        while not Path(order["stop"]).exists():
            time.sleep(0.02)


def main(ct: str) -> None:
    from helpers import lung_segmentation, truth_labels

    # What takes long to load is loaded before the first fork
    import magician.practice_pacs.pacs  # noqa: F401
    from magician.ct.volume import read_series
    from magician.results.make import make_results

    volume = read_series(ct)
    labels = truth_labels(list(volume.headers))
    make_results(volume, lung_segmentation(volume, labels))
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                {"send": make_save_send, "serve": serve}[order["do"]](order, volume, labels)
            except BaseException as error:  # noqa: BLE001
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(json.dumps(os.waitpid(child, 0)[1]), flush=True)


class Killable:
    """The other side: gives orders to the program."""

    def __init__(self, process: subprocess.Popen, folder: Path) -> None:
        self._process, self._folder, self._number = process, folder, 0

    def run(self, *, kill_at: int = 0, **order: object) -> list[str]:
        """Let it work; returns the steps that it took. With `kill_at` it must have been killed at
        that step.
        """
        status, steps = self.wait(self.begin(kill_at=kill_at, **order))
        expected = signal.SIGKILL if kill_at else 0
        assert status == expected, f"ended with {status}, and not with {expected}, after {steps}"
        return steps

    def begin(self, **order: object) -> Path:
        self._number += 1
        log = self._folder / f"steps-{self._number}"
        log.touch()
        self._process.stdin.write(json.dumps({"log": str(log), **order}) + "\n")
        self._process.stdin.flush()
        return log

    def wait(self, log: Path) -> tuple[int, list[str]]:
        return json.loads(self._process.stdout.readline()), log.read_text().splitlines()


@contextmanager
def killable(ct: Path, folder: Path):
    """Start the program with the CT in a folder; `folder` is for its notes."""
    here = Path(__file__).resolve().parent
    paths = [here.parents[1], here.parent, here]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, __file__, str(ct)], env=environment, **pipes)
    with process:
        yield Killable(process, folder)
        process.stdin.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
