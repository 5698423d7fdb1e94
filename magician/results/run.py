"""A run: what all result objects of one segmentation share, through highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from magician.results.identity import DISCLAIMER, uid
from magician.version import __version__

if TYPE_CHECKING:
    import highdicom

MANUFACTURER = "Magician tutorial"
SOFTWARE = "magician"

ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
LUNG = Code("39607008", "SCT", "Lung")


@dataclass(frozen=True)
class Lung:
    """How one label is coded: segment number, words, SNOMED CT codes, colour (red, green, blue)."""

    label: int
    words: str
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
    key : str
        Digest of everything that changes the content; all UIDs derive from it.
    model : tuple of str
        Name, version and SHA-256 of the weights.
    trained_on : str
        What the weights were trained on.
    now : datetime
        Goes into every object, so that a run has one time.
    """

    sources: Sequence[Dataset]
    key: str
    model: tuple[str, str, str]
    trained_on: str
    now: datetime

    def uid(self, *role: object) -> UID:
        """Return the UID of one role, such as the series of the overlay, in these results."""
        return uid(self.key, *role)

    def common(self, role: str, series_number: int, description: str) -> dict[str, object]:
        """Return the arguments that highdicom wants for every kind of object.

        Series Date and Time are left out: a run that is broken off and repeated puts objects of two
        times into one series, and they must agree on what they say of it.
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

    def parameters(self) -> dict[str, str]:
        """Return what tells these weights from all others, and what they were trained on."""
        return {"weights_sha256": self.model[2], "trained_on": self.trained_on}

    def algorithm(self) -> highdicom.AlgorithmIdentificationSequence:
        """Return which algorithm made the mask, its weights and their training (PS3.3 Table 10-19)."""
        import highdicom as hd

        name, version, _ = self.model
        return hd.AlgorithmIdentificationSequence(
            name, codes.DCM.ArtificialIntelligence, version, MANUFACTURER, self.parameters()
        )


def _finish(result: Dataset, run: Run) -> Dataset:
    """Give a result the time of its run also where highdicom asks the clock, and dates as plain
    text.
    """
    for keyword in ("ContentDate", "ContentTime"):
        setattr(result, keyword, str(result[keyword].value))
    result.InstanceCreationDate = run.now.strftime("%Y%m%d")
    result.InstanceCreationTime = run.now.strftime("%H%M%S.%f")
    if "DateOfSecondaryCapture" in result:
        result.DateOfSecondaryCapture = result.InstanceCreationDate
        result.TimeOfSecondaryCapture = result.InstanceCreationTime
    for item in result.ContributingEquipmentSequence:
        if "ContributionDateTime" in item:
            item.ContributionDateTime = run.now.strftime("%Y%m%d%H%M%S.%f")
    return result
