"""How long does it take from a key to changed pixels?

Our two viewers beside `interact` with matplotlib, in a real browser:

    python benchmarks/viewer.py

A JupyterLab and a headless Chromium are started and stopped here; the study is the computed
teaching patient, 93 slices of 512 x 512. The three take turns, so that a busy machine slows all
alike. The clock is the page's own: it starts with the key and ends at the first frame in which the
picture differs; a frame takes 17 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "benchmarks")]

from browser import chromium, jupyterlab, open_notebook, run_all, write_notebook  # noqa: E402

LOAD = """
import time
import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
from magician import CTVolume, ct_viewer, window, window_viewer
stored = np.load("ct.npz")
volume = CTVolume(stored["hu"], (), tuple(stored["spacing_mm"].tolist()), stored["affine"])
labels = stored["labels"]
"""
RICH = "viewer = ct_viewer(volume, labels)\nviewer"
CORE = "core = window_viewer(volume, labels)\ncore"
PEER = """
slider = ipywidgets.IntSlider(value=47, min=1, max=93)
@ipywidgets.interact(slice=slider, center=(-1200, 1200), width=(1, 3000))
def show(slice=47, center=40, width=400):
    plt.figure(figsize=(5.12, 5.12))
    plt.imshow(volume.hu[slice - 1], cmap="gray", vmin=center - width / 2, vmax=center + width / 2)
    plt.axis("off")
    plt.show()
"""
KERNEL = """
times = {}
for name, slider in (("window", core.center), ("slice", core.slice)):
    taken = []
    for value in range(20, 60):
        begun = time.process_time()
        slider.value = value
        taken.append(time.process_time() - begun)
    times[name] = np.median(taken) * 1e3
print("MEASURED", *(f"{value:.2f}" for value in times.values()))
"""
PLACES = {  # the cell of each, what gets the keys, and what shows the picture
    "rich viewer": (1, ".stage", "canvas"),
    "core viewer": (2, ".noUi-handle", "img.jupyter-widgets"),
    "interact, matplotlib": (3, ".noUi-handle", ".jp-OutputArea img"),
}
WATCH = """([cell, shown]) => {
    const small = Object.assign(document.createElement("canvas"), {width: 64, height: 64});
    const context = small.getContext("2d", {willReadFrequently: true});
    const look = () => {
        const found = document.querySelectorAll(".jp-Cell")[cell].querySelector(shown);
        if (!found) return null;
        if (found.tagName === "IMG" && !(found.complete && found.naturalWidth)) return null;
        context.drawImage(found, 0, 0, 64, 64);
        return context.getImageData(0, 0, 64, 64).data.join();
    };
    const before = look();
    window.waited = new Promise((done) => addEventListener("keydown", (event) => {
        const begun = event.timeStamp;
        const frame = (now) => {
            const after = look();
            if (after !== null && after !== before) done(performance.now() - begun);
            else requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
    }, {capture: true, once: true}));
}"""


def key_to_pixels(page, name: str, key: str) -> float:
    """Press a key once, and return after how many ms the page shows another picture."""
    cell, gets, shows = PLACES[name]
    place = page.locator(".jp-Cell").nth(cell).locator(gets).first
    place.evaluate("node => { node.scrollIntoView({block: 'center'}); node.focus(); }")
    page.wait_for_timeout(150)  # for what the last step may still have to do
    page.evaluate(WATCH, [cell, shows])
    page.keyboard.press(key)
    return page.evaluate("() => window.waited")


def drag(page, frames: list) -> tuple[int, int]:
    """Drag over the rich viewer; count the messages to and from the kernel, meanwhile and after."""
    page.wait_for_timeout(2000)
    stage = page.locator(".magician-viewer .stage")
    stage.evaluate("node => node.scrollIntoView({block: 'center'})")
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    before = len(frames)
    for i in range(100):
        page.mouse.move(x + i, y - i // 2)
    page.wait_for_timeout(500)
    during = len(frames) - before
    page.mouse.up()
    page.wait_for_timeout(1000)
    return during, len(frames) - before - during


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=25, help="how often each is asked")
    arguments = parser.parse_args()
    from accuracy import machine
    from accuracy_cases import teaching_studies

    print(f"{machine()}; load {os.getloadavg()[0]:.0f}" if hasattr(os, "getloadavg") else machine())
    _, volume, truth = next(teaching_studies([0], disease=True))
    with tempfile.TemporaryDirectory() as folder:
        arrays = {
            "hu": volume.hu,
            "labels": truth,
            "spacing_mm": volume.spacing_mm,
            "affine": volume.affine,
        }
        np.savez(Path(folder, "ct.npz"), **arrays)
        write_notebook(Path(folder, "viewers.ipynb"), LOAD, RICH, CORE, PEER, KERNEL)
        with jupyterlab(Path(folder)) as lab, chromium() as page:
            frames: list = []
            page.on("websocket", lambda socket: _record(socket, frames))
            measure(page, lab, frames, arguments.keys)


def _record(socket, frames: list) -> None:
    if "/channels" in socket.url:
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda frame: frames.append(frame))


def measure(page, lab, frames: list, keys: int) -> None:
    open_notebook(page, lab, "viewers.ipynb")
    run_all(page)
    page.wait_for_selector(".magician-viewer[data-complete]")
    in_kernel = (
        page.locator(".jp-Cell").nth(4).locator(".jp-OutputArea-output").text_content().split()[1:]
    )
    complete = statistics.median(time_until_complete(page) for _ in range(3))
    times: dict[str, list[float]] = {name: [] for name in PLACES}
    for i in range(keys):
        for name in PLACES:
            times[name].append(key_to_pixels(page, name, "ArrowRight" if i % 2 else "ArrowLeft"))
    print(f"key to changed pixels, the next slice; medians of {keys} (90 % are below)")
    for name, values in times.items():
        print(
            f"  {name:22} {statistics.median(values):6.0f} ms  ({np.percentile(values, 90):.0f} ms)"
        )
    painter = page.locator("[data-painter]").get_attribute("data-painter")
    print(f"the volume is complete in the page after {complete:.1f} s, and drawn by {painter}")
    print(
        "messages to and from the kernel during a drag of 100 steps and after it: {}, {}".format(
            *drag(page, frames)
        )
    )
    print(
        "CPU time of the kernel for a redraw of the core viewer: window {} ms, slice {} ms".format(
            *in_kernel
        )
    )


def time_until_complete(page) -> float:
    """Show the rich viewer anew, and return after how many seconds the page has all of it."""
    page.evaluate("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1")
    begun = time.perf_counter()
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
    page.wait_for_selector(".magician-viewer[data-complete]")
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
