"""Who imports whom, and what an import costs: the shape of the library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import magician

PACKAGE = Path(magician.__file__).parent

# Each public module and what it may import of the others. A private module (_name) belongs to the public modules
# that import it, and may import what all of them may.
MAY_IMPORT = {
    "errors": set(),
    "tls": {"errors"},
    "association": {"errors"},
    "storage": {"association", "errors"},
    "query_retrieve": {"storage", "association", "errors"},
    "diagnosis": {"query_retrieve", "association", "errors"},
    "practice_pacs": {"storage", "association", "errors"},
    "volume": {"errors"},
    "phantom": {"volume", "errors"},
    "segmentation": {"volume", "errors"},
    "result": {"segmentation", "volume", "errors"},
    "display": {"segmentation", "volume"},
    "conformance": {"errors"},
    "careless": {"segmentation", "volume", "errors"},
    "verify": {"result", "segmentation", "volume", "query_retrieve", "storage", "association", "errors"},
    "viewer": {"segmentation", "volume"},
    "web": {"volume", "practice_pacs", "storage", "association", "errors"},  # shows pictures of what a PACS holds
}
HEAVY = {"torch", "lungmask", "SimpleITK", "highdicom", "matplotlib", "ipywidgets", "anywidget", "scipy", "skimage",
         "werkzeug", "waitress"}  # fmt: skip


def is_module(name: str) -> bool:
    return (PACKAGE / f"{name}.py").exists() or (PACKAGE / name / "__init__.py").exists()


def imports_of(path: Path) -> set[str]:
    """The modules of this package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            module = f"magician.{node.module or ''}".rstrip(".") if node.level else node.module
            if module == "magician":
                found |= {alias.name for alias in node.names if is_module(alias.name)}
            elif module.startswith("magician."):
                found.add(module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("magician.")}
    return found


def modules_and_their_imports() -> dict[str, set[str]]:
    """Every module of the package by its top-level name; a folder counts as one module."""
    modules: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        modules.setdefault(name, set()).update(imports_of(path) - {name})
    return modules


def reaches(name: str, modules: dict[str, set[str]]) -> set[str]:
    """The public modules that a module imports, directly or through private ones."""
    public, waiting, seen = set(), [name], set()
    while waiting:
        for imported in modules[waiting.pop()]:
            if not imported.startswith("_"):
                public.add(imported)
            elif imported not in seen:
                seen.add(imported)
                waiting.append(imported)
    return public - {name}


def test_modules_import_only_what_the_design_allows():
    modules = modules_and_their_imports()
    del modules["__init__"], modules["__main__"]  # the two that may import everything
    assert {name for name in modules if not name.startswith("_")} == set(MAY_IMPORT)
    wrong = {name: reaches(name, modules) - allowed for name, allowed in MAY_IMPORT.items()}
    assert {name: more for name, more in wrong.items() if more} == {}


def test_every_private_module_is_used():
    modules = modules_and_their_imports()
    private = {name for name in modules if name.startswith("_")} - {"__init__", "__main__"}
    assert private - set().union(*modules.values()) == set()


def test_importing_the_package_loads_nothing_heavy():
    code = "import magician, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "magician.result" in loaded
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
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"


def test_the_public_names_are_sorted_and_there():
    assert magician.__all__ == sorted(magician.__all__)
    assert all(hasattr(magician, name) for name in magician.__all__)


LIBRARY = sorted(set(PACKAGE.rglob("*.py")) - {PACKAGE / "__main__.py"})  # the command line talks to whoever typed it


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_does_not_print_or_silence_warnings(path):
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    fenced = {"warnings.filterwarnings", "warnings.simplefilter"} if "warnings.catch_warnings" in calls else set()
    assert calls & {"print", "warnings.filterwarnings", "warnings.simplefilter"} - fenced == set()
