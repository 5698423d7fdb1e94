"""The drills of image and result: what goes wrong, and how a learner's answer is examined.

A fault is planted in copies: no PACS and no object of the learner is changed. Where it is planted
depends on the learner's name.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace

import numpy as np
from pydicom import Dataset
from pydicom.uid import SegmentationStorage

from magician.checks.segmentation_reader import read_segmentation
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.rendering.windowing import window
from magician.results.careless import hide_number, with_new_uids
from magician.results.identity import derive_uid
from magician.results.make import save
from magician.segmentation.lungs import dice, segment_lungs, volumes_ml
from magician.teaching.drills import (
    Drill,
    Exercise,
    PatientDrill,
    array,
    is_letter,
    number,
    require,
    results_of,
    running_drill,
)  # fmt: skip


class Windowed(PatientDrill):
    """Two inputs of one network: the CT, and a picture of it in a window."""

    letter = "D"

    def set_up(self, resources: ExitStack) -> None:
        ct = self.read_ct(resources)
        center, width = self.choose((-600, 1500), (-500, 1400), (-600, 1200), (-550, 1600))
        # a picture on the scale of the network: black is its least value, white its greatest
        grey = window(ct.hu, center, width).astype(np.float32) / 255 * 1624 - 1024
        self.inputs = self.call_a_and_b(replace(ct, hu=grey), ct)
        runs = {key: segment_lungs(one, progress=False) for key, one in self.inputs.items()}
        self.masks = {key: run.labels for key, run in runs.items()}
        ml = {key: f"{volumes_ml(run)['total']:.1f} ml" for key, run in runs.items()}
        self.symptom = f"""Yesterday the network found {ml["A"]} of lung in this patient, from
            input A. Today it found {ml["B"]}, from input B. CT and network are the same. One of the
            inputs was made in another way.

            Work with .inputs["A"] and .inputs["B"], which are CT volumes, and with .masks."""


def examine_windowed(wrong=None, air=None, mask=None) -> str:
    drill = running_drill("D")
    is_wrong = is_letter("wrong", wrong, drill._wrong)
    require(is_wrong, "That input is right: in a CT, the air around the patient is -1000 HU.")
    hu, air = drill.inputs[drill._wrong].hu, number("air", air)
    expected = float(np.median(hu[:, :20]))
    require(abs(air + 1000) > 30, "That is the air of the other input. Measure the wrong one.")
    near = abs(air - expected) <= 25
    require(near or not 0 <= air <= 255, "That is a grey level. Take the value that the input has.")
    require(near, "In the air around the patient, this input holds another value: hu[:, :20].")
    mask = array("mask", mask, hu.shape) > 0
    good, bad = (
        dice(mask, drill.masks[key] > 0) for key in ("AB".strip(drill._wrong), drill._wrong)
    )
    require(good >= bad, "The letter and the value are right. This mask is from the wrong input.")
    require(good > 0.98, "This mask is from neither input: take one of .masks.")
    return (
        "The network got a picture in a window: with another window, another mask. "
        "Field sign: what a network gets holds -1000 in air. A window is for eyes."
    )


class Mirrored(PatientDrill):
    """Two results of one CT; in one, picture and mask were mirrored before they were written."""

    letter = "E"

    def set_up(self, resources: ExitStack) -> None:
        self.volume = self.read_ct(resources)
        flipped = replace(self.volume, hu=self.volume.hu[:, :, ::-1])
        self.results = self.call_a_and_b(
            results_of(flipped, self.truth[:, :, ::-1]), results_of(self.volume, self.truth)
        )
        self.symptom = """Programs A and B made results of the same CT, and the PACS stored both
            with 0x0000. Both report the same volumes, and both overlays look good. A surgeon says
            that one of them shows the wrong side.

            Work with .results["A"] and .results["B"] (.overlay, .seg), and with .volume."""


def examine_mirrored(mirrored=None, x_mm=None, side=None) -> str:
    drill = running_drill("E")
    is_wrong = is_letter("mirrored", mirrored, drill._wrong)
    require(is_wrong, "That one is right: its right lung has its centre where x is below 0.")
    labels = read_segmentation(drill.results[drill._wrong].seg, drill.volume)
    affine, x_mm = drill.volume.affine, number("x_mm", x_mm)
    centre = (affine @ [*np.argwhere(labels == 1).mean(axis=0), 1])[:3]
    x = centre[0]
    near = abs(x_mm - x) < 2
    require(
        near or abs(x_mm + x) > 2,
        "Look at the sign, or at the letter: this is the right lung of the other result.",
    )
    columns = [(end * x - affine[0, 3]) / affine[0, 2] for end in (1, -1)]
    is_column = min(abs(x_mm - column) for column in columns) < 3
    require(near or not is_column, "That is a column of the image. The affine turns it into mm.")
    other_axis = np.abs(centre[1:] - x_mm).min() < 2
    require(near or not other_axis, "That is y or z. x is the first of the three.")
    require(near, "The centre of the right lung (label 1) of that result lies elsewhere.")
    is_left = str(side).strip().lower() == "left"
    require(is_left, "x grows to the patient's left: on which side does its sign put this lung?")
    return (
        "Picture and mask were mirrored together: they fit each other, and not the patient. "
        "Field sign: a right lung has x below 0. Volumes can't show it, millimetres can."
    )


class NotRescaled(PatientDrill):
    """Stored values of a CT image that were taken for HU."""

    letter = "K"

    def set_up(self, resources: ExitStack) -> None:
        ct = self.read_ct(resources)
        middle = len(ct.hu) // 2
        slope, intercept = self.choose((0.5, -1024), (0.5, -2048), (0.25, -1024), (2, -1024))
        self.values = np.rint((ct.hu[middle] - intercept) / slope).astype("<i2")
        self.image = deepcopy(ct.headers[middle])
        self.image.RescaleSlope, self.image.RescaleIntercept = slope, intercept
        self.image.PixelData = self.values.tobytes()
        self.symptom = f"""A program looks for lung below -400 HU in a CT image and finds none: its
            smallest value is {self.values.min()}. The viewer shows the same image well.

            Work with .image, a data set, and .values, which the program took for HU. Hand in hu,
            the right array."""


def examine_not_rescaled(hu=None) -> str:
    drill = running_drill("K")
    slope, intercept = float(drill.image.RescaleSlope), float(drill.image.RescaleIntercept)
    stored = drill.values.astype(float)
    hu = array("hu", hu, stored.shape).astype(float)
    for wrong, sentence in (
        (stored, "These are the stored values still. Which two elements make HU of them?"),
        (stored + intercept, "The slope is missing: Rescale Slope (0028,1053)."),
        (stored * slope, "The intercept is missing: Rescale Intercept (0028,1052)."),
        (stored * slope - intercept, "The intercept is added with its sign, which is a minus."),
        ((stored + intercept) * slope, "First the slope, then the intercept."),
    ):
        require(np.abs(hu - wrong).max() > 1, sentence)
    right = np.abs(hu - (stored * slope + intercept)).max() <= 1
    require(right, "These are no HU of this image: see PS3.3 C.11.1.1.2.")
    return "Field sign: no value below 0 in a CT, or air that is not -1000: the rescale is ignored."


class Disordered(PatientDrill):
    """A folder with slices in no order, one of them missing, and a localizer among them."""

    letter = "L"

    def set_up(self, resources: ExitStack) -> None:
        ct = self.read_ct(resources)
        self.step_mm = round(ct.spacing_mm[0])
        heights = ct.affine[2, 3] + np.arange(len(ct.hu)) * self.step_mm
        lost = self.choose(*range(4, len(heights) - 4))
        self._missing_mm = float(heights[lost])
        ct.paths[lost].unlink()
        scout = deepcopy(self.scout)
        scout.SeriesInstanceUID = ct.headers[0].SeriesInstanceUID
        top = float(heights[-1]) + self.choose(40, 60, 80, 100)
        scout.ImagePositionPatient[2] = top
        save([scout], self.folder, progress=False)
        files = sorted(self.folder.iterdir())
        random.Random(self.name).shuffle(files)
        for i, path in enumerate(files, start=1):
            path.rename(self.folder / f"IM{i}.dcm")
        self._off = 100 * ((top - heights[0]) / (len(files) - 1) / self.step_mm - 1)
        self.symptom = f"""A program takes the {len(files)} files of a series in the order of their
            names, and as their distance the greatest z less the smallest, divided by the number of
            files less one. Its coronal picture looks like a zebra, its volumes are wrong.

            Work with .folder. The CT was made with slices {self.step_mm} mm apart. Hand in
            missing_mm, the z of the slice that is missing, and off_percent: by how much the volumes
            of that program are too large."""


def examine_disordered(missing_mm=None, off_percent=None) -> str:
    drill = running_drill("L")
    missing = abs(number("missing_mm", missing_mm) - drill._missing_mm)
    require(abs(missing - drill.step_mm) > 0.1, "That slice is there: it is next to the gap.")
    require(missing < 0.1, "No slice is missing there. read_series says between which two, in mm.")
    off, ratio = number("off_percent", off_percent), 1 + drill._off / 100
    require(abs(off - ratio) > 0.02, "That is a ratio. In percent, 1.05 is 5.")
    require(abs(off - ratio * drill.step_mm) > 0.1, "That is the wrong distance in mm: in percent?")
    require(off > 0, "The localizer lies far above the slices: the distance becomes too large.")
    require(
        abs(off - drill._off) < 0.5, "Count all files, and take the z of each, the localizer's too."
    )
    return (
        "Field sign: a coronal picture like a zebra, or a slice distance that is no round number. "
        "Sort by position, leave localizers out, refuse gaps."
    )


class Astray(PatientDrill):
    """A SEG that does not belong to the CT beside which one looks for it."""

    letter = "M"

    def set_up(self, resources: ExitStack) -> None:
        ct = self.read_ct(resources)
        self.ct, self.result = ct.headers[0], results_of(ct, self.truth).seg
        self._keyword = self.choose("StudyInstanceUID", "PatientID", "FrameOfReferenceUID")
        other = "123456" if self._keyword == "PatientID" else derive_uid("astray", self.name)
        setattr(self.result, self._keyword, other)
        self.symptom = """A SEG was stored with 0x0000. The radiologist opens the CT, and the
            workstation shows nothing over it.

            Work with .ct, the header of a CT image, and .result, the SEG. Hand in attribute, the
            keyword of the element that is wrong, and repaired, the SEG after your repair."""


def examine_astray(attribute=None, repaired=None) -> str:
    drill = running_drill("M")
    named = str(attribute).replace(" ", "").lower() == drill._keyword.lower()
    require(named, "Not that one: compare patient, study and frame of reference of the two.")
    require(isinstance(repaired, Dataset), "repaired is a data set: the SEG.")
    is_seg = repaired.get("SOPClassUID") == SegmentationStorage
    require(is_seg, "This is no SEG. The CT stays as it is, and the result is repaired.")
    for keyword in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID"):
        same = repaired.get(keyword) == drill.ct.get(keyword)
        require(same, f"{keyword} of this SEG differs from that of the CT.")
    own_series = repaired.get("SeriesInstanceUID") != drill.ct.SeriesInstanceUID
    require(own_series, "It belongs to the study of the CT, and not to its series.")
    return "Field sign: stored, and not over its CT: compare PatientID, study, frame of reference."


class Repeated(PatientDrill):
    """The jobs of two programs, each run twice, and a PACS that is down."""

    letter = "N"

    def set_up(self, resources: ExitStack) -> None:
        ct = self.read_ct(resources)
        results = results_of(ct, self.truth)
        runs = [[results.seg, results.sr], [results.seg, results.sr]]
        self.jobs = self.call_a_and_b([with_new_uids(run) for run in runs], runs)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.node = Node("NIGHT", "127.0.0.1", free.getsockname()[1])
        self.pacs = PracticePacs(ae_title="NIGHT", port=self.node.port)
        resources.callback(self.pacs.stop)
        self.symptom = """Programs A and B each store a SEG and an SR. The PACS went down, so each
            job is run a second time. Afterwards, one of the programs has doubled its results.

            Work with .node, .jobs["A"][0] (the first run of A) and .jobs["A"][1] (its second).
            Store a run: what happens? Then .pacs.start(), store all four runs, and count. Hand in
            doubled, a letter, and held, the number of objects in the PACS."""


def examine_repeated(doubled=None, held=None) -> str:
    drill = running_drill("N")
    there = {one["SOPInstanceUID"] for one in drill.pacs.held("IMAGE")}
    sent = {str(one.SOPInstanceUID) for job in drill.jobs.values() for run in job for one in run}
    require(there, "The PACS holds nothing: store the four runs.")
    require(sent <= there, f"The PACS holds {len(there)} objects: not every run was stored.")
    right = is_letter("doubled", doubled, drill._wrong)
    require(right, "Its second run has the UIDs of its first: the PACS keeps one of each.")
    held = number("held", held)
    require(held != 8, "So many were sent. How many are held? Equal UIDs are one object.")
    require(held == len(there), "Count them with find_series and find_instances.")
    return "Field sign: each repeat adds a result. UIDs come from the content, not from chance."


class Leaked(PatientDrill):
    """Objects from which the patient's number was removed, but for one place."""

    letter = "O"

    def set_up(self, resources: ExitStack) -> None:
        ct = self.read_ct(resources)
        results, image = results_of(ct, self.truth), deepcopy(ct.headers[0])
        number = self._identifier = f"MRN{random.Random(self.name).randrange(10**6, 10**7)}"
        hide_number(number, self.choose("private", "text", "description"), image, results)
        self.objects = [image, results.seg, results.sr]
        self._before = [_elements(one) for one in self.objects]
        self.symptom = f"""Three objects are to leave the hospital, and the patient's name and
            number were removed. The data protection officer still finds the number {number}.

            Work with .objects: the header of a CT image, a SEG and an SR. Hand in cleaned: the list
            of the three without the number, and with all else."""


def _elements(dataset: Dataset) -> set[str]:
    return {f"{one.tag} {one.value}" for one in dataset.iterall() if one.VR != "SQ"}


def examine_leaked(cleaned=None) -> str:
    drill = running_drill("O")
    three = isinstance(cleaned, (list, tuple)) and [isinstance(one, Dataset) for one in cleaned]
    require(three == [True] * 3, "cleaned is a list of the three data sets, in their order.")
    for before, one in zip(drill._before, cleaned, strict=True):
        left = any(drill._identifier in text for text in _elements(one))
        require(not left, f"The number {drill._identifier} is still there.")
        gone = [text for text in before - _elements(one) if drill._identifier not in text]
        lost = sum("RECEPTION" not in text for text in gone)  # that may go with the number
        require(not lost, f"More than the number is gone: {lost} elements. Remove it alone.")
    return "Field sign: the number stands where no keyword tells of it. Search the values."


_KINDS = (Windowed, Mirrored, NotRescaled, Disordered, Astray, Repeated, Leaked)
DRILLS: dict[str, type[Drill]] = {one.letter: one for one in _KINDS}
EXERCISES: dict[str, Exercise] = {
    "drill D": Exercise(3, "Find what the network was given", examine_windowed),
    "drill E": Exercise(3, "Prove which result is mirrored", examine_mirrored),
    "drill K": Exercise(3, "Make Hounsfield units of what a program read", examine_not_rescaled),
    "drill L": Exercise(3, "Find what is wrong with a series", examine_disordered),
    "drill M": Exercise(3, "Bring a result to its CT", examine_astray),
    "drill N": Exercise(3, "Run a job twice while a PACS is down", examine_repeated),
    "drill O": Exercise(3, "Find the number that was not removed", examine_leaked),
}
