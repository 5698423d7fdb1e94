"""What comes back from a PACS is held against what was meant: every kind of mistake is caught, and
none invented.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from helpers import AXIAL, ORIENTATIONS, ct_series, lung_segmentation, truth_labels, write_series
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import pack_bits

from magician.checks.round_trip import RoundTrip, verify_round_trip
from magician.checks.round_trip_checks import RoundTripChecks
from magician.checks.segmentation_reader import read_segmentation
from magician.client.store import store
from magician.ct.volume import CTVolume, read_series
from magician.errors import MagicianError, PacsUnreachable, StudyNotFound
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.results.make import Results, make_results

VOXELS = {"right lung, voxels", "left lung, voxels"}
CENTRES = {"right lung, centre", "left lung, centre"}
VOLUMES = {"right lung, volume", "left lung, volume"}


def series(kind: str) -> list[Dataset]:
    """A small series, axial, prone, oblique and so on, or numbered from head to feet as many
    scanners do.

    The lungs lie off the middle of the images, so that no mirror image of them is the same.
    """
    datasets = ct_series(
        orientation=AXIAL if kind == "reversed" else ORIENTATIONS[kind], centre_mm=(4, -6, -147)
    )
    if kind == "reversed":
        for number, ds in enumerate(reversed(datasets), start=1):
            ds.InstanceNumber = number
        datasets.reverse()
    return datasets


@pytest.fixture(scope="module", params=[*ORIENTATIONS, "reversed"])
def volume(request, tmp_path_factory) -> CTVolume:
    """The same two lungs, as each kind of series shows them."""
    datasets = series(request.param)
    return read_series(
        write_series(datasets, tmp_path_factory.mktemp("ct")), datasets[0].SeriesInstanceUID
    )


@pytest.fixture(scope="module")
def axial(tmp_path_factory) -> CTVolume:
    return read_series(write_series(series("axial"), tmp_path_factory.mktemp("ct")))


@pytest.fixture(scope="module")
def made(volume) -> Results:
    return make(volume)


@pytest.fixture
def results(axial) -> Results:
    """Fresh axial results, for a test that changes them."""
    return make(axial)


def make(volume: CTVolume, labels: np.ndarray | None = None, **options) -> Results:
    labels = truth_labels(list(volume.headers)) if labels is None else labels
    return make_results(volume, lung_segmentation(volume, labels), **{"include_ct": True} | options)


def verify(volume: CTVolume, results: Results, held: list[Dataset] | None = None) -> RoundTrip:
    """Verify results in a PACS that holds them, or something else in their place."""
    with PracticePacs() as pacs:
        pacs.add(results.all if held is None else held)
        return verify_round_trip(pacs.node, volume, results)


def look(volume: CTVolume, results: Results, held: list[Dataset] | None = None) -> RoundTrip:
    """Verify results without a network, which would take most of the time of a test."""
    held = results.all if held is None else held
    series = {str(image.SOPInstanceUID): str(image.SeriesInstanceUID) for image in held}
    seg, sr = (
        next((from_file(ds) for ds in held if ds.SOPInstanceUID == sent.SOPInstanceUID), None)
        for sent in (results.seg, results.sr)
    )
    return RoundTrip(
        Node("NOBODY", "127.0.0.1", 1),
        tuple(RoundTripChecks(volume, results, series, seg, sr).run()),
    )


def from_file(dataset: Dataset) -> Dataset:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def with_seg(results: Results, seg: Dataset) -> list[Dataset]:
    return [*results.overlay, seg, results.sr, *results.ct]


def wrong(proof: RoundTrip) -> set[str]:
    """The names of what is not ok."""
    assert proof.ok == all(check.ok for check in proof.checks)
    return {check.what for check in proof.checks if not check.ok}


# ---------------------------------------------------------------------------------- no false alarms


def test_good_results_are_ok(volume, made):
    assert wrong(verify(volume, made)) == set()


def test_good_results_of_a_learner_are_ok(volume):
    assert wrong(verify(volume, make(volume, learner="Ada"))) == set()


def test_results_that_were_sent_over_the_network_are_ok(axial, results):
    with PracticePacs() as pacs:
        store(pacs.node, results.all)
        assert wrong(verify_round_trip(pacs.node, axial, results)) == set()


def test_learners_results_beside_a_ct_that_was_sent_before(axial):
    ct = make(axial, learner="Ada").ct
    results = make(axial, learner="Ada", include_ct=False)
    assert wrong(verify(axial, results, [*results.all, *ct])) == set()


def test_results_of_a_real_ct_are_ok(real_chest_ct):
    volume = read_series(real_chest_ct)
    dark = volume.hu < -700
    left = np.arange(dark.shape[2]) >= dark.shape[2] // 2  # columns run to the patient's left
    results = make(volume, np.where(dark, np.where(left, 2, 1), 0).astype(np.uint8))
    assert wrong(verify(volume, results)) == set()
    assert wrong(
        look(volume, results, with_seg(results, mirrored(results.seg, volume, 0)))
    ) >= VOXELS | {"sides"}


def test_frames_in_another_order_that_say_where_they_lie(volume, made):
    frames = np.random.default_rng(1).permutation(made.seg.NumberOfFrames)
    assert wrong(look(volume, made, with_seg(made, frames_taken(made.seg, frames)))) == set()


def test_segments_in_another_order(axial, results):
    results.seg.SegmentSequence = list(reversed(results.seg.SegmentSequence))
    assert wrong(look(axial, results)) == set()


@pytest.mark.parametrize("label", [1, 2])
def test_one_lung_only(label, volume):
    labels = truth_labels(list(volume.headers))
    assert wrong(look(volume, make(volume, np.where(labels == label, labels, 0)))) == set()


def test_another_run_in_the_same_study(axial, results):
    others = make(axial, np.roll(truth_labels(list(axial.headers)), 1, axis=1))
    assert (
        wrong(look(axial, results, [*others.all, results.seg, results.sr, *results.overlay]))
        == set()
    )


# ------------------------------------------------------- mistakes in the SEG, for every orientation


def frames_taken(seg: Dataset, frames) -> Dataset:
    """A copy of a SEG with these of its frames, in this order, each with what it says of itself."""
    groups = list(seg.PerFrameFunctionalGroupsSequence)
    return with_pixels(seg, pixel_array(seg)[frames], [groups[i] for i in frames])


def with_pixels(seg: Dataset, pixels: np.ndarray, groups: list[Dataset] | None = None) -> Dataset:
    changed = deepcopy(seg)
    changed.PixelData = pack_bits(pixels.astype(np.uint8).ravel())
    changed.NumberOfFrames = len(pixels)
    if groups is not None:
        changed.PerFrameFunctionalGroupsSequence = deepcopy(groups)
    return changed


def mirrored(seg: Dataset, volume: CTVolume, direction: int) -> Dataset:
    """Reverse the pixels along the axis of the image that runs mostly along x, y or z of the
    patient.
    """
    axis = int(np.argmax(np.abs(volume.affine[direction, :3] / volume.spacing_mm)))
    pixels = pixel_array(seg).reshape(2, *volume.hu.shape)
    return with_pixels(seg, np.flip(pixels, axis + 1).reshape(-1, *volume.hu.shape[1:]))


def moved(seg: Dataset, millimetres: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    changed = deepcopy(seg)
    for group in changed.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0]
        there = millimetres(np.array(position.ImagePositionPatient, float))
        position.ImagePositionPatient = there.round(6).tolist()
    return changed


def shifted(seg: Dataset, volume: CTVolume, slices: int) -> Dataset:
    return moved(seg, lambda position: position + slices * volume.affine[:3, 0])


def stretched(seg: Dataset, volume: CTVolume) -> Dataset:
    """Put the frames 3.3 mm apart instead of 3.0."""
    normal = volume.affine[:3, 0] / volume.spacing_mm[0]
    start = volume.affine[:3, 3]
    return moved(seg, lambda position: position + 0.1 * ((position - start) @ normal) * normal)


def reordered(seg: Dataset, volume: CTVolume) -> Dataset:
    """Put the pixels in another order than the positions."""
    pixels = pixel_array(seg)
    return with_pixels(seg, pixels[np.random.default_rng(2).permutation(len(pixels))])


def dropped(seg: Dataset, volume: CTVolume, full: bool = True) -> Dataset:
    """Leave out one frame, with what it says of itself."""
    frames = np.arange(seg.NumberOfFrames)
    here = frames[pixel_array(seg).any(axis=(1, 2)) == full]
    return frames_taken(seg, np.delete(frames, here[len(here) // 2]))


def pixels_dropped(seg: Dataset, volume: CTVolume) -> Dataset:
    changed = with_pixels(seg, pixel_array(seg)[1:])
    changed.NumberOfFrames = seg.NumberOfFrames
    return changed


def segments_swapped(seg: Dataset, volume: CTVolume) -> Dataset:
    changed = deepcopy(seg)
    first, second = changed.SegmentSequence
    first.SegmentNumber, second.SegmentNumber = 2, 1
    return changed


def frames_swapped(seg: Dataset, volume: CTVolume) -> Dataset:
    changed = deepcopy(seg)
    for group in changed.PerFrameFunctionalGroupsSequence:
        item = group.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = 3 - item.ReferencedSegmentNumber
    return changed


def renumbered(seg: Dataset, volume: CTVolume) -> Dataset:
    return frames_swapped(segments_swapped(seg, volume), volume)


def spaced(seg: Dataset, volume: CTVolume, keyword: str, value) -> Dataset:
    changed = deepcopy(seg)
    setattr(changed.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0], keyword, value)
    return changed


MISTAKES = {
    "mirrored left-right": (lambda seg, ct: mirrored(seg, ct, 0), VOXELS | CENTRES | {"sides"}),
    "mirrored front-back": (lambda seg, ct: mirrored(seg, ct, 1), VOXELS | CENTRES),
    "mirrored head-feet": (lambda seg, ct: mirrored(seg, ct, 2), VOXELS | CENTRES),
    "one slice up": (lambda seg, ct: shifted(seg, ct, 1), VOXELS | CENTRES | {"frames"}),
    "one slice down": (lambda seg, ct: shifted(seg, ct, -1), VOXELS | CENTRES | {"frames"}),
    "frames reordered": (reordered, VOXELS | CENTRES),
    "a frame dropped": (dropped, {"frames"}),
    "an empty frame dropped": (lambda seg, ct: dropped(seg, ct, full=False), {"frames"}),
    "the pixels of a frame dropped": (
        pixels_dropped,
        {"frames", "sides"} | VOXELS | CENTRES | VOLUMES,
    ),
    "segment numbers swapped": (segments_swapped, VOXELS | CENTRES | VOLUMES | {"sides", "report"}),
    "segments of the frames swapped": (frames_swapped, VOXELS | CENTRES | VOLUMES | {"sides"}),
    "segments renumbered, but not in the report": (renumbered, {"report"}),
    "pixel spacing": (
        lambda seg, ct: spaced(seg, ct, "PixelSpacing", [1.65, 1.65]),
        VOXELS | CENTRES | VOLUMES,
    ),
    "spacing of rows": (
        lambda seg, ct: spaced(seg, ct, "PixelSpacing", [1.65, 1.5]),
        VOXELS | CENTRES | VOLUMES,
    ),
    "spacing between slices": (
        lambda seg, ct: spaced(seg, ct, "SpacingBetweenSlices", 3.3),
        VOLUMES,
    ),
    "positions stretched": (stretched, VOXELS),
}


@pytest.mark.parametrize(("change", "caught"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_in_the_seg_is_caught(change, caught, volume, made):
    proof = look(volume, made, with_seg(made, change(made.seg, volume)))
    assert caught <= wrong(proof)
    assert not {"objects", "patient and study", "frame of reference", "references"} & wrong(proof)


# what is shorter than its attributes say is not taken from a PACS at all
CUT = "the pixels of a frame dropped"
TAKEN = {name: mistake for name, mistake in MISTAKES.items() if name != CUT}


def test_a_seg_that_is_cut_short_is_refused_when_it_comes_from_a_pacs(axial, results):
    change, _ = MISTAKES[CUT]
    with pytest.raises(MagicianError, match="0xA702|images came"):
        verify(axial, results, with_seg(results, change(results.seg, axial)))


@pytest.mark.parametrize(("change", "caught"), TAKEN.values(), ids=TAKEN)
def test_mistake_in_the_seg_of_a_pacs_is_caught(change, caught, axial, results):
    assert caught <= wrong(verify(axial, results, with_seg(results, change(results.seg, axial))))


def test_only_the_report_is_wrong_where_segments_are_renumbered(axial, results):
    assert wrong(look(axial, results, with_seg(results, renumbered(results.seg, axial)))) == {
        "report"
    }


@pytest.mark.parametrize("direction", range(3), ids=["left-right", "front-back", "head-feet"])
def test_writer_that_mirrors_every_mask_is_caught(direction, volume, monkeypatch):
    """The writer is wrong: the objects in memory are as wrong as those in the PACS."""
    from magician.results import make as result

    write = result.segmentation_object

    def write_mirrored(run, labels):
        axis = int(np.argmax(np.abs(volume.affine[direction, :3] / volume.spacing_mm)))
        return write(run, np.flip(labels, axis))

    monkeypatch.setattr(result, "segmentation_object", write_mirrored)
    assert wrong(look(volume, make(volume))) >= VOXELS | CENTRES


def test_wrong_codes_that_writer_and_reader_share_do_not_cancel_out(axial, monkeypatch):
    """The reader has a table of its own: what a wrong table wrote comes back with sides swapped."""
    from magician.results import run, seg, sr

    right, left = run.LUNGS
    swapped = (replace(right, code=left.code), replace(left, code=right.code))
    for module in (seg, sr):
        monkeypatch.setattr(module, "LUNGS", swapped)
    results = make(axial)
    sides_swapped = np.choose(results.labels, [0, 2, 1])
    assert np.array_equal(read_segmentation(results.seg, axial), sides_swapped)
    assert VOXELS | VOLUMES | {"sides"} <= wrong(look(axial, results))


def test_the_reader_loads_nothing_of_the_writer():
    code = "import sys, magician.checks.read_back; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not any(name.startswith("magician.results") for name in loaded.stdout.split())


def test_seg_without_the_spacing_between_slices(axial, results):
    del results.seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    proof = look(axial, results)
    assert wrong(proof) == VOLUMES
    assert "does not give the spacing between its slices" in proof["left lung, volume"].found


def test_segmentation_that_has_the_sides_wrong(volume):
    """Nothing was changed on the way, and yet it is wrong."""
    results = make(
        volume, np.choose(truth_labels(list(volume.headers)), [0, 2, 1]).astype(np.uint8)
    )
    assert wrong(look(volume, results)) == {"sides"}


@pytest.mark.parametrize("label", [1, 2])
def test_one_lung_with_the_side_wrong(label, volume):
    labels = np.where(truth_labels(list(volume.headers)) == label, 3 - label, 0).astype(np.uint8)
    assert wrong(look(volume, make(volume, labels))) == {"sides"}


def test_segmentation_that_was_changed_after_the_results_were_made(axial):
    labels = truth_labels(list(axial.headers)).copy()
    results = make(axial, labels)
    labels[:] = 0
    assert wrong(look(axial, results)) == set()


# ------------------------------------------------------------------ the other objects, and identity


def test_frames_that_name_the_ct_image_of_another_slice(axial, results):
    groups = results.seg.PerFrameFunctionalGroupsSequence
    first, second = (groups[i].DerivationImageSequence for i in (0, 1))
    groups[0].DerivationImageSequence, groups[1].DerivationImageSequence = second, first
    proof = look(axial, results)
    assert wrong(proof) == {"frames"}
    assert "2 name another CT image" in proof["frames"].found


def measurement(sr: Dataset, code: str) -> Dataset:
    """The first content item with this concept."""
    for item in sr.iterall():
        if item.keyword == "ContentSequence":
            for child in item.value:
                if child.ConceptNameCodeSequence[0].CodeValue == code:
                    return child
    raise LookupError(code)


def test_report_with_another_volume(axial, results):
    measurement(results.sr, "118565006").MeasuredValueSequence[0].NumericValue = 22.0
    proof = look(axial, results)
    assert wrong(proof) == {"right lung, volume"}
    assert "22.2 ml in the SEG, 22.0 ml in the report" in proof["right lung, volume"].found


def test_report_in_litres(axial, results):
    volume = measurement(results.sr, "118565006").MeasuredValueSequence[0]
    volume.MeasurementUnitsCodeSequence[0].CodeValue = "L"
    assert "is in L and not in mL" in look(axial, results)["right lung, volume"].found


def test_report_that_points_at_the_other_segment(axial, results):
    measurement(results.sr, "121191").ReferencedSOPSequence[0].ReferencedSegmentNumber = 2
    assert wrong(look(axial, results)) == {"report"}


def test_report_that_points_at_another_seg(axial, results):
    measurement(results.sr, "121191").ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "2.25.1"
    assert wrong(look(axial, results)) == {"report", "references"}


def test_report_with_other_tracking_uids(axial, results):
    measurement(results.sr, "112040").UID = "2.25.1"
    assert wrong(look(axial, results)) == {"report"}


@pytest.mark.parametrize(
    "keyword", ["PatientID", "PatientName", "PatientBirthDate", "AccessionNumber", "StudyTime"]
)
@pytest.mark.parametrize("learner", ["", "Ada"])
def test_object_of_another_patient_or_examination(learner, keyword, axial):
    results = make(axial, learner=learner)
    results.sr[keyword].value = {"PatientBirthDate": "19990101", "StudyTime": "0101"}.get(
        keyword, "OTHER"
    )
    proof = look(axial, results)
    assert wrong(proof) == {"patient and study"}
    assert f"the SR has another {keyword}" in proof["patient and study"].found


def test_results_in_a_study_of_their_own_under_the_patients_name(axial, results):
    for one in (*results.overlay, results.seg, results.sr):
        one.StudyInstanceUID = "2.25.7"
    proof = look(axial, replace(results, ct=[]))
    assert {"patient and study", "references"} <= wrong(proof)
    assert "PatientID is that of the CT" in proof["patient and study"].found


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_another_frame_of_reference(learner, axial):
    results = make(axial, learner=learner)
    results.seg.FrameOfReferenceUID = "2.25.1"
    assert wrong(look(axial, results)) == {"frame of reference"}


def test_learners_seg_in_the_frame_of_reference_of_the_source(axial):
    results = make(axial, learner="Ada", include_ct=False)
    results.seg.FrameOfReferenceUID = axial.headers[0].FrameOfReferenceUID
    assert "frame of reference" in wrong(look(axial, results))


def test_ct_is_not_there(axial, results):
    proof = verify(axial, results, [*results.overlay, results.seg, results.sr])
    assert wrong(proof) == {"references"}
    assert "1 of 13 objects are held; send the CT along" in proof["references"].found


def test_an_overlay_image_is_missing(axial, results):
    proof = verify(axial, results, results.all[1:])
    assert wrong(proof) == {"objects"}
    assert proof["objects"].found == "SEG, SR, 11 overlay images"


@pytest.mark.parametrize(("kind", "index"), [("SEG", 12), ("SR", 13)])
def test_seg_or_sr_is_missing(kind, index, axial, results):
    proof = verify(axial, results, results.all[:index] + results.all[index + 1 :])
    assert {"objects", "report"} | VOLUMES <= wrong(proof)
    assert f"There is no {kind}." in proof["report"].found


def test_another_study_only(axial, results):
    with pytest.raises(StudyNotFound, match="Not sent yet: .* holds none of these results. Send"):
        verify(axial, results, make(axial, learner="Ada").all)


def test_nothing_was_sent_but_the_ct(axial, results):
    sentence = "It holds 12 other objects of their study.*made again.*Send them first.*Cell 13"
    with pytest.raises(StudyNotFound, match=sentence):
        verify(axial, results, list(results.ct))


@pytest.mark.parametrize(
    "part", ["PerFrameFunctionalGroupsSequence", "SegmentSequence", "PixelData", "NumberOfFrames"]
)
def test_seg_that_can_not_be_read(part, axial, results):
    del results.seg[part]
    assert "SEG can't be read" in look(axial, results)["right lung, voxels"].found


@pytest.mark.parametrize("code", ["125007", "118565006", "121071"])
def test_sr_that_can_not_be_read(code, axial, results):
    del measurement(results.sr, code).ConceptNameCodeSequence[0].CodeValue
    assert {"right lung, volume", "report"} <= wrong(look(axial, results))


def test_pacs_that_is_not_there(axial, results):
    with pytest.raises(PacsUnreachable):
        verify_round_trip(Node("PACS", "127.0.0.1", 1), axial, results)


# ---------------------------------------------------------------------------------- how it is shown


@pytest.fixture(scope="module")
def bad(axial) -> RoundTrip:
    results = make(axial)
    return verify(axial, results, with_seg(results, mirrored(results.seg, axial, 0)))


def test_table_as_text(bad):
    lines = repr(bad).splitlines()
    assert lines[0] == f"{bad.summary}"
    assert lines[1].split("  ")[0] == "what"
    assert any(
        line.startswith("sides") and "NOT OK" in line and "patient's left of the left lung" in line
        for line in lines
    )


def test_table_as_html(bad):
    assert f"<p>{bad.summary}</p>" in bad._repr_html_()
    assert bad._repr_html_().count("<tr>") == len(bad.checks) + 1


def test_sentence_names_what_is_wrong(bad, axial, results):
    assert "NOT what was sent: right lung, voxels" in bad.summary
    assert (
        verify(axial, results).summary
        == "Results fetched back from PRACTICE: all 13 checks are ok."
    )
