"""The cases that measure a lung network: teaching studies, training phantoms and real CT."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "training")]

# Maps (slice, row, column, 1) to x, y, z of axial slices from feet to head
AXIAL = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)


def teaching_studies(
    seeds: Iterable[int], disease: bool
) -> Iterator[tuple[str, object, np.ndarray]]:
    """Give name, volume and truth of teaching studies, read from DICOM as a learner does."""
    from magician.ct.volume import read_series
    from magician.files import save_dataset
    from magician.teaching.phantom import teaching_study

    for seed in seeds:
        study = teaching_study(seed=seed, disease=disease, progress=False)
        with tempfile.TemporaryDirectory() as folder:
            for dataset in study.datasets:
                save_dataset(dataset, Path(folder))
            volume = read_series(folder)
        yield f"teaching study {seed}, {'ill' if disease else 'healthy'}", volume, study.truth


def training_phantoms(
    seeds: Iterable[int], disease: bool
) -> Iterator[tuple[str, object, np.ndarray]]:
    """Give name, volume and truth of training phantoms: gross anatomy, disease, partial scans."""
    from chest_phantoms import Phantom

    for seed in seeds:
        phantom = Phantom(seed)
        hu, truth = phantom.render(disease=disease)
        spacing = (phantom.slice_distance, phantom.pixel, phantom.pixel)
        volume = SimpleNamespace(
            hu=hu.astype(np.float32), affine=AXIAL * [*spacing, 1], spacing_mm=spacing
        )
        yield f"phantom {seed}, {'ill' if disease else 'healthy'}", volume, truth


def real_cases(folder: Path) -> Iterator[tuple[str, object, np.ndarray]]:
    """Give name, volume and reference of real cases; the reference is True in both lungs."""
    import SimpleITK as sitk  # noqa: N813

    from magician.ct.volume import read_series

    for mask in sorted(folder.glob("*/reference_mask.nii.gz")):
        yield (
            mask.parent.name,
            read_series(mask.parent),
            sitk.GetArrayFromImage(sitk.ReadImage(str(mask))) > 0,
        )
