"""Results: complete, conformant, refused where mask and CT do not fit, and saved whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import dcentvfy, dciodvfy, lung_segmentation, real_data, write_series
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from result_cases import Case, saved

from magician.checks.segmentation_reader import read_segmentation
from magician.ct.volume import CTVolume
from magician.errors import ResultError
from magician.results.make import Results, make_results, save


def test_ct_is_left_out_unless_asked_for(case):
    assert case.results().ct == []


def test_included_ct_is_the_source_itself(case):
    sources = [dcmread(path) for path in case.volume.paths]
    assert case.results(include_ct=True).ct == sources


def test_order_of_all(case):
    results = case.results(include_ct=True)
    assert results.all == [*results.overlay, results.seg, results.sr, *results.ct]


def test_one_time_for_all_results(case):
    results = case.results().all
    assert {str(r.InstanceCreationDate) + str(r.InstanceCreationTime) for r in results} == {
        "20260102030405.000000"
    }
    assert {str(r.ContentDate) + str(r.ContentTime) for r in results} == {"20260102030405"}


def test_a_series_holds_no_time_of_its_run(case):
    assert not any(
        keyword in r for r in case.results().all for keyword in ("SeriesDate", "SeriesTime")
    )


def test_changing_one_result_changes_no_other(case):
    results = case.make()
    results.seg.PatientName = "Changed^"
    assert results.sr.PatientName == results.overlay[0].PatientName == "Phantom^Small"


def test_ct_files_that_are_gone(own_case):
    own_case.volume.paths[3].unlink()
    with pytest.raises(ResultError, match="can't be read again"):
        own_case.results(include_ct=True)


def test_ct_file_that_is_another_now(own_case):
    own_case.volume.paths[3].write_bytes(own_case.volume.paths[4].read_bytes())
    with pytest.raises(ResultError, match="holds another image"):
        own_case.results(include_ct=True)


def test_ct_volume_without_files(case):
    volume = CTVolume(
        case.volume.hu, case.volume.headers, case.volume.spacing_mm, case.volume.affine
    )
    with pytest.raises(ResultError, match="did not come from files"):
        make_results(volume, lung_segmentation(volume, case.labels), include_ct=True)


def not_made(case: Case, **changes: object) -> str:
    with pytest.raises(ResultError) as caught:
        case.make(**changes)
    return str(caught.value)


def test_mask_on_another_grid(case):
    assert "bring the mask back to the grid" in not_made(case, labels=case.labels[:, ::2, ::2])


def test_mask_with_another_spacing(case):
    assert "its volumes would be wrong" in not_made(case, spacing_mm=(2.5, 1.5, 1.5))


def test_label_that_does_not_exist(case):
    assert "0, 1 (right) and 2 (left) exist" in not_made(case, labels=case.labels + np.uint8(1))


def test_label_that_is_no_whole_number(case):
    assert "0, 1 (right) and 2 (left) exist" in not_made(case, labels=case.labels * 0.5)


def test_empty_mask(case):
    assert "The segmentation is empty" in not_made(case, labels=np.zeros_like(case.labels))


def test_headers_do_not_match_the_slices(case):
    volume = CTVolume(
        case.volume.hu, case.volume.headers[:-1], case.volume.spacing_mm, case.volume.affine
    )
    with pytest.raises(ResultError, match="12 slices but 11 headers"):
        make_results(volume, lung_segmentation(volume, case.labels))


def test_files_are_named_by_their_uid(case, tmp_path):
    results = case.results().all
    assert [p.name for p in save(results, tmp_path / "new")] == [
        f"{r.SOPInstanceUID}.dcm" for r in results
    ]


def test_files_say_the_same_as_the_objects(ada, tmp_path):
    assert [dcmread(path).to_json() for path in save(ada.all, tmp_path)] == [
        result.to_json() for result in ada.all
    ]


@pytest.mark.parametrize("name", ["../1.2.3", "1.2.3/4", "..", "1.2.a", "", "1." * 40 + "1"])
def test_uid_that_can_not_be_a_file_name(name, tmp_path):
    hostile = Dataset()
    hostile.add_new("SOPInstanceUID", "UT", name)
    with pytest.raises(ResultError, match="no UID"):
        save([hostile], tmp_path / "out")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_object_that_can_not_be_written_leaves_no_file(case, tmp_path):
    sr = case.make().sr
    sr.file_meta = FileMetaDataset()
    with pytest.raises(ResultError, match="can't be written"):
        save([sr], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_while_saving_leaves_whole_files_only(case, tmp_path, monkeypatch):
    results, replace = case.results().all[:5], Path.replace

    def interrupt_the_third(temporary, target):
        if target.stem == results[2].SOPInstanceUID:
            assert temporary.exists()
            raise KeyboardInterrupt
        return replace(temporary, target)

    monkeypatch.setattr(Path, "replace", interrupt_the_third)
    with pytest.raises(KeyboardInterrupt):
        save(results, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{r.SOPInstanceUID}.dcm" for r in results[:2]
    }
    assert [
        dcmread(tmp_path / "out" / f"{r.SOPInstanceUID}.dcm").to_json() for r in results[:2]
    ] == [r.to_json() for r in results[:2]]


def test_second_save_replaces_the_first(case, tmp_path):
    results = case.results().all
    save(results, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == len(set(save(results, tmp_path / "out")))


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_file_meta_is_complete(learner, case):
    for result in case.results(learner=learner, include_ct=True).all:
        assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
        assert result.file_meta.MediaStorageSOPClassUID == result.SOPClassUID
        assert result.file_meta.TransferSyntaxUID
        assert result.file_meta.ImplementationClassUID


def sample(results: Results) -> list[Dataset]:
    """Return every kind of object, and of the slices every tenth: they come from the same lines of
    code.
    """
    return [*results.overlay[::10], results.seg, results.sr, *results.ct[::10]]


def complaints(paths: list[Path]) -> list[str]:
    return [line for path in paths for kind in dciodvfy(path) for line in kind]


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_validator_has_nothing_to_say(learner, turned, tmp_path):
    assert (
        complaints(save(sample(turned.results(learner=learner, include_ct=True)), tmp_path)) == []
    )


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_objects_agree_with_each_other(learner, case, tmp_path):
    assert (
        dcentvfy(save(case.results(learner=learner, include_ct=True).all, tmp_path / "out")) == []
    )


@pytest.fixture(scope="module")
def teaching_case(tmp_path_factory) -> Case:
    from magician.teaching.phantom import teaching_study

    study = teaching_study()
    return Case(
        write_series(study.datasets, tmp_path_factory.mktemp("teaching")), labels=study.truth
    )


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_validator_has_nothing_to_say_about_the_teaching_study(learner, teaching_case, tmp_path):
    assert (
        complaints(save(sample(teaching_case.results(learner=learner, include_ct=True)), tmp_path))
        == []
    )


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_results_of_the_teaching_study_agree_with_each_other(learner, teaching_case, tmp_path):
    assert (
        dcentvfy(save(teaching_case.results(learner=learner, include_ct=True).all, tmp_path)) == []
    )


def test_mask_of_the_teaching_study_comes_back(teaching_case, tmp_path):
    seg = saved(teaching_case.results().seg, tmp_path)
    assert np.array_equal(read_segmentation(seg, teaching_case.volume), teaching_case.labels)


REAL = ["lung-pet-ct-dx-A0001", "lidc-idri-0001", "lidc-idri-0002", "lidc-idri-0003"]


@pytest.fixture(scope="module", params=REAL)
def real_case(request) -> Case:
    import SimpleITK as sitk

    folder = real_data(request.param)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "reference_mask.nii.gz"))) > 0
    left = np.arange(mask.shape[2]) >= mask.shape[2] // 2
    return Case(folder, labels=np.where(mask, np.where(left, 2, 1), 0).astype(np.uint8))


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_results_of_real_ct_are_no_worse_than_the_source(learner, real_case, tmp_path):
    paths = save(sample(real_case.results(learner=learner, include_ct=bool(learner))), tmp_path)
    errors = [line for path in paths for line in dciodvfy(path)[0]]
    warnings = {line for path in paths for line in dciodvfy(path)[1]}
    assert errors == []
    assert warnings <= set(dciodvfy(real_case.volume.paths[0])[1])


@pytest.mark.parametrize("learner", ["", "Ada"])
def test_results_of_real_ct_agree_with_each_other(learner, real_case, tmp_path):
    assert (
        dcentvfy(save(real_case.results(learner=learner, include_ct=True).all[-70:], tmp_path))
        == []
    )


def test_mask_of_real_ct_comes_back(real_case, tmp_path):
    seg = saved(real_case.results().seg, tmp_path)
    assert np.array_equal(read_segmentation(seg, real_case.volume), real_case.labels)


def test_import_loads_nothing_heavy():
    heavy = "{'SimpleITK', 'highdicom', 'torch', 'matplotlib'}"
    code = f"import sys, magician.results.make; print({heavy} & set(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "set()"
