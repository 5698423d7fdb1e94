"""The Segmentation object (SEG) of both lungs, written with highdicom (PS3.3 A.51)."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from magician.results.run import ANATOMY_CODE, LUNGS, Run
from magician.results.source_headers import complete_body_part


def segmentation_object(run: Run, labels: np.ndarray) -> Dataset:
    """Make the binary SEG with all frames (PS3.3 A.51).

    Empty frames are kept, because some viewers place frames wrongly when others are left out.

    Parameters
    ----------
    run : Run
    labels : array of uint8, shape (slices, rows, columns), in the order of ``run.sources``
    """
    import highdicom as hd

    segments = [
        hd.seg.SegmentDescription(
            lung.label,
            lung.name,
            ANATOMY_CODE,
            lung.code,
            "AUTOMATIC",
            run.algorithm_identification(),
            tracking_uid=run.uid("tracking", lung.label),
            tracking_id=lung.name,
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
        **run.common_arguments("seg", 3001, "Lung segmentation"),
    )
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = run.uid("dimensions")  # highdicom draws one at random
    seg.BodyPartExamined = run.sources[0].get("BodyPartExamined")
    complete_body_part(seg)
    return run.write_times(seg)
