"""How to connect an AI algorithm to a PACS: the library behind the tutorial notebook.

The network side (`association`, `storage`, `query_retrieve`, `practice_pacs`) and the image side
(`volume`, `segmentation`, `result`, `conformance`, `display`, `viewer`, `phantom`) know nothing of
each other; they meet in the notebook, and in `verify`.
"""

from __future__ import annotations

from magician.checks.conformance import Conformance, check_conformance
from magician.checks.rebuild import read_segmentation
from magician.checks.round_trip import RoundTrip, verify_round_trip
from magician.client.diagnosis import Diagnosis, diagnose
from magician.client.echo import echo
from magician.client.find import find_instances, find_series, find_studies
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
    StudyNotFound,
    TlsFailure,
    UnknownMoveDestination,
    WeightsUnavailable,
)
from magician.node import Node
from magician.practice_pacs.pacs import PracticePacs
from magician.rendering.windowing import window
from magician.results.make import Results, make_results, save
from magician.segmentation.lungs import LungSegmentation, dice, segment_lungs, volumes_ml
from magician.segmentation.threshold import threshold_lungs
from magician.tables import show_table
from magician.teaching.careless import careless_overlay
from magician.teaching.phantom import TeachingStudy, teaching_study
from magician.tls import client_tls, server_tls
from magician.upper_layer.limits import Limits
from magician.version import __version__ as __version__

__all__ = [
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
    "Stored",
    "StudyNotFound",
    "TeachingStudy",
    "TlsFailure",
    "UnknownMoveDestination",
    "WeightsUnavailable",
    "accepted_contexts",
    "associate",
    "careless_overlay",
    "check_conformance",
    "client_tls",
    "compare",
    "contact_sheet",
    "ct_viewer",
    "density_histogram",
    "describe_status",
    "diagnose",
    "dice",
    "echo",
    "find_instances",
    "find_series",
    "find_studies",
    "get_study",
    "list_series",
    "lung_surface",
    "make_results",
    "montage",
    "move_study",
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
