"""An Orthanc server for as long as a test needs it, or a visible reason why there is none.

Debian's Orthanc listens on all interfaces whatever its settings say. So it runs as briefly as possible, without its
web server, talks only to callers on this computer that it has been told of, and holds teaching or published data only.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from helpers import require_program

from magician.association import Node


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def running_orthanc(folder: Path, *, known: dict[str, int], started=lambda process: None):
    """Start Orthanc with a storage of its own; `known` maps the AE titles that it serves to their ports."""
    program = require_program("Orthanc")
    port = free_port()
    configuration = {
        "Name": "Test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [],
        "HttpServerEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomAet": "ORTHANC",
        "DicomPort": port,
        "DicomAlwaysAllowStore": False,
        "DicomAlwaysAllowEcho": True,
        "DicomCheckModalityHost": True,
        "DicomModalities": {title: [title, "127.0.0.1", known_port] for title, known_port in known.items()},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen(
            [program, str(folder / "orthanc.json")], stdout=log, stderr=log, env={**os.environ, "TCP_NODELAY": "1"}
        )
        try:
            _wait_for(port, process, folder / "orthanc.log")
            started(process)
            yield Node("ORTHANC", "127.0.0.1", port)
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"Orthanc did not start:\n{log.read_text()[-2000:]}")
