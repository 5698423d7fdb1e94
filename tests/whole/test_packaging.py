"""What the repository says of itself in several places says the same in each."""

import json
import re
import tomllib
from pathlib import Path

import yaml
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NOTEBOOK = json.loads((ROOT / "notebooks" / "01_connect_ai_to_pacs.ipynb").read_text())
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def requirement_lines(name):
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [line for line in lines if line]


def normalised(name):
    return re.split(r"[<>=\[ ]", name)[0].lower().replace("_", "-")


def test_every_requirement_has_a_reason_beside_it():
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = [
            x for x in (ROOT / name).read_text().splitlines() if x and not x.startswith(("#", "-r"))
        ]
        assert all(re.search(r"\s# \w", line) for line in lines)


def test_every_requirement_has_a_tested_version():
    tested = {normalised(line) for line in requirement_lines("constraints.txt")}
    wanted = [
        line
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in requirement_lines(name)
    ]
    assert {normalised(line) for line in wanted if not line.startswith("-r")} - tested == set()


def test_no_requirement_is_pinned_and_no_index_is_named():
    for line in requirement_lines("requirements.txt") + requirement_lines("requirements-dev.txt"):
        assert "==" not in line.split(";")[0]  # a marker after it may compare platforms
        assert "index" not in line


def test_environment_yml_agrees_with_the_requirements():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    packages = [x for x in environment["dependencies"] if isinstance(x, str)]
    (pip,) = [x["pip"] for x in environment["dependencies"] if isinstance(x, dict)]
    assert f"python{PROJECT['requires-python']}" in packages
    assert pip == ["-r requirements.txt", "-e ."]
    bounds = dict(
        line.split(">=") for line in requirement_lines("requirements-dev.txt") if ">=" in line
    )
    assert all(
        bounds[x.split(">=")[0]] == x.split(">=")[1] for x in packages if x.startswith("jupyterlab")
    )


def test_the_public_address_is_the_same_everywhere():
    address = PROJECT["urls"]["Repository"]
    owner_and_name = "/".join(address.split("/")[-2:])
    sources = ["".join(cell["source"]) for cell in NOTEBOOK["cells"]]
    (first_cell,) = [text for text in sources if text.startswith("# Cell 1:")]
    assert f'ADDRESS = "{address}"' in first_cell
    notebook = f"{owner_and_name}/blob/main/notebooks/01_connect_ai_to_pacs.ipynb"
    badge = f"https://colab.research.google.com/github/{notebook}"
    # a badge that leads nowhere helps nobody: it comes with the address
    for text in (sources[0], README):
        assert (badge in text) == ("OWNER" not in address)
    assert not re.search(r"github\.com/(?!\")[\w-]+/magician", README + "".join(sources))


def test_the_distribution_has_a_name_of_its_own_on_the_index():
    assert PROJECT["name"] == "magician-pacs"
    assert "`magician-pacs`" in README


def test_every_picture_that_is_shown_is_there():
    texts = {
        ROOT: [README, CONTRIBUTING],
        ROOT / "notebooks": [x["source"] for x in NOTEBOOK["cells"]],
    }
    shown = [
        folder / link
        for folder, sources in texts.items()
        for link in re.findall(r"!\[[^\]]*\]\(([^):]+)\)", "\n".join(map("".join, sources)))
    ]
    assert {path.parent for path in shown} == {ROOT / "notebooks" / "images"}
    assert [path for path in shown if not path.is_file()] == []
    pictures = {path.name for path in (ROOT / "notebooks" / "images").iterdir()}
    assert pictures == {path.name for path in shown}


def test_no_path_of_somebodys_machine_is_in_the_notebook():
    text = json.dumps(NOTEBOOK)
    assert not re.search(r"/(home|root|Users|work|tmp)/", text)
    assert "\\\\Users" not in text


def test_the_readme_names_commands_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"tutorial", "lab", "test"} <= set(re.findall(r"make ([a-z-]+)", README))
    assert set(re.findall(r"`make ([a-z-]+)", README)) <= targets


SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
DATA = SETUPTOOLS["package-data"]


def test_every_file_that_is_not_python_is_installed():
    package = ROOT / "magician"
    there = {
        path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    patterns = [
        f"{room.replace('.', '/')}/{pattern}" for room, globs in DATA.items() for pattern in globs
    ]
    assert {path.name for path in there} >= {"page_viewer.js", "page_viewer.css"}
    assert there - {path for pattern in patterns for path in ROOT.glob(pattern)} == set()


def test_every_folder_of_the_package_is_installed():
    packages = find_packages(ROOT, **SETUPTOOLS["packages"]["find"])
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "magician").rglob("*.py")}
    assert set(packages) == {".".join(folder.parts) for folder in folders}
