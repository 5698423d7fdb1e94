"""The wheel and the sdist as somebody gets them who has no checkout: built, installed and used.

Nothing is fetched: setuptools, which builds, is among the requirements of the tests.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from setuptools import build_meta

from magician.client.echo import echo
from magician.client.find import find_studies
from magician.node import Node

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("LICENSE", "README.md", "pyproject.toml", "requirements.txt")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "--no-input")


def run(*command, folder, **environment):
    """Run a command in a folder; returns what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(what, source, folder):
    """Let the build backend that pyproject.toml names build a wheel or an sdist of a folder."""
    assert build_meta.__name__ in (source / "pyproject.toml").read_text()
    code = f"from {build_meta.__name__} import build_{what} as build; build({str(folder)!r})"
    run(sys.executable, "-c", code, folder=source)
    (path,) = folder.glob("*.whl" if what == "wheel" else "*.tar.gz")
    return path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The sdist, built from a copy of what belongs to it: a build leaves its traces."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        ROOT / "magician", copy / "magician", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in NEEDED:
        shutil.copy(ROOT / name, copy)
    return build("sdist", copy, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel, built from the unpacked sdist and from nothing else."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder into which pip has installed the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    run(*PIP, "install", "--no-index", "--no-deps", "--target", folder, wheel, folder=folder)
    return folder


@pytest.fixture(scope="module")
def only_installed(installed, tmp_path_factory):
    """How to start a Python that finds the installed package, and the checkout only after it."""
    return {
        "cwd": tmp_path_factory.mktemp("elsewhere"),
        "env": os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"},
    }


def python(code, only_installed):
    """Run code that must find the installed package; returns the words that it printed."""
    command = [sys.executable, "-c", f"import magician\nprint(magician.__file__)\n{code}"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, **only_installed
    )
    assert done.returncode == 0, done.stderr
    place, *words = done.stdout.split()
    assert Path(place).is_relative_to(only_installed["env"]["PYTHONPATH"])
    return words


def package_files():
    """Every file of the package in the checkout, by its path from the root."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "magician").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel):
    assert re.fullmatch(r"magician_pacs-[\d.]+-py3-none-any\.whl", wheel.name)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == package_files()


def test_the_sdist_holds_what_a_wheel_is_built_from(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {*NEEDED, *package_files()} <= names


def test_the_version_and_the_requirements_come_along(only_installed):
    code = """
from importlib.metadata import requires, version
print(version("magician-pacs") == magician.__version__, *requires("magician-pacs"))
"""
    equal, *requirements = python(code, only_installed)
    assert equal == "True"
    assert "pynetdicom<4,>=3.0" in requirements


def test_it_makes_a_teaching_study_and_segments_it(only_installed):
    code = """
from magician import dice, read_series, save, segment_lungs, teaching_study
study = teaching_study()
save(study.datasets[1:93:3], "study")  # every third slice: the network is slow
segmentation = segment_lungs(read_series("study"), device="cpu", progress=False)
print(dice(segmentation.labels > 0, study.truth[1::3] > 0))
"""
    (agreement,) = python(code, only_installed)
    assert float(agreement) > 0.95


def test_it_serves_the_files_of_its_web_page_and_of_its_viewer(only_installed):
    code = """
from importlib.resources import files
from urllib.request import urlopen
from magician import PracticePacs
with PracticePacs() as pacs, magician.web.serve(pacs) as page:
    for name in ("page.js", "page.css"):
        packed = (files("magician.web") / name).read_bytes()
        print(urlopen(page.url + name, timeout=30).read() == packed)
print(magician.ct_viewer.__module__)
"""
    assert python(code, only_installed) == ["True", "True", "magician.display.viewer"]


def test_the_command_line_serves_a_study(only_installed):
    command = [sys.executable, "-m", "magician", "pacs", "--port", "0", "--study", "Ada"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **pipes, **only_installed) as process:
        deadline = threading.Timer(120, process.kill)
        deadline.start()
        try:
            printed = ""
            while "Ready" not in printed:
                line = process.stdout.readline()
                assert line, f"It ended after {printed!r}."
                printed += line
            node = Node.parse(re.search(r'PACS = "(.*)"', printed)[1])
            assert echo(node) == 0x0000
            (study,) = find_studies(node)
            assert study.NumberOfStudyRelatedInstances == 95
        finally:
            deadline.cancel()
            process.kill()
