"""A row of the table of odd peers: what is called, and the outcome that it must have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
from odd_behaviour import LONG_STUDY_UID, STALE
from odd_pacs import OBJECTS, STUDY_UID, OddPacs

from magician.client.diagnosis import diagnose
from magician.client.echo import echo
from magician.client.find import find_series, find_studies, only_study
from magician.client.retrieve import get_study, move_study
from magician.client.store import store
from magician.dimse.receiver import Receiver
from magician.errors import MagicianError
from magician.node import Node
from magician.upper_layer.limits import Limits

LIMIT_S = 8  # of a whole row


# What a row calls


@dataclass
class Scene:
    """What the steps of a row share."""

    pacs: OddPacs
    node: Node
    folder: Path
    opened: ExitStack

    @cached_property
    def receiver(self) -> Receiver:
        """Our own destination of a C-MOVE, which the PACS knows; also by the name THIRD."""
        receiver = self.opened.enter_context(Receiver(self.folder / "inbox"))
        self.pacs.know(receiver.node)
        self.pacs.destinations["THIRD"] = receiver.node
        return receiver


def get(scene: Scene, folder: str = "study", **arguments):
    return get_study(scene.node, STUDY_UID, scene.folder / folder, progress=False, **arguments)


def move(scene: Scene, late_s: float = 1, **arguments):
    return move_study(
        scene.node, STUDY_UID, scene.receiver, late_s=late_s, progress=False, **arguments
    )


def move_to_a_node(scene: Scene, **arguments):
    """To a node that is none of ours, so that only the answers of the PACS tell the outcome."""
    third = replace(scene.receiver.node, ae_title="THIRD")
    return move_study(scene.node, STUDY_UID, third, progress=False, **arguments)


def find(scene: Scene, **keys):
    return find_studies(scene.node, **keys)


def find_only(scene: Scene, **keys):
    return only_study(find_studies(scene.node, **keys))


def series(scene: Scene):
    return find_series(scene.node, STUDY_UID)


def send(scene: Scene, objects=OBJECTS):
    return store(scene.node, objects, progress=False)


def call_echo(scene: Scene):
    return echo(scene.node)


def call_diagnose(scene: Scene):
    return diagnose(scene.node)


def keep_a_stranger(scene: Scene):
    """Let an object of this study lie in the folder, which the PACS does not hold any more."""
    (scene.folder / "study").mkdir()
    STALE.save_as(scene.folder / "study" / f"{STALE.SOPInstanceUID}.dcm", enforce_file_format=True)


def move_to_a_small_receiver(scene: Scene):
    with Receiver(scene.folder / "small", limits=Limits(object_bytes=700)) as receiver:
        scene.pacs.know(receiver.node)
        return move_study(scene.node, STUDY_UID, receiver, late_s=1, progress=False)


def get_padded(scene: Scene):
    return get_study(scene.node, f"{STUDY_UID} ", scene.folder / "padded", progress=False)


def get_long(scene: Scene):
    return get_study(scene.node, LONG_STUDY_UID, scene.folder / "long", progress=False)


def asked(scene: Scene) -> list[tuple[str, str]]:
    """What the PACS was asked so far, as (service, level)."""
    return [(request.service, request.level) for request in scene.pacs.asked]


# The outcomes that a row demands


def gives(count: int | None = None, *words: str, without: Sequence[str] = (), check=None):
    """It returns; `count` images are here or that many studies match; the words are in its notes.

    `check` is a function of the result that must be true.
    """

    def judge(result, error):
        assert error is None, f"{type(error).__name__}: {error}"
        if count is not None:
            found = len(result) if isinstance(result, list) else result.received
            assert found == count
            if getattr(result, "paths", ()):
                assert len({path.name for path in result.paths}) == count
        _hold_words(" ".join(getattr(result, "notes", ())), words, without)
        assert check is None or check(result), result

    return judge


def fails(
    kind: type[Exception], *words: str, without: Sequence[str] = (), paths=None, **attributes
):
    """It raises an error of this kind, with these words, and with so many `paths`."""

    def judge(result, error):
        assert error is not None, f"no error, but {result!r}"
        assert isinstance(error, kind), f"{type(error).__name__}: {error}"
        _hold_words(str(error), words, without)
        for name, value in attributes.items():
            assert getattr(error, name) == value
        if paths is not None:
            assert len(error.paths) == paths

    return judge


def gives_or_fails(*words: str, without: Sequence[str] = ()):
    """It returns with these words in its notes, or raises an error of ours with them."""

    def judge(result, error):
        assert error is None or isinstance(error, MagicianError)
        said = str(error) if error else " ".join(getattr(result, "notes", ()))
        _hold_words(said, words, without)

    return judge


def _hold_words(text: str, words: Sequence[str], without: Sequence[str]) -> None:
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"
    for word in without:
        assert word not in text, f"{word!r} is in: {text}"


@dataclass(frozen=True)
class Row:
    """One odd peer.

    Attributes
    ----------
    name : str
    peer : dict or callable
        Arguments of `OddPacs`; a function makes those that hold a state.
    steps : tuple of (callable, callable)
        What is called, and the outcome that it must have.
    logged : sequence of str
        Words that the log of this package says, in one warning each; said once and not more.
    silent : bool
        Whether nothing must be logged.
    pydicom_warns : bool
        Whether pydicom may warn of a value that is too long.
    """

    name: str
    peer: dict | Callable[[], dict]
    steps: Sequence[tuple]
    logged: Sequence[str] = ()
    silent: bool = False
    pydicom_warns: bool = False


def outcome_of(call: Callable[[], object]) -> tuple[object, Exception | None]:
    """Return what a call returns and what it raises; fail if it hangs."""
    outcome = []

    def run():
        try:
            outcome.append((call(), None))
        except Exception as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    if not outcome:
        pytest.fail(f"still running after {LIMIT_S} s")
    return outcome[0]
