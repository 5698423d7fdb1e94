"""The request of a retrieve: what should come, and how it is asked for."""

from __future__ import annotations

from itertools import groupby

from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from magician.dimse.arrivals import Arrivals, Instance
from magician.dimse.association import associate
from magician.dimse.contexts import MAX_CONTEXTS
from magician.dimse.query import FIND, INSTANCE_ANSWERS, SERIES_ANSWERS, find, query, require_uid
from magician.errors import MagicianError, StudyNotFound
from magician.files import is_uid
from magician.node import Node

# A PACS that does not tell the SOP classes of its images is offered these
USUAL_CLASSES = [
    CTImageStorage,
    SegmentationStorage,
    Comprehensive3DSRStorage,
    SecondaryCaptureImageStorage,
]
# Objects are taken as they are stored: each encoding in a context of its own, so that the PACS need
# not convert. The ones that CT uses come first, for a study with so many classes that not all
# encodings find room.
USUAL_SYNTAXES = [
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless,
    JPEGLossless, JPEG2000, JPEGLSNearLossless, JPEGBaseline8Bit, JPEGExtended12Bit,
]  # fmt: skip
# the UIDs of one request: a value of VR UI holds less than 64 KiB in explicit VR (PS3.5 7.1.2)
UIDS_AT_ONCE = 500


def expected_instances(
    node: Node, study_instance_uid: str, series_instance_uid: str
) -> dict[str, Instance]:
    """Ask, before a retrieve, what should come: instances by SOP Instance UID."""
    expected: dict[str, Instance] = {}
    with associate(node, [FIND]) as association:
        study = {"StudyInstanceUID": require_uid(study_instance_uid)}
        series_uids = [series_instance_uid]
        if not series_instance_uid:
            found = find(association, node, query("SERIES", study, SERIES_ANSWERS))
            series_uids = [str(series.get("SeriesInstanceUID", "")) for series in found]
        for uid in series_uids:
            keys = {**study, "SeriesInstanceUID": uid}
            for image in find(association, node, query("IMAGE", keys, INSTANCE_ANSWERS)):
                sop_class = str(image.get("SOPClassUID", ""))
                expected[str(image.get("SOPInstanceUID", ""))] = Instance(
                    uid, sop_class if is_uid(sop_class) else ""
                )
    if not all(is_uid(uid) for uid in expected):
        raise MagicianError(
            f"{node} lists an image of study {study_instance_uid} whose SOP Instance UID is none."
        )
    if not expected:
        series = f", series {series_instance_uid}" if series_instance_uid else ""
        raise StudyNotFound(f"{node} holds no images of study {study_instance_uid}{series}.")
    return expected


def identifiers(arrivals: Arrivals, series_instance_uid: str) -> list[Dataset]:
    """What to ask for (PS3.4 C.4.3.1.3): the study or series at once, or only the instances that
    are not here yet.
    """
    keys = {"StudyInstanceUID": arrivals.study_instance_uid}
    if series_instance_uid:
        keys["SeriesInstanceUID"] = series_instance_uid
    if not arrivals.paths:
        return [_identifier("SERIES" if series_instance_uid else "STUDY", **keys)]
    requests = []
    by_series = sorted(arrivals.missing, key=lambda uid: arrivals.expected[uid].series_instance_uid)
    for series, uids in groupby(
        by_series, key=lambda uid: arrivals.expected[uid].series_instance_uid
    ):
        wanted = list(uids)
        for start in range(0, len(wanted), UIDS_AT_ONCE):
            part = wanted[start : start + UIDS_AT_ONCE]
            requests.append(
                _identifier(
                    "IMAGE", **(keys | {"SeriesInstanceUID": series, "SOPInstanceUID": part})
                )
            )
    return requests


def _identifier(level: str, **keys) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def storage_contexts(arrivals: Arrivals) -> list[PresentationContext]:
    """A context for each class and encoding (PS3.8 9.3.2.2), as many encodings as fit into one
    association.
    """
    classes = (
        sorted({arrivals.expected[uid].sop_class_uid for uid in arrivals.missing} - {""})
        or USUAL_CLASSES
    )
    room = (MAX_CONTEXTS - 1) // len(classes)
    if room == 0:
        raise MagicianError(
            f"The study holds {len(classes)} SOP classes, too many for one C-GET: get it by series."
        )
    return [build_context(UID(uid), syntax) for uid in classes for syntax in USUAL_SYNTAXES[:room]]
