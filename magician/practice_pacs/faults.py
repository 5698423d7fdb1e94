"""Faults of a practice PACS: things that real PACS do, to be switched on for practice."""

from __future__ import annotations

FAULTS: dict[str, str] = {}
