"""The overlay series: Secondary Capture images of the CT with the lungs in blue (PS3.3 A.8)."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from magician.progress import track
from magician.rendering.orientation import patient_orientation
from magician.rendering.overlay import paint
from magician.rendering.windowing import WINDOW
from magician.results.identity import DISCLAIMER
from magician.results.legend import legend_strip
from magician.results.run import Run
from magician.results.source_headers import complete_body_part


def overlay_objects(
    run: Run, hu: np.ndarray, labels: np.ndarray, volumes_ml: dict[str, float], *, progress: bool
) -> list[Dataset]:
    """Make one colour Secondary Capture for each slice (PS3.3 A.8.1).

    Each shows the windowed CT with the lungs in blue, above a legend, and names its source image.
    It has no position: with one, a Secondary Capture is a *standard extended* object.

    Parameters
    ----------
    run : Run
    hu : array, shape (slices, rows, columns), in HU
    labels : array of uint8, same shape
    volumes_ml : dict
        By "right" and "left", for the legend.
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
    return [
        _overlay_object(run, i, np.concatenate([paint(hu[i], labels[i]), legend])) for i in slices
    ]


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
        **run.common_arguments("overlay", 3003, "Lungs over CT"),
    )
    # highdicom knows single letters only
    image.PatientOrientation = list(patient_orientation(source))
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ConversionType = "WSD"  # made by a workstation, not by a frame grabber
    image.BurnedInAnnotation = "NO"
    image.DerivationDescription = f"CT in window {WINDOW[0]}/{WINDOW[1]}, lung segmentation in blue"
    image.DerivationCodeSequence = [hd.sr.CodedConcept("113076", "DCM", "Segmentation")]
    image.SourceImageSequence = [_source_reference(source)]
    for keyword in (
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    ):
        if keyword in source:  # a lossy image stays lossy (PS3.3 C.7.6.1.1.5)
            setattr(image, keyword, source[keyword].value)
    image.BodyPartExamined = source.get("BodyPartExamined")
    complete_body_part(image)
    return run.write_times(image)


def _source_reference(source: Dataset) -> Dataset:
    import highdicom as hd

    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    purpose = hd.sr.CodedConcept("121322", "DCM", "Source image for image processing operation")
    reference.PurposeOfReferenceCodeSequence = [purpose]
    reference.SpatialLocationsPreserved = "YES"
    return reference
