"""The structured report (SR) with volume and density of each lung (PS3.16 TID 1500), written with
highdicom.
"""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from magician.results.identity import derive_uid
from magician.results.run import ANATOMY_CODE, LUNG_CODE, LUNGS, MANUFACTURER, SOFTWARE, Lung, Run
from magician.version import __version__

VOLUME = Code("118565006", "SCT", "Volume")
MILLILITRE = Code("mL", "UCUM", "milliliter")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
MEAN = Code("373098007", "SCT", "Mean")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")


def mean_densities(hu: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """Return the mean HU of each lung, by its label; a lung without voxels is left out."""
    counts = np.bincount(labels.ravel(), minlength=3)
    return {
        lung.label: float(hu[labels == lung.label].mean(dtype=float))
        for lung in LUNGS
        if counts[lung.label]
    }


def report_object(
    run: Run, seg: Dataset, volumes_ml: dict[str, float], densities: dict[int, float]
) -> Dataset:
    """Make the structured report with volume and mean density of each lung.

    PS3.3 A.35.13, PS3.16 TID 1500. The report names its source as a series: a list of all images
    would triple its size and tell a viewer nothing more.

    Parameters
    ----------
    run : Run
    seg : Dataset
        The SEG to whose segments the measurements refer.
    volumes_ml : dict
        By "right" and "left".
    densities : dict
        As `mean_densities` gives them.
    """
    import highdicom as hd
    from highdicom import sr

    software = sr.DeviceObserverIdentifyingAttributes(
        derive_uid("device", __version__),
        name=SOFTWARE,
        manufacturer_name=MANUFACTURER,
        model_name=SOFTWARE,
    )
    observer = sr.ObserverContext(codes.DCM.Device, software)
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=sr.CodedConcept("24627-2", "LN", "CT Chest"),
        imaging_measurements=[
            _lung_measurements(
                run, seg, lung, volumes_ml[lung.side.meaning.lower()], densities.get(lung.label)
            )
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
        **run.common_arguments("sr", 3002, "Lung volumes"),
    )
    return run.write_times(document)


def _lung_measurements(run: Run, seg: Dataset, lung: Lung, volume_ml: float, mean_hu: float | None):
    from highdicom import sr

    name, version, _ = run.model
    parameters = [f"{key}={value}" for key, value in run.algorithm_parameters().items()]
    measurements = [sr.Measurement(VOLUME, float(volume_ml), MILLILITRE)]
    if mean_hu is not None:
        measurements.append(
            sr.Measurement(ATTENUATION, round(mean_hu, 1), HOUNSFIELD, derivation=MEAN)
        )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(run.uid("tracking", lung.label), lung.name),
        referenced_segment=sr.ReferencedSegment(
            seg.SOPClassUID,
            seg.SOPInstanceUID,
            lung.label,
            source_series=sr.SourceSeriesForSegmentation(run.sources[0].SeriesInstanceUID),
        ),
        finding_category=ANATOMY_CODE,
        finding_type=lung.code,
        finding_sites=[sr.FindingSite(LUNG_CODE, laterality=lung.side)],
        algorithm_id=sr.AlgorithmIdentification(name, version, parameters=parameters),
        measurements=measurements,
    )
