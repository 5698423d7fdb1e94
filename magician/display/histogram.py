"""How dense each lung is: a histogram of its Hounsfield units.

Imported when a figure is drawn, and not before: it needs matplotlib.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from magician.display.slice_figures import DPI, plain

# Emphysema: the threshold at which CT agreed with the macroscopic lung (P. A. Gevenois et al.,
# Comparison of computed density and macroscopic morphometry in pulmonary emphysema, Am J Respir
# Crit Care Med 1995;152:653-657).
EMPHYSEMA_HU = -950
# High attenuation areas: ground glass, and all else that is denser than air-filled lung and less
# than solid (A. J. Podolanczuk et al., High attenuation areas on chest computed tomography in
# community-dwelling adults: the MESA study, Eur Respir J 2016;48:1442-1452).
HIGH_HU = (-600, -250)
SOURCES = "-950 HU: Gevenois 1995.  -600 to -250 HU: Podolanczuk 2016."
_BINS = np.arange(-1040, 221, 20)
# Filled and light with a whole outline, or dark and dashed: no colour is needed to tell them apart
_LUNGS = {
    "right": {"color": "#0b3d70", "linestyle": "-"},
    "left": {"color": "#c05a00", "linestyle": (0, (4, 1.5))},
}


@dataclass(frozen=True)
class Density:
    """The density of one lung, in HU, and how much of it lies in which range, from 0 to 1."""

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
            np.histogram(hu, _BINS)[0] / hu.size,
        )

    def __str__(self) -> str:
        return (
            f"mean {self.mean:.0f} HU, median {self.median:.0f} HU, {self.emphysema:.1%} below {EMPHYSEMA_HU} HU, "
            f"{self.high:.1%} from {HIGH_HU[0]} to {HIGH_HU[1]} HU"
        )


def draw(lungs: dict[str, Density]) -> Figure:
    """Draw the histograms of the lungs over each other, whole and magnified, and their means and
    medians above.
    """
    with plain():
        figure = Figure(figsize=(9, 5), dpi=DPI, facecolor="white")
        marks, whole, magnified = figure.subplots(
            3, 1, sharex=True, height_ratios=[0.6, 3, 1.7],
            gridspec_kw={"left": 0.1, "right": 0.99, "bottom": 0.1, "top": 0.99, "hspace": 0.07},
        )  # fmt: skip
        _marks(marks, lungs)
        for axes in (whole, magnified):
            _curves(axes, lungs)
            _ranges(axes)
        # room above for what is written
        whole.set_ylim(0, 160 * max(one.shares.max() for one in lungs.values()))
        dense = max(one.shares[_BINS[:-1] >= HIGH_HU[0]].max() for one in lungs.values())
        magnified.set_ylim(0, max(130 * dense, 0.1))
        whole.legend(loc="upper right", fontsize=9, frameon=False)
        low, high = HIGH_HU
        _say(
            whole,
            low,
            f"{low} to {high} HU: high attenuation,\nground glass and others",
            lungs,
            "high",
        )
        _say(whole, EMPHYSEMA_HU, f"below {EMPHYSEMA_HU} HU: emphysema", lungs, "emphysema")
        whole.set_ylabel(f"% of the lung\nin each {_BINS[1] - _BINS[0]} HU", fontsize=9)
        magnified.set_ylabel("the same,\nmagnified", fontsize=9)
        magnified.set_xlabel(f"density in HU          ({SOURCES})", fontsize=9)
        magnified.set_xlim(_BINS[0], _BINS[-1])
        figure.align_ylabels([whole, magnified])
        return figure


def _say(axes: Axes, hu: float, words: str, lungs: dict[str, Density], what: str) -> None:
    shares = ", ".join(f"{name} {getattr(one, what):.1%}" for name, one in lungs.items())
    axes.text(
        hu + 6,
        0.97,
        f"{words}\n{shares}",
        transform=axes.get_xaxis_transform(),
        fontsize=8,
        va="top",
    )


def _curves(axes: Axes, lungs: dict[str, Density]) -> None:
    for name, one in lungs.items():
        axes.stairs(100 * one.shares, _BINS, label=f"{name} lung", linewidth=1.6, **_LUNGS[name])
        if name == "right":
            axes.stairs(100 * one.shares, _BINS, fill=True, color="#bcdcf5", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _ranges(axes: Axes) -> None:
    axes.axvspan(
        _BINS[0],
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


def _marks(axes: Axes, lungs: dict[str, Density]) -> None:
    """Mark mean and median of each lung in a row of its own."""
    for row, (name, one) in enumerate(lungs.items()):
        colour = _LUNGS[name]["color"]
        axes.plot([one.median], [row], marker="|", markersize=12, markeredgewidth=2.5, color=colour)
        axes.plot(
            [one.mean], [row], marker="D", markersize=6, markerfacecolor="white", color=colour
        )
        axes.text(_BINS[-1], row, f"median (|) {one.median:.0f} HU, mean (\N{WHITE DIAMOND}) {one.mean:.0f} HU",
                  ha="right", va="center", fontsize=9)  # fmt: skip
    axes.set_yticks(range(len(lungs)), lungs)
    axes.set_ylim(len(lungs) - 0.4, -0.6)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
