"""The three kinds of result object, through highdicom; used by :mod:`magician.result`.

Each builder gets a :class:`Run` and gives back objects that lack only patient and study. highdicom knows the
modules of each object and writes the pixel data; what it leaves out, and which codes are used, stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian

from magician._identity import DISCLAIMER, complete_body_part, uid
from magician._legend import legend_strip
from magician.progress import track
from magician.rendering.orientation import patient_orientation
from magician.rendering.overlay import paint
from magician.rendering.windowing import WINDOW
from magician.version import __version__

if TYPE_CHECKING:
    import highdicom

MANUFACTURER = "Magician tutorial"
SOFTWARE = "magician"

ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
LUNG = Code("39607008", "SCT", "Lung")
VOLUME = Code("118565006", "SCT", "Volume")
MILLILITRE = Code("mL", "UCUM", "milliliter")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
MEAN = Code("373098007", "SCT", "Mean")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")


@dataclass(frozen=True)
class Lung:
    """How one label is coded: segment number, words, SNOMED CT codes, colour (red, green, blue)."""

    label: int
    words: str
    code: Code
    side: Code
    colour: tuple[int, int, int]


LUNGS = (
    Lung(1, "Right lung", Code("3341006", "SCT", "Right lung"), Code("24028007", "SCT", "Right"), (70, 130, 220)),
    Lung(2, "Left lung", Code("44029006", "SCT", "Left lung"), Code("7771000", "SCT", "Left"), (60, 190, 220)),
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

        Series Date and Time are left out: a run that is broken off and repeated puts objects of two times into one
        series, and they must agree on what they say of it.
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


def segmentation_object(run: Run, labels: np.ndarray) -> Dataset:
    """Make the binary SEG with all frames (PS3.3 A.51).

    Empty frames are kept: there are viewers that place the frames wrongly when some are left out.

    Parameters
    ----------
    run : Run
    labels : array of uint8, shape (slices, rows, columns), in the order of ``run.sources``
    """
    import highdicom as hd

    segments = [
        hd.seg.SegmentDescription(
            lung.label,
            lung.words,
            ANATOMY,
            lung.code,
            "AUTOMATIC",
            run.algorithm(),
            tracking_uid=run.uid("tracking", lung.label),
            tracking_id=lung.words,
            display_color=hd.color.CIELabColor.from_rgb(*lung.colour),
        )
        for lung in LUNGS
    ]
    seg = hd.seg.Segmentation(
        run.sources,
        labels,
        "BINARY",
        segments,
        sop_instance_uid=run.uid("seg"),
        instance_number=1,
        omit_empty_frames=False,
        content_label="LUNGS",
        content_description="Right and left lung",
        content_creator_name="Magician^AI",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **run.common("seg", 3001, "Lung segmentation"),
    )
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = run.uid("dimensions")  # highdicom draws one at random
    seg.BodyPartExamined = run.sources[0].get("BodyPartExamined")
    complete_body_part(seg)
    return _finish(seg, run)


def mean_densities(hu: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """Return the mean of the HU of each lung, by its label; a lung without voxels has none."""
    counts = np.bincount(labels.ravel(), minlength=3)
    return {lung.label: float(hu[labels == lung.label].mean(dtype=float)) for lung in LUNGS if counts[lung.label]}


def report_object(run: Run, seg: Dataset, volumes_ml: dict[str, float], densities: dict[int, float]) -> Dataset:
    """Make the structured report with volume and mean density of each lung (PS3.3 A.35.13, PS3.16 TID 1500).

    The source is named as a series; a list of all its images would triple the size and tell a viewer nothing more.
    """
    import highdicom as hd
    from highdicom import sr

    software = sr.DeviceObserverIdentifyingAttributes(
        uid("device", __version__), name=SOFTWARE, manufacturer_name=MANUFACTURER, model_name=SOFTWARE
    )
    observer = sr.ObserverContext(codes.DCM.Device, software)
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=sr.CodedConcept("24627-2", "LN", "CT Chest"),
        imaging_measurements=[
            _lung_measurements(run, seg, lung, volumes_ml[lung.side.meaning.lower()], densities.get(lung.label))
            for lung in LUNGS
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    document = hd.sr.Comprehensive3DSR(
        evidence=[*run.sources, seg],
        content=report,
        sop_instance_uid=run.uid("sr"),
        instance_number=1,
        is_complete=True,
        is_final=True,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **run.common("sr", 3002, "Lung volumes"),
    )
    return _finish(document, run)


def _lung_measurements(run: Run, seg: Dataset, lung: Lung, volume_ml: float, mean_hu: float | None):
    from highdicom import sr

    name, version, _ = run.model
    parameters = [f"{key}={value}" for key, value in run.parameters().items()]
    measurements = [sr.Measurement(VOLUME, float(volume_ml), MILLILITRE)]
    if mean_hu is not None:
        measurements.append(sr.Measurement(ATTENUATION, round(mean_hu, 1), HOUNSFIELD, derivation=MEAN))
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(run.uid("tracking", lung.label), lung.words),
        referenced_segment=sr.ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            lung.label,
            source_series=sr.SourceSeriesForSegmentation(run.sources[0].SeriesInstanceUID),
        ),
        finding_category=ANATOMY,
        finding_type=lung.code,
        finding_sites=[sr.FindingSite(LUNG, laterality=lung.side)],
        algorithm_id=sr.AlgorithmIdentification(name, version, parameters=parameters),
        measurements=measurements,
    )


def overlay_objects(
    run: Run, hu: np.ndarray, labels: np.ndarray, volumes_ml: dict[str, float], *, progress: bool
) -> list[Dataset]:
    """Make one colour secondary capture for each slice: the windowed CT, lungs in blue, a legend (PS3.3 A.8.1).

    They hold no position: with one, a Secondary Capture is a *standard extended* object. Each names its source.

    Parameters
    ----------
    run : Run
    hu : array, shape (slices, rows, columns), in HU
    labels : array of uint8, same shape
    volumes_ml : dict
        For the legend in the strip below each slice.
    progress : bool
        Show a progress bar if it takes more than two seconds.
    """
    name, version, _ = run.model
    lines = [
        f"lungs: right {volumes_ml['right']:.0f} mL, left {volumes_ml['left']:.0f} mL",
        f"by {name} {version}",
        DISCLAIMER,
    ]
    legend = legend_strip(labels.shape[2], lines)
    slices = track(range(len(labels)), "overlay", "image", progress=progress)
    return [_overlay_object(run, i, np.concatenate([paint(hu[i], labels[i]), legend])) for i in slices]


def _overlay_object(run: Run, index: int, rgb: np.ndarray) -> Dataset:
    import highdicom as hd

    source = run.sources[index]
    image = hd.sc.SCImage(
        rgb,
        "RGB",
        8,
        "PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        sop_instance_uid=run.uid("overlay", source.SOPInstanceUID),
        instance_number=index + 1,
        pixel_spacing=[float(x) for x in source.PixelSpacing],
        patient_orientation=("L", "P"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **run.common("overlay", 3003, "Lungs over CT"),
    )
    image.PatientOrientation = list(patient_orientation(source))  # highdicom knows single letters only
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ConversionType = "WSD"  # made by a workstation, not by a frame grabber
    image.BurnedInAnnotation = "NO"
    image.DerivationDescription = f"CT in window {WINDOW[0]}/{WINDOW[1]}, lung segmentation in blue"
    image.DerivationCodeSequence = [hd.sr.CodedConcept("113076", "DCM", "Segmentation")]
    image.SourceImageSequence = [_source_reference(source)]
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in source:  # what was once lossy stays so (PS3.3 C.7.6.1.1.5)
            setattr(image, keyword, source[keyword].value)
    image.BodyPartExamined = source.get("BodyPartExamined")
    complete_body_part(image)
    return _finish(image, run)


def _source_reference(source: Dataset) -> Dataset:
    import highdicom as hd

    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    purpose = hd.sr.CodedConcept("121322", "DCM", "Source image for image processing operation")
    reference.PurposeOfReferenceCodeSequence = [purpose]
    reference.SpatialLocationsPreserved = "YES"
    return reference


def _finish(result: Dataset, run: Run) -> Dataset:
    """Give a result the time of its run also where highdicom asks the clock, and dates as plain text."""
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
