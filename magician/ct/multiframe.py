"""Headers of the frames of enhanced multi-frame CT, as if of single images (PS3.3 A.38, A.70).

The shared functional groups hold what is the same for all frames; each frame has groups of its own
for the rest. Both are merged here, so that the header of a frame holds the attributes of a single
CT image, under the same names.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import DataElement, Dataset
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from magician.errors import SeriesError

ENHANCED = {EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}

# The functional groups whose attributes a single image has, too (PS3.3 C.7.6.16.2 and C.8.15.3).
GROUPS = [
    "FrameContentSequence", "PixelMeasuresSequence", "PlanePositionSequence",
    "PlaneOrientationSequence", "PixelValueTransformationSequence", "CTImageFrameTypeSequence",
    "CTReconstructionSequence",
]  # fmt: skip
# Attributes for which a converter found no other place (PS3.3 C.7.6.16.2.25 and C.7.6.16.2.26).
# They replace no attribute of a functional group.
UNASSIGNED = [
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
]
OTHER_NAMES = {"FrameType": "ImageType", "FrameAcquisitionNumber": "AcquisitionNumber"}
LEFT_OUT = {"SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelData"}


class FrameHeader(Dataset):
    """The header of one frame; its SOP Instance UID is that of the whole object.

    Attributes
    ----------
    frame_number : int
        Counted from 1, as references to frames are (PS3.3 10.3).
    """

    frame_number: int


def frames_of(image: Dataset) -> list[FrameHeader]:
    """Return a header for each frame, in the order of the pixel data.

    Raises
    ------
    SeriesError
        If the object does not describe each of its frames.
    """
    shared = image.get("SharedFunctionalGroupsSequence") or [Dataset()]
    groups = image.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != image.get("NumberOfFrames"):
        raise SeriesError(
            f"The enhanced CT {image.get('SOPInstanceUID')} holds {image.get('NumberOfFrames')} "
            f"frames and describes {len(groups)} of them."
        )
    common = {element.tag: element for element in image if element.keyword not in LEFT_OUT}
    frames = []
    for number, group in enumerate(groups, start=1):
        # a copy: pydicom keeps and changes the dict that it is given
        frame = FrameHeader(dict(common))
        frame.frame_number = number
        for element in _elements(GROUPS, group, shared[0]):
            frame.add(_renamed(element))
        for element in _elements(UNASSIGNED, group, shared[0]):
            if element.tag not in frame:
                frame.add(element)
        frames.append(frame)
    return frames


def _elements(keywords: list[str], group: Dataset, shared: Dataset) -> Iterator[DataElement]:
    for keyword in keywords:
        for item in group.get(keyword) or shared.get(keyword) or []:
            yield from item


def _renamed(element: DataElement) -> DataElement:
    """Return an element under the keyword that single images use for it."""
    keyword = OTHER_NAMES.get(element.keyword)
    return element if keyword is None else DataElement(keyword, element.VR, element.value)
