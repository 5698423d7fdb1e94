"""The errors of this package, each of which says what happened and what to do.

Every function either does what it says or raises one of these:

    MagicianError
    ├── PacsUnreachable         no TCP connection: nothing listens there, or a wrong host
    ├── PacsTimeout             something is there and does not answer in time
    ├── TlsFailure              connected, not encrypted: a certificate, or one side speaks no TLS
    ├── AssociationRejected     it answered, and refused: an AE title it does not accept
    ├── AssociationAborted      the connection ended without an answer: perhaps no DICOM port
    │   └── WrongAnswer              what came was none: no status, or the answer to something else
    ├── ServiceNotAccepted      associated, but it does not offer the service that we need
    ├── DimseFailure            a request came back with a failure status (.status)
    │   └── UnknownMoveDestination   the PACS does not know where to send a C-MOVE
    ├── StudyNotFound           the query was answered, with no match
    ├── SeveralStudies          several studies match where one was meant
    ├── IncompleteRetrieve      fewer images came than promised (.received, .missing, .paths ...)
    ├── NotDeidentified         the privacy rule: identified data were about to leave this computer
    ├── SeriesError             a CT series that can't be read as one exact volume
    ├── WeightsUnavailable      the network's weights are not there, or not the ones expected
    ├── SegmentationError       the input or the outcome of a segmentation is not plausible
    │   └── NoLungsFound             a plausible CT, and no lungs in it
    └── ResultError             a DICOM result can't be made or read

Catch the error that you can do something about, or all of them:

    try:
        echo(node)
    except MagicianError as error:
        print(error)

An argument that makes no sense raises `WrongArgument`, a ValueError.

In a notebook all of these are shown as their sentence. ``%tb`` in the next cell shows the whole
traceback; ``%xmode Verbose`` shows it from then on. Outside IPython tracebacks are as always.
"""

from __future__ import annotations

import linecache
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

USUAL_MODE = "Context"  # how IPython shows tracebacks until %xmode says otherwise
WIDTH = 96  # characters in a line of the sentence
HOW_TO_SEE_MORE = "%tb in the next cell shows the whole traceback."


@dataclass(frozen=True)
class Finding:
    """The cause of a failed connection, and who can remove it.

    Attributes
    ----------
    layer : str
        The layer at which it stopped: one of `LAYERS`.
    seen : str
        What happened.
    side : str
        Who must change something: ``"we"``, ``"the PACS"``, ``"the network"``, or two of these.
    change : str
        What must be changed.
    """

    layer: str
    seen: str
    side: str
    change: str


# From the lowest upwards; each layer needs those before it
LAYERS = (
    "host name", "TCP", "TLS", "association", "presentation contexts",
    "C-ECHO", "C-FIND", "C-GET", "C-MOVE", "C-STORE",
)  # fmt: skip


def cell_of(traceback: TracebackType | None, shell: Any) -> tuple[list[str], int]:
    """Return the lines of the cell that failed, and the number of the line, from 1; else [] and 0.

    Parameters
    ----------
    traceback : traceback or None
    shell : IPython's shell
    """
    while traceback is not None:
        if traceback.tb_frame.f_globals is shell.user_ns:
            lines = linecache.getlines(traceback.tb_frame.f_code.co_filename)
            return (lines, traceback.tb_lineno) if lines else ([], 0)
        traceback = traceback.tb_next
    return [], 0


def lines_to_show(error: BaseException, message: str, shell: Any) -> list[str]:
    """Write what a notebook shows of an error: its name and `message`, and the line of the cell."""
    notes = getattr(error, "__notes__", [])
    text = "\n".join([f"{type(error).__name__}: {message}", *map(str, notes)])
    wrapped = [
        textwrap.wrap(line, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
        for line in text.splitlines()
    ]
    lines, number = cell_of(error.__traceback__, shell)
    where = f"In line {number}: {lines[number - 1].strip()}" if number else ""
    return [*sum(wrapped, []), "", *([where] if where else []), HOW_TO_SEE_MORE]


class _ShownAsSentence:
    """An error that a notebook shows as its message instead of a long traceback.

    IPython asks an error for `_render_traceback_`, and shows the traceback of one that has none.
    """

    @property
    def _render_traceback_(self) -> Callable[[], list[str]]:
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython else None
        mode = getattr(getattr(shell, "InteractiveTB", None), "mode", USUAL_MODE)
        # %tb asks later, when the error is not being handled any more
        if shell is None or mode != USUAL_MODE or sys.exc_info()[1] is not self:
            raise AttributeError("_render_traceback_")
        return lambda: lines_to_show(self, str(self), shell)


class WrongArgument(_ShownAsSentence, ValueError):
    """An argument that makes no sense: what was given, and what to write instead."""


class MagicianError(_ShownAsSentence, Exception):
    """Base of every error that this package raises on purpose.

    Attributes
    ----------
    finding : Finding or None
        For an error of a connection: its cause in parts. `diagnose` makes a table of them.
    """

    finding: Finding | None = None

    @classmethod
    def of(cls, finding: Finding, *arguments) -> MagicianError:
        """Make an error of this kind from a finding; `arguments` follow the message."""
        error = cls(f"{finding.seen} {finding.change}", *arguments)
        error.finding = finding
        return error


class PacsUnreachable(MagicianError):
    """No TCP connection could be made."""


class PacsTimeout(MagicianError):
    """The peer accepted the connection, or a request, and then stayed silent for too long."""


class TlsFailure(MagicianError):
    """The two sides do not agree on encryption, or on a certificate (PS3.15 Annex B)."""


class AssociationRejected(MagicianError):
    """The peer refused the association (A-ASSOCIATE-RJ, PS3.8 9.3.4) and gave a reason."""


class AssociationAborted(MagicianError):
    """The association ended without an answer: A-ABORT (PS3.8 9.3.8) or a closed connection."""


class WrongAnswer(AssociationAborted):
    """The peer answered a request with a message that is no answer to it; so we aborted."""


class ServiceNotAccepted(MagicianError):
    """The peer accepted the association, and no presentation context for the service."""


class DimseFailure(MagicianError):
    """A DIMSE request was answered with a failure status.

    Attributes
    ----------
    status : int
        The status code, for instance 0xA700.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnknownMoveDestination(DimseFailure):
    """The PACS does not know the AE title that a C-MOVE named as its destination (0xA801)."""


class StudyNotFound(MagicianError):
    """The PACS answered the query, and nothing matched."""


class SeveralStudies(MagicianError):
    """A query that was meant for one study matched several, and none is taken for the right one."""


class IncompleteRetrieve(MagicianError):
    """Fewer instances arrived than the PACS holds.

    Attributes
    ----------
    received, expected : int
        Numbers of instances.
    missing : tuple of str
        SOP Instance UIDs of those that did not arrive, as far as they are known.
    paths : tuple of Path
        The files of those that did.
    """

    def __init__(
        self,
        message: str,
        received: int,
        expected: int,
        missing: Sequence[str] = (),
        paths: Sequence[Path] = (),
    ) -> None:
        super().__init__(message)
        self.received = received
        self.expected = expected
        self.missing = tuple(missing)
        self.paths = tuple(paths)


class NotDeidentified(MagicianError):
    """Objects that do not say PatientIdentityRemoved=YES were about to leave this computer."""


class SeriesError(MagicianError):
    """A series that can't be read as one exact CT volume."""


class WeightsUnavailable(MagicianError):
    """The weights of a network are missing, or are not what they claim to be."""


class SegmentationError(MagicianError):
    """The input of a segmentation is not a plausible chest CT, or its outcome is not plausible."""


class NoLungsFound(SegmentationError):
    """The network ran, and found no lungs: hardly any voxels that it calls lung."""


class ResultError(MagicianError):
    """A DICOM result can't be made, or can't be read back."""
