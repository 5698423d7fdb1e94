"""Draw the sheets to print: the map of the lesson, the failure ladder, and the cards for C-MOVE.

    python notebooks/teacher/draw_sheets.py

Writes map.svg and c_move_cards.svg, A4 in landscape, and with Chromium a PDF of each.
"""

import shutil
import subprocess
import tempfile
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
BLUE, GREY, INK = "#0b5394", "#f2f2f2", "#1a1a1a"

CELLS = [
    ("1", "Install", "pip, or nothing"),
    ("2", "Import", "a name for each step"),
    ("3", "Who?", "AE title, host, port"),
    ("4", "C-ECHO", "is it there?"),
    ("5", "The query", "empty keys match all"),
    ("6", "C-FIND", "study, then series"),
    ("7", "C-MOVE, C-GET", "count what arrives"),
    ("8", "What arrived?", "choose the series"),
    ("9", "Look", "centre WC, width WW"),
    ("10", "Find the lungs", "HU in, mask out"),
    ("11", "Results", "SEG, SR, overlay"),
    ("12", "Accepted?", "which kinds it takes"),
    ("13", "C-STORE", "proof by C-FIND"),
]
LADDER = [
    ("1 TCP", "refused at once: wrong port, or nothing listens", "the one with the wrong number"),
    ("", "no answer: a firewall, or another network", "the network's administrator"),
    ("2 Association", "rejected: called AE title (letter case counts)", "you"),
    ("", "rejected: calling AE title is not known", "the PACS's administrator"),
    ("3 Contexts", "no presentation context: class, syntax or role", "you, or the PACS's setting"),
    ("4 Message", "C-ECHO works, C-FIND is refused: no permission", "the PACS's administrator"),
    ("", "C-MOVE 0xA801: destination unknown", "the PACS's administrator"),
    ("", "C-MOVE, and nothing comes: wrong address", "the PACS's administrator"),
    ("5 Data", "fewer arrive than announced: count UIDs", "ask again; then the PACS"),
    ("6 Pixels", "air is not -1000: rescale or window", "the program"),
    ("7 Geometry", "looks good, wrong side: prove it in mm", "the program"),
    ("8 Identity", "stored, not shown: patient, study, frame", "the program"),
]
CARDS = [
    ("MAGICIAN", "the caller, at the laptop", [
        "Say to the PACS: “C-MOVE. Send study 1400059968 to the AE title MAGICIAN.”",
        "Then wait. On this connection no image comes back to you.",
        "You hear only how many were sent, and at the end a status.",
    ]),
    ("MAGICIAN'S RECEIVER", "the same person, the other hand", [
        "You sit behind a door, at 10.0.0.7, port 11112.",
        "Open if somebody knocks. Say: “MAGICIAN here. What do you bring?”",
        "Count what you get. Afterwards compare with what was announced.",
    ]),
    ("THE PACS", "the second person", [
        "Look into your address book: where is MAGICIAN?",
        "If it is there: walk to that address, knock, hand over one image after another.",
        "Tell the caller: “2 sent, 1 remaining”, and at the end “0x0000”.",
        "If it is not there: say “0xA801, move destination unknown”.",
    ]),
    ("ADDRESS BOOK OF THE PACS", "the teacher keeps it, and shows one line in each round", [
        "Round 1: MAGICIAN is at 10.0.0.7, port 11112.",
        "Round 2: no line. The PACS says 0xA801.",
        "Round 3: MAGICIAN is at 10.0.0.9: a wrong door.",
        "Ask before each round: what will happen? Who must change what?",
    ]),
]  # fmt: skip


def text(x, y, words, size=3.4, *, bold=False, colour=INK) -> str:
    weight = ' font-weight="bold"' if bold else ""
    place = f'x="{x}" y="{y}" font-size="{size}" fill="{colour}"'
    return f"<text {place}{weight}>{escape(words)}</text>"


def box(x, y, width, height, fill) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="1.5" fill="{fill}" '
        f'stroke="{BLUE}" stroke-width="0.4"/>'
    )


def page(title: str, parts: list[str]) -> str:
    """Make an A4 page in landscape, in millimetres."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="297mm" height="210mm" '
        'viewBox="0 0 297 210" font-family="Helvetica, Arial, Liberation Sans, sans-serif" '
        f'role="img"><title>{escape(title)}</title>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def draw_map() -> str:
    parts = [
        text(10, 15, "From the PACS to the network and back: thirteen cells", 6.5, bold=True),
    ]
    for i, (number, name, words) in enumerate(CELLS):
        row, column = divmod(i, 7)
        x, y = 10 + column * 40, 21 + row * 29
        parts += [
            box(x, y, 36, 23, GREY),
            text(x + 2, y + 7, number, 5, bold=True, colour=BLUE),
            text(x + 2, y + 14, name, 3.7, bold=True),
            text(x + 2, y + 19.5, words, 3),
        ]
        if column < 6 and i + 1 < len(CELLS):
            parts.append(text(x + 36.6, y + 13, "→", 4, colour=BLUE))
    parts += [
        text(252, 57, "After it: look (14), sum", 3),
        text(252, 62, "up (15), clean up (16)", 3),
        text(10, 90, "It fails? Climb the ladder, from the lowest rung", 6.5, bold=True),
    ]
    top, height = 95, 8.1
    for x, words in ((12, "layer"), (48, "what you see"), (180, "who must change something")):
        parts.append(text(x, top + 4, words, 3.2, bold=True, colour=BLUE))
    for i, (layer, sign, who) in enumerate(LADDER):
        y = top + 6 + i * height
        if i % 2 == 0:
            parts.append(f'<rect x="10" y="{y}" width="277" height="{height}" fill="{GREY}"/>')
        parts += [
            text(12, y + 5.4, layer, 3.8, bold=True),
            text(48, y + 5.4, sign, 3.8),
            text(180, y + 5.4, who, 3.8),
        ]
    foot = "diagnose(pacs) climbs rungs 1 to 4 for you. For teaching and research only."
    parts.append(text(10, 204.5, foot, 3))
    return page("Map of the thirteen cells, and the failure ladder", parts)


def draw_cards() -> str:
    parts = []
    for i, (name, role, lines) in enumerate(CARDS):
        x, y = 8 + (i % 2) * 142, 8 + (i // 2) * 99
        parts += [
            box(x, y, 138, 94, "white"),
            text(x + 6, y + 14, name, 7, bold=True, colour=BLUE),
            text(x + 6, y + 22, role, 4),
        ]
        line_y = y + 36
        for line in lines:
            for piece in _wrapped(line, 46):
                parts.append(text(x + 6, line_y, piece, 4.4))
                line_y += 6
            line_y += 3
    return page("C-MOVE with cards, for two people", parts)


def _wrapped(line: str, width: int) -> list[str]:
    pieces = [""]
    for word in line.split():
        if len(pieces[-1]) + len(word) > width:
            pieces.append("")
        pieces[-1] = f"{pieces[-1]} {word}".strip()
    return pieces


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    for name, svg in (("map", draw_map()), ("c_move_cards", draw_cards())):
        (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")
        if chromium is None:
            print("Without Chromium, no PDF is made.")
            continue
        style = "@page { size: A4 landscape; margin: 0 } body { margin: 0 } svg { display: block }"
        with tempfile.TemporaryDirectory() as folder:
            html = Path(folder) / "page.html"
            html.write_text(f"<meta charset='utf-8'><style>{style}</style>{svg}", encoding="utf-8")
            options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
            target = f"--print-to-pdf={HERE / f'{name}.pdf'}"
            command = [
                chromium,
                *options,
                f"--user-data-dir={folder}/profile",
                target,
                html.as_uri(),
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
