"""A network's answers to the films of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dicom_node.imaging.contract import InputContract
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float, prepare
from dicom_node.training.datasets.cases import Case, read_film

Change = Callable[[Float, Lungs | None], Float]
"""A film and its lungs to another film of the same shape."""


def logits_of(
    network: Any,
    cases: Sequence[Case],
    contract: InputContract,
    change: Change | None = None,
    lungs: Mapping[str, Lungs] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the network's logits, float64, (films, classes).

    ``change`` alters the film before it is prepared; the crop stays that of the unaltered film.
    """
    logits = []
    for start in range(0, len(cases), 16):
        grids = []
        for case in cases[start : start + 16]:
            film, found = read_film(case.path), lungs[case.image_id] if lungs else None
            film = change(film, found) if change else film
            grids.append(prepare(film, contract, found)[0])
        logits.append(np.asarray(network.predict_on_batch(np.stack(grids)), dtype=np.float64))
    return np.concatenate(logits)
