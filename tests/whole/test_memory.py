"""What a lesson's kernel holds at its peak: twelve learners share one computer in a class."""

import os
import subprocess
import sys

import pytest

# The steps of lesson 01 that work with volumes, and what a notebook keeps of them
LESSON = """
import numpy as np
import magician

practice = magician.PracticePacs.shared("PRACTICE")
patient = magician.teaching_study(seed="0", progress=False)
practice.add(patient.datasets)
(study,) = magician.find_studies(practice.node)
got = magician.get_study(practice.node, study.StudyInstanceUID, "got", progress=False)
volume = magician.read_series("got", progress=False)
figures = [magician.montage(volume)]
figures[0]._repr_html_()
segmentation = magician.segment_lungs(volume, progress=False)
figures.append(magician.montage(volume, segmentation))
figures[1]._repr_html_()
results = magician.make_results(
    volume, segmentation, learner="Test", include_ct=True, progress=False
)
target = magician.PracticePacs.shared("SECOND").node
magician.store(target, results.all, progress=False)
back = magician.get_study(target, results.seg.StudyInstanceUID, "back", progress=False)
ct_back = magician.read_series("back", progress=False)
labels_back = magician.read_segmentation(results.seg, ct_back)
assert np.array_equal(labels_back, segmentation.labels)
for title in ("PRACTICE", "SECOND"):
    magician.PracticePacs.shared(title).stop()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the peak on Linux only")
def test_a_lesson_holds_at_most_1200_megabytes(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", LESSON],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) <= 1.2e9
