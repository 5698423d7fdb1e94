"""The conformance of objects, checked before they are sent.

A PACS accepts an object with 0x0000 and finds out years later, or never, that an attribute is
missing.
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

LONGEST_S = 60


@dataclass(frozen=True)
class CheckedObject:
    """One object that was checked, and what is wrong in it.

    Attributes
    ----------
    kind : str
        The name of its SOP class.
    complaints : tuple of str
        From our own checks.
    errors, warnings : tuple of str, or None
        From dciodvfy; None where it is not installed.
    """

    kind: str
    complaints: tuple[str, ...]
    errors: tuple[str, ...] | None
    warnings: tuple[str, ...] | None

    @property
    def ok(self) -> bool:
        """Whether it has no complaints and no errors; warnings are not counted."""
        return not self.complaints and not self.errors


@dataclass(frozen=True, repr=False)
class Conformance(TableOfChecks):
    """What `check_conformance` found: a table in a notebook, and text elsewhere.

    Attributes
    ----------
    objects : tuple of CheckedObject
        In the order in which they were given. The table has one row for objects of one kind with
        the same faults.
    together : tuple of str
        Complaints about objects that do not fit together.
    """

    objects: tuple[CheckedObject, ...]
    together: tuple[str, ...]
    _columns = ("objects", "outcome", "our checks", "dciodvfy", "what is wrong")

    @property
    def ok(self) -> bool:
        """Whether every object is conformant, and they fit together."""
        return all(checked.ok for checked in self.objects) and not self.together

    @property
    def complaints(self) -> tuple[str, ...]:
        """The complaints of our own checks, each once: on objects, then on their relations."""
        in_objects = [text for checked in self.objects for text in checked.complaints]
        return tuple(dict.fromkeys([*in_objects, *self.together]))

    @property
    def summary(self) -> str:
        """One sentence."""
        count = len(self.objects)
        bad = sum(not checked.ok for checked in self.objects)
        if bad:
            single = f"{bad} of {count} objects are NOT conformant"
        else:
            single = f"{count} objects are conformant"
        return f"{single}, and {'do NOT fit' if self.together else 'fit'} together."

    def _cells(self) -> list[list[str]]:
        rows = []
        for checked, count in Counter(self.objects).items():
            validator = "not installed"
            if checked.errors is not None:
                errors, warnings = checked.errors, checked.warnings
                validator = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
            rows.append(
                [
                    f"{count} {checked.kind}",
                    _outcome(checked.ok),
                    _outcome_of_ours(checked.complaints),
                    validator,
                    "\n".join(checked.complaints or checked.errors or ()),
                ]
            )
        relations = [_outcome(not self.together), _outcome_of_ours(self.together), ""]
        rows.append([f"all {len(self.objects)} together", *relations, "\n".join(self.together)])
        return rows


def _outcome(ok: bool) -> str:
    return OK if ok else NOT_OK


def _outcome_of_ours(complaints: tuple[str, ...]) -> str:
    return f"{len(complaints)} wrong" if complaints else OK


def _count(lines: tuple[str, ...], word: str) -> str:
    return f"{len(lines)} {word}{'' if len(lines) == 1 else 's'}"


def check_conformance(
    datasets: Iterable[Dataset], *, sources: Iterable[Dataset] = (), progress: bool = True
) -> Conformance:
    """Check DICOM objects one by one, and whether they fit together.

    Our own checks always run: attributes that are required of Secondary Capture, Segmentation,
    Comprehensive 3D SR and CT objects, each with its clause; enumerated values and defined terms;
    valid UIDs; one patient, one study, one frame of reference; and references to objects that are
    there. They are few, and readable.
    Where David Clunie's ``dciodvfy`` (dicom3tools) is installed, it judges each object too. It
    knows the whole standard, but no references between objects, and its messages take practice.

    Parameters
    ----------
    datasets : iterable of Dataset
        Objects that belong together, each with its ``file_meta`` as it would be written.
    sources : iterable of Dataset
        Objects that they may refer to besides each other, such as the headers of the CT.
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
    written = copy(dataset)  # a shallow one: only the preamble is new
    written.preamble = b"\0" * 128
    try:
        dcmwrite(path, written, enforce_file_format=False)
    except Exception as error:  # pydicom raises several kinds for what is missing
        return (f"Error - it can't be written: {error}",), ()
    result = subprocess.run(
        [program, str(path)], capture_output=True, check=False, timeout=LONGEST_S
    )
    lines = result.stderr.decode("utf-8", errors="replace").splitlines()
    errors = tuple(line for line in lines if line.startswith("Error"))
    if result.returncode not in (0, 1):
        errors += (f"Error - dciodvfy broke off with exit code {result.returncode}",)
    return errors, tuple(line for line in lines if line.startswith("Warning"))
