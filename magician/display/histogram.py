"""The histogram of each lung's density in HU.

This module is imported when a figure is drawn, because it needs matplotlib.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from magician.display.slice_figures import DPI, default_style

# Emphysema: the threshold at which CT agreed with the macroscopic lung (P. A. Gevenois et al.,
# Comparison of computed density and macroscopic morphometry in pulmonary emphysema, Am J Respir
# Crit Care Med 1995;152:653-657).
EMPHYSEMA_HU = -950
# High attenuation areas: ground glass and other lung that is denser than air-filled lung, but not
# solid (A. J. Podolanczuk et al., High attenuation areas on chest computed tomography in
# community-dwelling adults: the MESA study, Eur Respir J 2016;48:1442-1452).
HIGH_HU = (-600, -250)
SOURCES = "-950 HU: Gevenois 1995.  -600 to -250 HU: Podolanczuk 2016."
BINS = np.arange(-1040, 221, 20)
# One outline is solid and filled, the other dashed, so that both can be told apart without colour
STYLES = {
    "right": {"color": "#0b3d70", "linestyle": "-"},
    "left": {"color": "#c05a00", "linestyle": (0, (4, 1.5))},
}


@dataclass(frozen=True)
class Density:
    """The density of one lung.

    Attributes
    ----------
    mean, median : float, in HU
    emphysema, high : float
        The share of the lung in each range, from 0 to 1.
    shares : array of float
        The share of the lung in each of `BINS`.
    """

    mean: float
    median: float
    emphysema: float
    high: float
    shares: np.ndarray

    @classmethod
    def of(cls, hu: np.ndarray) -> Density:
        return cls(
            float(hu.mean(dtype=np.float64)),
            float(np.median(hu)),
            float((hu < EMPHYSEMA_HU).mean()),
            float(((hu >= HIGH_HU[0]) & (hu <= HIGH_HU[1])).mean()),
            np.histogram(hu, BINS)[0] / hu.size,
        )

    def __str__(self) -> str:
        return (
            f"mean {self.mean:.0f} HU, median {self.median:.0f} HU, "
            f"{self.emphysema:.1%} below {EMPHYSEMA_HU} HU, "
            f"{self.high:.1%} from {HIGH_HU[0]} to {HIGH_HU[1]} HU"
        )


def draw(lungs: dict[str, Density]) -> Figure:
    """Draw the histograms of both lungs in one plot, whole and magnified, below a row of marks for
    the mean and the median of each lung.
    """
    with default_style():
        figure = Figure(figsize=(9, 5), dpi=DPI, facecolor="white")
        marks, whole, magnified = figure.subplots(
            3, 1, sharex=True, height_ratios=[0.6, 3, 1.7],
            gridspec_kw={"left": 0.1, "right": 0.99, "bottom": 0.1, "top": 0.99, "hspace": 0.07},
        )  # fmt: skip
        _draw_marks(marks, lungs)
        for axes in (whole, magnified):
            _draw_curves(axes, lungs)
            _draw_ranges(axes)
        # leave room above for the text
        whole.set_ylim(0, 160 * max(density.shares.max() for density in lungs.values()))
        is_dense = BINS[:-1] >= HIGH_HU[0]
        dense = max(density.shares[is_dense].max() for density in lungs.values())
        magnified.set_ylim(0, max(130 * dense, 0.1))
        whole.legend(loc="upper right", fontsize=9, frameon=False)
        low, high = HIGH_HU
        _label_range(
            whole,
            low,
            f"{low} to {high} HU: high attenuation,\nground glass and others",
            lungs,
            "high",
        )
        _label_range(whole, EMPHYSEMA_HU, f"below {EMPHYSEMA_HU} HU: emphysema", lungs, "emphysema")
        whole.set_ylabel(f"% of the lung\nin each {BINS[1] - BINS[0]} HU", fontsize=9)
        magnified.set_ylabel("the same,\nmagnified", fontsize=9)
        magnified.set_xlabel(f"density in HU          ({SOURCES})", fontsize=9)
        magnified.set_xlim(BINS[0], BINS[-1])
        figure.align_ylabels([whole, magnified])
        return figure


def _label_range(axes: Axes, hu: float, words: str, lungs: dict[str, Density], share: str) -> None:
    """Write the name of a range that begins or ends at ``hu``, and the share of each lung in it."""
    shares = ", ".join(f"{side} {getattr(density, share):.1%}" for side, density in lungs.items())
    axes.text(
        hu + 6,
        0.97,
        f"{words}\n{shares}",
        transform=axes.get_xaxis_transform(),
        fontsize=8,
        va="top",
    )


def _draw_curves(axes: Axes, lungs: dict[str, Density]) -> None:
    for side, density in lungs.items():
        percent = 100 * density.shares
        axes.stairs(percent, BINS, label=f"{side} lung", linewidth=1.6, **STYLES[side])
        if side == "right":
            axes.stairs(percent, BINS, fill=True, color="#bcdcf5", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _draw_ranges(axes: Axes) -> None:
    axes.axvspan(
        BINS[0],
        EMPHYSEMA_HU,
        facecolor="none",
        edgecolor="0.6",
        hatch="////",
        linewidth=0,
        zorder=-1,
    )
    axes.axvspan(*HIGH_HU, facecolor="0.93", linewidth=0, zorder=-1)
    for hu in (EMPHYSEMA_HU, *HIGH_HU):
        axes.axvline(hu, color="black", linewidth=0.9, linestyle=":")


def _draw_marks(axes: Axes, lungs: dict[str, Density]) -> None:
    """Mark mean and median of each lung in a row of its own."""
    for row, (side, density) in enumerate(lungs.items()):
        colour = STYLES[side]["color"]
        median, mean = density.median, density.mean
        axes.plot([median], [row], marker="|", markersize=12, markeredgewidth=2.5, color=colour)
        axes.plot([mean], [row], marker="D", markersize=6, markerfacecolor="white", color=colour)
        text = f"median (|) {median:.0f} HU, mean (\N{WHITE DIAMOND}) {mean:.0f} HU"
        axes.text(BINS[-1], row, text, ha="right", va="center", fontsize=9)
    axes.set_yticks(range(len(lungs)), lungs)
    axes.set_ylim(len(lungs) - 0.4, -0.6)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
