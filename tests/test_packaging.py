"""What is shipped: whole, installable, pinned, free of licences that would bind a hospital."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
BUNDLED = ("ae_config", "sr_templates", "models")

# Dependencies that no line of ours imports, and why they are there.
NOT_IMPORTED = {
    "pylibjpeg": "pydicom finds the OpenJPEG plugin through it",
    "tensorflow": "the backend of Keras",
    "tzdata": "zoneinfo reads it where the system has no time zones of its own",
    "pysqlite3": "sqlite-utils takes it by itself when it is there",
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> set[str]:
    return {canonical(re.split(r"[^\w.-]", line)[0]) for line in PROJECT["project"]["dependencies"]}


def imported() -> set[str]:
    """Return the top-level modules that the package imports."""
    found: set[str] = set()
    for path in (ROOT / "dicom_node").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - {"dicom_node"}


def test_each_declared_dependency_is_used_and_each_used_one_declared() -> None:
    owners = packages_distributions()
    used = {
        canonical(owners[module][0])
        for module in imported() - sys.stdlib_module_names
        if module in owners
    }
    used.discard("pydantic-core")  # pydantic's other half, pinned by it
    assert required() - used - set(NOT_IMPORTED) == set(), "declared and not used"
    assert used - required() == set(), "used and not declared"


def test_the_lock_pins_every_dependency_with_hashes_and_names_no_place() -> None:
    pinned = re.findall(r"^([\w.-]+)==\S+ \\\n    --hash=sha256:", LOCK, re.MULTILINE)
    groups = PROJECT["dependency-groups"]["dev"]
    wanted = required() | {canonical(re.split(r"[^\w.-]", line)[0]) for line in groups}
    assert wanted - {canonical(name) for name in pinned} == set(), "run `make lock`"
    assert len(pinned) == len(re.findall(r"^[\w.-]+==", LOCK, re.MULTILINE))
    assert re.findall(r"https?:|file://|^-|find-links|index-url|trusted-host", LOCK, re.M) == []


def documentation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_of_the_default_install_is_under_the_gpl() -> None:
    build = documentation()
    licences = {
        name: build.licence_of(found) for name, found in build.runtime_distributions().items()
    }
    assert len(licences) > 20
    strict = re.compile(r"(?<!L)A?GPL|(?<!Lesser )General Public|Affero")
    assert {name: text for name, text in licences.items() if strict.search(text)} == {}
    assert [name for name, text in licences.items() if text == "unknown"] == []


def test_the_changelog_opens_with_what_is_not_released_yet() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## (.+)$", changelog, re.MULTILINE)[0] == "[Unreleased]"


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_every_target_of_the_makefile_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`", (ROOT / "README.md").read_text("utf-8")))
    assert named - targets == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def shipped(folder: str) -> set[str]:
    """Return the files of a folder that belong into a wheel."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.name != ".gitkeep"
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wheel_and_sdist_hold_every_file_of_configuration_templates_and_models(
    wheel: Path,
) -> None:
    expected = set().union(*map(shipped, BUNDLED))
    assert expected
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"dicom_node/_bundled/{name}" for name in expected} - names == set()
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert expected - inside == set()
    assert "dicom_node/ledger/schema.sql" in names


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh venv that borrows the heavy dependencies of this one."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file is searched, but its own .pth files are not: our editable install,
    # which is one, stays out.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "DICOM_NODE", "PYTEST"))
    }
    return subprocess.run(
        [str(installed / "bin" / "python"), *arguments],
        cwd=installed,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "command", [["--help"], ["--version"], ["config", "check"], ["models", "verify"]], ids=" ".join
)
def test_the_installed_wheel_works_alone(installed: Path, command: list[str]) -> None:
    place = run(installed, "-c", "from dicom_node import resources as r; print(r.model_bundles())")
    assert place.stdout.strip().startswith(str(installed)), place
    done = run(installed, str(installed / "bin" / "dicom-node"), *command)
    assert done.returncode == 0, done.stdout + done.stderr
