"""A JupyterLab and a Chromium for benchmarks and tests of the viewers, started and stopped here."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat

REPOSITORY = Path(__file__).resolve().parents[1]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
LOADED_MS = 60_000


@dataclass(frozen=True)
class Lab:
    """A JupyterLab that listens on this computer only.

    Attributes
    ----------
    url : str
    token : str
    folder : Path
        The notebooks that it serves.
    runtime : Path
        Where the connection files of its kernels lie.
    """

    url: str
    token: str
    folder: Path
    runtime: Path

    def page_of(self, notebook: str) -> str:
        return f"{self.url}/doc/tree/{notebook}?token={self.token}&reset"


@contextmanager
def jupyterlab(folder: Path) -> Iterator[Lab]:
    """Serve a folder of notebooks on a free port of 127.0.0.1, to whoever has the token.

    This JupyterLab has settings of its own.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as own:
        places = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
                  "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")  # fmt: skip
        environment = {
            **os.environ,
            **{name: str(Path(own, name)) for name in places},
            "JUPYTER_TOKEN": token,
            "PYTHONPATH": os.pathsep.join(
                [str(REPOSITORY / "tests" / "whole" / "offline"), str(REPOSITORY)]
            ),
            "TQDM_DISABLE": "1",
        }
        command = [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
            "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={folder}",
            "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
        ]  # fmt: skip
        settings = Path(own, "JUPYTERLAB_SETTINGS_DIR", "@jupyterlab", "apputils-extension")
        settings.mkdir(parents=True)
        (settings / "notification.jupyterlab-settings").write_text(
            '{"fetchNews": "false", "checkForUpdates": false}'
        )
        log = Path(own, "log")
        with log.open("w") as output:
            server = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_it_answers(server, f"{url}/api?token={token}", log)
            yield Lab(url, token, folder, Path(own, "JUPYTER_RUNTIME_DIR"))
        finally:
            server.terminate()  # it stops its kernels
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_until_it_answers(server: subprocess.Popen, url: str, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(
        f"JupyterLab did not answer within a minute. It wrote:\n{log.read_text()[-2000:]}"
    )


@contextmanager
def chromium(*, size: tuple[int, int] = (1100, 1000)):
    """Start a headless Chromium with a profile of its own; yield a page of it (playwright)."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        raise FileNotFoundError("the program chromium is not installed")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as own:
        context = playwright.chromium.launch_persistent_context(
            own, executable_path=program, args=FLAGS, viewport={"width": size[0], "height": size[1]}
        )
        try:
            yield context.pages[0]
        finally:
            context.close()


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells that have not been run."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in cells]
    )
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)


def open_notebook(page, lab: Lab, notebook: str) -> None:
    """Open a notebook, and wait until its kernel is ready."""
    page.goto(lab.page_of(notebook))
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=LOADED_MS)
    page.wait_for_function(
        """() => {
            const panel = window.jupyterapp?.shell.currentWidget;
            return panel?.sessionContext?.session?.kernel?.status === "idle";
        }""",
        timeout=LOADED_MS,
    )


def run_all(page) -> None:
    """Run all cells, as the menu does; return when the last has run, or one has failed."""
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
