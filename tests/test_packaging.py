"""What is shipped: whole, installable, pinned, free of licences that would bind a hospital."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from typer.testing import CliRunner

from dicom_node import resources
from dicom_node.bundles import list_bundles, open_bundle, with_neighbours
from dicom_node.cli.main import app
from dicom_node.errors import TrainingError
from dicom_node.settings.model import AnalysisSection

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


TRAINING = ROOT / "dicom_node" / "training"


def names(lines: Iterable[str]) -> set[str]:
    return {canonical(re.split(r"[^\w.-]", line)[0]) for line in lines}


def required() -> set[str]:
    return names(PROJECT["project"]["dependencies"])


def for_training() -> set[str]:
    """Return what the extra ``train`` brings beside what every install has."""
    return names(PROJECT["project"]["optional-dependencies"]["train"])


def of_engines() -> set[str]:
    """Return what the extras of engines bring: a node runs without."""
    extras = PROJECT["project"]["optional-dependencies"]
    return names(extras["cpu"]) | names(extras["ray"]) | names(extras["onnx"])


def sources() -> list[Path]:
    return sorted((ROOT / "dicom_node").rglob("*.py"))


def served() -> list[Path]:
    """Return the modules that run where nothing is taught."""
    return [path for path in sources() if not path.is_relative_to(TRAINING)]


def imported(paths: Iterable[Path]) -> set[str]:
    """Return the top-level modules that these import."""
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - {"dicom_node"}


def used(paths: Iterable[Path]) -> set[str]:
    """Return the distributions that these modules import."""
    owners = packages_distributions()
    found = {
        canonical(owners[module][0])
        for module in imported(paths) - sys.stdlib_module_names
        if module in owners
    }
    return found - {"pydantic-core"}  # pydantic's other half, pinned by it


def test_each_declared_dependency_is_used_and_each_used_one_declared() -> None:
    assert required() - used(sources()) - set(NOT_IMPORTED) == set(), "declared and not used"
    extras = for_training() | of_engines()
    assert used(sources()) - required() - extras == set(), "used and not declared"


def test_an_engine_is_imported_by_its_brain_alone_when_it_is_wanted() -> None:
    beside = [path for path in sources() if path.parent.name != "brains"]
    assert used(beside) & of_engines() == set()
    loaded = (
        "import sys, dicom_node.brains.choice, dicom_node.brains.deploying;"
        "print(*{'openvino', 'keras', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_what_only_training_needs_is_no_part_of_serving() -> None:
    extra = for_training()
    assert extra & required() == set()
    assert "scikit-learn" in used(sources()) & extra
    assert used(served()) & extra == set()
    assert "pickle" not in imported(served())
    assert "pickle" in imported(sources())


@pytest.mark.parametrize("command", ["train", "evaluate", "ablate"])
def test_commands_of_training_say_what_to_install(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(TrainingError) as refused:
        CliRunner().invoke(
            app, [command, "covidnet-vlad", "--data", str(tmp_path)], catch_exceptions=False
        )
    assert "dicom-node[train]" in refused.value.remedy


def test_the_lock_pins_every_dependency_with_hashes_and_names_no_place() -> None:
    pinned = re.findall(r"^([\w.-]+)==\S+ \\\n    --hash=sha256:", LOCK, re.MULTILINE)
    groups = PROJECT["dependency-groups"]["dev"]
    wanted = required() | for_training() | of_engines() | names(groups)
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


def test_the_list_of_foreign_software_names_every_dependency_with_what_it_is_for() -> None:
    text = (ROOT / "docs" / "soup.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w.-]+) \| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)[1:]
    assert {name for name, *_ in rows} == required()
    # Whoever knows an anomaly says what holds it.
    assert [name for name, _, known, held in rows if known != "none known" and held == "–"] == []


def bill_of_materials() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_sbom", ROOT / "docs" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bill_of_materials_is_of_the_lock_and_as_cyclonedx_has_it() -> None:
    text = (ROOT / "sbom.cdx.json").read_text("utf-8")
    assert text == bill_of_materials().sbom(LOCK), "run `make sbom`"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    listed = {part["name"]: part for part in json.loads(text)["components"]}
    assert required() - listed.keys() == set()
    assert [name for name, part in listed.items() if not part["hashes"]] == []
    # What is for development alone is no part of a node.
    assert not {"pytest", "mypy", "ruff"} & listed.keys()


def test_another_lock_is_another_bill_of_materials() -> None:
    bill = bill_of_materials()
    other = re.sub(r"^(pydicom)==\S+", r"\1==9.9.9", LOCK, flags=re.MULTILINE)
    assert "pkg:pypi/pydicom@9.9.9" in bill.sbom(other)


def test_advisories_are_told_and_silence_is_no_clean_bill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("advisories", ROOT / "docs" / "advisories.py")
    assert spec is not None
    assert spec.loader is not None
    advisories = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(advisories)
    clean = {"name": "a", "version": "1", "vulns": []}
    ill = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
    unknown = {"name": "c", "skip_reason": "not found"}
    for packages, status in (([clean], 0), ([clean, ill], 1), ([clean, unknown], 2), (None, 2)):
        said = "" if packages is None else json.dumps({"dependencies": packages})
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        assert advisories.main() == status
    assert "b 2: CVE-1; mended in 2.1" in capsys.readouterr().out


def test_the_servers_of_pynetdicom_are_never_imported() -> None:
    apps = re.compile(r"pynetdicom\.apps|from pynetdicom import apps")
    files = [*(ROOT / "dicom_node").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    assert len(files) > 100
    assert [path for path in files if apps.search(path.read_text("utf-8"))] == []


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


def with_weights() -> set[str]:
    """Return the bundles whose weights go into the wheel."""
    patterns = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["artifacts"]
    return {pattern.split("/")[1] for pattern in patterns}


def test_the_wheel_has_the_weights_of_every_network_of_the_default_suite_and_its_trunks() -> None:
    folder = resources.model_bundles()
    assert with_neighbours(folder, AnalysisSection().bundles) - with_weights() == set()


def comparison_weights() -> set[str]:
    return {
        f"models/{bundle.id}/{bundle.manifest.weights.file}"
        for bundle in list_bundles(ROOT / "models")
        if bundle.id not in with_weights()
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wheel_and_sdist_hold_every_file_but_weights_of_comparison_networks(wheel: Path) -> None:
    expected, left_out = set().union(*map(shipped, BUNDLED)), comparison_weights()
    assert left_out < expected
    names = set(zipfile.ZipFile(wheel).namelist())
    bundled = {f"dicom_node/_bundled/{name}" for name in expected - left_out}
    assert bundled == {name for name in names if "/_bundled/" in name}
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert expected - inside == set()
    assert "dicom_node/ledger/schema.sql" in names


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_is_the_same_bytes_from_the_checkout_and_from_the_sdist(
    wheel: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
    ]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    again = next(tmp_path.glob("*.whl"))
    digests = [hashlib.sha256(each.read_bytes()).hexdigest() for each in (wheel, again)]
    assert digests[0] == digests[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_carries_its_bill_of_materials(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("sboms/sbom.cdx.json"))
        assert archive.read(name) == (ROOT / "sbom.cdx.json").read_bytes()


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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_installed_wheel_says_which_weights_it_does_not_hold(installed: Path) -> None:
    program = str(installed / "bin" / "dicom-node")
    listed = run(installed, program, "models", "list").stdout
    absent = {name.split("/")[1] for name in comparison_weights()}
    (sentence,) = (line for line in listed.splitlines() if "in the repository" in line)
    assert {word.strip(",:") for word in sentence.split(": ")[0].split()} == absent
    verified = run(installed, program, "models", "verify", "covidnet-vlad", "lung-unet")
    assert verified.returncode == 0, verified
    assert "covidnet-vlad: a comparison network" in verified.stdout
    assert "lung-unet: well" in verified.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_installed_wheel_without_weights_of_its_suite_is_damaged(installed: Path) -> None:
    program = str(installed / "bin" / "dicom-node")
    place = run(installed, "-c", "from dicom_node import resources as r; print(r.model_bundles())")
    folder = Path(place.stdout.strip())
    weights = folder / "lung-unet" / open_bundle(folder, "lung-unet").manifest.weights.file
    away = weights.rename(weights.with_suffix(".away"))
    try:
        verified = run(installed, program, "models", "verify", "lung-unet")
    finally:
        away.rename(weights)
    assert verified.returncode == 1
    assert "is missing" in verified.stdout
