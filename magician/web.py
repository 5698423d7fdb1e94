"""A web page of a practice PACS: its studies and series, with pictures to scroll through.

It is there to look at, and nothing can be changed through it: only GET and HEAD are answered. It asks nobody who they
are, so it listens on loopback, and beyond it only for a PACS that does, too. Werkzeug reads requests and finds the
page, waitress holds the connections.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import sys
import threading
from pathlib import Path

from markupsafe import Markup
from waitress.server import create_server
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, InternalServerError, NotFound, ServiceUnavailable
from werkzeug.routing import Map, RequestRedirect, Rule, UnicodeConverter, ValidationError
from werkzeug.wrappers import Request, Response

from magician import _web_pages
from magician._files import is_uid
from magician._listener import advice
from magician._web_pictures import WINDOWS, NoPicture, encode, in_order, show, tile, why_no_picture
from magician.association import is_loopback
from magician.errors import MagicianError
from magician.practice_pacs import PracticePacs

__all__ = ["WebPage", "serve"]

logger = logging.getLogger(__name__)

HEIGHT = 760  # of the page within a notebook, in pixels
THREADS = 4
STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
TYPES = {"jpg": "image/jpeg", "png": "image/png"}
# A notebook of this computer shows the page in a frame, whatever its port; on Colab, Google's pages do
NOTEBOOKS = "'self' http://127.0.0.1:* http://localhost:* vscode-webview:"
COLAB = "https://colab.research.google.com https://*.googleusercontent.com"


class WebPage:
    """The web page of a practice PACS; a context manager. Shown by a notebook, it is a frame with the page in it.

    Parameters
    ----------
    pacs : PracticePacs
        It must be started. When it stops, so does the page.
    host : str
        The address to listen on. Beyond loopback the PACS must listen, too: it then holds only objects that say
        PatientIdentityRemoved=YES. Nothing is encrypted, and everybody who reaches the address may look.
    port : int
        0 takes a free port.

    Raises
    ------
    MagicianError
        If the address can't be had, or the PACS is not started.
    ValueError
        If the page could be reached from other computers, and its PACS can't.
    """

    def __init__(self, pacs: PracticePacs, *, host: str = "127.0.0.1", port: int = 0) -> None:
        if not is_loopback(host) and not pacs.beyond_loopback:
            raise ValueError(
                f"A page on {host or 'every address'} could be seen from other computers, and this PACS may hold "
                f"objects that name a patient: it listens on this computer only. Leave the host out."
            )
        self._pacs, self._host, self._port = pacs, host, port
        self._server = None

    def start(self) -> WebPage:
        """Begin to listen; harmless when it does already."""
        if self._server is None:
            self._ae_title = self._pacs.node.ae_title
            listening = self._listen()
            self._bound_to = listening.getsockname()[1]
            # one picture of a screen is some megabytes at most, and a request has no body
            self._server = create_server(
                _Site(self._pacs, self._host), sockets=[listening], threads=THREADS, ident=None,
                max_request_header_size=16 * 1024, max_request_body_size=1024, channel_timeout=60,
            )  # fmt: skip
            # It would warn when requests have to wait, and when they are given up at the end; neither is a fault
            logging.getLogger("waitress").setLevel(logging.ERROR)
            self._thread = threading.Thread(target=self._server.run, name=f"Web page of {self._ae_title}", daemon=True)
            self._thread.start()
            self._pacs.when_stopped(self.stop)
        return self

    def stop(self) -> None:
        """Stop listening, and close what is open; harmless when it is stopped already."""
        server, self._server = self._server, None
        if server is not None:
            server.task_dispatcher.shutdown()  # before the rest: a thread at work wakes the server when it is done
            server.trigger.pull_trigger(lambda: _close(server))
            self._thread.join()

    @classmethod
    def shared(cls, pacs: PracticePacs) -> WebPage:
        """Return the one page of a PACS on loopback, started, however often a notebook cell asks for it."""
        if pacs not in _SHARED:
            _SHARED[pacs] = cls(pacs)
        return _SHARED[pacs].start()

    def __enter__(self) -> WebPage:
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        self._require_started()
        return self._bound_to

    @property
    def url(self) -> str:
        """Where a browser on this computer finds it."""
        host = "127.0.0.1" if self._host == "0.0.0.0" else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def _require_started(self) -> None:
        if self._server is None:
            raise MagicianError("This web page is stopped: call .start(), or use it in a with block.")

    def _listen(self) -> socket.socket:
        if not self._host:
            raise ValueError("An empty host would be every address of this computer: write '0.0.0.0' if that is meant.")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            return socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            raise MagicianError(
                f"The web page can't listen on {self._host}:{self._port} ({error.strerror or error}). {advice(error)}"
            ) from error

    def __repr__(self) -> str:
        return f"The web page of the practice PACS {self._ae_title}" if self._server else "A web page that is stopped"

    def _repr_html_(self) -> str:
        if self._server is None:
            return Markup("<p>{}</p>").format(repr(self))
        hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
        url = f"{hub}proxy/{self.port}/" if hub else self.url
        remark = "If the frame is empty, this JupyterHub lacks the package jupyter-server-proxy." if hub else ""
        return Markup(
            '<iframe src="{url}" title="{title}" width="100%" height="{height}" loading="lazy"></iframe>'
            '<p><a href="{url}" target="_blank" rel="noopener">Open it in a tab of its own</a>. It is there as long as its PACS runs. {remark}</p>'
        ).format(url=url, title=repr(self), height=HEIGHT, remark=remark)  # fmt: skip

    def _ipython_display_(self) -> None:
        """Show the frame; on Colab only Google's own proxy leads from the browser to this computer."""
        if _on_colab() and self._server is not None:
            from google.colab import output

            output.serve_kernel_port_as_iframe(self.port, height=HEIGHT)
        else:
            from IPython.display import display

            display({"text/plain": repr(self), "text/html": self._repr_html_()}, raw=True)


_SHARED: dict[PracticePacs, WebPage] = {}


def serve(pacs: PracticePacs, *, host: str = "127.0.0.1", port: int = 0) -> WebPage:
    """Serve the web page of a practice PACS; see `WebPage` for what it takes and raises.

    Examples
    --------
    >>> with PracticePacs() as pacs, serve(pacs) as page:
    ...     print(page.url)
    """
    return WebPage(pacs, host=host, port=port).start()


def _on_colab() -> bool:
    return "google.colab" in sys.modules


def _close(server) -> None:
    """Close a server and its connections; in its own thread, which ends when nothing is left to wait for."""
    for channel in list(server.active_channels.values()):
        channel.handle_close()
    server.close()


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


class _Site:
    """Answers requests: a WSGI application (PEP 3333)."""

    def __init__(self, pacs: PracticePacs, host: str) -> None:
        self._pacs, self._host = pacs, host
        colab = f" {COLAB}" if _on_colab() else ""
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
            return _failed(NotFound())  # an address is written with its last slash, or it leads nowhere
        except HTTPException as error:
            return _failed(error)
        except MagicianError as error:
            return _failed(ServiceUnavailable(str(error)))
        except Exception:
            logger.exception("The web page could not answer %s", request.path)
            return _failed(InternalServerError())

    def _static(self, request: Request, name: str) -> Response:
        return Response(Path(__file__).with_name(f"_web_{name}").read_bytes(), mimetype=STATIC[name])

    def _studies(self, request: Request) -> Response:
        return _html(_web_pages.studies(self._pacs.node.ae_title, self._pacs.held("STUDY")))

    def _study(self, request: Request, study: str) -> Response:
        series = _found(self._pacs.held("SERIES", StudyInstanceUID=study))
        return _html(_web_pages.study(self._pacs.node.ae_title, series))

    def _series(self, request: Request, study: str, series: str) -> Response:
        held = self._images(study, series)
        number = request.args.get("image", (len(held) + 1) // 2, type=int)
        window = request.args.get("window", "")
        _window(window)
        held = [held[i] for i in in_order(tuple(one["path"] for one in held))]
        number = min(max(number, 1), len(held))
        return _html(_web_pages.images(self._pacs.node.ae_title, held, number, window))

    def _thumbnail(self, request: Request, study: str, series: str, kind: str) -> Response:
        held = self._images(study, series)
        held = [one for one in held if not why_no_picture(one)] or held
        return _picture(held[len(held) // 2], request, kind, thumbnail=True)

    def _instance(self, request: Request, study: str, series: str, instance: str, kind: str) -> Response:
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}
        return _picture(_found(self._pacs.held("IMAGE", **keys))[0], request, kind)

    def _images(self, study: str, series: str) -> list[dict[str, str]]:
        return _found(self._pacs.held("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series))


def _is_ours(header: str, host: str) -> bool:
    """Tell whether a request is meant for this computer, by its Host header.

    A page of somebody else's can let its own name point at 127.0.0.1, and so make a browser read ours for it ("DNS
    rebinding"). Addresses can't be bent like that, only names. Behind the proxy of Colab or a JupyterHub every name
    is possible, and no browser runs on this computer.
    """
    if _on_colab() or "JUPYTERHUB_SERVICE_PREFIX" in os.environ:
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


def _picture(held: dict[str, str], request: Request, kind: str, *, thumbnail: bool = False) -> Response:
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
    response.set_data(_web_pages.error(f"{error.code} {error.name}", error.description))
    return response
