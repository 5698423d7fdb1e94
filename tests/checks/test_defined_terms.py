"""Values that an attribute can't have are named with their clause, and no others."""

from __future__ import annotations

from copy import deepcopy

import pytest
from helpers import dciodvfy, lung_segmentation, require_program
from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from magician.checks.defined_terms import VALUES, complaints_about_values
from magician.results.careless import careless_overlay
from magician.results.make import make_results, save


@pytest.fixture(scope="module")
def made(volume, labels):
    return make_results(volume, lung_segmentation(volume, labels), include_ct=True)


def an_object(made, kind: str) -> Dataset:
    found = getattr(made, kind)
    return deepcopy(found[0] if isinstance(found, list) else found)


def complaints(dataset: Dataset) -> list[str]:
    return list(complaints_about_values(dataset))


WRONG = [
    ("overlay", "ConversionType", "XYZ", "PS3.3 C.8.6.1"),
    ("overlay", "PatientSex", "W", "PS3.3 C.7.1.1"),
    ("overlay", "PatientOrientation", ["X", "Y"], "PS3.3 C.7.6.1.1.1"),
    ("overlay", "PatientOrientation", ["L", "LR"], "PS3.3 C.7.6.1.1.1"),
    ("overlay", "PatientOrientation", "L", "PS3.3 C.7.6.1.1.1"),
    ("overlay", "Laterality", "B", "PS3.3 C.7.3.1"),
    ("overlay", "PixelRepresentation", 7, "PS3.3 C.7.6.3"),
    ("overlay", "PlanarConfiguration", 2, "PS3.3 C.7.6.3"),
    ("overlay", "PhotometricInterpretation", "BGR", "PS3.3 C.7.6.3"),
    ("overlay", "SamplesPerPixel", 1, "PS3.3 C.7.6.3.1.2"),
    ("overlay", "ImageType", ["PROCESSED", "SECONDARY"], "PS3.3 C.7.6.1.1.2"),
    ("overlay", "ImageType", ["DERIVED", "THIRD"], "PS3.3 C.7.6.1.1.2"),
    ("overlay", "ImageType", "DERIVED", "PS3.3 C.7.6.1.1.2"),
    ("overlay", "BurnedInAnnotation", "PERHAPS", "PS3.3 C.7.6.1"),
    ("overlay", "LossyImageCompression", "1", "PS3.3 C.7.6.1"),
    ("overlay", "PatientIdentityRemoved", "TRUE", "PS3.3 C.7.1.1"),
    ("ct", "Modality", "MR", "PS3.3 C.7.3.1.1.1"),
    ("ct", "PhotometricInterpretation", "RGB", "PS3.3 C.8.2.1"),
    ("ct", "PatientPosition", "SUPINE", "PS3.3 C.7.3.1.1.2"),
    ("ct", "RotationDirection", "CCW", "PS3.3 C.8.2.1"),
    ("seg", "Modality", "OT", "PS3.3 C.8.20.1"),
    ("seg", "SegmentationType", "MASK", "PS3.3 C.8.20.2"),
    ("seg", "SegmentsOverlap", "PERHAPS", "PS3.3 C.8.20.2"),
    ("seg", "ImageType", ["ORIGINAL", "PRIMARY"], "PS3.3 C.7.6.1.1.2"),
    ("sr", "Modality", "DOC", "PS3.3 C.17.1"),
    ("sr", "CompletionFlag", "DONE", "PS3.3 C.17.2"),
    ("sr", "VerificationFlag", "YES", "PS3.3 C.17.2"),
    ("sr", "ValueType", "TEXT", "PS3.3 C.17.3"),
]


@pytest.mark.parametrize(
    ("kind", "keyword", "value", "clause"), WRONG, ids=[f"{w[0]} {w[1]} {w[2]}" for w in WRONG]
)
def test_value_that_can_not_be_is_named_with_its_clause(kind, keyword, value, clause, made):
    dataset = an_object(made, kind)
    setattr(dataset, keyword, value)
    found = complaints(dataset)
    assert any(keyword in text and f"({clause})" in text for text in found), found


ALLOWED = [
    ("overlay", "ConversionType", "DV"),
    ("overlay", "PatientSex", ""),
    ("overlay", "PatientOrientation", ["AFR", "H"]),
    ("overlay", "PatientOrientation", ""),
    ("overlay", "ImageType", ["DERIVED", "SECONDARY", "ANYTHING"]),
    ("ct", "ImageType", ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]),
    ("ct", "PatientPosition", "FFP"),
    ("ct", "RescaleType", "US"),
    ("ct", "BodyPartExamined", "TH CT"),
    ("seg", "SegmentationType", "FRACTIONAL"),
    ("sr", "VerificationFlag", "VERIFIED"),
]


@pytest.mark.parametrize(
    ("kind", "keyword", "value"), ALLOWED, ids=[f"{w[0]} {w[1]} {w[2]}" for w in ALLOWED]
)
def test_value_that_can_be_is_not_named(kind, keyword, value, made):
    dataset = an_object(made, kind)
    setattr(dataset, keyword, value)
    assert complaints(dataset) == []


def test_animals_have_other_directions(made):
    dataset = an_object(made, "overlay")
    dataset.AnatomicalOrientationType, dataset.PatientOrientation = "QUADRUPED", ["LE", "D"]
    assert complaints(dataset) == []


def test_algorithm_type_inside_of_a_segment(made):
    seg = an_object(made, "seg")
    for segment in seg.SegmentSequence:
        segment.SegmentAlgorithmType = "AI"
    assert complaints(seg) == [
        "SegmentAlgorithmType is 'AI', and has to be AUTOMATIC, SEMIAUTOMATIC or MANUAL "
        "(PS3.3 C.8.20.2)"
    ]


@pytest.mark.parametrize(
    ("keyword", "clause"), [("RelationshipType", "C.17.3.2.4"), ("ValueType", "C.17.3.2.1")]
)
def test_term_deep_inside_of_a_report(made, keyword, clause):
    sr = an_object(made, "sr")
    item = sr.ContentSequence[-1]
    while item.get("ContentSequence"):
        item = item.ContentSequence[-1]
    setattr(item, keyword, "NONSENSE")
    (found,) = complaints(sr)
    assert clause in found


@pytest.mark.parametrize(
    ("keyword", "words"),
    [("BodyPartExamined", "PS3.16 Annex L"), ("Modality", "PS3.3 C.7.3.1.1.1")],
)
def test_foreign_term_is_named_where_no_source_can_have_given_it(volume, labels, keyword, words):
    image = careless_overlay(volume, lung_segmentation(volume, labels))[0]
    setattr(image, keyword, "NONSENSE")
    (found,) = complaints(image)
    assert words in found


def test_term_that_a_scanner_has_added_is_no_fault_of_our_overlay(made):
    image = an_object(made, "overlay")
    image.BodyPartExamined = "TH CT"
    assert complaints(image) == []


@pytest.mark.parametrize("kind", ["overlay", "seg", "sr", "ct"])
def test_results_hold_no_value_that_can_not_be(made, kind):
    assert complaints(an_object(made, kind)) == []


def test_objects_of_other_programs_hold_none(real_chest_ct):
    paths = sorted(real_chest_ct.glob("*.dcm"))
    assert paths
    assert [text for path in paths for text in complaints(dcmread(path))] == []


HOSTILE = [["L"] * 1000, b"bytes", 10**9, [None, None], "x" * 10_000]


@pytest.mark.parametrize("value", HOSTILE, ids=["many", "bytes", "number", "nothing", "long"])
@pytest.mark.parametrize("keyword", [*VALUES, "ImageType", "PatientOrientation"])
@pytest.mark.filterwarnings("ignore")
def test_a_value_of_any_kind_is_named_in_a_short_sentence(keyword, value):
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.add_new(keyword, "US" if keyword.startswith(("Pixel", "Planar")) else "CS", "")
    dataset[keyword]._value = value
    found = complaints(dataset)
    assert found
    assert all(len(text) < 300 for text in found)


SEEN_BY_BOTH = [w for w in WRONG if w[:2] in {
    ("overlay", "ConversionType"), ("overlay", "PatientSex"), ("overlay", "BurnedInAnnotation"),
    ("seg", "SegmentationType"), ("seg", "SegmentsOverlap"), ("sr", "CompletionFlag"),
    ("sr", "VerificationFlag"), ("ct", "RotationDirection"),
}]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "keyword", "value", "clause"),
    SEEN_BY_BOTH,
    ids=[f"{w[0]} {w[1]}" for w in SEEN_BY_BOTH],
)
def test_dciodvfy_sees_these_too(kind, keyword, value, clause, made, tmp_path):
    require_program("dciodvfy")
    dataset = an_object(made, kind)
    before = dciodvfy(save([dataset], tmp_path, progress=False)[0])
    setattr(dataset, keyword, value)
    after = dciodvfy(save([dataset], tmp_path, progress=False)[0])
    assert sum(map(len, after)) > sum(map(len, before))
