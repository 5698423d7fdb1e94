"""The practice PACS: lifecycle, archive, index and DIMSE services."""

from magician.practice_pacs.pacs import PracticePacs

__all__ = ["PracticePacs"]
