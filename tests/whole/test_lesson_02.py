"""Lesson 02: its drills can be solved with its own cells, and no answer stands in it.

That it runs and gives its stored outputs is tested by nbval, its form by the standards of lessons.
"""

import json
from pathlib import Path

import pytest

import magician
from magician.teaching.network_drills import DRILLS
from magician.teaching.predictions import PREDICTIONS

PATH = Path(__file__).resolve().parents[2] / "notebooks" / "02_when_it_fails.ipynb"
CELLS = json.loads(PATH.read_text(encoding="utf-8"))["cells"]
CODE = {
    "".join(cell["source"]).split(":")[0].removeprefix("# Cell "): "".join(cell["source"])
    for cell in CELLS
    if cell["cell_type"] == "code"
}
TEXT = "\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")


def cell_with(words):
    (source,) = [source for source in CODE.values() if words in source]
    return source


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.setenv("MAGICIAN_PROGRESS", str(tmp_path / "progress.json"))
    names = {"NAME": "0", "print": lambda *words, **options: None}
    yield names
    for name in ("given", "pair", "stepped"):
        if name in names:
            names[name].stop()


def test_drill_a_is_solved_by_one_line(names):
    exec(cell_with('drill("A"'), names)
    line = "given.administrator_allows(given.node.local_ae_title)"
    exec(cell_with("find_studies(given.node)").replace("# your line:", line), names)
    assert magician.check("drill A", names["matches"], layer="C-FIND", who="the PACS").ok


def test_drill_b_is_solved_by_one_line(names):
    exec(cell_with('drill("B"'), names)
    words = []
    names["print"] = words.append
    source = cell_with("moved = {}")
    exec(source, names)
    unknown = next(one[0] for one in words if "0xA801" in one)
    exec(source.replace("# your line:", "pair.pacs.know(receiver.node)"), names)
    answers = {"unknown": unknown, "layer": "C-MOVE", "who": "the PACS"}
    assert magician.check("drill B", names["moved"], **answers).ok


def test_drill_c_is_solved_by_running_its_cell_twice(names):
    exec(cell_with('drill("C"'), names)
    words = []
    names["print"] = words.append
    for _ in range(2):
        exec(cell_with("get_study("), names)
    assert words[1] == "95 of 95 objects are here"
    answers = {"missing": words[0].split("'")[1], "layer": "C-GET", "who": "the PACS"}
    assert magician.check("drill C", names["again"], **answers).ok


def test_each_prediction_is_known_and_asks_what_the_library_explains():
    asked = [source for source in CODE.values() if "predict(" in source]
    shown = []
    for source in asked:
        names = {}
        exec(source.replace("predict(\n", "shown = predict(\n"), names)
        shown.append(names["shown"])
    assert len(shown) == 5
    for prediction in shown:
        assert set(prediction.choices) == set(PREDICTIONS[prediction.key].choices)


def test_every_drill_is_named_with_its_check():
    everything = TEXT + "".join(CODE.values())
    for letter in DRILLS:
        assert f'drill("{letter}", name=NAME)' in everything
        assert f'check("drill {letter}"' in everything
