"""Check whether objects are what they say they are, before a PACS that takes anything gets them.

A PACS accepts an object with 0x0000 and finds out years later, or never, that something is missing
in it.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmwrite

from magician.checks.consistency import complaints_together
from magician.checks.required_attributes import complaints_about, kind_of
from magician.progress import track
from magician.tables import NOT_OK, OK, TableOfChecks

__all__ = ["CheckedObject", "Conformance", "check_conformance"]

_LONGEST_S = 60


@dataclass(frozen=True)
class CheckedObject:
    """What is wrong in one object.

    Attributes
    ----------
    kind : str
        What its SOP class is called.
    complaints : tuple of str
        Of our own checks.
    errors, warnings : tuple of str, or None
        Of dciodvfy; None where it is not installed.
    """

    kind: str
    complaints: tuple[str, ...]
    errors: tuple[str, ...] | None
    warnings: tuple[str, ...] | None

    @property
    def ok(self) -> bool:
        """Whether there are no complaints and no errors; warnings are not counted."""
        return not self.complaints and not self.errors


@dataclass(frozen=True, repr=False)
class Conformance(TableOfChecks):
    """What `check_conformance` found: a table in a notebook, and text elsewhere.

    Attributes
    ----------
    objects : tuple of CheckedObject
        In the order in which they were given; the table shows those together of which the same is
        to be said.
    together : tuple of str
        What does not fit together.
    """

    objects: tuple[CheckedObject, ...]
    together: tuple[str, ...]
    _columns = ("objects", "outcome", "our checks", "dciodvfy", "what is wrong")

    @property
    def ok(self) -> bool:
        """Whether every object is, and they fit together."""
        return all(one.ok for one in self.objects) and not self.together

    @property
    def complaints(self) -> tuple[str, ...]:
        """What our own checks found wrong, each once: in objects, then between them."""
        return tuple(
            dict.fromkeys(
                [*(text for one in self.objects for text in one.complaints), *self.together]
            )
        )

    @property
    def summary(self) -> str:
        """One sentence."""
        bad = sum(not one.ok for one in self.objects)
        one_by_one = (
            f"{bad} of {len(self.objects)} objects are NOT conformant" if bad else "conformant"
        )
        if not bad:
            one_by_one = f"{len(self.objects)} objects are conformant"
        return f"{one_by_one}, and {'do NOT fit' if self.together else 'fit'} together."

    def _cells(self) -> list[list[str]]:
        rows = []
        for one, count in Counter(self.objects).items():
            validator = "not installed"
            if one.errors is not None:
                validator = f"{_count(one.errors, 'error')}, {_count(one.warnings, 'warning')}"
            what = "\n".join(one.complaints or one.errors or ())
            rows.append(
                [f"{count} {one.kind}", _outcome(one.ok), _of_ours(one.complaints), validator, what]
            )
        everything = f"all {len(self.objects)} together"
        rows.append(
            [
                everything,
                _outcome(not self.together),
                _of_ours(self.together),
                "",
                "\n".join(self.together),
            ]
        )
        return rows


def _outcome(ok: bool) -> str:
    return OK if ok else NOT_OK


def _of_ours(complaints: tuple[str, ...]) -> str:
    return f"{len(complaints)} wrong" if complaints else OK


def _count(lines: tuple[str, ...], word: str) -> str:
    return f"{len(lines)} {word}{'' if len(lines) == 1 else 's'}"


def check_conformance(
    datasets: Iterable[Dataset], *, sources: Iterable[Dataset] = (), progress: bool = True
) -> Conformance:
    """Check DICOM objects one by one, and whether they fit together.

    Our own checks always run: attributes that are required of Secondary Capture, Segmentation,
    Comprehensive 3D SR and CT objects, each with its clause; valid UIDs; one patient, one study,
    one frame of reference; and references that lead somewhere. They are few, and readable. Where
    David Clunie's ``dciodvfy`` (dicom3tools) is installed, it judges each object too: it knows the
    standard, but nothing of references, and its words take practice.

    Parameters
    ----------
    datasets : iterable of Dataset
        Objects that belong together, each with its ``file_meta`` as it would be written.
    sources : iterable of Dataset
        What they may refer to besides each other, such as the headers of the CT.
    progress : bool
        Show a progress bar if it takes more than two seconds.

    Returns
    -------
    Conformance
        ``.ok``, ``.objects``, ``.together``; show it as the last line of a notebook's cell, or
        print it.

    Notes
    -----
    PS3.3 A.8.1, A.51, A.35.13, A.3 and the modules named there; PS3.10 7.1 for the file meta
    information.
    """
    datasets = list(datasets)
    program = shutil.which("dciodvfy")
    checked = []
    with tempfile.TemporaryDirectory() as folder:
        for dataset in track(datasets, "checking", "object", progress=progress):
            errors = warnings = None
            if program:
                errors, warnings = _validate(program, dataset, Path(folder) / "object.dcm")
            checked.append(
                CheckedObject(kind_of(dataset), tuple(complaints_about(dataset)), errors, warnings)
            )
    return Conformance(tuple(checked), tuple(complaints_together(datasets, list(sources))))


def _validate(
    program: str, dataset: Dataset, path: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the errors and the warnings of dciodvfy about one object, written as it is."""
    written = copy(dataset)  # not a deep one: only the preamble is new
    written.preamble = b"\0" * 128
    try:
        dcmwrite(path, written, enforce_file_format=False)
    except Exception as error:  # pydicom says what it misses in several ways
        return (f"Error - it can't be written: {error}",), ()
    result = subprocess.run(
        [program, str(path)], capture_output=True, check=False, timeout=_LONGEST_S
    )
    lines = result.stderr.decode("utf-8", errors="replace").splitlines()
    errors = tuple(line for line in lines if line.startswith("Error"))
    if result.returncode not in (0, 1):
        errors += (f"Error - dciodvfy broke off with exit code {result.returncode}",)
    return errors, tuple(line for line in lines if line.startswith("Warning"))
