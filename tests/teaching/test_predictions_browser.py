"""A prediction in a real browser: JupyterLab and Chromium, with the keyboard alone."""

from __future__ import annotations

import json

import pytest
from browser import chromium, jupyterlab, open_notebook, run_all, write_notebook
from helpers import interop_required, require_program

from magician.teaching.predictions import PREDICTIONS

TIMEOUT_MS = 20_000
CELLS = (
    "from magician import check, my_progress, predict",
    """predict("mirrored", "A mask has left and right exchanged. What does the PACS answer?",
        "It refuses the object", "It stores the object with a warning", "0x0000 (Success)")""",
    'check("repair", None)',
    "my_progress()",
)


@pytest.fixture
def page(tmp_path, monkeypatch):
    require_program("chromium")
    if not interop_required():
        pytest.importorskip(
            "playwright", reason="playwright, which drives the browser, is not installed"
        )
    monkeypatch.setenv("MAGICIAN_PROGRESS", str(tmp_path / "progress.json"))
    write_notebook(tmp_path / "predict.ipynb", *CELLS)
    with jupyterlab(tmp_path) as lab, chromium() as page:
        open_notebook(page, lab, "predict.ipynb")
        run_all(page)
        page.wait_for_selector("text=repair: not yet.", timeout=TIMEOUT_MS)
        yield page


def test_a_choice_by_keyboard_shows_what_comes_true_and_is_kept(page, tmp_path):
    buttons = page.locator(".jupyter-button")
    buttons.last.wait_for(timeout=TIMEOUT_MS)
    assert buttons.all_inner_texts() == [
        "It refuses the object",
        "It stores the object with a warning",
        "0x0000 (Success)",
    ]
    explanation = PREDICTIONS["mirrored"].explanation.split(".")[0]
    assert page.get_by_text(explanation).count() == 0
    buttons.first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text(explanation).wait_for(timeout=TIMEOUT_MS)
    assert page.get_by_text("You predicted: 0x0000 (Success)").count() == 1
    assert all(button.is_disabled() for button in buttons.all())
    widths = page.evaluate(
        "() => [...document.querySelectorAll('.jupyter-button')].map(b => [b.scrollWidth, "
        "b.clientWidth])"
    )
    assert all(needed <= shown for needed, shown in widths)
    kept = json.loads((tmp_path / "progress.json").read_text())
    assert kept["predictions"]["mirrored"] == {"choice": "0x0000 (Success)", "true": True}
