"""The right and the left lung of a chest CT: a U-Net labels them slice by slice.

Networks, preparation and tidying are those of lungmask (Hofmanninger et al. 2020,
arXiv:2001.11767). The loop around them is here, so that a reader sees each step from CT to mask:

    CT in HU
    ->  turn to axial
    ->  crop each slice to the body, scale it to 256 x 256 pixels, from 0 to 1
    ->  U-Net: three scores for each pixel
    ->  keep the largest piece of each lung, fill its holes
    ->  scale back to the pixels of the CT
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magician.ct.geometry import axis_directions
from magician.ct.memory import reuse_freed_memory
from magician.ct.volume import CTVolume
from magician.errors import NoLungsFound, SegmentationError, WrongArgument
from magician.progress import may_show
from magician.segmentation.lungmask_steps import back_to_image, crop_to_body, tidy
from magician.segmentation.networks import load_network, quiet_lungmask

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

LEAST_ML = 10  # a smaller volume is no lung
# The networks were trained on axial slices. A slice that is tilted by more looks different.
STEEPEST_DEGREES = 30


@dataclass(frozen=True, eq=False)
class LungSegmentation:
    """Right and left lung of one CT volume, and how they were found.

    Attributes
    ----------
    labels : array of uint8, shape (slices, rows, columns)
        On the grid of the volume's ``hu``: 0 outside, 1 the patient's right lung, 2 the left.
    spacing_mm : tuple of float
        (slice, row, column), as in the volume.
    model_name, model_version, weights_sha256 : str
        The weights that were used; the hash is that of the whole file.
    device, precision : str
        The device that was used, such as ``"cpu"``, and ``"fp32"`` or ``"bf16"``.
    seconds : float
        Wall time, loading of the network included.
    trained_on : str
        The data that the weights were trained on, in a few words.
    """

    labels: np.ndarray
    spacing_mm: tuple[float, float, float]
    model_name: str
    model_version: str
    weights_sha256: str
    device: str
    precision: str
    seconds: float
    trained_on: str = "not told"


def segment_lungs(
    volume: CTVolume,
    *,
    model: str = "bundled",
    weights: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 4,
    progress: bool = True,
) -> LungSegmentation:
    """Label the right and the left lung.

    Parameters
    ----------
    volume : CTVolume
        A chest CT in HU, at least 3 axial slices. A flipped or non-axial volume is turned first,
        by its affine, and its labels are turned back.
    model : str
        ``"bundled"``, the small network of this package, or ``"R231"``, the network of lungmask.
    weights : path, optional
        A file to use instead of the model's own weights. Without it, R231's weights are fetched
        once, into PyTorch's cache (about 124 MB); a computer without internet needs the file.
    device : str
        ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``: a CUDA GPU if there is one, else the
        processor.
    precision : str
        ``"fp32"``, ``"bf16"`` (a few voxels differ), or ``"auto"``: bf16 if the hardware has it.
    batch_size : int
        Number of slices that are computed together. A larger batch needs more memory, and is hardly
        faster.
    progress : bool
        Show a progress bar.

    Returns
    -------
    LungSegmentation

    Raises
    ------
    SegmentationError
        If the volume is not a plausible chest CT.
    NoLungsFound
        If no lungs were found in it; a kind of SegmentationError.
    WeightsUnavailable
        If the weights are missing, can't be fetched, or are not those of the network.
    ValueError
        If there is no such model, device or precision, or `batch_size` is less than 1.
    """
    import torch

    started = time.perf_counter()
    if batch_size < 1:
        raise WrongArgument(f"batch_size must be at least 1, not {batch_size}")
    axes, flips = _axes_and_flips_to_axial(volume.affine)
    axial = np.flip(np.transpose(volume.hu, axes), flips)
    _check_plausible(axial)
    torch_device = _choose_device(device)
    precision = choose_precision(precision, torch_device)
    with reuse_freed_memory(), quiet_lungmask(), torch.inference_mode():
        network = load_network(model, weights, torch_device, progress)
        labels = _predict(network.module, axial, torch_device, precision, batch_size, progress)
    labels = np.ascontiguousarray(np.transpose(np.flip(labels, flips), np.argsort(axes)))
    segmentation = LungSegmentation(
        labels=labels,
        spacing_mm=tuple(float(mm) for mm in volume.spacing_mm),
        model_name=network.name,
        model_version=network.version,
        weights_sha256=network.sha256,
        device=torch_device.type,
        precision=precision,
        seconds=time.perf_counter() - started,
        trained_on=network.trained_on,
    )
    _check_found(segmentation)
    return segmentation


def volumes_ml(segmentation: LungSegmentation) -> dict[str, float]:
    """Return the volumes ``{"right", "left", "total"}`` in ml.

    A volume is the number of voxels, times the volume of one voxel.
    """
    voxel_ml = float(np.prod(segmentation.spacing_mm)) / 1000
    right, left = (np.count_nonzero(segmentation.labels == side) * voxel_ml for side in (1, 2))
    return {"right": right, "left": left, "total": right + left}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Return the agreement of two masks: twice their overlap, divided by the sum of their sizes.

    It is the coefficient of Dice (1945), doi:10.2307/1932409.

    Parameters
    ----------
    a, b : arrays of bool, same shape

    Returns
    -------
    float, from 0 (no overlap) to 1 (identical masks; two empty masks are identical)

    Raises
    ------
    ValueError
        If the shapes differ, or an array holds labels instead of True and False.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise WrongArgument(f"the masks have different shapes: {a.shape} and {b.shape}")
    if a.dtype != bool or b.dtype != bool:
        raise WrongArgument(
            "dice compares True with True: pick one label first, for instance labels == 1"
        )
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else 1.0


def _predict(
    module: torch.nn.Module,
    hu: np.ndarray,
    device: torch.device,
    precision: str,
    batch_size: int,
    progress: bool,
) -> np.ndarray:
    """Return the labels of an axial volume, array of uint8 of the same shape.

    Slices run from feet to head, rows from front to back, columns from the patient's right to the
    left.
    """
    import torch
    from tqdm.auto import tqdm

    images, boxes = prepare_batch(hu)
    small = np.empty(images.shape, np.uint8)
    bf16 = precision == "bf16"
    half = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
    silent = not may_show(progress)
    with half, tqdm(total=len(images), desc="U-Net", unit="slice", disable=silent) as bar:
        for first in range(0, len(images), batch_size):
            batch = torch.as_tensor(images[first : first + batch_size, None], device=device)
            scores = module(batch.contiguous(memory_format=torch.channels_last))
            small[first : first + batch_size] = scores.argmax(1).cpu().numpy()
            bar.update(len(batch))
    return back_to_image(tidy(small), boxes, hu.shape[1:])


def prepare_batch(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the network gets of an axial volume in HU, and the boxes of `crop_to_body`.

    Returns
    -------
    images : array of float32, shape (slices, 256, 256), from 0 to 1
    boxes : array of int, shape (slices, 4)
    """
    images, boxes = crop_to_body(hu)
    return np.divide(np.minimum(images, 600) + 1024, 1624), boxes


def _axes_and_flips_to_axial(affine: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the order of axes that makes a volume axial, and the new axes that must be flipped.

    Networks are trained on slices that run to the head (+z in LPS), rows that run to the back (+y)
    and columns that run to the patient's left (+x).
    """
    vectors = np.asarray(affine, dtype=float)[:3, :3]
    if not np.isfinite(vectors).all() or not np.linalg.norm(vectors, axis=0).all():
        raise SegmentationError(
            "The volume's affine is not a valid geometry: it maps voxels to no place."
        )
    cosines = axis_directions(affine)
    nearest = np.abs(cosines).argmax(axis=0)
    smallest = np.abs(cosines).max(axis=0).min()
    if len(set(nearest)) < 3 or smallest < np.cos(np.deg2rad(STEEPEST_DEGREES)):
        raise SegmentationError(
            f"The slices are oblique: an image axis lies {np.degrees(np.arccos(smallest)):.0f} "
            f"degrees away from the axes of the patient, and the networks know at most "
            f"{STEEPEST_DEGREES}. Use an axial reconstruction."
        )
    axes = tuple(int(np.flatnonzero(nearest == patient_axis)[0]) for patient_axis in (2, 1, 0))
    flips = tuple(i for i, axis in enumerate(axes) if cosines[nearest[axis], axis] < 0)
    return axes, flips


def _check_plausible(axial: np.ndarray) -> None:
    """Refuse an array that can't be a chest CT: a network would return a mask for it, too."""
    if len(axial) < 3:
        raise SegmentationError(
            f"The volume has {len(axial)} axial slice(s); at least 3 are needed to tell lungs from "
            f"other air. Is this a localizer, or a part of the series?"
        )
    if min(axial.shape[1:]) < 32:
        raise SegmentationError(
            f"Slices of {axial.shape[1]} x {axial.shape[2]} pixels are too small to show lungs."
        )
    if not np.isfinite(axial).all():
        raise SegmentationError("The volume holds values that are not numbers (NaN or infinite).")
    air, tissue = float((axial < -500).mean()), float(((axial > -200) & (axial < 300)).mean())
    if air < 0.001 or tissue < 0.005:
        raise SegmentationError(
            f"The values do not look like the Hounsfield units of a chest: {air:.1%} of the voxels "
            f"are air (below -500) and {tissue:.1%} are soft tissue (-200 to 300), between "
            f"{axial.min():.0f} and {axial.max():.0f}. Was Rescale Slope and Intercept applied? "
            f"Is it a CT?"
        )


def _check_found(segmentation: LungSegmentation) -> None:
    volumes = volumes_ml(segmentation)
    if volumes["total"] < LEAST_ML:
        raise NoLungsFound(
            f"No lungs were found ({volumes['total']:.0f} ml). Does the series show the chest? "
            f"Are values and orientation those of a CT?"
        )
    for side in ("right", "left"):
        if volumes[side] < LEAST_ML:
            logger.warning("no %s lung was found: %.0f ml", side, volumes[side])


def _choose_device(device: str) -> torch.device:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda", "mps"):
        raise WrongArgument(f"device must be 'auto', 'cpu', 'cuda' or 'mps', not {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise SegmentationError(
            "device='cuda' was asked for, but PyTorch sees no CUDA GPU. Use device='auto'."
        )
    if device == "mps" and not torch.backends.mps.is_available():
        raise SegmentationError(
            "device='mps' was asked for, but PyTorch sees no Apple GPU. Use device='auto'."
        )
    return torch.device(device)


def choose_precision(precision: str, device: torch.device) -> str:
    """Return "fp32" or "bf16". For "auto", bf16 needs hardware that computes in it.

    Other hardware emulates bf16, which is slower than fp32.
    """
    import torch

    if precision not in ("auto", "fp32", "bf16"):
        raise WrongArgument(f"precision must be 'auto', 'fp32' or 'bf16', not {precision!r}")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp32"
    if device.type == "cpu":
        # PyTorch has no public function for this in all versions from 2.4 on
        tests = [
            getattr(torch.cpu, name, None)
            for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        ]
        return "bf16" if any(test() for test in tests if test) else "fp32"
    return "fp32"
