"""Predictions: a learner chooses before the notebook shows what comes true."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from magician.teaching.drills import is_answer
from magician.teaching.exercises import my_progress
from magician.teaching.predictions import PREDICTIONS, UNKNOWN, predict
from magician.teaching.progress import progress_file, read_outcomes


def asked(key: str):
    known = PREDICTIONS[key]
    return predict(key, known.question, *known.choices)


def right_choice(key: str) -> str:
    known = PREDICTIONS[key]
    (found,) = [one for one in known.choices if is_answer(f"predict {key}", one, known.digest)]
    return found


def button_of(prediction, choice: str):
    return next(button for button in prediction.buttons if button.description == choice)


@pytest.mark.parametrize("key", PREDICTIONS)
def test_one_choice_comes_true_and_is_explained(key):
    known = PREDICTIONS[key]
    assert 2 <= len(set(known.choices)) == len(known.choices) <= 4
    assert right_choice(key)
    assert known.question.endswith("?")
    assert 40 < len(known.explanation) < 260


@pytest.mark.parametrize("key", PREDICTIONS)
def test_right_choice_is_kept_as_true(key):
    prediction = asked(key)
    button_of(prediction, right_choice(key)).click()
    assert "It comes true." in prediction.answer.value
    assert read_outcomes()[0].predictions[key] == {"choice": right_choice(key), "true": True}


@pytest.mark.parametrize("key", PREDICTIONS)
def test_other_choices_are_explained_too(key):
    for choice in set(PREDICTIONS[key].choices) - {right_choice(key)}:
        prediction = asked(key)
        button_of(prediction, choice).click()
        assert "It comes out differently." in prediction.answer.value
    assert read_outcomes()[0].predictions[key]["true"] is False


def test_nothing_is_explained_before_a_choice():
    prediction = asked("mirrored")
    shown = json.dumps(prediction._repr_mimebundle_())
    assert prediction.answer.value == ""
    assert "Only a measurement" not in shown
    prediction.buttons[0].click()
    assert "Only a measurement" in prediction.answer.value


def test_the_first_choice_counts_and_the_buttons_are_locked():
    prediction = asked("mirrored")
    prediction.buttons[0].click()
    assert all(button.disabled for button in prediction.buttons)
    assert prediction.buttons[0].icon == "check"
    button_of(asked("mirrored"), right_choice("mirrored")).click()
    assert "1 answered, 0 of them came true" in my_progress().summary


def test_the_text_is_the_plain_question_before_and_after_a_choice():
    prediction = predict("mirrored", "Which <side>?", "left", "right")
    before = prediction._repr_mimebundle_()["text/plain"]
    prediction.buttons[0].click()
    assert before == "Predict: Which <side>?\n  - left\n  - right"
    assert prediction._repr_mimebundle_()["text/plain"] == before == repr(prediction)
    assert repr(asked("mirrored")) == repr(asked("mirrored"))


def test_a_page_without_a_kernel_shows_the_question():
    page = predict("mirrored", "Which <side>?", "left", "right")._repr_html_()
    assert "Which &lt;side&gt;?" in page
    assert "<li>left</li>" in page


def test_a_key_that_nobody_knows_has_a_neutral_text():
    prediction = predict("homemade", "Which?", "this", "that")
    prediction.buttons[1].click()
    assert UNKNOWN in prediction.answer.value
    assert "true" not in prediction.answer.value
    assert read_outcomes()[0].predictions["homemade"] == {"choice": "that", "true": None}
    assert "0 answered" in my_progress().summary


def test_a_known_key_with_other_choices_is_explained_without_a_verdict():
    prediction = predict("mirrored", "Which?", "this", "that")
    prediction.buttons[0].click()
    assert PREDICTIONS["mirrored"].explanation.split(".")[0] in prediction.answer.value
    assert "comes" not in prediction.answer.value


def test_markup_in_a_choice_is_shown_as_text():
    prediction = predict("homemade", "Which?", "<script>", "b")
    prediction.buttons[0].click()
    assert "<script>" not in prediction.answer.value


@pytest.mark.parametrize("thing", [None, 3, ["a"], b"bytes"])
def test_arguments_of_any_kind_are_shown(thing):
    prediction = predict(thing, thing, thing, thing)
    assert len(prediction.buttons) == 1  # the same choice twice
    prediction.buttons[0].click()
    assert UNKNOWN in prediction.answer.value


def test_question_without_choices_is_a_question():
    assert repr(predict("mirrored", "What now?")) == "Predict: What now?"
    assert len(predict("mirrored", "What now?").widget.children) == 2


def test_a_choice_that_can_not_be_kept_is_still_explained(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAGICIAN_PROGRESS", str(tmp_path / "file" / "progress.json"))
    prediction = asked("mirrored")
    prediction.buttons[0].click()
    assert prediction.answer.value
    assert not progress_file().exists()


def test_asking_loads_no_widgets_where_nobody_shows_them():
    code = (
        "from magician import predict; import sys\n"
        "print(predict('mirrored', 'Which?', 'a', 'b')); print('ipywidgets' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == ["Predict: Which?", "  - a", "  - b", "False"]


def test_the_widget_consists_of_core_widgets_of_the_old_and_the_new_ipywidgets():
    prediction = asked("mirrored")
    kinds = {type(child).__name__ for child in prediction.widget.children}
    assert kinds == {"HTML", "Button"}
    view = prediction._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == prediction.widget.model_id
