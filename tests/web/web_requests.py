"""Requests to the web page of a practice PACS, and where its pages and pictures are."""

import http.client
import io

import numpy as np
from PIL import Image
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement

HOSTILE = "<script>alert(1)</script>&\"'<img src=x onerror=alert(2)>"


class Answer:
    """The response to a request."""

    def __init__(self, response):
        self.status, self.headers = response.status, dict(response.getheaders())
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def pixels(self):
        return np.asarray(Image.open(io.BytesIO(self.body)))


def ask(page, path="", *, method="GET", host=None, body=None):
    """Send one request with this path as it is, and this Host header."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    try:
        connection.putrequest(method, f"/{path}", skip_host=True)
        connection.putheader("Host", host if host is not None else f"127.0.0.1:{page.port}")
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def series_path(dataset):
    """The path of the page that shows the series of an object."""
    return f"studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/"


def picture_path(dataset, kind="png"):
    """The path of the picture of an object."""
    return f"{series_path(dataset)}instances/{dataset.SOPInstanceUID}.{kind}"


def changed(dataset, **elements):
    """Set elements of a data set, and return it."""
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def plant(image, keyword, value):
    """Set an element to what its value representation may not hold."""
    image[keyword] = DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE)
