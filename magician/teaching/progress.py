"""The progress of a learner: outcomes of exercises and predictions, in a file of the learner's own.

The file lies in the user's home folder, or where the variable ``MAGICIAN_PROGRESS`` says. Nothing
of it leaves the computer. A file that can't be read or written never stops a check.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from magician.files import whole_file

logger = logging.getLogger(__name__)

FORMAT = "magician progress 1"
LARGEST_BYTES = 1_000_000  # a class of checks takes some thousand
WAIT_S = 2.0  # for another kernel that writes
LEFT_LOCK_S = 10.0  # a writer that was killed leaves its lock; no writer takes so long


@dataclass
class Outcomes:
    """What a learner has done so far.

    Attributes
    ----------
    exercises : dict
        For each exercise that was tried, ``{"ok": bool, "sentence": str}``.
    predictions : dict
        For each question that was answered, ``{"choice": str, "true": bool or None}``: None where
        nobody can say which choice comes true.
    """

    exercises: dict[str, dict] = field(default_factory=dict)
    predictions: dict[str, dict] = field(default_factory=dict)

    def merge(self, other: Outcomes) -> None:
        """Add the outcomes of `other`: what is right stays right, a first prediction stays."""
        for name, outcome in other.exercises.items():
            if outcome["ok"] or not self.exercises.get(name, {}).get("ok"):
                self.exercises[name] = outcome
        self.predictions = {**other.predictions, **self.predictions}


# What could not be written, for each file: it counts until this program ends
_unwritten: dict[Path, Outcomes] = {}


def progress_file() -> Path:
    """Return where the outcomes are kept: ``MAGICIAN_PROGRESS``, or a file in the home folder."""
    chosen = os.environ.get("MAGICIAN_PROGRESS")
    return Path(chosen) if chosen else Path("~", ".magician", "progress.json").expanduser()


def record(exercise: str, ok: bool, sentence: str) -> None:
    """Keep the outcome of an exercise. One that was right stays so."""
    _keep(Outcomes(exercises={exercise: {"ok": bool(ok), "sentence": sentence}}))


def record_prediction(key: str, choice: str, true: bool | None) -> None:
    """Keep a prediction. The first one counts."""
    _keep(Outcomes(predictions={key: {"choice": choice, "true": true}}))


def read_outcomes() -> tuple[Outcomes, str]:
    """Return what is known, and a sentence about a file that can't be used, or an empty one."""
    known, problem, unwritten = Outcomes(), "", None
    try:
        path = progress_file()
        unwritten = _unwritten.get(path)
        known = _read(path)
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as error:  # no access, no home folder, damaged
        problem = f"The file of your progress can't be read: {error}."
    if unwritten:
        known.merge(unwritten)
        problem = (
            f"{path} can't be written, so your progress is kept until the kernel ends. "
            "The environment variable MAGICIAN_PROGRESS can name another file."
        )
    return known, problem


class _Damaged(ValueError):
    """The file does not hold what `record` writes."""


def _keep(new: Outcomes) -> None:
    """Add outcomes to the file; log it if that is impossible."""
    path = None
    try:
        path = progress_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            try:
                known = _read(path)
            except FileNotFoundError:
                known = Outcomes()
            except _Damaged:
                path.replace(path.with_name(f"{path.name}.damaged"))
                known = Outcomes()
            if earlier := _unwritten.pop(path, None):
                known.merge(earlier)
            known.merge(new)
            new = known  # if it can't be written, nothing is lost
            _write(path, known)
    except (OSError, RuntimeError, ValueError) as error:
        logger.info("the progress is not written: %s", error)
        if path is not None:
            _unwritten.setdefault(path, Outcomes()).merge(new)


def _read(path: Path) -> Outcomes:
    if path.stat().st_size > LARGEST_BYTES:
        raise _Damaged(f"{path} is too large")
    content = path.read_bytes()
    try:
        stored = json.loads(content)
        if stored["format"] != FORMAT:
            raise ValueError
        known = Outcomes(dict(stored["exercises"]), dict(stored["predictions"]))
        for outcome in known.exercises.values():
            _require(outcome, ok=bool, sentence=str)
        for outcome in known.predictions.values():
            _require(outcome, choice=str, true=(bool, type(None)))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        raise _Damaged(f"{path} does not hold the progress of a learner") from None
    return known


def _require(outcome: dict, **kinds) -> None:
    if not all(isinstance(outcome[name], kind) for name, kind in kinds.items()):
        raise TypeError


def _write(path: Path, known: Outcomes) -> None:
    stored = {"format": FORMAT, "exercises": known.exercises, "predictions": known.predictions}
    with whole_file(path) as file:
        file.write(json.dumps(stored, indent=1, sort_keys=True).encode())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one program at a time read the file, add to it and write it.

    Raises
    ------
    TimeoutError
        If another program holds the lock for longer than `WAIT_S`.
    """
    lock, end = path.with_name(f".{path.name}.lock"), time.monotonic() + WAIT_S
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except (FileExistsError, PermissionError) as error:
            if isinstance(error, PermissionError) and os.name != "nt":
                raise  # Windows says so, too, of a file that is just being removed
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > LEFT_LOCK_S:
                    lock.unlink(missing_ok=True)
                    continue
            if time.monotonic() > end:
                raise TimeoutError(f"another program keeps {path.name} locked") from None
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
