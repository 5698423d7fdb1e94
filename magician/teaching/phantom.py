"""The teaching study: a chest CT that no patient ever had, with the truth about its lungs.

`teaching_study` gives what a scanner would send to a PACS: 93 axial images, numbered from head to
feet as many scanners do, and two localizers (scouts) in a series of their own. The anatomy is
computed, not copied (`anatomy/`), so there is no licence and no privacy question, and the right
answer is known for every voxel. A seed is a patient: a class of thirty can have thirty different
ones.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from pydicom.dataset import Dataset

from magician.anatomy.chest import MATRIX, PIXEL_MM, SLICE_MM, SLICES, STEPS, make_chest
from magician.anatomy.scanner import KERNELS
from magician.ct.memory import reuse_freed_memory
from magician.errors import WrongArgument
from magician.progress import may_show
from magician.teaching.phantom_headers import (
    Patient,
    axial_image,
    localizer,
    patient_sex,
    seeded_number,
)

ACCESSION_NUMBER = "1400059968"  # of the study in the article
BAR_FORMAT = "{l_bar}{bar}| {elapsed}<{remaining}"  # a count of steps tells the reader nothing


@dataclass(frozen=True)
class TeachingStudy:
    """A study as it would lie in a PACS, and what is true about it.

    Attributes
    ----------
    datasets : list of Dataset
        93 axial CT images from head to feet, then 2 localizers; each has its `file_meta`.
    truth : array of uint8, shape (93, 512, 512), axes (slice, row, column)
        0 outside, 1 right lung, 2 left lung. Slices run from feet to head: the order that
        `read_series` gives, and the reverse of `datasets`. Rows run from anterior to posterior,
        columns from the patient's right to left.
    """

    datasets: list[Dataset]
    truth: np.ndarray

    def __repr__(self) -> str:
        return f"TeachingStudy: {len(self.datasets)} images of {self.datasets[0].PatientName}"


def teaching_study(
    *,
    seed: int | str = 0,
    accession_number: str = ACCESSION_NUMBER,
    disease: bool = True,
    kernel: str = "soft",
    progress: bool = True,
) -> TeachingStudy:
    """Make a chest CT study with a consolidation that a plain threshold misses.

    The first call for a seed takes some seconds; the pixels are then kept in this process. Every
    call returns new datasets and a new truth array, so what a caller changes stays with that
    caller.

    Parameters
    ----------
    seed : int or str
        Another seed is another patient; any learner's name will do. ``0`` and ``"0"`` are the same
        patient. The seed itself is written nowhere.
    accession_number : str, at most 16 characters
    disease : bool
        False leaves out the consolidation and the nodule, and nothing else: another study of the
        same patient.
    kernel : str
        ``"soft"``, or ``"sharp"``: the finer and noisier reconstruction that is made for lungs.
    progress : bool
        Show a progress bar while the images are computed.

    Returns
    -------
    TeachingStudy
        The same arguments give the same bytes with the same versions of numpy and scipy on the same
        processor type.

    Raises
    ------
    ValueError
        If ``accession_number`` is not a valid SH value (PS3.5 6.2), ``seed`` is not an int or str,
        or there is no such ``kernel``.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, str)):
        raise WrongArgument(f"seed must be an int or a str, not {seed!r}.")
    text = accession_number if isinstance(accession_number, str) else "\\"
    if not text.isprintable() or "\\" in text or len(text) > 16:
        raise WrongArgument(
            "An accession number is a text in quotes, of at most 16 printable characters and no "
            f"backslash: {accession_number!r}."
        )
    if kernel not in KERNELS:
        raise WrongArgument(
            f"kernel must be one of {', '.join(map(repr, KERNELS))}, not {kernel!r}."
        )
    pixels = compute_pixels(str(seed), bool(disease), kernel, _Progress(progress))
    truth = np.frombuffer(bytearray(zlib.decompress(pixels.truth)), np.uint8)
    patient = Patient(str(seed), accession_number, disease, kernel)
    count = len(pixels.axial)
    images = [
        axial_image(
            patient,
            pixels.axial[index],
            index,
            instance_number=count - index,
            contrast=pixels.contrast,
        )
        for index in reversed(range(count))
    ]
    scouts = [
        localizer(patient, stored, number) for number, stored in enumerate(pixels.scouts, start=1)
    ]
    return TeachingStudy(datasets=images + scouts, truth=truth.reshape(count, MATRIX, MATRIX))


def instance_uids(*, seed: int | str, accession_number: str) -> list[str]:
    """List the SOP Instance UIDs of `teaching_study` with these arguments, in its order.

    No image is computed.
    """
    patient = Patient(str(seed), accession_number, disease=True, kernel="soft")
    axial = [patient.uid(f"axial {index}") for index in reversed(range(SLICES))]
    return axial + [patient.uid(f"localizer {number}") for number in (1, 2)]


@dataclass(frozen=True)
class StudyPixels:
    """The pixels of a study: stored values of the images from feet to head, scouts, and the truth,
    which is deflated.
    """

    axial: tuple[bytes, ...]
    scouts: tuple[np.ndarray, np.ndarray]
    truth: bytes
    contrast: bool


@dataclass(frozen=True)
class _Progress:
    """Whether to show a bar. All values are equal, so that the cache does not tell them apart."""

    shown: bool = field(compare=False)


@lru_cache(maxsize=2)
@reuse_freed_memory()
def compute_pixels(seed: str, disease: bool, kernel: str, progress: _Progress) -> StudyPixels:
    """Compute the images of a seed once; the accession number changes no pixel."""
    from tqdm.auto import tqdm

    silent = not may_show(progress.shown)
    with tqdm(total=STEPS, desc="teaching patient", bar_format=BAR_FORMAT, disable=silent) as bar:
        chest = make_chest(
            seeded_number(seed, "anatomy"),
            sex=patient_sex(seed),
            disease=disease,
            kernel=kernel,
            advance=bar.update,
        )
    axial = tuple((plane + np.int16(1024)).astype("<i2").tobytes() for plane in chest.hu)
    truth = zlib.compress(chest.labels.astype(np.uint8, copy=False).tobytes(), 1)
    return StudyPixels(axial, _project_scouts(chest.hu), truth, chest.contrast)


def _project_scouts(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project the volume from the front and from the side, as a scanner does before the scan.

    Parameters
    ----------
    hu : array of int16, shape (slices, rows, columns), slices from feet to head, in HU

    Returns
    -------
    two arrays of int16, shape (rows, columns), head at the top: seen from the front (columns from
    the patient's right to left) and from the side (columns from anterior to posterior); stored
    values, not HU
    """
    from scipy import ndimage

    views = []
    for axis in (1, 2):
        # The mean of HU along a ray is a line integral of attenuation, up to a constant.
        view = hu.mean(axis=axis, dtype=np.float32)[::-1] + 1000.0
        rows = round(hu.shape[0] * SLICE_MM / PIXEL_MM)
        view = ndimage.zoom(view, (rows / hu.shape[0], 1), order=1, grid_mode=True, mode="nearest")
        # Scanners compress and sharpen their scouts: ribs would otherwise drown between lung and
        # spine.
        view = 1000 * (np.maximum(view, 0) / 600) ** 0.8
        view += 1.6 * (view - ndimage.gaussian_filter(view, 2.0)) + 0.8 * (
            view - ndimage.gaussian_filter(view, 12.0)
        )
        views.append(np.clip(view, 0, 4095).astype(np.int16))
    return views[0], views[1]
