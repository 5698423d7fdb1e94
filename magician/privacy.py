"""The privacy rule: identified objects leave this computer only if the caller says so."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset

from magician.errors import NotDeidentified


def refuse_identified(headers: Iterable[Dataset], whereto: str) -> None:
    """Raise `NotDeidentified` unless every header says PatientIdentityRemoved=YES (0012,0062)."""
    identified = [header for header in headers if header.get("PatientIdentityRemoved") != "YES"]
    if identified:
        raise NotDeidentified(
            f"{len(identified)} object(s) do not say PatientIdentityRemoved=YES, and {whereto} is not this "
            f"computer; nothing was sent. De-identify them first, or, if you may send patients' data there, say "
            f"allow_identified=True."
        )
