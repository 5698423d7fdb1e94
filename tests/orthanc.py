"""An Orthanc server for as long as a test needs it, or a visible reason why there is none.

Debian's Orthanc listens on all interfaces whatever its settings say. So it runs as briefly as
possible, without its web server, talks only to callers on this computer that it has been told of,
and holds teaching or published data only.
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

from magician.node import Node


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def running(command: list, port: int, **options):
    """Start a server program that listens on `port` of this computer; yields its process, and stops
    it at the end.

    `options` are those of `subprocess.Popen`.
    """
    process = subprocess.Popen(list(map(str, command)), **options)
    try:
        deadline = time.monotonic() + 30
        while not _takes_connections(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start on port {port}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _takes_connections(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running_orthanc(
    folder: Path,
    *,
    known: dict[str, int],
    settings: dict | None = None,
    started=lambda process: None,
):
    """Start Orthanc with a storage of its own; `known` maps the AE titles that it serves to their
    ports.

    `settings` are added to its configuration; `started` is called with the process.
    """
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
        "DicomModalities": {
            title: [title, "127.0.0.1", known_port] for title, known_port in known.items()
        },
        **(settings or {}),
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with (folder / "orthanc.log").open("w") as log:
        try:
            with running(
                [program, folder / "orthanc.json"], port, stdout=log, stderr=log, env=environment
            ) as process:
                started(process)
                yield Node("ORTHANC", "127.0.0.1", port)
        except RuntimeError as error:
            error.add_note((folder / "orthanc.log").read_text()[-2000:])
            raise
