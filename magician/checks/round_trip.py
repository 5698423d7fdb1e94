"""A round trip of results: fetched back from a PACS, and measured again.

A PACS does not look into the objects that it accepts. It stores a mask that is mirrored, one slice
too high or in another patient with 0x0000 like any other, and the mask may even look plausible.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread

from magician.checks.round_trip_checks import Check, RoundTripChecks
from magician.client.find import find_instances, find_series
from magician.client.retrieve import get_study
from magician.ct.volume import CTVolume
from magician.errors import StudyNotFound
from magician.node import Node
from magician.results.make import Results
from magician.tables import NOT_OK, OK, TableOfChecks

__all__ = ["Check", "RoundTrip", "verify_round_trip"]


@dataclass(frozen=True, repr=False)
class RoundTrip(TableOfChecks):
    """What `verify_round_trip` found: a table in a notebook, and text elsewhere.

    Attributes
    ----------
    node : Node
        The PACS that held the results.
    checks : tuple of Check
    """

    node: Node
    checks: tuple[Check, ...]
    _columns = ("what", "outcome", "expected", "found in the PACS")

    @property
    def ok(self) -> bool:
        """Whether every check is ok."""
        return all(check.ok for check in self.checks)

    def __getitem__(self, what: str) -> Check:
        """Return one check by its name, as in ``proof["frames"]``."""
        return {check.what: check for check in self.checks}[what]

    @property
    def summary(self) -> str:
        """One sentence."""
        bad = [check.what for check in self.checks if not check.ok]
        outcome = (
            f"NOT what was sent: {', '.join(bad)}"
            if bad
            else f"all {len(self.checks)} checks are ok"
        )
        return f"Results fetched back from {self.node.ae_title}: {outcome}."

    def _cells(self) -> list[list[str]]:
        return [
            [check.what, OK if check.ok else NOT_OK, check.expected, check.found]
            for check in self.checks
        ]


def verify_round_trip(
    node: Node, volume: CTVolume, results: Results, *, progress: bool = True
) -> RoundTrip:
    """Fetch the SEG and the SR back from a PACS (C-GET), and compare them with the mask.

    The mask is rebuilt from the elements of the fetched objects alone. Each frame lies where its
    own position, orientation and pixel spacing say, in any order. The code of its segment says
    which lung it is. The code that reads shares nothing with the code that writes. Expected values
    are measured in ``results.labels``, on the positions in the headers of the CT. Of the overlay,
    only the presence of its images is checked.

    Parameters
    ----------
    node : Node
        The PACS to which `results` were sent. It must hold the CT too, to which they refer.
    volume : CTVolume
        The CT that was segmented; never a learner's copy.
    results : Results
        As `make_results` gave them for this volume.
    progress : bool
        Show a progress bar when fetching takes longer than two seconds.

    Returns
    -------
    RoundTrip
        ``.ok``, ``.checks``; show it as the last line of a notebook's cell, or print it. If an
        object is wrong, or one of several missing in the PACS, a check is not ok; that raises no
        error.

    Raises
    ------
    StudyNotFound
        If the PACS holds none of the results: they were not sent yet, or made again since.
    MagicianError
        If the PACS can't be asked: the errors of `find_series` and `get_study`.

    Notes
    -----
    PS3.3 C.7.6.2.1.1 and C.7.6.16.2 (positions in the patient), C.8.20.2 (Segmentation), PS3.16 TID
    1500.
    """
    study = str(results.seg.StudyInstanceUID)
    held = {
        str(instance.SOPInstanceUID): str(series.SeriesInstanceUID)
        for series in find_series(node, study)
        for instance in find_instances(node, study, series.SeriesInstanceUID)
    }
    _require_sent(node, results, held)
    with tempfile.TemporaryDirectory() as folder:
        seg, sr = (
            _fetch(node, study, sent, held, Path(folder), progress)
            for sent in (results.seg, results.sr)
        )
    return RoundTrip(node, tuple(RoundTripChecks(volume, results, held, seg, sr).run()))


def _require_sent(node: Node, results: Results, held: dict[str, str]) -> None:
    """Raise `StudyNotFound` if the PACS holds none of the results."""
    mine = (one for group in ([results.seg, results.sr], results.overlay) for one in group)
    if any(str(one.SOPInstanceUID) in held for one in mine):
        return
    others = (
        f" It holds {len(held)} other objects of their study: perhaps the results were made again "
        f"after they had been sent."
        if held
        else ""
    )
    raise StudyNotFound(
        f"Not sent yet: {node} holds none of these results.{others} Send them first, with "
        f"store(node, results.all) (Cell 13 in lesson 01), then run this cell again."
    )


def _fetch(
    node: Node, study: str, sent: Dataset, held: dict, folder: Path, progress: bool
) -> Dataset | None:
    uid = str(sent.SOPInstanceUID)
    if uid not in held:
        return None
    get_study(node, study, folder, series_instance_uid=held[uid], progress=progress)
    return dcmread(folder / f"{uid}.dcm")
