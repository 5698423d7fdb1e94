"""The outcome of a retrieve: how a C-GET or C-MOVE ended, by the last response of the PACS.

`retrieve_errors` judges it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from magician.dimse.status import CANCELLED, INCOMPLETE, SUCCESS
from magician.errors import MagicianError

COUNTERS = ("Remaining", "Completed", "Failed", "Warning")  # (0000,1020) to (0000,1023)
# After these the PACS did not fail: it says only that not everything came
NOT_A_FAILURE = (SUCCESS, INCOMPLETE, CANCELLED)


@dataclass(frozen=True)
class Outcome:
    """How a C-GET or C-MOVE ended.

    Attributes
    ----------
    route : str
        Who sends, and by which service: ``"PACS@127.0.0.1:104 by C-GET"``.
    service : str
        ``"C-GET"`` or ``"C-MOVE"``.
    status : int or None
        The status of the last response; None if an error came in its place.
    words : str
        That status, or that error, in words.
    completed : int or None
        Number of sub-operations that ended well, as the last response tells it; None if it does
        not.
    failed : int
        Number of those that did not.
    failed_uids : tuple of str
        SOP Instance UIDs that the last response lists as failed (0008,0058).
    error : MagicianError or None
        The error that came in place of a last response.
    refused_classes : tuple of str
        Names of the SOP classes that the PACS did not agree to send.
    level : str
        The level of the last request.
    brought : int
        How many objects came for it.
    repeated : bool
        Whether all that is here of what was asked for was sent once more, and nothing else.
    """

    route: str
    service: str
    status: int | None
    words: str
    completed: int | None = None
    failed: int = 0
    failed_uids: tuple[str, ...] = ()
    error: MagicianError | None = None
    refused_classes: tuple[str, ...] = ()
    level: str = ""
    brought: int = 0
    repeated: bool = False


def counters_of(response: Dataset) -> dict[str, int | None]:
    """Read the numbers of sub-operations (PS3.7 9.1.3, 9.1.4); None where one is not told."""
    told = {name: response.get(f"NumberOf{name}Suboperations") for name in COUNTERS}
    return {name: value if isinstance(value, int) else None for name, value in told.items()}


def describe_counters(counters: dict[str, int | None]) -> str:
    """Put counters into words, as ``3 remaining, 5 completed``."""
    return ", ".join(f"{number} {name.lower()}" for name, number in counters.items() if number)


def completed_of(counters: dict[str, int | None]) -> int | None:
    """Count the sub-operations that ended well; None if that is not told."""
    completed, warning = counters.get("Completed"), counters.get("Warning")
    return None if completed is None and warning is None else (completed or 0) + (warning or 0)


def failed_uids_of(identifier: Dataset | None) -> tuple[str, ...]:
    """Read which instances a last response lists as failed (0008,0058), if that can be read."""
    try:
        # its bytes: pydicom warns of a value that is no UID, and raises for some
        value = identifier.get_item("FailedSOPInstanceUIDList").value
    except Exception:  # there is none, or it is hostile; the list is optional
        return ()
    if isinstance(value, bytes):
        value = value.decode("latin-1").split("\\")
    listed = [value] if isinstance(value, str) else value or []
    return tuple(text for uid in listed if (text := str(uid).strip(" \0")))
