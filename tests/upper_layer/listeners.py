"""Both listeners for a test, and what must be as before when it ends."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from magician.dimse.receiver import Receiver
from magician.practice_pacs.pacs import PracticePacs
from magician.upper_layer.limits import Limits

QUICK = Limits(idle_s=2, associate_s=2)


def eventually(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def resources():
    # tqdm's only one
    threads = [thread for thread in threading.enumerate() if type(thread).__name__ != "TMonitor"]
    return len(threads), len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def nothing_leaks():
    """Threads and files (sockets among them) must be as many afterwards as before."""
    threads, files = resources()
    yield
    assert eventually(lambda: resources()[0] <= threads and resources()[1] <= files), (
        resources(),
        threads,
        files,
    )


@contextmanager
def a_listener(name, folder, limits=QUICK):
    """A receiver or a practice PACS; gives its node and where it keeps what it gets."""
    if name == "receiver":
        with Receiver(folder / "kept", limits=limits) as receiver:
            yield receiver.node, receiver.folder
    else:
        with PracticePacs(folder=folder / "kept", limits=limits) as pacs:
            yield pacs.node, pacs.folder


LISTENERS = pytest.mark.parametrize("name", ["receiver", "practice PACS"])
