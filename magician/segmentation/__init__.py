"""Segmentation: right and left lung of a CT volume, by a U-Net or by a threshold.

The weights of the bundled network lie in `weights`, with their model card.
"""
