"""The identity of results: the patient and the study that they belong to, and every UID in them.

All results are built on source headers without a patient. They get patient and study in one place
at the end, so that every object of a run says the same. With a learner's alias there is a second,
invented patient: nothing of the source's identity, and none of its UIDs, may appear under that
name.
"""

from __future__ import annotations

import hashlib
import unicodedata
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from magician.errors import ResultError
from magician.results.source_headers import (
    PATIENT_AND_STUDY,
    complete_body_part,
    copy_element,
    examination_of,
    geometry_of,
    image_without_patient,
    patient_and_study_of,
)
from magician.version import __version__

DISCLAIMER = "RESEARCH - NOT FOR DIAGNOSIS"
NAMESPACE = uuid.UUID("1f6a53b2-0f4c-5f0e-9d51-6c0f2b7a9e34")
LONGEST_ALIAS = 63  # characters: a component of a name may have 64, and the caret needs one
UIDS_OF_AN_IMAGE = (
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
)


def derive_uid(*parts: object) -> UID:
    """Return the UID that belongs to these parts: 2.25. and the integer of a UUID (PS3.5 B.2)."""
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, chr(31).join(map(str, parts))).int}")


def learner_uid(source_uid: str, source_study_uid: str, alias: str) -> UID:
    """Return the UID that replaces one of the source's UIDs in a learner's study."""
    return derive_uid("learner", source_study_uid, alias, source_uid)


def content_digest(headers: Iterable[Dataset], labels: np.ndarray, alias: str, *model: str) -> str:
    """Return a digest of everything that decides the content of results: source, mask, model,
    version of this software, learner.
    """
    digest = hashlib.sha256(np.ascontiguousarray(labels).tobytes())
    instances = [str(header.SOPInstanceUID) for header in headers]
    digest.update("\x1f".join([__version__, alias, *model, *instances]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Identity:
    """The patient and the study of results.

    Attributes
    ----------
    alias : str
        The learner's alias, or an empty string for the source's own patient.
    source_study_uid : str
        The study of the CT.
    patient_and_study : Dataset
        The elements of patient and study that every result gets.
    sources : list of Dataset
        The headers that results are built on, one for each slice: geometry and equipment, no
        patient. With a learner their UIDs are those of the learner's copies of the CT, even if no
        copies are made.
    """

    alias: str
    source_study_uid: str
    patient_and_study: Dataset
    sources: list[Dataset]

    @classmethod
    def of(cls, headers: Sequence[Dataset], alias: str, slice_spacing_mm: float) -> Identity:
        """Work out the identity of the results of one series.

        Parameters
        ----------
        headers : sequence of Dataset
            The header of each slice.
        alias : str
            As `check_alias` returns it; empty for the source's own patient and study.
        slice_spacing_mm : float
            As measured from the positions, because a header may give a wrong one.
        """
        study = str(headers[0].StudyInstanceUID)
        sources = [geometry_of(header, slice_spacing_mm) for header in headers]
        if not alias:
            return cls("", study, patient_and_study_of(headers[0]), sources)
        patient = examination_of(headers[0])
        patient.StudyInstanceUID = learner_uid(study, study, alias)
        number = uuid.uuid5(NAMESPACE, str(patient.StudyInstanceUID)).hex[:12].upper()
        patient.PatientID = f"LEARNER-{number}"
        patient.PatientName = f"{alias}^"
        for source in sources:
            _replace_uids(source, study, alias)
        return cls(alias, study, patient, sources)

    def sign(self, result: Dataset) -> None:
        """Write patient and study into a result, in place of those that it has."""
        result.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: every name fits
        for keyword in PATIENT_AND_STUDY:
            if keyword in result:
                del result[keyword]
        for element in self.patient_and_study:
            result.add(copy_element(element))

    def copy_of(self, image: Dataset) -> Dataset:
        """Return a CT image as it belongs to this study.

        In the source's own study that is the image itself. A learner's copy has the same pixels and
        the same transfer syntax, another patient and other UIDs.
        """
        if not self.alias:
            return image
        copy = image_without_patient(image)
        _replace_uids(copy, self.source_study_uid, self.alias)
        complete_body_part(copy)
        copy.SeriesDescription = (
            f"Copy of {str(copy.get('SeriesDescription') or 'CT')[:24]}, {DISCLAIMER}"
        )
        self.sign(copy)
        copy.add(image["PixelData"])
        copy.file_meta = _file_meta(copy, image.file_meta.TransferSyntaxUID)
        copy.set_original_encoding(*image.original_encoding, "utf8")
        return copy


def check_alias(learner: str) -> str:
    """Return the alias of a learner without outer spaces, in Unicode's form NFC.

    Raises
    ------
    ResultError
        If it can't be one component of a person name (PS3.5 6.2.1), or is empty though given.
    """
    alias = unicodedata.normalize("NFC", learner).strip()
    if learner and not alias:
        raise ResultError(
            "The learner's alias consists of spaces only. Choose a word, or leave it empty."
        )
    refused = sorted({c for c in learner if c in "\\=^" or not c.isprintable()})
    if refused:
        raise ResultError(
            f"The learner's alias can't contain {', '.join(map(repr, refused))}, which would break "
            f"a name in DICOM. Letters, digits, spaces and hyphens are fine."
        )
    if len(alias) > LONGEST_ALIAS:
        raise ResultError(
            f"The learner's alias has {len(alias)} characters; a DICOM name has room for "
            f"{LONGEST_ALIAS}."
        )
    return alias


def _replace_uids(header: Dataset, source_study_uid: str, alias: str) -> None:
    for keyword in UIDS_OF_AN_IMAGE:
        header[keyword].value = learner_uid(header[keyword].value, source_study_uid, alias)


def _file_meta(dataset: Dataset, transfer_syntax_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # counted when it is written
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax_uid
    meta.ImplementationClassUID = derive_uid("implementation")
    meta.ImplementationVersionName = f"MAGICIAN{__version__}"[:16]
    return meta
