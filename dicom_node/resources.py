"""Where the default configuration, the report templates and the model bundles are.

In a wheel they lie in ``dicom_node/_bundled``; in a checkout (editable install) beside the package.
"""

from __future__ import annotations

from pathlib import Path

from dicom_node.errors import SettingsError

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    for candidate in (_PACKAGE / "_bundled" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise SettingsError(
        f"The folder {name!r} is missing from this installation.",
        remedy="Install dicom-node again.",
    )


def default_configuration() -> Path:
    """Return the folder with the commented default ``node.toml``, admission rules and remotes."""
    return _folder("ae_config")


def report_templates() -> Path:
    """Return the folder with the shipped report templates."""
    return _folder("sr_templates")


def model_bundles() -> Path:
    """Return the folder with the shipped model bundles."""
    return _folder("models")


def is_of_a_wheel(folder: Path) -> bool:
    """Whether these bundles came in a wheel: it holds the weights of the default suite only."""
    return folder.resolve() == _PACKAGE / "_bundled" / "models"
