"""Lung segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LungSegmentation:
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]
    model_name: str
    model_version: str
    weights_sha256: str
    device: str
    precision: str
    seconds: float
