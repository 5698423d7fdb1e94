"""The command line: ``python -m magician pacs`` serves one practice PACS for a class."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

from magician.errors import MagicianError
from magician.node import check_ae_title, is_loopback
from magician.practice_pacs.association_log import WithoutPynetdicom
from magician.practice_pacs.pacs import PracticePacs
from magician.teaching.class_view import ClassView
from magician.teaching.classroom import (
    LearnersStudy,
    address_of_this_computer,
    learners_studies,
    list_instructions,
    list_learners,
    read_names,
)
from magician.tls import server_tls
from magician.upper_layer.limits import Limits
from magician.web.page import WebPage

BEYOND_LOOPBACK = (
    "Every computer that can reach this one can call this PACS, under one of the allowed AE "
    "titles, which are no passwords. {encryption} It takes only objects that say "
    "PatientIdentityRemoved=YES."
)
WEB_BEYOND_LOOPBACK = (
    "Every computer that can reach this one can look at all that it holds there, unencrypted, if "
    "it knows the word in the address. Keep the teacher's address for yourself."
)

# Enough for a large class, with patience: all learners share one network, or one computer
LIMITS = Limits(associations=128, associate_s=60, idle_s=600)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return the exit status: 0, or 2 if the user has to change something."""
    options = make_parser().parse_args(arguments)
    console = logging.StreamHandler()
    console.addFilter(WithoutPynetdicom())
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=[console])
    logging.getLogger("magician").setLevel(logging.INFO if options.verbose else logging.WARNING)
    # needed where a shell has started us in the background: it lets us ignore SIGINT
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        serve(options)
    except (MagicianError, OSError, ValueError) as error:
        print(f"magician {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m magician", description="How to connect an AI algorithm to a PACS."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pacs = commands.add_parser(
        "pacs",
        help="serve one practice PACS for a class",
        description="Serve one practice PACS for a class, until Ctrl-C. "
        "It prints what learners must type.",
    )
    network = pacs.add_argument_group("where it listens, and who may call")
    network.add_argument("--ae-title", default="CLASS", help="its name (CLASS)")
    network.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (127.0.0.1: this computer only)",
    )
    network.add_argument(
        "--port", type=_port, default=11112, help="the port (11112); 0 takes a free one"
    )
    network.add_argument(
        "--allow",
        metavar="AETITLE",
        action="append",
        default=[],
        help="who may call; may be repeated; required if other computers can call",
    )
    network.add_argument(
        "--web",
        metavar="PORT",
        type=_port,
        nargs="?",
        const=8080,
        help="serve a web page, too, to look at what it holds: on this port (8080); "
        "0 takes a free one",
    )
    network.add_argument(
        "--beyond-loopback", action="store_true", help="let other computers reach it, by --host"
    )
    tls = pacs.add_argument_group(
        "encryption", "Files in PEM. Without a certificate nothing is encrypted."
    )
    tls.add_argument(
        "--tls-cert", metavar="FILE", type=Path, help="its certificate, which names this host"
    )
    tls.add_argument(
        "--tls-key", metavar="FILE", type=Path, help="the private key, if not in the same file"
    )
    tls.add_argument(
        "--tls-ca",
        metavar="FILE",
        type=Path,
        help="the authority whose certificates callers must have",
    )
    contents = pacs.add_argument_group("what it holds")
    contents.add_argument(
        "--folder",
        type=Path,
        help="where it keeps its files; without it, they are deleted when it stops",
    )
    contents.add_argument(
        "--study",
        metavar="NAME",
        action="append",
        default=[],
        help="hold a teaching study for this learner; may be repeated",
    )
    contents.add_argument(
        "--studies-from", metavar="FILE", type=Path, help="the same for each line of a text file"
    )
    pacs.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="a line for each association: who, what, how many",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a TCP port: a whole number from 1 to 65535, or 0."
        )
    return int(text)


def serve(options: argparse.Namespace) -> None:
    """Serve a practice PACS until the process is told to stop."""
    _check_titles(options)
    _check_exposure(options)
    studies = learners_studies(
        options.study + (read_names(options.studies_from) if options.studies_from else [])
    )
    _check_folder(options.folder)
    pacs = PracticePacs(
        ae_title=options.ae_title,
        host=options.host,
        port=options.port,
        folder=options.folder,
        allowed_ae_titles=options.allow or None,
        limits=LIMITS,
        tls=server_tls(options.tls_cert, options.tls_key, ca=options.tls_ca)
        if options.tls_cert
        else None,
    )
    try:
        with pacs:
            view = ClassView(pacs, studies) if options.web is not None and studies else None
            with _make_page(pacs, options, view) as page:
                _print_addresses(pacs, page, options, with_class=view is not None)
                _add_studies(pacs, studies, view)
                if view:
                    view.start()
                wait_for_interrupt()
    except KeyboardInterrupt:
        _print("", f"Stopped. {_fate_of_files(options)}")


def _make_page(
    pacs: PracticePacs, options: argparse.Namespace, view: ClassView | None
) -> AbstractContextManager[WebPage | None]:
    if options.web is None:
        return nullcontext()
    return WebPage(pacs, host=options.host, port=options.web, class_view=view)


def wait_for_interrupt() -> None:
    """Do nothing until the process is interrupted; the PACS has threads of its own."""
    while True:
        time.sleep(0.5)  # short: a signal that comes just before a sleep takes effect after it


def _check_titles(options: argparse.Namespace) -> None:
    for option, titles in (("--ae-title", [options.ae_title]), ("--allow", options.allow)):
        for title in titles:
            try:
                check_ae_title(title)
            except ValueError as error:
                raise MagicianError(f"{option}: {error} Choose another.") from error


def _check_exposure(options: argparse.Namespace) -> None:
    """Raise `MagicianError` if other computers could reach the PACS by accident."""
    if is_loopback(options.host):
        if options.beyond_loopback:
            raise MagicianError(
                "--beyond-loopback needs --host: an address of this computer, or 0.0.0.0 for all "
                "that it has."
            )
    elif not options.beyond_loopback or not options.allow:
        raise MagicianError(
            f"On {options.host} other computers could reach this PACS. If you mean that, say "
            f"--beyond-loopback, and --allow AETITLE for each title that may call. "
            f"{_describe_exposure(options)}"
        )
    if options.tls_cert is None and (options.tls_key or options.tls_ca):
        raise MagicianError("--tls-key and --tls-ca need --tls-cert, the certificate of this PACS.")
    if options.web is not None and options.tls_cert and not is_loopback(options.host):
        raise MagicianError(
            "--web is not encrypted, and --tls-cert asks for encryption: leave one of them out."
        )


def _describe_exposure(options: argparse.Namespace) -> str:
    """Say what it means that other computers can reach this PACS."""
    if options.tls_ca:
        encryption = (
            "They need a certificate of the authority in --tls-ca, and connections are encrypted."
        )
    elif options.tls_cert:
        encryption = "Connections are encrypted."
    else:
        encryption = "Nothing is encrypted (--tls-cert changes that)."
    return BEYOND_LOOPBACK.format(encryption=encryption)


def _check_folder(folder: Path | None) -> None:
    """Raise `MagicianError` if nothing can be written there: better now than during the class."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MagicianError(
            f"{folder} can't be written to ({error.strerror}): choose another --folder, or ask its "
            f"owner for the right to write there."
        ) from error


def _print_addresses(
    pacs: PracticePacs, page: WebPage | None, options: argparse.Namespace, *, with_class: bool
) -> None:
    """Print where the PACS and its page can be reached, and what learners must type."""
    host = address_of_this_computer() if options.host == "0.0.0.0" else options.host
    node = replace(pacs.node, host=host)
    exposure = (
        ", for this computer only."
        if is_loopback(options.host)
        else f". {_describe_exposure(options)}"
    )
    _print(f"{node.ae_title} listens on {options.host}, port {node.port}{exposure}")
    address = page.address(host) if page else ""
    _print(
        "",
        "In lesson 01 of each learner:",
        *list_instructions(node, options.allow, page=address, **_tls_of_learners(options)),
    )
    if options.allow:
        _print(f"Who may call: {', '.join(options.allow)}.")
    if page is not None:
        _print("", f"To look into it with a browser: {address}")
        if with_class:
            _print(f"The class view, for the teacher: {page.address(host, teacher=True)}")
        if not is_loopback(options.host):
            _print(WEB_BEYOND_LOOPBACK)


def _tls_of_learners(options: argparse.Namespace) -> dict[str, bool]:
    return {"tls": options.tls_cert is not None, "mutual_tls": options.tls_ca is not None}


def _add_studies(pacs: PracticePacs, studies: list[LearnersStudy], view: ClassView | None) -> None:
    """Put the studies into the PACS, and print who has which."""
    for number, study in enumerate(studies, start=1):
        if not study.is_held(pacs.folder):
            _print(f"Computing study {number} of {len(studies)}, for {study.name} ...")
            computed = study.compute(progress=sys.stderr.isatty())
            pacs.add(computed.datasets)
            if view:
                view.keep_truth(study, computed.truth)
    if studies:
        _print("", *list_learners(studies, pacs.folder))
        _print(
            "An accession number is made from the learner's name; the name itself is written into "
            "no object."
        )
    _print("", f"Ready; Ctrl-C stops it. Files lie in {pacs.folder.resolve()}.")


def _fate_of_files(options: argparse.Namespace) -> str:
    if options.folder is None:
        return "Its files are gone with it; --folder would have kept them."
    return f"Files lie in {options.folder.resolve()}; the same --folder serves them again."


def _print(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # at once, also into a file


if __name__ == "__main__":
    sys.exit(main())
