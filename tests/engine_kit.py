"""The suite of `tests.mapping` as models, for tests of those who compute it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dicom_node.brains.models import Model, family, single
from dicom_node.bundles import SELF_TEST, open_bundle
from tests import mapping


def without_weights(patch: pytest.MonkeyPatch) -> None:
    """Let its networks be built in a few lines: there is no file of weights."""
    patch.setattr("dicom_node.brains.keras.load_network", mapping.network_of)
    patch.setattr("dicom_node.brains.choice.check_weights", lambda bundle: None)


def write_bundles(folder: Path) -> Path:
    """Write its bundles below a folder, with what their answers may differ by."""
    mapping.write_manifests(folder)
    for bundle in folder.iterdir():
        (bundle / SELF_TEST).write_text('{"tolerance": 0.05}', "utf-8")
    return folder


def models_of(bundles: Path) -> Sequence[Model]:
    """Return what finds the lungs, and the family."""
    opened = [open_bundle(bundles, name) for name in (mapping.TRUNK, mapping.MAP, mapping.ZONES,
                                                      mapping.EXTENT)]  # fmt: skip
    return (single(open_bundle(bundles, mapping.LUNGS)), family(opened, mapping.SUITE))
