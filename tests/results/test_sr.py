"""The SR: volume and density of each lung, and the segment that each of them refers to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from result_cases import referenced

from magician.results.make import save


def measured(sr_path: Path) -> dict[str, Dataset]:
    """Return highdicom's view of each measurement group, by tracking identifier."""
    import highdicom as hd

    groups = hd.sr.srread(sr_path).content.get_volumetric_roi_measurement_groups()
    return {group.tracking_identifier: group for group in groups}


@pytest.mark.parametrize(("words", "label"), [("Right lung", 1), ("Left lung", 2)])
def test_sr_volume_is_the_volume_of_the_mask(words, label, turned, tmp_path):
    group = measured(save([turned.results().sr], tmp_path)[0])[words]
    millilitres = (turned.labels == label).sum() * 3.0 * 1.5 * 1.5 / 1000
    assert group.get_measurements()[0].value == pytest.approx(millilitres, abs=1e-4)


def test_sr_volume_is_in_millilitres(case, tmp_path):
    measurement = measured(save([case.results().sr], tmp_path)[0])["Left lung"].get_measurements()[
        0
    ]
    assert (measurement.name.value, measurement.unit.value) == ("118565006", "mL")


@pytest.mark.parametrize(("words", "label"), [("Right lung", 1), ("Left lung", 2)])
def test_sr_gives_the_mean_density_of_each_lung(words, label, case, tmp_path):
    density = measured(save([case.results().sr], tmp_path)[0])[words].get_measurements()[1]
    # Attenuation Coefficient
    assert (density.name.value, density.unit.value) == ("112031", "[hnsf'U]")
    assert density.derivation.meaning == "Mean"
    assert density.value == pytest.approx(case.volume.hu[case.labels == label].mean(), abs=0.051)


def test_sr_gives_no_density_of_a_lung_that_is_not_there(case, tmp_path):
    right = np.where(case.labels == 1, case.labels, 0)
    groups = measured(save([case.make(labels=right).sr], tmp_path)[0])
    assert [len(groups[words].get_measurements()) for words in ("Right lung", "Left lung")] == [
        2,
        1,
    ]


@pytest.mark.parametrize(("words", "number"), [("Right lung", 1), ("Left lung", 2)])
def test_sr_points_at_its_segment(words, number, case, tmp_path):
    results = case.results()
    segment = measured(save([results.sr], tmp_path)[0])[words].reference_type
    assert segment.value == "121191"  # Referenced Segment
    content = [e for e in results.sr.iterall() if e.keyword == "ReferencedSegmentNumber"]
    assert [e.value for e in content] == [1, 2]
    assert results.seg.SOPInstanceUID in referenced(results.sr)


def test_sr_and_seg_share_tracking_uids(case, tmp_path):
    results = case.results()
    groups = measured(save([results.sr], tmp_path)[0])
    tracked = {segment.TrackingID: segment.TrackingUID for segment in results.seg.SegmentSequence}
    assert {words: group.tracking_uid for words, group in groups.items()} == tracked


@pytest.mark.parametrize(("words", "side"), [("Right lung", "24028007"), ("Left lung", "7771000")])
def test_sr_says_which_side(words, side, case, tmp_path):
    group = measured(save([case.results().sr], tmp_path)[0])[words]
    assert group.finding_sites[0].laterality.value == side
