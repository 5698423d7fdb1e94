"""The pages of a practice PACS, as HTML: its studies, one study, one series, and an error.

Everything that comes from DICOM goes through `Markup.format`, which escapes it: a patient's name
may hold HTML. All addresses are relative, so that the pages work under whatever path a notebook
server shows them.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from pydicom.uid import UID, CTImageStorage

from magician.web.pictures import WINDOWS, why_no_picture

Held = dict[str, str]  # what the index of the PACS knows of a study, a series or an instance
EDGES = ("left", "right", "upper")

PAGE = Markup("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{root}page.css">
<link rel="icon" href="data:,">
</head>
<body>
<p id="stopped" role="alert" hidden>This PACS was stopped, and its page with it. You see what the
page showed last. To look again, start the PACS, then open the page anew.</p>
<header><nav aria-label="Where you are">{path}</nav><h1>{title}</h1></header>
{body}
<footer>A practice PACS, for teaching. Not for diagnosis. {hint}</footer>
{script}
</body>
</html>
""")
LOOK_AGAIN = Markup('<a href="">Look again</a> for what has arrived since.')
WATCH = Markup('<script src="{root}watch.js" data-alive="{root}alive"></script>')


def make_page(
    title: str,
    root: str,
    path: Sequence[tuple[str, str]],
    body: Markup,
    *,
    hint: Markup = LOOK_AGAIN,
    watched: bool = True,
) -> str:
    """Return a whole page.

    Parameters
    ----------
    title : str
    root : str
        The relative address of the first page.
    path : sequence of (str, str)
        The pages above this one: address and name of each.
    body : Markup
    hint : Markup
        What stands at the end of its last line.
    watched : bool
        Whether the page says so when its server is gone.
    """
    links = Markup(" / ").join(
        Markup('<a href="{}">{}</a>').format(address, name) for address, name in path
    )
    script = WATCH.format(root=root) if watched else ""
    return PAGE.format(title=title, root=root, path=links, body=body, hint=hint, script=script)


def list_studies(ae_title: str, held: list[Held]) -> str:
    """Return the page of all studies of the PACS, those that arrived last at the top."""
    columns = {
        "PatientName": "Patient",
        "PatientID": "Patient ID",
        "StudyDate": "Date",
        "StudyDescription": "Study",
        "AccessionNumber": "Accession number",
        "ModalitiesInStudy": "Modalities",
        "NumberOfStudyRelatedSeries": "Series",
        "NumberOfStudyRelatedInstances": "Objects",
    }
    head = Markup().join(
        Markup('<th scope="col">{}</th>').format(name) for name in columns.values()
    )
    rows = Markup().join(_row_of_study(study, columns) for study in reversed(held))
    body = Markup(
        '<main><table class="studies"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></main>'
    )
    nothing = Markup(
        "<main><p>It holds nothing yet: send something to it, and look again.</p></main>"
    )
    return make_page(
        f"{ae_title}: {_count(len(held), 'study', 'studies')}",
        "",
        [],
        body.format(head, rows) if held else nothing,
    )


def _row_of_study(study: Held, columns: dict[str, str]) -> Markup:
    study = study | {"ModalitiesInStudy": ", ".join(sorted(study["ModalitiesInStudy"].split(",")))}
    cells = [
        Markup('<td data-label="{}">{}</td>').format(label, study[keyword])
        for keyword, label in columns.items()
    ]
    name = study["PatientName"] or "(no name)"
    link = Markup('<a href="studies/{}/">{}</a>').format(study["StudyInstanceUID"], name)
    cells[0] = Markup('<th scope="row" data-label="{}">{}</th>').format(
        columns["PatientName"], link
    )
    return Markup("<tr>{}</tr>").format(Markup().join(cells))


def list_series(ae_title: str, series: list[Held]) -> str:
    """Return the page of one study: its series, each with a thumbnail."""
    first = series[0]
    facts = _facts(
        first,
        {
            "PatientID": "Patient ID",
            "StudyDate": "Date",
            "StudyDescription": "Study",
            "AccessionNumber": "Accession number",
        },
    )
    cards = Markup().join(map(_card_of_series, series))
    body = Markup('<main>{}<ul class="series">{}</ul></main>').format(facts, cards)
    return make_page(first["PatientName"] or "(no name)", "../../", [("../../", ae_title)], body)


def _card_of_series(series: Held) -> Markup:
    name = name_of_series(series)
    if reason := why_no_picture(series):
        picture = Markup('<span class="none">{}</span>').format(reason)
    else:
        picture = Markup(
            '<img src="series/{}/thumbnail.jpg" alt="An image from the middle of {}" '
            'loading="lazy">'
        )
        picture = picture.format(series["SeriesInstanceUID"], name)
    objects = _count(int(series["NumberOfSeriesRelatedInstances"]), "object", "objects")
    return Markup('<li><a href="series/{}/">{}<b>{}</b></a><span>{}, {}</span></li>').format(
        series["SeriesInstanceUID"], picture, name, _kind(series), objects
    )


def show_series(
    ae_title: str,
    held: list[Held],
    letters: list[Sequence[str]],
    number: int,
    window: str,
    *,
    in_hu: bool,
) -> str:
    """Return the page of one series, to scroll through its images.

    Parameters
    ----------
    ae_title : str
        The title of the PACS.
    held : list
        The instances of the series, in the order in which they are shown.
    letters : list
        For each instance, the sides of the patient at its left, right and upper edge; empty if they
        are not known.
    number : int
        The instance to begin with, from 1.
    window : str
        A name from `WINDOWS`, or empty for the window that the image itself names.
    in_hu : bool
        Whether the images hold Hounsfield units. Others are shown in grey levels of their own, and
        have no choice of windows.
    """
    first, shown = held[0], held[number - 1]
    name, is_ct = name_of_series(first), first["SOPClassUID"] == CTImageStorage
    has_windows = is_ct and in_hu
    facts = _facts(
        first, {"PatientName": "Patient", "PatientID": "Patient ID", "StudyDate": "Date"}
    )
    if reason := why_no_picture(first):
        body = Markup('<main>{}<p class="none">{}: {}</p></main>').format(
            facts, _kind(first), reason
        )
    else:
        body = VIEWER.format(
            facts=facts,
            instances=" ".join(instance["SOPInstanceUID"] for instance in held),
            name=name,
            uid=shown["SOPInstanceUID"],
            query=f"?window={window}" if window else "",
            number=number,
            count=len(held),
            keys="0, 1, 2 and 3: the windows, in this order." if has_windows else "",
            windows=_windows(window) if has_windows else NOT_IN_HU if is_ct else "",
            letters=" ".join(",".join(sides) for sides in letters),
            edges=_edges(letters[number - 1]),
        )
    path = [("../../../../", ae_title), ("../../", first["PatientName"] or "(no name)")]
    return make_page(name, "../../../../", path, body)


NOT_IN_HU = Markup(
    '<p class="help">The grey levels show stored values, and not Hounsfield units (HU): these '
    "images have no Rescale Slope, or one to another unit.</p>"
)
VIEWER = Markup("""<main id="viewer" data-instances="{instances}" data-letters="{letters}"
data-name="{name}">
{facts}
<figure>
<div id="frame">
<div id="stage"><img src="instances/{uid}.jpg{query}" alt="Image {number} of {count}, {name}"></div>
{edges}</div>
<figcaption><output id="where" for="image">Image {number} of {count}</output>
<span id="loading"></span></figcaption>
</figure>
<form>
<p><label for="image">Image</label>
<input type="range" id="image" name="image" min="1" max="{count}" value="{number}"></p>
{windows}
<p><button>Show</button></p>
</form>
<p class="help">Arrow keys, the wheel over the picture, or the slider: image by image.
Page Up and Page Down: ten. Home and End: first and last. {keys}</p>
</main>
<script src="../../../../page.js"></script>""")


def _edges(letters: Sequence[str]) -> Markup:
    return Markup().join(
        Markup('<abbr class="{}" title="{} edge">{}</abbr>').format(edge, edge, letter)
        for edge, letter in zip(EDGES, letters or ("", "", ""), strict=True)
    )


def _windows(chosen: str) -> Markup:
    choices = {"": "as the image says"} | {
        name: f"{name.replace('-', ' ')} {center:g}, {width:g}"
        for name, (center, width) in WINDOWS.items()
    }
    radios = Markup().join(
        Markup('<label><input type="radio" name="window" value="{}"{}> {}</label>').format(
            name, Markup(" checked") if name == chosen else "", text
        )
        for name, text in choices.items()
    )
    return Markup("<fieldset><legend>Window: centre and width in HU</legend>{}</fieldset>").format(
        radios
    )


def show_error(status: str, reason: str) -> str:
    """Return the page of an error, in words.

    It has no link: a relative one would need to know how deep the address was.
    """
    body = Markup("<main><p>{}</p></main>").format(reason)
    return make_page(status, "", [], body, watched=False)


def name_of_series(series: Held) -> str:
    """Return the name of a series: its description, else its number."""
    return series["SeriesDescription"] or f"Series {series['SeriesNumber'] or 'without a name'}"


def _kind(series: Held) -> str:
    return f"{series['Modality']} ({UID(series['SOPClassUID']).name.removesuffix(' Storage')})"


def _facts(held: Held, keywords: dict[str, str]) -> Markup:
    facts = Markup().join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(label, held[keyword])
        for keyword, label in keywords.items()
        if held[keyword]
    )
    return Markup("<dl>{}</dl>").format(facts)


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"
