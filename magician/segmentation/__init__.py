"""Segmentation: right and left lung of a CT volume, by a U-Net or by a threshold."""

from magician.segmentation.lungs import LungSegmentation, dice, segment_lungs, volumes_ml
from magician.segmentation.threshold import threshold_lungs

__all__ = ["LungSegmentation", "dice", "segment_lungs", "threshold_lungs", "volumes_ml"]
