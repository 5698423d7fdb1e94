"""What the web page of a practice PACS answers to which request; a part of
:mod:`magician.web.page`.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import sys
from pathlib import Path

from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    InternalServerError,
    NotFound,
    ServiceUnavailable,
)
from werkzeug.routing import Map, RequestRedirect, Rule, UnicodeConverter, ValidationError
from werkzeug.wrappers import Request, Response

from magician.errors import MagicianError
from magician.files import is_uid
from magician.node import is_loopback
from magician.practice_pacs.pacs import PracticePacs
from magician.web import pages
from magician.web.pictures import WINDOWS, NoPicture, arrange, encode, show, tile, why_no_picture

logger = logging.getLogger(__name__)

STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
TYPES = {"jpg": "image/jpeg", "png": "image/png"}
# A notebook of this computer shows the page in a frame, whatever its port; on Colab, Google's pages
# do
NOTEBOOKS = "'self' http://127.0.0.1:* http://localhost:* vscode-webview:"
COLAB = "https://colab.research.google.com https://*.googleusercontent.com"


def on_colab() -> bool:
    """Tell whether this is a notebook on Google Colab."""
    return "google.colab" in sys.modules


class _Uid(UnicodeConverter):
    """A UID in an address; anything else is "not found"."""

    regex = r"[0-9.]{1,64}"

    def to_python(self, value: str) -> str:
        if not is_uid(value):
            raise ValidationError
        return value


_SERIES = "/studies/<uid:study>/series/<uid:series>/"  # named as in DICOMweb (PS3.18 10.1)
_MAP = Map(
    [
        Rule(path, endpoint=endpoint, methods=["GET"])  # Werkzeug adds HEAD
        for path, endpoint in {
            "/": "studies",
            f"/<any({', '.join(map(repr, STATIC))}):name>": "static",
            "/studies/<uid:study>/": "study",
            _SERIES: "series",
            f"{_SERIES}thumbnail.<any(jpg, png):kind>": "thumbnail",
            f"{_SERIES}instances/<uid:instance>.<any(jpg, png):kind>": "instance",
        }.items()
    ],
    converters={"uid": _Uid},
    merge_slashes=False,
)


class Site:
    """Answers requests: a WSGI application (PEP 3333)."""

    def __init__(self, pacs: PracticePacs, host: str) -> None:
        self._pacs, self._host = pacs, host
        colab = f" {COLAB}" if on_colab() else ""
        self._headers = {
            "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
            f"base-uri 'none'; form-action 'self'; frame-ancestors {NOTEBOOKS}{colab}",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",  # pictures of patients stay off the browser's disk
        }

    def __call__(self, environ: dict, start_response) -> list[bytes]:
        response = self._respond(Request(environ))
        response.headers.extend(self._headers)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        try:
            if not _is_ours(request.headers.get("Host", ""), self._host):
                raise Forbidden(
                    "This page goes by the address of its computer only, and not by the name in the request."
                )
            endpoint, values = _MAP.bind("localhost").match(request.path, request.method)
            return getattr(self, f"_{endpoint}")(request, **values)
        except RequestRedirect:
            # an address is written with its last slash, or it leads nowhere
            return _failed(NotFound())
        except HTTPException as error:
            return _failed(error)
        except MagicianError as error:
            return _failed(ServiceUnavailable(str(error)))
        except Exception:
            logger.exception("The web page could not answer %s", request.path)
            return _failed(InternalServerError())

    def _static(self, request: Request, name: str) -> Response:
        return Response(Path(__file__).with_name(name).read_bytes(), mimetype=STATIC[name])

    def _studies(self, request: Request) -> Response:
        return _html(pages.studies(self._pacs.node.ae_title, self._pacs.held("STUDY")))

    def _study(self, request: Request, study: str) -> Response:
        series = _found(self._pacs.held("SERIES", StudyInstanceUID=study))
        return _html(pages.study(self._pacs.node.ae_title, series))

    def _series(self, request: Request, study: str, series: str) -> Response:
        held = self._images(study, series)
        number = request.args.get("image", (len(held) + 1) // 2, type=int)
        window = request.args.get("window", "")
        _window(window)
        arrangement = arrange(tuple(one["path"] for one in held))
        held = [held[i] for i in arrangement.order]
        letters = [arrangement.letters[i] for i in arrangement.order]
        number = min(max(number, 1), len(held))
        return _html(pages.images(self._pacs.node.ae_title, held, letters, number, window))

    def _thumbnail(self, request: Request, study: str, series: str, kind: str) -> Response:
        held = self._images(study, series)
        held = [one for one in held if not why_no_picture(one)] or held
        return _picture(held[len(held) // 2], request, kind, thumbnail=True)

    def _instance(
        self, request: Request, study: str, series: str, instance: str, kind: str
    ) -> Response:
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
        return _picture(_found(self._pacs.held("IMAGE", **keys))[0], request, kind)

    def _images(self, study: str, series: str) -> list[dict[str, str]]:
        return _found(self._pacs.held("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series))


def _is_ours(header: str, host: str) -> bool:
    """Tell whether a request is meant for this computer, by its Host header.

    A page of somebody else's can let its own name point at 127.0.0.1, and so make a browser read
    ours for it ("DNS rebinding"). Addresses can't be bent like that, only names. Behind the proxy
    of Colab or a JupyterHub every name is possible, and no browser runs on this computer.
    """
    if on_colab() or "JUPYTERHUB_SERVICE_PREFIX" in os.environ:
        return True
    match = re.fullmatch(r"\[?([0-9A-Za-z.:_-]+?)\]?(:\d+)?", header)
    name = match[1].lower() if match else ""
    if is_loopback(host) or is_loopback(name):
        return is_loopback(name)
    own = socket.gethostname().lower()
    return name in (own, f"{own}.local") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _window(name: str) -> tuple[float, float] | None:
    if name and name not in WINDOWS:
        raise BadRequest(f"There is no such window; there is: {', '.join(WINDOWS)}.")
    return WINDOWS.get(name)


def _found(held: list[dict[str, str]]) -> list[dict[str, str]]:
    if not held:
        raise NotFound
    return held


def _picture(
    held: dict[str, str], request: Request, kind: str, *, thumbnail: bool = False
) -> Response:
    window = _window(request.args.get("window", ""))
    try:
        content = encode(show(held, window, thumbnail=thumbnail), kind)
    except NoPicture as why:
        logger.info("No picture of %s: %s", held["SOPInstanceUID"], why.__cause__ or why)
        return Response(tile(str(why)), 406, mimetype="image/svg+xml")
    return Response(content, mimetype=TYPES[kind])


def _html(page: str, status: int = 200) -> Response:
    return Response(page, status, mimetype="text/html")


def _failed(error: HTTPException) -> Response:
    response = error.get_response()  # has the headers of its status: Allow, for one
    response.set_data(pages.error(f"{error.code} {error.name}", error.description))
    return response
