"""Results: SEG, SR and overlay images of a segmentation, in the right study.

Every object says whose it is, how it was made, and that it is not for diagnosis.
"""
