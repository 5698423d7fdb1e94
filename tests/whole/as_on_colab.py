"""The lessons with the versions that Google Colab brings, and with what Cell 1 adds to them.

    make colab-test

The environment is made for this. On Colab numpy is loaded before the first cell, so an installation
that replaces it breaks the notebook until a restart. The package index is needed, as by Cell 1.
It takes about three minutes, and is no part of `make test`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "build" / "colab"
# Colab in August 2026, with Python 3.13. Its torch is older than the one that is tested here.
VERSIONS = {
    "numpy": "2.1.3",
    "scipy": "1.16.3",
    "matplotlib": "3.10.0",
    "scikit-image": "0.25.2",
    "ipywidgets": "7.7.1",
    "ipython": "7.34.0",
    "ipykernel": "6.17.1",
}
MUST_STAY = {"numpy", "torch", "matplotlib", "ipywidgets", "ipython"}


def run(*command: object, **environment: str) -> str:
    """Run a command, its errors shown; returns its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(map(str, command))} ended with {done.returncode}")
    return done.stdout


def main() -> None:
    venv.create(FOLDER / "venv", clear=True, with_pip=True)
    python = FOLDER / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (python, "-m", "pip", "-q", "--disable-pip-version-check")
    constraints = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    torch = next(line for line in constraints if line.startswith("torch=="))
    index = ["--index-url", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []
    run(*pip, "install", *index, torch)
    run(
        *pip,
        "install",
        *(f"{name}=={version}" for name, version in VERSIONS.items()),
        "pytest",
        "nbval",
    )

    report = json.loads(run(*pip, "install", "--dry-run", "--quiet", "--report", "-", REPOSITORY))
    installed = {
        item["metadata"]["name"].lower(): item["metadata"]["version"] for item in report["install"]
    }
    print(
        "Cell 1 installs",
        ", ".join(f"{name} {version}" for name, version in sorted(installed.items())),
    )
    if replaced := MUST_STAY & set(installed):
        sys.exit(f"It would replace {', '.join(sorted(replaced))}, which Colab has loaded before.")

    startup = FOLDER / "ipython" / "profile_default" / "startup" / "before_cell_1.py"
    startup.parent.mkdir(parents=True, exist_ok=True)
    startup.write_text("import numpy, scipy, skimage.measure, matplotlib\n", encoding="utf-8")
    options = "--nbval --nbval-current-env --nbval-sanitize-with tests/whole/sanitize.cfg"
    nbval = f"{options} --nbval-cell-timeout 300".split()
    pytest = (python, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".")
    for lesson in sorted((REPOSITORY / "notebooks").glob("0*.ipynb")):
        # each lesson shows a table of progress, and none may hold what another has done
        progress = FOLDER / "progress" / f"{lesson.stem}.json"
        progress.unlink(missing_ok=True)
        environment = {
            "IPYTHONDIR": str(FOLDER / "ipython"),
            "MAGICIAN_PROGRESS": str(progress),
            "TQDM_DISABLE": "1",
        }
        print(run(*pytest, *nbval, lesson, **environment))
    for name in MUST_STAY & VERSIONS.keys():
        found = run(
            python, "-c", f"from importlib.metadata import version; print(version({name!r}))"
        ).strip()
        if found != VERSIONS[name]:
            sys.exit(f"{name} was {VERSIONS[name]} before, and is {found} now.")


if __name__ == "__main__":
    main()
