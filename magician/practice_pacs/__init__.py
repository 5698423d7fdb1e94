"""The practice PACS: lifecycle, archive, index and DIMSE services.

A small PACS of our own, which runs in the process of the notebook and holds computed patients.
"""
