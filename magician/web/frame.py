"""The frame in which a notebook shows a page, with a link to the page in a tab of its own.

On Colab only Google's own proxy leads from a browser to a port of the kernel.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup

from magician.web.site import on_colab

HEIGHT = 760  # of the page within a notebook, in pixels

FRAME = Markup(
    '<iframe src="{url}" title="{title}" width="100%" height="{height}" loading="lazy"></iframe>'
    '<p><a href="{url}" target="_blank" rel="noopener">Open it in a tab of its own</a>. It is '
    "there as long as its PACS runs. If the frame is empty or says that it can't connect, the PACS "
    "was stopped: start it, then run this cell again. {remark}</p>"
)
NEEDS_PROXY = "On this JupyterHub the frame needs the package jupyter-server-proxy."


def display_page(page: Any, port: int | None, **options: str) -> None:
    """Show a page where a notebook's cell ends.

    Parameters
    ----------
    page : object
        With a ``repr`` and a ``_repr_html_``.
    port : int or None
        The port of this computer at which it is; None if it is on another one, or stopped.
    **options : str
        For Colab: the ``path`` of the page, if it is not the first one.
    """
    if on_colab() and port is not None:
        from google.colab import output

        output.serve_kernel_port_as_iframe(port, height=HEIGHT, **options)
    else:
        from IPython.display import display

        display({"text/plain": repr(page), "text/html": page._repr_html_()}, raw=True)


def frame_of(url: str, title: str) -> str:
    """Return the HTML of a frame with a page of this computer.

    Parameters
    ----------
    url : str
        The address on this computer. On a JupyterHub a browser runs on another one, and reaches the
        page through the proxy of the notebook server.
    title : str
    """
    hub = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if hub:
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        url = f"{hub}proxy/{parts.port or 80}{parts.path or '/'}{query}"
    remark = NEEDS_PROXY if hub else ""
    return FRAME.format(url=url, title=title, height=HEIGHT, remark=remark)
