"""How to connect an AI algorithm to a PACS: the library behind the tutorial notebooks.

What a notebook uses is imported from here: `from magician import get_study`. A name loads the file
that holds it at its first use (PEP 562). So a CT can be read and segmented without pynetdicom, and
a PACS can be called without PyTorch.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from magician.version import __version__ as __version__

if TYPE_CHECKING:  # the imports that happen at the first use, for editors and type checkers
    from magician import errors as errors
    from magician import web as web
    from magician.checks.conformance import Conformance, check_conformance
    from magician.checks.round_trip import RoundTrip, verify_round_trip
    from magician.checks.segmentation_reader import read_segmentation
    from magician.client.diagnosis import Diagnosis, diagnose
    from magician.client.echo import echo
    from magician.client.find import find_instances, find_series, find_studies, only_study
    from magician.client.retrieve import Retrieval, get_study, move_study
    from magician.client.store import Stored, accepted_contexts, store
    from magician.ct.selection import SeriesSummary
    from magician.ct.volume import CTVolume, list_series, read_series
    from magician.dimse.association import associate
    from magician.dimse.receiver import Receiver
    from magician.dimse.status import describe_status
    from magician.display.figures import (
        compare,
        contact_sheet,
        density_histogram,
        lung_surface,
        montage,
        three_planes,
        window_viewer,
    )
    from magician.display.viewer import ct_viewer
    from magician.errors import (
        AssociationAborted,
        AssociationRejected,
        DimseFailure,
        IncompleteRetrieve,
        MagicianError,
        NoLungsFound,
        NotDeidentified,
        PacsTimeout,
        PacsUnreachable,
        ResultError,
        SegmentationError,
        SeriesError,
        ServiceNotAccepted,
        SeveralStudies,
        StudyNotFound,
        TlsFailure,
        UnknownMoveDestination,
        WeightsUnavailable,
        WrongAnswer,
    )
    from magician.node import Node
    from magician.practice_pacs.pacs import PracticePacs
    from magician.rendering.windowing import window
    from magician.results.careless import careless_overlay
    from magician.results.make import Results, make_results, save
    from magician.segmentation.lungs import LungSegmentation, dice, segment_lungs, volumes_ml
    from magician.segmentation.threshold import threshold_lungs
    from magician.tables import show_table
    from magician.teaching.exercises import Answer, check, drill, my_progress
    from magician.teaching.lessons import lesson
    from magician.teaching.phantom import TeachingStudy, teaching_study
    from magician.teaching.predictions import predict
    from magician.tls import client_tls, server_tls
    from magician.upper_layer.limits import Limits

__all__ = [
    "Answer",
    "AssociationAborted",
    "AssociationRejected",
    "CTVolume",
    "Conformance",
    "Diagnosis",
    "DimseFailure",
    "IncompleteRetrieve",
    "Limits",
    "LungSegmentation",
    "MagicianError",
    "NoLungsFound",
    "Node",
    "NotDeidentified",
    "PacsTimeout",
    "PacsUnreachable",
    "PracticePacs",
    "Receiver",
    "ResultError",
    "Results",
    "Retrieval",
    "RoundTrip",
    "SegmentationError",
    "SeriesError",
    "SeriesSummary",
    "ServiceNotAccepted",
    "SeveralStudies",
    "Stored",
    "StudyNotFound",
    "TeachingStudy",
    "TlsFailure",
    "UnknownMoveDestination",
    "WeightsUnavailable",
    "WrongAnswer",
    "accepted_contexts",
    "associate",
    "careless_overlay",
    "check",
    "check_conformance",
    "client_tls",
    "compare",
    "contact_sheet",
    "ct_viewer",
    "density_histogram",
    "describe_status",
    "diagnose",
    "dice",
    "drill",
    "echo",
    "find_instances",
    "find_series",
    "find_studies",
    "get_study",
    "lesson",
    "list_series",
    "lung_surface",
    "make_results",
    "montage",
    "move_study",
    "my_progress",
    "only_study",
    "predict",
    "read_segmentation",
    "read_series",
    "save",
    "segment_lungs",
    "server_tls",
    "show_table",
    "store",
    "teaching_study",
    "three_planes",
    "threshold_lungs",
    "verify_round_trip",
    "volumes_ml",
    "window",
    "window_viewer",
]

# Each module with the public names that it holds: what the imports above say to type checkers
MODULES = {
    "checks.conformance": "Conformance check_conformance",
    "checks.round_trip": "RoundTrip verify_round_trip",
    "checks.segmentation_reader": "read_segmentation",
    "client.diagnosis": "Diagnosis diagnose",
    "client.echo": "echo",
    "client.find": "find_instances find_series find_studies only_study",
    "client.retrieve": "Retrieval get_study move_study",
    "client.store": "Stored accepted_contexts store",
    "ct.selection": "SeriesSummary",
    "ct.volume": "CTVolume list_series read_series",
    "dimse.association": "associate",
    "dimse.receiver": "Receiver",
    "dimse.status": "describe_status",
    "display.figures": "compare contact_sheet density_histogram lung_surface montage three_planes "
    "window_viewer",
    "display.viewer": "ct_viewer",
    "errors": "AssociationAborted AssociationRejected DimseFailure IncompleteRetrieve "
    "MagicianError NoLungsFound NotDeidentified PacsTimeout PacsUnreachable ResultError "
    "SegmentationError SeriesError ServiceNotAccepted SeveralStudies StudyNotFound TlsFailure "
    "UnknownMoveDestination WeightsUnavailable WrongAnswer",
    "node": "Node",
    "practice_pacs.pacs": "PracticePacs",
    "rendering.windowing": "window",
    "results.careless": "careless_overlay",
    "results.make": "Results make_results save",
    "segmentation.lungs": "LungSegmentation dice segment_lungs volumes_ml",
    "segmentation.threshold": "threshold_lungs",
    "tables": "show_table",
    "teaching.exercises": "Answer check drill my_progress",
    "teaching.lessons": "lesson",
    "teaching.phantom": "TeachingStudy teaching_study",
    "teaching.predictions": "predict",
    "tls": "client_tls server_tls",
    "upper_layer.limits": "Limits",
}
MODULE_OF = {name: module for module, names in MODULES.items() for name in names.split()}
# Modules that are used by their own name after `import magician`
PUBLIC_MODULES = ("errors", "web")


def _explain_errors() -> None:
    """Let a notebook explain two kinds of errors in words; nothing happens outside IPython.

    A name that is missing is told by the cell that makes it. A ValueError of this library is shown
    as its message. What handled errors in the notebook before, as Colab does, handles the others.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    kinds = getattr(shell, "custom_exceptions", None)
    if kinds is None or NameError in kinds:
        return
    earlier = shell.CustomTB

    def explain(shell: Any, kind: Any, error: Any, traceback: Any, tb_offset: Any = None) -> Any:
        if not issubclass(kind, (NameError, ValueError)):
            return earlier(kind, error, traceback, tb_offset=tb_offset)
        from magician.teaching.lessons import is_from_here, show_name_error, show_value_error

        if issubclass(kind, NameError):
            return show_name_error(shell, error, __all__, tb_offset)
        if is_from_here(error) or not (kinds and issubclass(kind, kinds)):
            return show_value_error(shell, error, tb_offset)
        return earlier(kind, error, traceback, tb_offset=tb_offset)

    shell.set_custom_exc((NameError, ValueError, *kinds), explain)


if not TYPE_CHECKING:  # a type checker would take every misspelt name for one that this loads

    def __getattr__(name: str) -> Any:
        """Load the module that holds a public name, and keep the name for the next time."""
        if name in MODULE_OF:
            value = getattr(importlib.import_module(f"{__name__}.{MODULE_OF[name]}"), name)
        elif name in PUBLIC_MODULES:
            value = importlib.import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        _explain_errors()
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *PUBLIC_MODULES})
