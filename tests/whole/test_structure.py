"""Who imports whom, and what an import costs: the shape of the library."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import magician

PACKAGE = Path(magician.__file__).parent
ROOT = Path(__file__).resolve().parents[2]

GROUND = {"errors", "version", "node", "tls", "files", "progress", "tables", "privacy"}
GROUND |= {"elements", "keys"}
# What a module of the ground may import of the others
WITHIN_THE_GROUND = {"tls": {"errors"}, "privacy": {"errors", "node"}, "keys": {"elements"}}
# Each room, and the rooms that it may import beside the ground
MAY_IMPORT = {
    "upper_layer": set(),
    "dimse": {"upper_layer"},
    "client": {"dimse"},
    "practice_pacs": {"dimse", "upper_layer"},
    "anatomy": set(),
    "ct": set(),
    "rendering": {"ct"},
    "segmentation": {"ct"},
    "results": {"segmentation", "rendering", "ct"},
    "display": {"segmentation", "rendering", "ct"},
    "checks": {"results", "client", "ct"},
    "web": {"practice_pacs", "rendering", "ct"},
}
MAY_IMPORT["teaching"] = set(MAY_IMPORT) - {"web"}
HEAVY = {"torch", "lungmask", "SimpleITK", "highdicom", "matplotlib", "ipywidgets", "anywidget"}
HEAVY |= {"scipy", "skimage", "werkzeug", "waitress"}


def module_of(path: Path) -> str:
    """The name of a module below `magician`, such as ``ct.volume``; of a package, its folder's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
FACES = {name for name, path in FILES.items() if path.name == "__init__.py"}


def imports_of(name: str) -> set[str]:
    """The modules of this package that a file imports anywhere, also for type checkers only."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports by a relative name"
            if node.module.split(".")[0] == "magician":
                base = ".".join(node.module.split(".")[1:])
                for alias in node.names:
                    below = f"{base}.{alias.name}".lstrip(".")
                    found.add(below if below in FILES else base)
        elif isinstance(node, ast.Import):
            found |= {
                a.name.removeprefix("magician").lstrip(".")
                for a in node.names
                if a.name.startswith("magician")
            }
    return found - {name}


IMPORTS = {name: imports_of(name) for name in FILES}
INSIDE = sorted(set(FILES) - FACES - {"__main__"})


def room_of(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", INSIDE)
def test_modules_import_only_what_the_design_allows(name):
    if room_of(name) in MAY_IMPORT and "." in name:
        allowed = GROUND | MAY_IMPORT[room_of(name)] | {room_of(name)}
    elif name in GROUND:
        allowed = WITHIN_THE_GROUND.get(name, set())
    else:
        pytest.skip("has no room yet")
    assert {other for other in IMPORTS[name] if room_of(other) not in allowed} == set()


@pytest.mark.parametrize("name", INSIDE)
def test_a_module_imports_from_the_module_and_not_from_a_face(name):
    assert IMPORTS[name] & FACES == set()


def test_a_face_imports_from_its_own_room_only():
    wrong = {face: {m for m in IMPORTS[face] if room_of(m) != face} for face in FACES - {""}}
    assert {face: modules for face, modules in wrong.items() if modules} == {}


def test_no_module_imports_itself_through_others():
    def climb(name, way):
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for other in sorted(IMPORTS[name]):
                climb(other, [*way, name])
            done.add(name)

    done = set()
    for name in FILES:
        climb(name, [])


def all_that_is_loaded_by(name):
    """A module, what it imports, what that imports, and so on."""
    found, waiting = set(), {name}
    while waiting:
        found.add(module := waiting.pop())
        waiting |= IMPORTS[module] - found
    return found


def test_what_reads_results_back_shares_nothing_with_what_writes_them():
    rooms = {room_of(module) for module in all_that_is_loaded_by("checks.read_back")}
    assert rooms & {"results", "client", "dimse", "upper_layer"} == set()


def test_every_module_is_used():
    assert set(INSIDE) - set().union(*IMPORTS.values()) == set()


def test_a_module_is_named_for_what_it_holds_and_not_as_private():
    assert [name for name in INSIDE if "_" in [part[0] for part in name.split(".")]] == []


def test_rooms_have_no_rooms_inside():
    assert [name for name in FILES if name.count(".") > 1] == []


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_has_four_to_eleven_files(room):
    assert 4 <= sum(room_of(name) == room for name in INSIDE) <= 11


def test_every_folder_is_a_room_and_every_other_module_the_ground():
    assert {"", *MAY_IMPORT} ^ FACES == set()
    assert {name for name in INSIDE if "." not in name} ^ GROUND == set()


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_a_room_says_what_it_holds(name):
    assert ast.get_docstring(ast.parse(FILES[name].read_text()))


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_has_at_most_330_lines(name):
    assert len(FILES[name].read_text().splitlines()) <= 330


def text_files():
    """The files of the repository that people read line by line."""
    folders = ("magician", "tests", "training", "benchmarks", "notebooks")
    endings = (".py", ".md", ".js", ".css", ".cfg")
    inside = [path for folder in folders for path in sorted((ROOT / folder).rglob("*"))]
    around = [path for path in sorted(ROOT.iterdir()) if path.suffix in (".md", ".txt", ".yml")]
    others = [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]
    return [path for path in inside if path.suffix in endings] + around + others


def lines_of(path):
    """The lines of a file; of Markdown, those that could be broken: no table, link or picture."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix == ".md":
        return [line for line in lines if not line.startswith("|") and "](" not in line]
    return lines


@pytest.mark.parametrize("path", text_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_line_of_code_or_prose_has_at_most_100_characters(path):
    assert [line for line in lines_of(path) if len(line) > 100] == []


def private_names_from_elsewhere(path):
    """The names with a leading underscore that a file takes from a module of the package."""
    modules, found = set(), []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "magician":
            modules |= {alias.asname or alias.name for alias in node.names}
            found += [a.name for a in node.names if a.name.startswith("_") and a.name[1] != "_"]
        elif isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr):
            owner = ast.unparse(node.value)
            found += [f"{owner}.{node.attr}"] * (owner in modules or owner.startswith("magician."))
    return found


@pytest.mark.parametrize(
    "path",
    [
        path
        for name in ("magician", "training", "benchmarks")
        for path in (ROOT / name).rglob("*.py")
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_private_name_crosses_a_file(path):
    assert private_names_from_elsewhere(path) == []


def in_a_fresh_process(code):
    """What some code prints, word by word, in an interpreter that has loaded nothing of ours."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    code = "from magician import *; import sys; print(*sys.modules)"
    loaded = in_a_fresh_process(code)
    assert "magician.results.make" in loaded
    assert HEAVY & set(loaded) == set()


def test_importing_the_package_itself_loads_no_room():
    code = (
        "import sys, time; before = time.process_time(); import magician\n"
        "print(time.process_time() - before, *sys.modules)"
    )
    seconds, *loaded = in_a_fresh_process(code)
    ours = {name for name in loaded if name.split(".")[0] == "magician"}
    assert ours == {"magician", "magician.version"}
    assert {"numpy", "pydicom", "pynetdicom"} & set(loaded) == set()
    assert float(seconds) < 0.5


def test_a_name_loads_its_own_family_only():
    code = "import sys; from magician import window; print(*sys.modules)"
    loaded = set(in_a_fresh_process(code))
    assert "magician.rendering.windowing" in loaded
    rooms = {room_of(name.removeprefix("magician.")) for name in loaded if "magician." in name}
    assert rooms <= GROUND | {"rendering", "ct"}


def test_the_public_names_are_sorted_and_there():
    assert magician.__all__ == sorted(magician.__all__)
    assert all(hasattr(magician, name) for name in magician.__all__)


def test_type_checkers_see_the_names_that_are_loaded():
    tree = ast.parse(FILES[""].read_text())
    (block,) = [
        x for x in tree.body if isinstance(x, ast.If) and ast.unparse(x.test) == "TYPE_CHECKING"
    ]
    seen = {(node.module, alias.name) for node in block.body for alias in node.names}
    loaded = {(f"magician.{module}", name) for name, module in magician.MODULE_OF.items()}
    assert seen == loaded | {("magician", name) for name in magician.PUBLIC_MODULES}
    assert sorted(magician.MODULE_OF) == magician.__all__


def test_every_way_to_list_the_names_gives_all_of_them():
    names = {*magician.__all__, "__version__", "errors", "web"}
    assert names <= set(dir(magician))
    code = "from magician import *; print(*dir())"
    assert set(magician.__all__) <= set(in_a_fresh_process(code))


def test_modules_that_are_named_are_loaded_when_they_are_used():
    code = (
        "import magician; print(magician.errors.SeriesError.__name__, magician.web.serve.__name__)"
    )
    assert in_a_fresh_process(code) == ["SeriesError", "serve"]


def test_a_name_that_is_not_there_is_said_so():
    with pytest.raises(AttributeError, match="module 'magician' has no attribute 'read_study'"):
        _ = magician.read_study


def test_no_public_name_is_the_name_of_a_submodule():
    assert set(magician.__all__) & {name.split(".")[0] for name in FILES} == set()


# the command line talks to whoever typed it
LIBRARY = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__main__.py"})


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_does_not_print_or_silence_warnings(path):
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    fenced = (
        {"warnings.filterwarnings", "warnings.simplefilter"}
        if "warnings.catch_warnings" in calls
        else set()
    )
    assert calls & {"print", "warnings.filterwarnings", "warnings.simplefilter"} - fenced == set()
