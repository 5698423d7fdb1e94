"""Predictions: a learner commits to an answer before the notebook shows it (`predict`)."""

from __future__ import annotations

__all__ = ["predict"]


def predict(key: str, question: str, *choices: str):
    """Ask for a prediction; the explanation appears only after a choice."""
    raise NotImplementedError
