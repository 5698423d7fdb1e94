"""The site of a practice PACS: which request of a browser gets which answer (WSGI, PEP 3333)."""

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
)
from werkzeug.routing import Map, RequestRedirect, Rule, UnicodeConverter, ValidationError
from werkzeug.wrappers import Request, Response

from magician.node import is_loopback
from magician.practice_pacs.archive import PLACE_UID, Archive
from magician.web import class_page, pages
from magician.web.access import Access
from magician.web.class_page import ClassView
from magician.web.pictures import (
    WINDOWS,
    NoPicture,
    arrange_images,
    draw_tile,
    encode,
    make_picture,
    why_no_picture,
)

logger = logging.getLogger(__name__)

STATIC = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "watch.js": "text/javascript",
}
# What everybody may ask for: it tells nothing of what the PACS holds
OPEN = {"static", "alive"}
TEACHERS = {"class", "rows"}
TYPES = {"jpg": "image/jpeg", "png": "image/png"}
# Who may show the page in a frame: a notebook of this computer, whatever its port, and on Colab
# Google's pages
NOTEBOOKS = "'self' http://127.0.0.1:* http://localhost:* vscode-webview:"
COLAB = "https://colab.research.google.com https://*.googleusercontent.com"


def on_colab() -> bool:
    """Tell whether this is a notebook on Google Colab."""
    return "google.colab" in sys.modules


class _Uid(UnicodeConverter):
    """A UID in an address, as the archive takes it; anything else is "not found"."""

    def to_python(self, value: str) -> str:
        if not re.fullmatch(PLACE_UID, value):
            raise ValidationError
        return value


SERIES = "/studies/<uid:study>/series/<uid:series>/"  # named as in DICOMweb (PS3.18 10.1)
URL_MAP = Map(
    [
        Rule(path, endpoint=endpoint, methods=["GET"])  # Werkzeug adds HEAD
        for path, endpoint in {
            "/": "studies",
            "/alive": "alive",
            "/class/": "class",
            "/class/rows": "rows",
            f"/<any({', '.join(map(repr, STATIC))}):name>": "static",
            "/studies/<uid:study>/": "study",
            SERIES: "series",
            f"{SERIES}thumbnail.<any(jpg, png):kind>": "thumbnail",
            f"{SERIES}instances/<uid:instance>.<any(jpg, png):kind>": "instance",
        }.items()
    ],
    converters={"uid": _Uid},
    merge_slashes=False,
)


class Site:
    """Answers requests: a WSGI application (PEP 3333).

    Parameters
    ----------
    archive : Archive
        What it shows.
    ae_title : str
        The title of its PACS, for the headings.
    host : str
        The address at which it listens.
    access : Access
        Who may look.
    class_view : function, optional
        Gives what a class has done, as `class_page` shows it. Without it there is no such page.
    """

    def __init__(
        self,
        archive: Archive,
        ae_title: str,
        host: str,
        access: Access,
        class_view: ClassView | None = None,
    ) -> None:
        self._archive, self._ae_title, self._host = archive, ae_title, host
        self._access, self._class_view = access, class_view
        colab = f" {COLAB}" if on_colab() else ""
        self._headers = {
            "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; "
            "style-src 'self'; script-src 'self'; connect-src 'self'; "
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
            if not is_meant_for_us(request.headers.get("Host", ""), self._host):
                raise Forbidden(
                    "This page goes by the address of its computer only, and not by the name in "
                    "the request."
                )
            endpoint, values = URL_MAP.bind("localhost").match(request.path, request.method)
            if endpoint not in OPEN:
                admitted = self._access.admit(request, teacher=endpoint in TEACHERS)
                if admitted is not None:
                    return admitted
            return getattr(self, f"_{endpoint}")(request, **values)
        except RequestRedirect:
            # an address without its last slash leads nowhere
            return _error_response(NotFound())
        except HTTPException as error:
            return _error_response(error)
        except Exception:
            logger.exception("The web page could not answer %s", request.path)
            return _error_response(InternalServerError())

    def _static(self, request: Request, name: str) -> Response:
        return Response(Path(__file__).with_name(name).read_bytes(), mimetype=STATIC[name])

    def _alive(self, request: Request) -> Response:
        return Response(status=204)

    def _class(self, request: Request) -> Response:
        return _html_response(class_page.show_class(self._ae_title, self._class_state()))

    def _rows(self, request: Request) -> Response:
        return _html_response(class_page.show_rows(self._class_state()))

    def _class_state(self) -> class_page.State:
        if self._class_view is None:
            raise NotFound
        return self._class_view()

    def _studies(self, request: Request) -> Response:
        return _html_response(pages.list_studies(self._ae_title, self._archive.held("STUDY")))

    def _study(self, request: Request, study: str) -> Response:
        series = _require_found(self._archive.held("SERIES", StudyInstanceUID=study))
        return _html_response(pages.list_series(self._ae_title, series))

    def _series(self, request: Request, study: str, series: str) -> Response:
        held = self._images(study, series)
        number = request.args.get("image", (len(held) + 1) // 2, type=int)
        window = request.args.get("window", "")
        _find_window(window)
        arrangement = arrange_images(tuple(instance["path"] for instance in held))
        held = [held[i] for i in arrangement.order]
        letters = [arrangement.letters[i] for i in arrangement.order]
        number = min(max(number, 1), len(held))
        return _html_response(
            pages.show_series(
                self._ae_title, held, letters, number, window, in_hu=arrangement.in_hu
            )
        )

    def _thumbnail(self, request: Request, study: str, series: str, kind: str) -> Response:
        held = self._images(study, series)
        held = [instance for instance in held if not why_no_picture(instance)] or held
        return _picture_of(held[len(held) // 2], request, kind, thumbnail=True)

    def _instance(
        self, request: Request, study: str, series: str, instance: str, kind: str
    ) -> Response:
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
        return _picture_of(_require_found(self._archive.held("IMAGE", **keys))[0], request, kind)

    def _images(self, study: str, series: str) -> list[dict[str, str]]:
        return _require_found(
            self._archive.held("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series)
        )


def is_meant_for_us(header: str, host: str) -> bool:
    """Tell whether a request is meant for this computer, by its Host header.

    Somebody else's page can let its own name point at 127.0.0.1, and so make a browser read our
    page for it ("DNS rebinding"). That works with names only, never with addresses. Behind the
    proxy of Colab or a JupyterHub every name is possible, and no browser runs on this computer.
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


def _find_window(name: str) -> tuple[float, float] | None:
    if name and name not in WINDOWS:
        raise BadRequest(f"There is no such window; there is: {', '.join(WINDOWS)}.")
    return WINDOWS.get(name)


def _require_found(held: list[dict[str, str]]) -> list[dict[str, str]]:
    if not held:
        raise NotFound
    return held


def _picture_of(
    held: dict[str, str], request: Request, kind: str, *, thumbnail: bool = False
) -> Response:
    window = _find_window(request.args.get("window", ""))
    try:
        content = encode(make_picture(held, window, thumbnail=thumbnail), kind)
    except NoPicture as why:
        logger.info("No picture of %s: %s", held["SOPInstanceUID"], why.__cause__ or why)
        return Response(draw_tile(str(why)), 406, mimetype="image/svg+xml")
    return Response(content, mimetype=TYPES[kind])


def _html_response(page: str, status: int = 200) -> Response:
    return Response(page, status, mimetype="text/html")


def _error_response(error: HTTPException) -> Response:
    response = error.get_response()  # it has the headers of its status, such as Allow
    response.set_data(pages.show_error(f"{error.code} {error.name}", error.description))
    return response
