"""What a brain is asked for: networks that answer in one call, in the order of their trunks.

A family is a network that takes films and all networks of the suite that begin, directly or not,
with its features (``trunk`` in their manifests): a pass of the trunk serves all of them. Each is
explained by Grad-CAM on features of its own or of its trunk; those that begin with an opacity map
(`MAP`) by that map, without a gradient.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dicom_node.bundles import Bundle
from dicom_node.imaging.contract import InputContract

MAP, SEGMENTATION = "map", "segmentation"
"""Tasks of bundles that map where the lungs are opaque, and where lungs are."""

HEAT = "heat"
"""What an answer calls where a network looked, beside its outputs.

float32 in [0, 1], (films, rows, columns) of the grid that is explained.
"""


def key(bundle_id: str, output: str) -> str:
    """Return under which name an answer holds a network's output, or its `HEAT`.

    Logits and scores are as the network gives them; of what finds lungs each place's probability.
    """
    return f"{bundle_id}/{output}"


def function_of(model: str, *, explain: bool) -> str:
    """Return what the function is called that answers for a model, fit for a file's name."""
    return f"{model}.{'explained' if explain else 'plain'}"


def answering(functions: Container[str], model: str, *, explain: bool) -> str:
    """Return which of some functions answers: a gate and what finds lungs are not explained."""
    wanted = function_of(model, explain=explain)
    return wanted if wanted in functions else function_of(model, explain=False)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What answers in one call; named by the bundle that takes films.

    ``bundles``: each after its trunk. ``asked``: the ids whose answers are wanted. ``mapped``: of
    each network that is a map, or begins with one, which map that is. ``explains``: whether its
    networks are explained; a gate and what finds lungs are not.
    """

    bundles: tuple[Bundle, ...]
    asked: tuple[str, ...]
    mapped: Mapping[str, str]
    explains: bool = True

    @property
    def id(self) -> str:
        """The bundle that takes films."""
        return self.bundles[0].id

    @property
    def contract(self) -> InputContract:
        """What its films look like."""
        return self.bundles[0].contract

    @property
    def maps(self) -> tuple[str, ...]:
        """Ids of the networks that map opacity, in the order of the family."""
        return tuple(name for name, of in self.mapped.items() if name == of)

    def map_of(self, bundle_id: str) -> str:
        """Return the map that a network is, or begins with, itself or up the trunk; "" if none."""
        return self.mapped.get(bundle_id, "")

    @property
    def hides(self) -> tuple[str, ...]:
        """Ids of what speaks for the answers, each hidden once: a map, or a network by its heat."""
        return tuple(dict.fromkeys(self.map_of(name) or name for name in self.asked))

    def answered(self, *, explain: bool) -> tuple[str, ...]:
        """Return whose outputs an answer holds: explained, the maps' too."""
        return tuple(dict.fromkeys((*self.asked, *self.maps))) if explain else self.asked

    def heated(self) -> tuple[str, ...]:
        """Return whose heat an explained answer holds: no map speaks for them."""
        return tuple(name for name in self.asked if self.explains and name not in self.mapped)

    def needed(self, wanted: Iterable[str]) -> tuple[Bundle, ...]:
        """Return the wanted networks and all that they begin with, each after its trunk."""
        named = set(wanted)
        for bundle in reversed(self.bundles):
            if bundle.id in named and bundle.manifest.trunk:
                named.add(bundle.manifest.trunk)
        return tuple(bundle for bundle in self.bundles if bundle.id in named)

    def films_a_call(self, *, explain: bool) -> int:
        """Return how many inputs a film is in a call: itself, or once for each that is hidden."""
        return 1 if explain or not self.explains else len(self.hides)


def family(bundles: Sequence[Bundle], asked: Sequence[str]) -> Model:
    """Return the networks of one trunk as a model. ``bundles``: the trunk first, then any order."""
    ordered = _parents_first(bundles)
    return Model(tuple(ordered), tuple(asked), _maps(ordered))


def single(bundle: Bundle) -> Model:
    """Return a network that stands alone and is not explained as a model."""
    return Model((bundle,), (bundle.id,), {}, explains=False)


def _parents_first(bundles: Sequence[Bundle]) -> list[Bundle]:
    """Return the bundles so that each follows its trunk."""
    known = {bundle.id: bundle for bundle in bundles}
    ordered: dict[str, Bundle] = {}

    def place(bundle: Bundle) -> None:
        if bundle.id in ordered:
            return
        if trunk := bundle.manifest.trunk:
            place(known[trunk])
        ordered[bundle.id] = bundle

    for bundle in bundles:
        place(bundle)
    return list(ordered.values())


def _maps(ordered: Sequence[Bundle]) -> dict[str, str]:
    """Return of each network that is a map, or begins with one, which map that is."""
    found: dict[str, str] = {}
    for bundle in ordered:
        if bundle.manifest.task == MAP:
            found[bundle.id] = bundle.id
        elif bundle.manifest.trunk in found:
            found[bundle.id] = found[bundle.manifest.trunk]
    return found
