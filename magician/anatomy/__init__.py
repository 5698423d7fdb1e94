"""Anatomy: the computed chest behind the teaching study, one organ or tissue a file.

It turns a seed into Hounsfield units and a truth mask, and knows nothing of DICOM.
"""
