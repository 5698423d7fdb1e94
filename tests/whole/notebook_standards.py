"""What every lesson keeps to, and a sentence for each thing that it does not keep.

    python tests/whole/notebook_standards.py notebooks/02_when_it_fails.ipynb

`violations` looks at a lesson with its outputs, `violations_of_a_class_copy` at one without. Each
sentence starts with a word for the kind of rule.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
WORDS = Path(__file__).with_name("words.txt")

LESSON_WORDS, SECTION_WORDS = 2600, 450  # of text outside folds
CODE_CELLS, CODE_LINES, COLUMNS = 32, 12, 100
LESSON_MINUTES = range(30, 46)
FIGURE_BYTES, OUTPUT_LINES, NOTEBOOK_BYTES = 200_000, 60, 1_000_000
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
FOLD = re.compile(r"<details>(.*?)</details>", re.DOTALL)
IF_NOT = re.compile(r"<details>\s*<summary>\s*<i>If not[^<]*</i>\s*</summary>", re.DOTALL)
# Sentences over which residents stumbled whose first language is another one
HARD = (
    "what your Python has already stays as it is",
    "in place of `0`, and the patient is another one",
    "decides over right and wrong before it has run",
    "which stands still as long as other cells run",
    "the hollow of the scanner's table",
    "the hollow of the table",
    "is drawn like the frame of the slice that it stands for",
    "a mean says little about a lung of two parts",
    "Thresholds hold for the thickness, kernel and breath",
    "has its say, too",
    "means *under a condition*",
    "the time of the study is another in each",
    "What an attribute means stands in the clause",
)


def violations(path: Path) -> list[str]:
    """List what a lesson does not keep, with its stored outputs."""
    lesson = Lesson(path)
    rules = (
        _head, _minutes, _sections, _numbers, _code, _names, _after_cells, _words, _links,
        _pictures, _badge, _hard_sentences, _repairs, _spelling, _outputs, _order,
    )  # fmt: skip
    return [sentence for rule in rules for sentence in rule(lesson)]


def violations_of_a_class_copy(path: Path) -> list[str]:
    """List what in a copy for learners could tell an answer before the first key is pressed."""
    lesson = Lesson(path)
    found = []
    for cell in lesson.code:
        if cell["outputs"]:
            found.append(f"output: {name_of(cell)} has a stored output")
        if cell["execution_count"] is not None:
            found.append(f"output: {name_of(cell)} has an execution count")
    if "widgets" in lesson.metadata:
        found.append("output: the state of widgets is stored")
    return found


class Lesson:
    """A notebook, taken apart."""

    def __init__(self, path: Path) -> None:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        self.path, self.metadata = path, notebook["metadata"]
        self.cells = notebook["cells"]
        self.code = [cell for cell in self.cells if cell["cell_type"] == "code"]
        self.texts = [source(cell) for cell in self.cells if cell["cell_type"] == "markdown"]
        self.head = re.split(r"(?m)^## ", self.texts[0])[0] if self.texts else ""

    @property
    def number(self) -> int:
        """The lesson's number, with which the name of its file starts."""
        return int(self.path.stem[:2])

    def sections(self) -> list[tuple[str, list[str], list[dict]]]:
        """Heading, texts and code cells of each section; what stands before the first is none."""
        found: list[tuple[str, list[str], list[dict]]] = []
        for cell in self.cells:
            if cell["cell_type"] == "code":
                if found:
                    found[-1][2].append(cell)
                continue
            before, *parts = re.split(r"(?m)^## ", source(cell))
            if found:
                found[-1][1].append(before)
            for part in parts:
                heading, _, rest = part.partition("\n")
                found.append((heading.strip(), [rest], []))
        return found


def source(cell: dict) -> str:
    return "".join(cell["source"])


def name_of(cell: dict) -> str:
    """The cell's name as its first line gives it: Cell 3a."""
    return source(cell).partition("\n")[0].removeprefix("# ").partition(":")[0] or "an empty cell"


def outside_folds(text: str) -> str:
    return FOLD.sub(" ", text)


def count_words(text: str) -> int:
    """Count what one reads: no code blocks, no addresses, no alt texts, no folds."""
    text = re.sub(r"```.*?```", " ", outside_folds(text), flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)|<[^>]*>", " ", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return len(re.findall(r"\S*\w\S*", text))


def _head(lesson: Lesson) -> Iterator[str]:
    titles = re.findall(r"(?m)^# .+$", "\n".join(lesson.texts))
    if len(titles) != 1 or not lesson.head.lstrip().startswith("# "):
        yield f"title: the lesson starts with one heading '# ...', and has {len(titles)}"
    goals = lesson.head.partition("**You will**")[2].partition("**You need**")[0]
    if len(re.findall(r"(?m)^- [a-z]", goals)) < 2:
        yield "goals: after '**You will**' stand two or more lines '- verb ...'"
    for words in ("**You need**", "Not for diagnosis"):
        if words not in lesson.head:
            yield f"head: {words!r} is missing"
    if not re.search(rf"\*({MONTHS}) 20\d\d\*", lesson.head):
        yield "head: a date such as *November 2026* is missing"


def _minutes(lesson: Lesson) -> Iterator[str]:
    said = [int(number) for number in re.findall(r"(\d+) minutes", lesson.head)]
    if not said or said[0] not in LESSON_MINUTES:
        yield f"minutes: the head says '30 minutes' to '45 minutes', and not {said or 'nothing'}"
        return
    total = 0
    for heading, _, code in lesson.sections():
        found = re.search(r"\((\d+) minutes?(, homework)?\)$", heading)
        if code and not found:
            yield f"minutes: the heading {heading!r} does not end with (n minutes)"
        if found and not found[2]:
            total += int(found[1])
    if not 0.85 * said[0] <= total <= 1.15 * said[0]:
        yield f"minutes: the head says {said[0]}, and the sections together have {total}"


def _sections(lesson: Lesson) -> Iterator[str]:
    headings = [heading for heading, _, _ in lesson.sections()]
    if len(headings) < 4:
        yield f"sections: four or more, and not {len(headings)}"
    if "What to take home" not in headings:
        yield "sections: '## What to take home' is missing"
    yield from (f"sections: {x!r} is there twice" for x in set(headings) if headings.count(x) > 1)


def _numbers(lesson: Lesson) -> Iterator[str]:
    form = r"\d+[a-z]?" if lesson.number == 1 else rf"{lesson.number}\.\d+[a-z]?"
    seen = set()
    for cell in lesson.code:
        first = source(cell).partition("\n")[0]
        found = re.fullmatch(rf"# Cell ({form}): \S.*", first)
        if not found:
            yield f"number: a cell starts with {first!r}, and not with '# Cell n: what it does'"
        elif found[1] in seen:
            yield f"number: two cells are Cell {found[1]}"
        else:
            seen.add(found[1])


def _code(lesson: Lesson) -> Iterator[str]:
    if len(lesson.code) > CODE_CELLS:
        yield f"cells: {len(lesson.code)} code cells, and at most {CODE_CELLS}"
    for cell in lesson.code:
        lines = source(cell).splitlines()
        if len(lines) > CODE_LINES:
            yield f"length: {name_of(cell)} has {len(lines)} lines, and at most {CODE_LINES}"
        if max(map(len, lines), default=0) > COLUMNS:
            yield f"length: {name_of(cell)} has a line of more than {COLUMNS} characters"
        if "nbval-skip" in cell["metadata"].get("tags", []):
            yield f"skip: {name_of(cell)} is left out of the test"


class _Names(ast.NodeVisitor):
    """Which names a cell binds to data, uses for a loop, imports, and takes from elsewhere."""

    def __init__(self, code: str) -> None:
        self.data: set[str] = set()
        self.loop: set[str] = set()
        self.imported: set[str] = set()
        self.of_magician: set[str] = set()
        self.loaded: set[str] = set()
        # names of comprehensions and functions are their own
        self.inner: set[str] = set()
        lines = (line for line in code.splitlines() if not line.lstrip().startswith(("%", "!")))
        self.visit(ast.parse("\n".join(lines)))

    def visit_Import(self, node: ast.Import) -> None:
        self.imported |= {(x.asname or x.name).split(".")[0] for x in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = {x.asname or x.name for x in node.names}
        self.imported |= names
        if (node.module or "").split(".")[0] == "magician":
            self.of_magician |= names

    def visit_For(self, node: ast.For) -> None:
        self.loop |= {x.id for x in ast.walk(node.target) if isinstance(x, ast.Name)}
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.inner |= {x.id for x in ast.walk(node.target) if isinstance(x, ast.Name)}
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.inner |= {node.name or ""}
        self.generic_visit(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.inner |= {x.arg for x in ast.walk(node.args) if isinstance(x, ast.arg)}
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.data.add(node.name)
        self.inner |= {x.arg for x in ast.walk(node.args) if isinstance(x, ast.arg)}
        self.inner |= {
            x.id for x in ast.walk(node) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
        }
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        (self.loaded if isinstance(node.ctx, ast.Load) else self.data).add(node.id)

    def finish(self) -> None:
        self.data -= self.loop | self.inner


def _names(lesson: Lesson) -> Iterator[str]:
    bound: dict[str, str] = {}
    imported_before: dict[str, str] = {}
    library: set[str] = set()
    for cell in lesson.code:
        here = name_of(cell)
        try:
            names = _Names(source(cell))
        except SyntaxError as error:
            yield f"names: {here} is no Python ({error.msg})"
            continue
        names.finish()
        for name in sorted(names.data | names.loop):
            if name in bound and name in names.data:
                yield f"names: {name!r} is bound in {bound[name]} and again in {here}"
            elif name in bound and not bound[name].endswith("(loop)"):
                yield f"names: the loop in {here} overwrites {name!r} of {bound[name]}"
        known = bound.keys() | names.imported | names.data | names.loop | names.inner
        for name in sorted(names.loaded - known - set(dir(builtins)) - {"display", "get_ipython"}):
            if name in library:
                yield f"names: {here} takes {name!r} from the import in {imported_before[name]}"
            elif name not in imported_before:
                yield f"names: {here} uses {name!r}, which no cell before it makes"
        bound |= {name: here for name in sorted(names.data)}
        bound |= {name: f"{here} (loop)" for name in names.loop if name not in bound}
        imported_before |= {name: here for name in names.imported}
        library |= names.of_magician


def _after_cells(lesson: Lesson) -> Iterator[str]:
    for cell, after in zip(lesson.cells, [*lesson.cells[1:], None], strict=True):
        if cell["cell_type"] != "code":
            continue
        text = source(after) if after and after["cell_type"] == "markdown" else ""
        if not text.startswith("**You should see**"):
            yield f"after: {name_of(cell)} is not followed by '**You should see** ...'"
        if not IF_NOT.search(text) or text.count("<details>") != text.count("</details>"):
            yield (
                f"after: {name_of(cell)} has no folded <details><summary><i>If not</i></summary> "
                "... </details>"
            )


def _words(lesson: Lesson) -> Iterator[str]:
    total = sum(map(count_words, lesson.texts))
    if total > LESSON_WORDS:
        yield f"words: {total} outside folds, and at most {LESSON_WORDS}"
    for heading, texts, _ in lesson.sections():
        number = sum(map(count_words, texts))
        if number > SECTION_WORDS:
            yield f"words: section {heading!r} has {number}, and at most {SECTION_WORDS}"


def _links(lesson: Lesson) -> Iterator[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", "\n".join(lesson.texts))
    anchors = {heading.strip().replace(" ", "-") for heading in headings}
    for text in lesson.texts:
        text = re.sub(r"`[^`]*`", "", text)
        for link in re.findall(r"\]\(([^)]*)\)|(?:src|href)=[\"']([^\"']*)", text):
            target = "".join(link)
            parts = urlsplit(target)
            if target.startswith("#"):
                if target[1:] not in anchors:
                    yield f"link: {target!r} leads to no heading"
            elif parts.scheme or parts.netloc:
                good = parts.scheme in ("http", "https") and "." in (parts.hostname or "")
                if not good or re.search(r"\s", target):
                    yield f"link: {target!r} is no address of a page"
            elif not target or not (lesson.path.parent / parts.path).exists():
                yield f"link: {target!r} is not there"


def _pictures(lesson: Lesson) -> Iterator[str]:
    for text in lesson.texts:
        shown = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", text)
        for tag in re.findall(r"<img[^>]*>", text):
            alt = re.search(r"alt=[\"']([^\"']*)", tag)
            shown.append((alt[1] if alt else "", tag))
        for alt, picture in shown:
            if len(alt.split()) < 5:
                yield f"alt: {picture} has no sentence for those who can't see it"


@cache
def _address_is_open() -> bool:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return "OWNER" in project["urls"]["Repository"]


def _badge(lesson: Lesson) -> Iterator[str]:
    text = "\n".join(lesson.texts)
    if _address_is_open() and re.search(r"colab-badge|/OWNER/|github\.invalid", text):
        yield "badge: a link or a badge leads to an address that is not known yet"


def _hard_sentences(lesson: Lesson) -> Iterator[str]:
    text = " ".join(" ".join(lesson.texts).split())
    yield from (f"hard: {sentence!r} is hard to read" for sentence in HARD if sentence in text)


def _repairs(lesson: Lesson) -> Iterator[str]:
    for text in lesson.texts:
        if any("allow_identified" in fold for fold in FOLD.findall(text) if "If not" in fold):
            yield "repair: an 'If not' offers allow_identified"


@cache
def _checker():
    from spellchecker import SpellChecker

    checker = SpellChecker(language="en")
    lines = WORDS.read_text(encoding="utf-8").splitlines()
    checker.word_frequency.load_words(x.strip().lower() for x in lines if x[:1] not in ("", "#"))
    return checker


def _spelling(lesson: Lesson) -> Iterator[str]:
    unknown = misspelled("\n".join(lesson.texts))
    if unknown:
        yield f"spelling: {', '.join(unknown)} (a word of the field goes into {WORDS.name})"


def misspelled(text: str) -> list[str]:
    """List the words that neither the dictionary nor the field's list knows."""
    text = re.sub(r"```.*?```|<pre>.*?</pre>", " ", text, flags=re.DOTALL)
    # code, addresses, tags, and names of objects in capitals and bumps are no words
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|<[^>]*>|https?://\S+|\b\S*[a-z][A-Z]\S*", " ", text)
    words = {word.lower() for word in re.findall(r"\b[A-Za-z]?[a-z]{2,}\b", text)}
    return sorted(_checker().unknown(words))


def _outputs(lesson: Lesson) -> Iterator[str]:
    if "widgets" in lesson.metadata:
        yield "output: the state of widgets is stored"
    if lesson.path.stat().st_size > NOTEBOOK_BYTES:
        yield f"output: the notebook has more than {NOTEBOOK_BYTES} bytes"
    for cell in lesson.code:
        for output in cell["outputs"]:
            data = output.get("data", {})
            text = "".join(output.get("text") or data.get("text/plain", ""))
            if len(text.splitlines()) > OUTPUT_LINES:
                yield f"output: {name_of(cell)} prints more than {OUTPUT_LINES} lines"
            expected = "raises-exception" in cell["metadata"].get("tags", [])
            if output["output_type"] == "error" and not expected:
                yield f"output: {name_of(cell)} ends with an error"
            for kind, figure in data.items():
                if kind.startswith("image/") and len("".join(figure)) * 3 / 4 > FIGURE_BYTES:
                    yield f"output: a figure of {name_of(cell)} has more than {FIGURE_BYTES} bytes"
            if re.search(r"\bcheck\(", source(cell)) and re.search(r"(?m)^[^\n:]+: right\.", text):
                yield f"answer: {name_of(cell)} shows the right answer of a check"


def _order(lesson: Lesson) -> Iterator[str]:
    counts = [cell["execution_count"] for cell in lesson.code]
    if counts != list(range(1, len(counts) + 1)):
        yield "order: the stored outputs are not those of one run from first to last cell"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}:", *(violations(Path(name)) or ["nothing to complain"]), sep="\n  ")
