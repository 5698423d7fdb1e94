"""A run: what all result objects of one segmentation share, in the form that highdicom wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from magician.results.identity import DISCLAIMER, derive_uid
from magician.version import __version__

if TYPE_CHECKING:
    import highdicom

MANUFACTURER = "Magician tutorial"
SOFTWARE = "magician"

ANATOMY_CODE = Code("123037004", "SCT", "Anatomical Structure")
LUNG_CODE = Code("39607008", "SCT", "Lung")


@dataclass(frozen=True)
class Lung:
    """The codes of one label: segment number, name, SNOMED CT codes, colour (red, green, blue)."""

    label: int
    name: str
    code: Code
    side: Code
    colour: tuple[int, int, int]


LUNGS = (
    Lung(
        1,
        "Right lung",
        Code("3341006", "SCT", "Right lung"),
        Code("24028007", "SCT", "Right"),
        (70, 130, 220),
    ),
    Lung(
        2,
        "Left lung",
        Code("44029006", "SCT", "Left lung"),
        Code("7771000", "SCT", "Left"),
        (60, 190, 220),
    ),
)


@dataclass(frozen=True)
class Run:
    """What all objects of one run share.

    Attributes
    ----------
    sources : sequence of Dataset
        Header of each source slice, feet to head, without a patient.
    content_digest : str
        As `content_digest` of `identity` gives it; all UIDs derive from it.
    model : tuple of str
        Name, version and SHA-256 of the weights.
    trained_on : str
        What the weights were trained on.
    now : datetime
        The one time of the run, written into every object.
    """

    sources: Sequence[Dataset]
    content_digest: str
    model: tuple[str, str, str]
    trained_on: str
    now: datetime

    def uid(self, *role: object) -> UID:
        """Return the UID of one role, such as the series of the overlay, in these results."""
        return derive_uid(self.content_digest, *role)

    def common_arguments(
        self, role: str, series_number: int, description: str
    ) -> dict[str, object]:
        """Return the arguments that highdicom wants for every kind of object.

        They leave out Series Date and Time. A run that is broken off and repeated puts objects of
        two times into one series, and all objects must give the same attributes of that series.
        """
        import highdicom as hd

        processing = hd.ContributingEquipment(
            MANUFACTURER,
            codes.DCM.ProcessingEquipment,
            manufacturer_model_name=SOFTWARE,
            software_versions=__version__,
        )
        return {
            "series_instance_uid": self.uid(role, "series"),
            "series_number": series_number,
            "series_description": f"{description}, {DISCLAIMER}",
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": SOFTWARE,
            "software_versions": __version__,
            "device_serial_number": __version__,
            "content_date": self.now.date(),
            "content_time": self.now.time(),
            "contributing_equipment": [processing],
            "specific_character_set": "ISO_IR 192",
        }

    def algorithm_parameters(self) -> dict[str, str]:
        """Return the digest of the weights, and what they were trained on."""
        return {"weights_sha256": self.model[2], "trained_on": self.trained_on}

    def algorithm_identification(self) -> highdicom.AlgorithmIdentificationSequence:
        """Return the algorithm that made the mask, its weights and their training.

        PS3.3 Table 10-19.
        """
        import highdicom as hd

        name, version, _ = self.model
        return hd.AlgorithmIdentificationSequence(
            name,
            codes.DCM.ArtificialIntelligence,
            version,
            MANUFACTURER,
            self.algorithm_parameters(),
        )

    def write_times(self, result: Dataset) -> Dataset:
        """Write the time of the run into a result, where highdicom takes that of the clock.

        Dates and times become plain text.
        """
        for keyword in ("ContentDate", "ContentTime"):
            setattr(result, keyword, str(result[keyword].value))
        result.InstanceCreationDate = self.now.strftime("%Y%m%d")
        result.InstanceCreationTime = self.now.strftime("%H%M%S.%f")
        if "DateOfSecondaryCapture" in result:
            result.DateOfSecondaryCapture = result.InstanceCreationDate
            result.TimeOfSecondaryCapture = result.InstanceCreationTime
        for item in result.ContributingEquipmentSequence:
            if "ContributionDateTime" in item:
                item.ContributionDateTime = self.now.strftime("%Y%m%d%H%M%S.%f")
        return result
