"""Who imports whom, and what an import costs: the shape of the library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import magician

PACKAGE = Path(magician.__file__).parent

GROUND = {"errors", "version", "node", "tls", "files", "progress", "tables", "privacy"}
# What a module of the ground may import of the others
WITHIN_THE_GROUND = {"tls": {"errors"}, "privacy": {"errors", "node"}}
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
HEAVY = {"torch", "lungmask", "SimpleITK", "highdicom", "matplotlib", "ipywidgets", "anywidget", "scipy", "skimage",
         "werkzeug", "waitress"}  # fmt: skip


def module_of(path: Path) -> str:
    """The name of a module below `magician`, such as ``ct.volume``; of a package, its folder's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
FACES = {name for name, path in FILES.items() if path.name == "__init__.py"}


def imports_of(name: str) -> set[str]:
    """The modules of this package that a file imports, anywhere in it, also for type checkers only."""
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


def test_every_module_is_used():
    assert set(INSIDE) - set().union(*IMPORTS.values()) == set()


def test_importing_the_package_loads_nothing_heavy():
    code = "import magician, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "magician.results.make" in loaded
    assert HEAVY & set(loaded) == set()


def test_the_network_half_works_without_torch():
    code = (
        "import sys\n"
        "for name in ('torch', 'lungmask', 'SimpleITK', 'highdicom', 'matplotlib', 'ipywidgets', 'anywidget'):\n"
        "    sys.modules[name] = None\n"  # an import of it now fails
        "from magician import PracticePacs, echo\n"
        "with PracticePacs() as pacs:\n"
        "    print(echo(pacs.node))\n"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "0\n"
    )


def test_the_public_names_are_sorted_and_there():
    assert magician.__all__ == sorted(magician.__all__)
    assert all(hasattr(magician, name) for name in magician.__all__)


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
