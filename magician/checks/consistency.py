"""Consistency of objects that belong together: identity, frame of reference and references."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

# What is the same in all objects of one patient and one study (PS3.3 C.7.1.1, C.7.2.1)
SAME_IN_STUDY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
# What is the same in all objects of one series (PS3.3 C.7.3.1)
SAME_IN_SERIES = (
    "Modality",
    "SeriesNumber",
    "SeriesDate",
    "SeriesTime",
    "SeriesDescription",
    "FrameOfReferenceUID",
)
# References to patient, study and procedure, which are no composite objects
NOT_FOLLOWED = (
    "ReferencedPatientSequence",
    "ReferencedStudySequence",
    "ReferencedPerformedProcedureStepSequence",
)


def complaints_together(datasets: Sequence[Dataset], sources: Sequence[Dataset]) -> Iterator[str]:
    """Complain about objects that do not fit together.

    Parameters
    ----------
    datasets : sequence of Dataset
    sources : sequence of Dataset
        What they may refer to besides each other.

    Returns
    -------
    iterator of str
    """
    for keyword in SAME_IN_STUDY:
        yield from _different(datasets, keyword, "all")
    positioned = [dataset for dataset in datasets if "FrameOfReferenceUID" in dataset]
    yield from _different(positioned, "FrameOfReferenceUID", "all that have a position")
    series = defaultdict(list)
    for dataset in datasets:
        series[str(dataset.get("SeriesInstanceUID", ""))].append(dataset)
    for members in series.values():
        for keyword in SAME_IN_SERIES:
            yield from _different(members, keyword, f"the series of {len(members)}")
    uids = [str(dataset.get("SOPInstanceUID", "")) for dataset in datasets]
    if len(set(uids)) < len(uids):
        yield (
            f"SOPInstanceUID: {len(uids) - len(set(uids))} of {len(uids)} objects "
            f"have the UID of another one"
        )
    yield from _references(datasets, sources)


def _different(datasets: Iterable[Dataset], keyword: str, which: str) -> Iterator[str]:
    values = {str(dataset.get(keyword) or "") for dataset in datasets}
    if len(values) > 1:
        yield (
            f"{keyword} has {len(values)} different values, "
            f"and should be the same in {which} objects"
        )


def _references(datasets: Sequence[Dataset], sources: Sequence[Dataset]) -> Iterator[str]:
    known = {
        str(dataset.get("SOPInstanceUID", "")): str(dataset.get("SOPClassUID", ""))
        for dataset in (*sources, *datasets)
    }
    named = {reference for dataset in datasets for reference in references(dataset)}
    lost = [uid for uid, _ in named if uid not in known]
    if lost:
        yield (
            f"{len(lost)} of {len(named)} objects that are referred to are not here "
            f"(give the CT as sources)"
        )
    wrong = [uid for uid, sop_class in named if uid in known and sop_class != known[uid]]
    if wrong:
        yield f"{len(wrong)} objects are referred to by another SOP class than theirs (PS3.3 10.8)"
    segments = {
        str(dataset.get("SOPInstanceUID", "")): {
            item.get("SegmentNumber") for item in dataset.get("SegmentSequence") or []
        }
        for dataset in datasets
        if dataset.get("SOPClassUID") == SegmentationStorage
    }
    for dataset in datasets:
        if dataset.get("SOPClassUID") == Comprehensive3DSRStorage:
            yield from _report(dataset, segments)


def _report(report: Dataset, segments: dict[str, set]) -> Iterator[str]:
    """Complain about references of a report that its evidence does not list (PS3.3 C.17.2), and
    about segments that do not exist.
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
        yield (
            f"the report refers to {len(missing)} objects "
            f"that its evidence does not list (PS3.3 C.17.2)"
        )
    for item in _items(content):
        uid, number = (
            str(item.get("ReferencedSOPInstanceUID", "")),
            item.get("ReferencedSegmentNumber"),
        )
        if number is not None and uid in segments and number not in segments[uid]:
            yield (
                f"the report refers to segment {number}, "
                f"and the SEG has none of that number (PS3.3 C.18.4)"
            )


def references(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield (SOP Instance UID, SOP Class UID) of every object that a data set refers to, but for
    its patient, study and procedure.
    """
    for item in _items(dataset):
        if "ReferencedSOPInstanceUID" in item:
            yield str(item.ReferencedSOPInstanceUID), str(item.get("ReferencedSOPClassUID", ""))


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for element in dataset:
        if element.VR == "SQ" and element.keyword not in NOT_FOLLOWED:
            for item in element.value or []:
                yield item
                yield from _items(item)
