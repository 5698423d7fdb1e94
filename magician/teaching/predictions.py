"""Predictions: a learner commits to an answer before the notebook shows it (`predict`).

What comes true, and why, stands here and in no notebook. The right choice is known by its hash.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from magician.teaching.drills import is_answer
from magician.teaching.progress import record_prediction

if TYPE_CHECKING:
    from ipywidgets import VBox

__all__ = ["predict"]

UNKNOWN = "Run the next cell, and compare."
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True)
class Question:
    """A question, as a notebook asks it.

    Attributes
    ----------
    question : str
    choices : tuple of str
    digest : str
        The hash of the choice that comes true.
    explanation : str
        Which choice comes true, and why, in one or two sentences.
    """

    question: str
    choices: tuple[str, ...]
    digest: str
    explanation: str


def predict(key: str, question: str, *choices: str) -> Prediction:
    """Ask for a prediction; the explanation appears only after a choice.

    The first choice is kept in your table, `my_progress`. No cell waits for it.

    Parameters
    ----------
    key : str
        The name of the prediction. The library explains what comes true, by this name.
    question : str
    *choices : str
        Each becomes a button. Without a running kernel they are a plain list.

    Returns
    -------
    Prediction
        A notebook shows it as the last line of a cell.
    """
    return Prediction(str(key), str(question), [str(choice) for choice in choices])


class Prediction:
    """A question with a button for each choice, or as text where there are no widgets.

    The text is the same whether or not the question was answered.

    Attributes
    ----------
    key, question : str
    choices : tuple of str
    """

    def __init__(self, key: str, question: str, choices: Sequence[str]) -> None:
        self.key, self.question, self.choices = key, question, tuple(dict.fromkeys(choices))

    def __repr__(self) -> str:
        return "\n".join([f"Predict: {self.question}", *(f"  - {text}" for text in self.choices)])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{html.escape(choice)}</li>" for choice in self.choices)
        return f"<p><b>Predict:</b> {html.escape(self.question)}</p><ul>{items}</ul>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        """Give the widget to a front end that has widgets, and the text to all others."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"text/plain": repr(self), "text/html": self._repr_html_(), WIDGET_VIEW: view}

    @cached_property
    def buttons(self) -> list:
        """The button of each choice, an `ipywidgets.Button`."""
        from ipywidgets import Button, Layout

        layout = Layout(width="max-content", max_width="100%", margin="2px")
        buttons = [Button(description=text, tooltip=text, layout=layout) for text in self.choices]
        for button in buttons:
            button.on_click(self._choose)
        return buttons

    @cached_property
    def answer(self) -> Any:
        """What is shown after a choice, an `ipywidgets.HTML`; empty before."""
        from ipywidgets import HTML

        return HTML()

    @cached_property
    def widget(self) -> VBox:
        """The question, its buttons and the answer, one below the other."""
        from ipywidgets import HTML, VBox

        question = HTML(f"<b>Predict:</b> {html.escape(self.question)}")
        return VBox([question, *self.buttons, self.answer])

    def _choose(self, button) -> None:
        """Keep a choice, and show what comes true."""
        known, choice = PREDICTIONS.get(self.key), button.description
        for other in self.buttons:
            other.disabled = True
        button.icon = "check"
        true, verdict = None, ""
        name = f"predict {self.key}"
        if known and any(is_answer(name, other, known.digest) for other in self.choices):
            true = is_answer(name, choice, known.digest)
            verdict = "It comes true. " if true else "It comes out differently. "
        text = f"{verdict}{known.explanation if known else UNKNOWN}"
        self.answer.value = (
            f"<p>You predicted: <i>{html.escape(choice)}</i></p><p>{html.escape(text)}</p>"
        )
        record_prediction(self.key, choice, true)


# The questions of all lessons: key and hash of the choice that comes true, question, choices,
# explanation. A notebook repeats question and choices. The hash is
# digest_of(f"predict {key}", choice).
TEXT = r"""
[wrong title] 31b0deae3d070db1
You call the practice PACS by a wrong AE title, "practise". Host and port are right. What happens?
- It answers as usual | It refuses the association, and says why | Nothing answers, and the call
times out
= The practice PACS refuses the association: it does not know this called AE title. Many PACS do
so, and some accept any title.

[echo works] 5e91c7a82de214a1
C-ECHO works. Will C-FIND work, too?
- Yes: the PACS has accepted our AE title | Not for sure: a PACS may allow one and refuse the
other | No: C-FIND needs another port
= C-ECHO shows that host, port and titles are right. Whether we may query is another decision of
the PACS.

[wildcard in a uid] 8737f5a81083f1ae
You ask for the study whose UID is "*". What happens?
- Every study comes back | The newest study comes back | The question is refused before it is sent
= A UID has no wildcards (PS3.4 C.2.2.2.4), so the library refuses the question. An empty key
matches every study.

[second patient] 2957b8dfb39f0691
A second patient gets the same accession number. How many studies does the query of Cell 6 find?
- One: the second replaces the first | Two | None: the number is ambiguous
= Both studies match, and the PACS returns both. Whoever needs one has to ask more exactly, for
example with the PatientID.

[unknown destination] 4de33b17de069e9d
A C-MOVE names a destination that the PACS does not know. What happens?
- The images go to the computer that asked | The PACS answers with an error, and sends nothing |
The PACS waits until the destination appears
= The PACS looks up the address of a destination by its AE title. Without an entry it answers
0xA801 and sends nothing.

[c-get firewall] 0f5411b36445d151
No other computer can open a connection to your laptop. Which retrieve works?
- C-MOVE | C-GET | Both | Neither
= With C-GET the images come on the connection that we have opened. For C-MOVE the PACS opens a
second connection to us, and the firewall stops it.

[94 of 95] ecc3f196568d6d05
95 objects are expected, and the PACS can send 94. How does the C-GET end, by the standard?
- 0x0000 (Success) | 0xB000: a warning, which is easily overlooked | Nothing: the connection
breaks
= 0xB000 says that at least one object failed (PS3.4 C.4.3.1.4). A program that only looks for a
failure goes on with 94 images, and some PACS answer 0x0000 all the same. So count.

[series] f3bbfc58bd1c33f4
The study has two series: 93 axial images and 2 localizers. What should the network get?
- All 95 images | The 93 axial images alone | The localizers: they show both lungs at once
= The network was trained on axial slices, and needs an exact volume. A localizer is another
projection, and has no place between the slices.

[stored value] 78fa39169d4f833f
A pixel of a CT file holds the number 1024, and RescaleIntercept is -1024. What is it in HU?
- 1024 HU, as in bone | 0 HU, as in water | -1024 HU, as in air
= HU = stored value x RescaleSlope + RescaleIntercept: 1024 x 1 - 1024 = 0 HU.

[slice order] 9c8ef8a86bc4123b
You sort the files by their names. Are the slices then in order from feet to head?
- Yes | Only by chance: the position in the patient decides | No: they are always in reverse order
= A file name is a UID or anything else. Only ImagePositionPatient and ImageOrientationPatient
tell where a slice lies.

[window and mask] fdc4ee3a52227394
You change the window width from 400 to 1500 and segment again. Does the mask change?
- Yes: the network sees more of the lung | Yes, but only at the edges | No
= A window maps HU to grey for the eye. The network gets the HU, so that the mask is the same in
every voxel.

[threshold] ef102f4568013299
A threshold takes everything inside the body that is darker than -400 HU. What does it miss?
- Nothing: lungs are full of air | The bronchi | The part of the lung that is full of fluid
= Where fluid fills the lung, it is as dense as soft tissue. The threshold leaves a hole there,
and that is the part that matters.

[cpu and gpu] c736eb0153f303ef
The network runs on the processor and on a graphics card (GPU). Are the two masks the same?
- Yes, always in every voxel | Nearly: a few voxels may differ | No: the GPU finds more
= Both compute the same network, and round differently. A few voxels at the border may change, and
the volumes hardly do.

[larger lung] 99cba119a41856eb
Which of the two lungs is the larger one?
- The right lung | The left lung | They are equal
= The heart lies more on the left and takes room there. So the right lung is usually the larger
one, also in this patient.

[every viewer] e72e844bb56569e6
Which of the results does every PACS viewer show?
- The overlay images (Secondary Capture) | The mask (SEG) | The report (SR)
= Secondary Capture is a picture like any other. SEG and SR need a viewer or a program that
understands them.

[sent is held] d129e1909a2bc004
C-STORE is answered with 0x0000 (Success). How do you know that the PACS shows the object?
- 0x0000 says so | A query or a retrieve has to show it | The log of our program says so
= 0x0000 says that the PACS has accepted the object. Under which study it is found, or whether it
went into a waiting folder, only a query shows.

[same job twice] e36b5dbba7b5905e
You send the same results a second time. How many objects does the PACS hold then?
- Twice as many | As many as before | None: it refuses the second time, and removes the first
= The second objects have the same UIDs, and a PACS holds one object for each UID. Had we made new
UIDs, each result would be there twice.

[mean or median] 6010a82b7a55d9c2
One lung holds a consolidation. Which number of this lung does it change most?
- The mean of its HU | The median of its HU | Both in the same way
= The consolidation is far denser than the rest and moves the mean. The median stays near the peak:
most voxels are still full of air.

[window fed] 435ad7f1db4a52c2
By mistake a program gives the network the picture of the lung window, and not the HU. What happens?
- The network stops with an error | It returns a wrong mask, without a warning
| It returns the same mask
= A network computes with any numbers. Here air and tissue get other values than in its training, so
that the mask changes, and with another window it changes again.

[mirrored] 6ab7795a11de73b3
A mask has left and right exchanged. What does the PACS answer when you send it?
- It refuses the object | It stores the object with a warning | 0x0000 (Success)
= A PACS does not look at the content of a mask. Only a measurement in the patient's coordinates
finds the mistake.

[conformant] 9c315466b631cfc2
Three objects lack required attributes. What does the PACS answer when you send them?
- It refuses them | It adds what is missing | 0x0000 (Success)
= Few PACS check more than patient, study, series and UID. What is missing is noticed later, by
another program.

[one hospital] 2d294b38bdad974a
Results are made for your hospital, not for a class. To which study do they belong?
- To a new study | To the study of the CT | To no study
= In the study of the CT a viewer shows them beside it. In a new study nobody who opens the CT
sees them.
"""


BLOCK = re.compile(r"\[(.+)\] (\w+)\n(.+?)\n- (.+?)\n= (.+)", re.DOTALL)


def _read_questions(text: str) -> dict[str, Question]:
    """Read the questions of `TEXT`, in its order."""
    found = {}
    for block in text.strip().split("\n\n"):
        key, digest, *parts = BLOCK.fullmatch(block).groups()
        question, choices, explanation = (" ".join(part.split()) for part in parts)
        found[key] = Question(question, tuple(choices.split(" | ")), digest, explanation)
    return found


PREDICTIONS: dict[str, Question] = _read_questions(TEXT)
