"""Fixtures that several test files share; what can be imported is in helpers.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import ct_series, real_data, truth_labels, write_series

import magician.node
from magician.ct.volume import CTVolume, read_series


@pytest.fixture(autouse=True)
def own_progress_file(tmp_path_factory, monkeypatch) -> None:
    """Keep the outcomes of checks in a temporary file: never in that of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("progress")
    monkeypatch.setenv("MAGICIAN_PROGRESS", str(folder / "progress.json"))


@pytest.fixture(autouse=True)
def no_stopped_practice_pacs(monkeypatch) -> None:
    """Forget where earlier tests stopped a practice PACS: the system may give a port out again."""
    monkeypatch.setattr(magician.node, "_STOPPED", {})


@pytest.fixture
def small_series():
    """A fresh small CT series: datasets that a test may change."""
    return ct_series()


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """A folder that holds one small CT series."""
    return write_series(ct_series(), tmp_path / "ct")


@pytest.fixture(scope="module")
def volume(tmp_path_factory) -> CTVolume:
    """The small CT series as it is read."""
    return read_series(write_series(ct_series(), tmp_path_factory.mktemp("ct")))


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """The lungs of that series."""
    return truth_labels(ct_series())


@pytest.fixture
def real_chest_ct() -> Path:
    """The folder of a whole real chest CT, 64 slices; skips where the real data are absent."""
    return real_data("lung-pet-ct-dx-A0001", "s3")


@pytest.fixture(scope="module")
def real_chest_ct_folder() -> Path:
    """The same folder, for what is made once for a whole file of tests."""
    return real_data("lung-pet-ct-dx-A0001", "s3")
