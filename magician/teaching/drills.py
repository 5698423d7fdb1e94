"""Failure drills: a symptom, a PACS or an object that causes it, and a field sign to remember."""

from __future__ import annotations

__all__ = ["drill"]


def drill(letter: str):
    """Set up a drill, and show its symptom."""
    raise NotImplementedError
