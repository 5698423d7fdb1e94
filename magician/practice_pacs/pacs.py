"""The practice PACS: a small PACS in the notebook's own process, to practise against.

`PracticePacs` is its lifecycle; what it holds is an `Archive`, and what it answers are
`DimseServices`. It is strict where strictness teaches something: it insists on its AE title, and it
sends by C-MOVE only to destinations that it knows. It is made for teaching, not for patients:
nothing is backed up, and connections are encrypted only when it is given `tls`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydicom.dataset import Dataset

from magician.dimse.contexts import SYNTAXES_TAKEN
from magician.errors import MagicianError, WrongArgument
from magician.node import (
    PRACTICE_PACS_UID,
    Node,
    check_ae_title,
    explain_stopped,
    is_loopback,
    note_started,
    note_stopped,
)
from magician.practice_pacs.archive import Archive
from magician.practice_pacs.association_log import AssociationLog
from magician.practice_pacs.dimse_services import DimseServices, support_services
from magician.practice_pacs.faults import DeadPort, Faults, require_faults
from magician.privacy import may_hold_identified
from magician.upper_layer.acceptor import Listener, start_listening, stop_listening
from magician.upper_layer.limits import DEFAULT_LIMITS, Limits
from magician.upper_layer.unknown_storage import negotiating_storage


@dataclass(frozen=True)
class _Running:
    """The parts of a practice PACS that exist only while it listens."""

    archive: Archive
    stop_listening: Callable[[], None]
    node: Node
    listener: Listener | None  # none where a fault has made the port dead


class PracticePacs:
    """A PACS that listens on this computer.

    Parameters
    ----------
    ae_title : str
        Its name; a caller must use exactly this one.
    host : str
        The address to listen on. The default, loopback, can be reached from this computer only. On
        any other address it neither takes nor serves objects that do not say
        PatientIdentityRemoved=YES.
    port : int
        0 takes a free port.
    folder : path, optional
        Where it keeps its files, one for each instance. What lies there already is served again.
        Without a folder it keeps them in a temporary one, which `stop` removes.
    allowed_ae_titles : sequence of str, optional
        Who may call. Free on loopback; beyond it the list is required.
    tls : ssl.SSLContext, optional
        Take encrypted connections only, with this context: see `magician.tls.server_tls` (PS3.15
        Annex B).
    limits : Limits
        What its callers may take: sizes, numbers, seconds.
    unknown_storage : bool
        Take objects of private and retired SOP classes, too, because a caller proposes them.
    faults : sequence of str
        What goes wrong with it, for practice: names of `magician.practice_pacs.faults.FAULTS`. Only
        on loopback.

    Examples
    --------
    >>> with PracticePacs() as pacs:
    ...     describe_status(echo(pacs.node))
    '0x0000 (Success)'
    """

    _shared: ClassVar[dict[str, PracticePacs]] = {}

    def __init__(
        self,
        *,
        ae_title: str = "PRACTICE",
        host: str = "127.0.0.1",
        port: int = 0,
        folder=None,
        allowed_ae_titles: Sequence[str] | None = None,
        tls: ssl.SSLContext | None = None,
        limits: Limits = DEFAULT_LIMITS,
        unknown_storage: bool = True,
        faults: Sequence[str] = (),
    ) -> None:
        self._ae_title, self._host, self._port = check_ae_title(ae_title), host, port
        self._tls, self._limits, self._unknown_storage = tls, limits, unknown_storage
        self._folder = None if folder is None else Path(folder)
        self._allowed_ae_titles = [check_ae_title(title) for title in allowed_ae_titles or []]
        if not is_loopback(host) and not self._allowed_ae_titles:
            raise WrongArgument(
                f"A practice PACS on {host} can be reached from other computers: say in "
                f"allowed_ae_titles who may call it, or leave the host out."
            )
        self._faults = Faults(require_faults(faults, host), self._allowed_ae_titles)
        self._is_healthy = not faults
        self._destinations: dict[str, Node] = {}
        self._calls_when_stopped: list[Callable[[], None]] = []
        self._log = AssociationLog()
        self._running: _Running | None = None
        self._was_stopped = False

    @classmethod
    def shared(cls, ae_title: str = "PRACTICE") -> PracticePacs:
        """Return the one practice PACS of this process under a title, started, however often a cell
        asks for it.
        """
        ae_title = check_ae_title(ae_title)
        if ae_title not in cls._shared:
            cls._shared[ae_title] = cls(ae_title=ae_title)
        return cls._shared[ae_title].start()

    def start(self) -> PracticePacs:
        """Begin to listen; harmless when it does already."""
        if self._running is None:
            archive = Archive(self._folder, host=self._host, limits=self._limits)
            try:
                self._running = _Running(archive, *self._listen(archive))
            except BaseException:
                archive.close()
                raise
            self._was_stopped = False
        return self

    def stop(self) -> None:
        """Stop listening and remove a temporary folder; harmless when it is stopped already."""
        if self._running is not None:
            while self._calls_when_stopped:
                self._calls_when_stopped.pop()()
            self._running.stop_listening()
            running, self._running = self._running, None
            self._was_stopped = True
            note_stopped(running.node)
            running.archive.close()

    def __enter__(self) -> PracticePacs:
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()

    @property
    def node(self) -> Node:
        """How to reach this PACS.

        If the PACS has TLS, a caller adds a context of its own:
        ``dataclasses.replace(pacs.node, tls=context)``.
        """
        return self._require_started().node

    @property
    def archive(self) -> Archive:
        """What this PACS holds: its files and their index, without any protocol."""
        return self._require_started().archive

    @property
    def folder(self) -> Path:
        """Where this PACS keeps its files."""
        return self.archive.folder

    @property
    def beyond_loopback(self) -> bool:
        """Whether other computers may reach it. If so, all objects that it holds say
        PatientIdentityRemoved=YES.
        """
        return not may_hold_identified(self._host)

    def held(self, level: str, **unique_keys: str) -> list[dict[str, str]]:
        """List what this PACS holds, without the network.

        Parameters
        ----------
        level : str
            ``"STUDY"``, ``"SERIES"`` or ``"IMAGE"`` (PS3.4 C.6.2.1).
        **unique_keys : str
            StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID: only what has these.

        Returns
        -------
        list of dict
            Of each study, series or instance every element that can be queried, as text by keyword,
            and the `path` of its file. Series are in order of their number, instances too.
        """
        return self.archive.held(level, **unique_keys)

    @property
    def sent(self) -> frozenset[str]:
        """The SOP Instance UIDs of all objects that callers have fetched from it by C-GET."""
        return self._log.sent

    def when_stopped(self, call: Callable[[], None]) -> None:
        """Let the PACS call a function when it stops, once, before its files are gone."""
        self._calls_when_stopped.append(call)

    def know(self, node: Node) -> None:
        """Enter a C-MOVE destination: from now on this AE title means this host and port, with the
        node's `tls`.

        To a destination on another computer it sends only objects that say
        PatientIdentityRemoved=YES.
        """
        self._destinations[node.ae_title] = node

    def allow(self, ae_title: str) -> None:
        """Let this AE title call from now on, beside those of `allowed_ae_titles`."""
        open_to_all = not self._allowed_ae_titles and not self._faults.admits_everybody
        title = check_ae_title(ae_title)
        if not open_to_all:
            self._allowed_ae_titles.append(title)
            if self._running and self._running.listener:
                self._running.listener.admit(self._callers)

    def add(self, datasets: Iterable[Dataset]) -> None:
        """Put data sets into the PACS without the network; an instance that it holds already is
        kept as it is.

        Raises
        ------
        MagicianError
            If an object lacks the UIDs of its study, series or instance.
        NotDeidentified
            If the PACS can be reached from other computers, and an object does not say
            PatientIdentityRemoved=YES.
        """
        self.archive.add(datasets)

    def _require_started(self) -> _Running:
        if self._running is None and self._was_stopped:
            raise MagicianError(
                f"The practice PACS {self._ae_title} has been stopped, perhaps by the clean-up "
                f"cell. {explain_stopped(self._ae_title)}"
            )
        if self._running is None:
            raise MagicianError(
                "This practice PACS is not started: call .start(), or use it in a with block."
            )
        return self._running

    @property
    def _callers(self) -> list[str]:
        """The titles that may open an association; empty if everybody may."""
        return [] if self._faults.admits_everybody else self._allowed_ae_titles

    def _listen(self, archive: Archive) -> tuple[Callable[[], None], Node, Listener | None]:
        """Start to listen as an application entity; returns what stops it, the node by which to
        reach it, and who listens.
        """
        if self._faults.dead_port:
            port = DeadPort(self._faults.dead_port, self._host, self._port)
            node = Node(self._ae_title, self._host, port.port)
            note_started(node)
            return port.close, node, None
        listener = Listener(
            self._ae_title,
            self._callers,
            # one with faults is taken for a hospital's
            implementation_class_uid=PRACTICE_PACS_UID if self._is_healthy else "",
        )
        support_services(listener)
        self._faults.limit_contexts(listener)
        services = DimseServices(archive, self._ae_title, self._destinations)
        server, node = start_listening(
            listener,
            self._host,
            self._port,
            [
                *self._log.handlers,
                *self._faults.change(services.handlers),
                negotiating_storage(SYNTAXES_TAKEN, unknown=self._unknown_storage, both_roles=True),
            ],
            limits=self._limits,
            tls=self._tls,
        )
        return partial(stop_listening, server), node, listener
