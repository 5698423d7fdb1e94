"""The web page of a practice PACS: its studies and series, with pictures to scroll through.

Nothing can be changed through it: it answers only GET and HEAD. It listens on loopback, and beyond
it only for a PACS that does, too; there it answers only who knows the word of access. Werkzeug
reads requests and finds the page, waitress holds the connections.
"""

from __future__ import annotations

import logging
import socket
import threading
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup
from waitress.server import BaseWSGIServer, create_server

from magician.errors import MagicianError
from magician.node import explain_bind_error, require_host
from magician.practice_pacs.pacs import PracticePacs
from magician.privacy import may_hold_identified
from magician.web.access import Access
from magician.web.class_page import ClassView
from magician.web.frame import display_page, frame_of
from magician.web.site import Site

THREADS = 4


@dataclass(frozen=True)
class _Running:
    """The parts of a page that exist only while it listens."""

    server: BaseWSGIServer
    thread: threading.Thread
    ae_title: str
    port: int


class WebPage:
    """The web page of a practice PACS; a context manager. Shown by a notebook, it is a frame with
    the page in it.

    Parameters
    ----------
    pacs : PracticePacs
        It must be started. When it stops, so does the page.
    host : str
        The address to listen on. Beyond loopback the PACS must listen, too: it then holds only
        objects that say PatientIdentityRemoved=YES. Nothing is encrypted, and every page needs the
        word of access, which `address` has in it.
    port : int
        0 takes a free port.
    class_view : function, optional
        Gives what a class has done (`magician.web.class_page.State`). It is asked anew every other
        second while a browser shows the class view, so it must be quick.

    Raises
    ------
    MagicianError
        If the address can't be had, or the PACS is not started.
    ValueError
        If the page could be reached from other computers, and its PACS can't.
    """

    _shared: ClassVar[dict[PracticePacs, WebPage]] = {}

    def __init__(
        self,
        pacs: PracticePacs,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        class_view: ClassView | None = None,
    ) -> None:
        if not may_hold_identified(host) and not pacs.beyond_loopback:
            raise ValueError(
                f"A page on {host or 'every address'} could be seen from other computers, and this "
                f"PACS may hold objects that name a patient: it listens on this computer only. "
                f"Leave the host out."
            )
        self._pacs, self._host, self._port = pacs, host, port
        self._access, self._class_view = Access(host), class_view
        self._running: _Running | None = None

    def start(self) -> WebPage:
        """Begin to listen; harmless when it does already."""
        if self._running is None:
            ae_title = self._pacs.node.ae_title
            listening = self._listen()
            port = listening.getsockname()[1]
            # a request is an address and has no body
            server = create_server(
                Site(self._pacs.archive, ae_title, self._host, self._access, self._class_view),
                sockets=[listening],
                threads=THREADS,
                ident=None,
                max_request_header_size=16 * 1024,
                max_request_body_size=1024,
                channel_timeout=60,
            )
            # it warns when requests have to wait, and when it drops them at the end: neither is a
            # fault
            logging.getLogger("waitress").setLevel(logging.ERROR)
            thread = threading.Thread(
                target=server.run, name=f"Web page of {ae_title}", daemon=True
            )
            thread.start()
            self._running = _Running(server, thread, ae_title, port)
            self._pacs.when_stopped(self.stop)
        return self

    def stop(self) -> None:
        """Stop listening, and close what is open; harmless when it is stopped already."""
        running, self._running = self._running, None
        if running is not None:
            server = running.server
            # first of all, because a thread that has finished its work wakes the server
            server.task_dispatcher.shutdown()
            server.trigger.pull_trigger(lambda: _close(server))
            running.thread.join()

    @classmethod
    def shared(cls, pacs: PracticePacs) -> WebPage:
        """Return the one page of a PACS on loopback, started, however often a notebook cell asks
        for it.
        """
        if pacs not in cls._shared:
            cls._shared[pacs] = cls(pacs)
        return cls._shared[pacs].start()

    def __enter__(self) -> WebPage:
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        if self._running is None:
            raise MagicianError(
                "This web page is stopped: call .start(), or use it in a with block."
            )
        return self._running.port

    @property
    def url(self) -> str:
        """The address at which a browser on this computer finds it, with the word of access."""
        return self.address()

    def address(self, host: str = "", *, teacher: bool = False) -> str:
        """Return the address of the page, with the word of access where it needs one.

        Parameters
        ----------
        host : str
            The name or address by which a browser reaches this computer. Without it, the address
            is for a browser on this computer.
        teacher : bool
            The address of the class view, with the word that opens every page.
        """
        host = host or ("127.0.0.1" if self._host == "0.0.0.0" else self._host)
        host = f"[{host}]" if ":" in host else host
        path = "class/" if teacher else ""
        return f"http://{host}:{self.port}/{path}{self._access.query(teacher=teacher)}"

    def _listen(self) -> socket.socket:
        require_host(self._host)
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            return socket.create_server((self._host, self._port), family=family)
        except OSError as error:
            raise MagicianError(
                f"The web page can't listen on {self._host}:{self._port} "
                f"({error.strerror or error}). {explain_bind_error(error)}"
            ) from error

    def __repr__(self) -> str:
        if self._running is None:
            return "This web page is stopped, like its PACS"
        return f"The web page of the practice PACS {self._running.ae_title}"

    def _repr_html_(self) -> str:
        if self._running is None:
            return Markup("<p>{}. Start the PACS, then run this cell again.</p>").format(repr(self))
        return frame_of(self.url, repr(self))

    def _ipython_display_(self) -> None:
        """Show the frame."""
        display_page(self, self._running.port if self._running else None)


def serve(pacs: PracticePacs, *, host: str = "127.0.0.1", port: int = 0) -> WebPage:
    """Serve the web page of a practice PACS; see `WebPage` for what it takes and raises.

    Examples
    --------
    >>> with PracticePacs() as pacs, serve(pacs) as page:
    ...     print(page.url)
    """
    return WebPage(pacs, host=host, port=port).start()


def _close(server: BaseWSGIServer) -> None:
    """Close a server and its connections, in the server's own thread, which ends after that."""
    for channel in list(server.active_channels.values()):
        channel.handle_close()
    server.close()
