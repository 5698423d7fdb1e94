"""Small CT cases, with the results that are made of them, and what the tests read in results."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from helpers import lung_segmentation, truth_labels, write_series
from pydicom import DataElement, Dataset, dcmread

from magician.checks.segmentation_reader import read_segmentation
from magician.ct.volume import read_series
from magician.errors import ResultError
from magician.results.make import Results, make_results, save

NOW = datetime(2026, 1, 2, 3, 4, 5)


def make_case(datasets: list[Dataset], folder: Path) -> Case:
    """Write a small series into a folder and read it."""
    return Case(write_series(datasets, folder), datasets[0].SeriesInstanceUID)


class Case:
    """A CT that was read from files, and labels of its lungs; without labels, the truth of the
    small series.
    """

    def __init__(
        self, folder: Path, uid: str | None = None, labels: np.ndarray | None = None
    ) -> None:
        self.volume = read_series(folder, uid)
        self.labels = truth_labels(list(self.volume.headers)) if labels is None else labels

        self.labels.flags.writeable = False
        self._made: dict[tuple[str, bool], Results] = {}

    def make(self, *, learner: str = "", include_ct: bool = False, **changes: object) -> Results:
        """Make results afresh."""
        segmentation = lung_segmentation(self.volume, **({"labels": self.labels} | changes))
        return make_results(
            self.volume, segmentation, learner=learner, include_ct=include_ct, now=NOW
        )

    def results(self, *, learner: str = "", include_ct: bool = False) -> Results:
        """Return results that were made once, for a test that only looks at them."""
        key = (learner, include_ct)
        if key not in self._made:
            self._made[key] = self.make(learner=learner, include_ct=include_ct)
        return self._made[key]


def saved(dataset: Dataset, folder: Path) -> Dataset:
    """Return an object as another program would get it: from its file."""
    return dcmread(save([dataset], folder)[0])


def elements(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset.iterall():
        if element.VR != "SQ":
            yield element


def texts(dataset: Dataset) -> set[str]:
    """Return every value in a dataset, its sequences and its file meta, as text; pixel data left
    out.
    """
    found = set()
    for part in (dataset, dataset.file_meta):
        for element in elements(part):
            if element.keyword != "PixelData":
                values = element.value if element.VM > 1 else [element.value]
                found.update(map(str, values))
    return found


def uids(datasets: list[Dataset]) -> set[str]:
    return {str(ds.SOPInstanceUID) for ds in datasets}


def referenced(dataset: Dataset) -> set[str]:
    return {str(e.value) for e in elements(dataset) if e.keyword == "ReferencedSOPInstanceUID"}


def not_read(seg: Dataset, case: Case) -> str:
    with pytest.raises(ResultError) as caught:
        read_segmentation(seg, case.volume)
    return str(caught.value)
