"""Enhanced multi-frame CT (PS3.3 A.38, and A.70 for converted single images) as if each frame were
a single image.

What holds for all frames stands in the shared functional groups, what differs in a group of each
frame's own. Here both are laid flat, so that one frame says of itself what a single CT image says,
under the same names.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import DataElement, Dataset
from pydicom.uid import EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from magician.errors import SeriesError

ENHANCED = {EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}

# The functional groups that say what a single image says (PS3.3 C.7.6.16.2 and C.8.15.3).
_GROUPS = [
    "FrameContentSequence", "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence",
    "PixelValueTransformationSequence", "CTImageFrameTypeSequence", "CTReconstructionSequence",
]  # fmt: skip
# What a converter found no other place for (PS3.3 C.7.6.16.2.25 and the next); it overrules
# nothing.
_UNASSIGNED = [
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
]
_OTHER_NAMES = {"FrameType": "ImageType", "FrameAcquisitionNumber": "AcquisitionNumber"}
_LEFT_OUT = {"SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelData"}


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
            f"The enhanced CT {image.get('SOPInstanceUID')} holds {image.get('NumberOfFrames')} frames and describes "
            f"{len(groups)} of them."
        )
    common = {element.tag: element for element in image if element.keyword not in _LEFT_OUT}
    frames = []
    for number, group in enumerate(groups, start=1):
        # pydicom would keep and change the very dict that it is given
        frame = FrameHeader(dict(common))
        frame.frame_number = number
        for element in _elements(_GROUPS, group, shared[0]):
            frame.add(_renamed(element))
        for element in _elements(_UNASSIGNED, group, shared[0]):
            if element.tag not in frame:
                frame.add(element)
        frames.append(frame)
    return frames


def _elements(keywords: list[str], group: Dataset, shared: Dataset) -> Iterator[DataElement]:
    for keyword in keywords:
        for item in group.get(keyword) or shared.get(keyword) or []:
            yield from item


def _renamed(element: DataElement) -> DataElement:
    """Return an element under the name that it has in a single image."""
    keyword = _OTHER_NAMES.get(element.keyword)
    return element if keyword is None else DataElement(keyword, element.VR, element.value)
