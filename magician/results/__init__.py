"""Results: SEG, SR and overlay images of a segmentation, in the right study."""
