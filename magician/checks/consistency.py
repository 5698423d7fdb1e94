"""Whether objects that belong together say so; used by :mod:`magician.checks.conformance`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

# What all objects of one patient and one study say alike (PS3.3 C.7.1.1, C.7.2.1), and those of one
# series (C.7.3.1)
ALIKE = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
ALIKE_IN_SERIES = (
    "Modality",
    "SeriesNumber",
    "SeriesDate",
    "SeriesTime",
    "SeriesDescription",
    "FrameOfReferenceUID",
)
ELSEWHERE = (
    "ReferencedPatientSequence",
    "ReferencedStudySequence",
    "ReferencedPerformedProcedureStepSequence",
)


def complaints_together(datasets: Sequence[Dataset], sources: Sequence[Dataset]) -> Iterator[str]:
    """Say what does not fit together: identity, frame of reference, and references."""
    for keyword in ALIKE:
        yield from _different(datasets, keyword, "all")
    with_frame = [one for one in datasets if "FrameOfReferenceUID" in one]
    yield from _different(with_frame, "FrameOfReferenceUID", "all that have a position")
    series = defaultdict(list)
    for one in datasets:
        series[str(one.get("SeriesInstanceUID", ""))].append(one)
    for members in series.values():
        for keyword in ALIKE_IN_SERIES:
            yield from _different(members, keyword, f"the series of {len(members)}")
    uids = [str(one.get("SOPInstanceUID", "")) for one in datasets]
    if len(set(uids)) < len(uids):
        yield f"SOPInstanceUID: {len(uids) - len(set(uids))} of {len(uids)} objects have the UID of another one"
    yield from _references(datasets, sources)


def _different(datasets: Iterable[Dataset], keyword: str, which: str) -> Iterator[str]:
    values = {str(one.get(keyword) or "") for one in datasets}
    if len(values) > 1:
        yield f"{keyword} has {len(values)} different values, and should be the same in {which} objects"


def _references(datasets: Sequence[Dataset], sources: Sequence[Dataset]) -> Iterator[str]:
    known = {
        str(one.get("SOPInstanceUID", "")): str(one.get("SOPClassUID", ""))
        for one in (*sources, *datasets)
    }
    named = {reference for one in datasets for reference in references(one)}
    lost = [uid for uid, _ in named if uid not in known]
    if lost:
        yield f"{len(lost)} of {len(named)} objects that are referred to are not here (give the CT as sources)"
    wrong = [uid for uid, sop_class in named if uid in known and sop_class != known[uid]]
    if wrong:
        yield f"{len(wrong)} objects are referred to by another SOP class than theirs (PS3.3 10.8)"
    segments = {
        str(one.get("SOPInstanceUID", "")): {
            item.get("SegmentNumber") for item in one.get("SegmentSequence") or []
        }
        for one in datasets
        if one.get("SOPClassUID") == SegmentationStorage
    }
    for report in (one for one in datasets if one.get("SOPClassUID") == Comprehensive3DSRStorage):
        yield from _report(report, segments)


def _report(report: Dataset, segments: dict[str, set]) -> Iterator[str]:
    """What a report refers to must be listed as its evidence (PS3.3 C.17.2), and its segments must
    exist.
    """
    evidence = Dataset()
    evidence.update(
        {
            "CurrentRequestedProcedureEvidenceSequence": report.get(
                "CurrentRequestedProcedureEvidenceSequence"
            )
        }
    )
    content = Dataset()
    content.update({"ContentSequence": report.get("ContentSequence")})
    missing = set(references(content)) - set(references(evidence))
    if missing:
        yield f"the report refers to {len(missing)} objects that its evidence does not list (PS3.3 C.17.2)"
    for item in _items(content):
        uid, number = (
            str(item.get("ReferencedSOPInstanceUID", "")),
            item.get("ReferencedSegmentNumber"),
        )
        if number is not None and uid in segments and number not in segments[uid]:
            yield f"the report refers to segment {number}, and the SEG has none of that number (PS3.3 C.18.4)"


def references(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Every (SOP Instance UID, SOP Class UID) that an object refers to, but for patient, study and
    procedure.
    """
    for item in _items(dataset):
        if "ReferencedSOPInstanceUID" in item:
            yield str(item.ReferencedSOPInstanceUID), str(item.get("ReferencedSOPClassUID", ""))


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for element in dataset:
        if element.VR == "SQ" and element.keyword not in ELSEWHERE:
            for item in element.value or []:
                yield item
                yield from _items(item)
