"""Progress bars: shown when it takes long, and nothing at all when it does not, or when nobody
wants one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import lung_segmentation, truth_labels

from magician import list_series, make_results, progress, read_series, save


@pytest.fixture
def in_a_hurry(monkeypatch):
    """No patience: everything counts as slow."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(progress, "DELAY_S", 0)


def everything(folder: Path, **options: bool) -> None:
    list_series(folder, **options)
    volume = read_series(folder, **options)
    segmentation = lung_segmentation(volume, truth_labels(list(volume.headers)))
    save(
        make_results(volume, segmentation, include_ct=True, **options).all,
        folder / "out",
        **options,
    )


def test_every_slow_step_shows_its_bar_and_prints_nothing(small_folder, in_a_hurry, capsys):
    everything(small_folder)
    shown = capsys.readouterr()
    assert shown.out == ""
    for what in ("looking for DICOM", "reading", "overlay", "CT images", "saving"):
        assert f"{what}: " in shown.err


def test_what_is_done_at_once_shows_nothing(small_folder, capsys):
    everything(small_folder)
    assert tuple(capsys.readouterr()) == ("", "")


def test_progress_can_be_turned_off(small_folder, in_a_hurry, capsys):
    everything(small_folder, progress=False)
    assert tuple(capsys.readouterr()) == ("", "")


def test_where_outputs_are_compared_the_environment_turns_bars_off(
    small_folder, in_a_hurry, capsys, monkeypatch
):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    everything(small_folder)
    assert tuple(capsys.readouterr()) == ("", "")
