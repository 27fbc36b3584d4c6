"""The declared networks of a suite: each is asked by itself, and hurts no other.

What one of them cannot answer is said of it alone: it crashed, was too slow, or gave what its
manifest does not say. The films go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol, TypeVar

import numpy as np

from dicom_node.analysis.observing import Looked, observed
from dicom_node.analysis.occlusion import explained, spoken_first, strength_of
from dicom_node.analysis.saliency import evidence_in_lungs
from dicom_node.bundles.declared import Declared
from dicom_node.bundles.network import self_test_film, self_test_lungs
from dicom_node.errors import BundleError, NoAnswer, NodeError, OutputUnusable
from dicom_node.findings import (
    AreaMap,
    Evidence,
    NetworkVersion,
    SaliencyMap,
)
from dicom_node.imaging.geometry import cut_to_film
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.prepare import Float
from dicom_node.imaging.wanted import seen, with_values
from dicom_node.observations import Observation

EXPLAINING_SECONDS = 90.0
"""So long the networks of a film are asked where they looked; who is slower is not explained."""


class _Said(Protocol):
    """Something that a network said."""

    @property
    def network(self) -> str:
        """Its id."""


_Named = TypeVar("_Named", bound=_Said)


class Answering(Protocol):
    """Who computes one declared network, see `dicom_node.brains.apart.Apart`."""

    @property
    def name(self) -> str:
        """Which engine computes; joins the provenance. "" before the first answer."""

    def answer(self, films: Float) -> Mapping[str, Float]:
        """Return the outputs by name, float32 with the films first. Raises `NoAnswer`.

        ``films``: float32, (films, rows, columns, channels), as the manifest wants their values.
        """

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True, slots=True)
class SaidOfFilm:
    """What declared networks said of one film: what they observed, and why some said nothing."""

    observed: tuple[Observation, ...] = ()
    areas: tuple[AreaMap, ...] = ()
    maps: tuple[SaliencyMap, ...] = ()
    checks: Mapping[str, Evidence] = field(default_factory=dict)
    unanswered: Mapping[str, str] = field(default_factory=dict)
    suite: Mapping[str, NetworkVersion] = field(default_factory=dict)

    def then(self, other: SaidOfFilm) -> SaidOfFilm:
        """Return what both said."""
        return SaidOfFilm(
            self.observed + other.observed,
            self.areas + other.areas,
            self.maps + other.maps,
            {**self.checks, **other.checks},
            {**self.unanswered, **other.unanswered},
            {**self.suite, **other.suite},
        )


class DeclaredNetworks:
    """The declared bundles of a suite in its order, and who computes them.

    ``apart``: what makes who computes one; nothing is started before it is asked. ``broken``: those
    that cannot be opened, and why: nobody asks them. ``clock``: seconds that only grow.
    """

    def __init__(
        self,
        bundles: Sequence[Declared],
        apart: Callable[[Declared], Answering],
        broken: Mapping[str, NodeError] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bundles, self._clock, self._broken = tuple(bundles), clock, broken
        self._who = {bundle.id: apart(bundle) for bundle in bundles}
        self.silent: Mapping[str, NodeError] = broken
        """Who could not answer the self-test film when they were last warmed, and why."""

    def in_order(self, said: Sequence[_Named]) -> tuple[_Named, ...]:
        """Return what several networks said in the order of the suite."""
        place = {bundle.id: number for number, bundle in enumerate(self._bundles)}
        return tuple(sorted(said, key=lambda one: place.get(one.network, -1)))

    def wanted(self, networks: frozenset[str] | None, *, gated: bool) -> tuple[Declared, ...]:
        """Return those of these ids (None: all) that ask the gate first, or those that do not."""
        return tuple(
            bundle
            for bundle in self._bundles
            if bundle.manifest.eats.asks_gate is gated
            and (networks is None or bundle.id in networks)
        )

    @property
    def ask_gate(self) -> bool:
        """Whether any of them asks the gate first."""
        return bool(self.wanted(None, gated=True))

    @property
    def look_for_lungs(self) -> bool:
        """Whether it makes a difference to any of them where the lungs are."""
        return any(map(looks_for_lungs, self._bundles))

    @property
    def need_lungs(self) -> tuple[str, ...]:
        """Ids of those that look at the lungs alone."""
        return tuple(
            bundle.id for bundle in self._bundles if bundle.manifest.eats.pixels.region == "lungs"
        )

    def warm(self) -> None:
        """Ask each once, so that the first film does not wait; who cannot answer is `silent`."""
        film = self_test_film()
        silent = dict(self._broken)
        for bundle in self._bundles:
            try:
                self._one(bundle, film, self_test_lungs(), None, self._explaining_ends())
            except (NoAnswer, BundleError) as error:
                silent[bundle.id] = error
        self.silent = silent

    def look(
        self,
        bundles: Iterable[Declared],
        film: Float,
        lungs: Lungs | None,
        spacing: tuple[float, float] | None,
    ) -> SaidOfFilm:
        """Return what these networks say of one film.

        ``film``: float32 in [0, 1], (rows, columns), bright = dense; ``spacing``: mm between its
        rows and columns. Raises `Unavailable` alone.
        """
        said, explaining_ends = SaidOfFilm(), self._explaining_ends()
        for bundle in bundles:
            try:
                found = self._one(bundle, film, lungs, spacing, explaining_ends)
            except (NoAnswer, BundleError) as error:
                why = error.why if isinstance(error, NoAnswer) else error.message
                found = SaidOfFilm(unanswered={bundle.id: why})
            said = said.then(found)
        return said

    def close(self) -> None:
        """End who computes them."""
        for who in self._who.values():
            who.close()

    def _explaining_ends(self) -> float:
        return self._clock() + EXPLAINING_SECONDS

    def _one(
        self,
        bundle: Declared,
        film: Float,
        lungs: Lungs | None,
        spacing: tuple[float, float] | None,
        explaining_ends: float,
    ) -> SaidOfFilm:
        who, pixels = self._who[bundle.id], bundle.manifest.eats.pixels
        looked = seen(film, pixels, lungs)
        (outputs,) = _asked(who, bundle, looked.grid[None])
        shape = (int(film.shape[0]), int(film.shape[1]))
        film_seen = Looked(looked, shape, lungs, spacing)
        found = observed(bundle, bundle.id, outputs, film_seen)
        version = NetworkVersion(bundle.manifest.version, bundle.manifest.weights.digest, who.name)
        said = SaidOfFilm(found.observations, found.areas, suite={bundle.id: version})
        if bundle.manifest.explain == "none":
            return said
        try:
            return self._explained(bundle, said, film_seen, explaining_ends)
        except NoAnswer:
            # What it said of the film itself holds; where it looked is not known then.
            return said

    def _explained(
        self, bundle: Declared, said: SaidOfFilm, film: Looked, ends: float
    ) -> SaidOfFilm:
        """Return what a network said with where it looked; as it is where it said a mask alone.

        Raises `NoAnswer`, also for one that is not through with it in time.
        """
        spoken = spoken_first(said.observed)
        if spoken is None:
            return said
        pixels, who = bundle.manifest.eats.pixels, self._who[bundle.id]

        def strengths(greys: Float) -> list[float]:
            if self._clock() >= ends:
                raise NoAnswer(f"Bundle {bundle.id} is too slow to be explained.")
            each = _asked(who, bundle, np.stack([with_values(grey, pixels) for grey in greys]))
            told = (observed(bundle, bundle.id, one, film).observations for one in each)
            return [strength_of(one, spoken) for one in told]

        shown = explained(film.seen.grey, spoken, strengths)
        heat = SaliencyMap(
            bundle.id, spoken.target, *cut_to_film(shown.heat, film.seen.region, film.shape)
        )
        checks = {bundle.id: evidence_in_lungs(heat, film.lungs, shown.change)}
        return replace(said, maps=(heat,), checks=checks)


def _asked(who: Answering, bundle: Declared, films: Float) -> list[dict[str, Float]]:
    """Return the outputs of a network by name, film by film. Raises `NoAnswer`."""
    found: list[dict[str, Float]] = [{} for _ in films]
    for name, value in who.answer(films).items():
        array = np.asarray(value, np.float32)
        if array.ndim == 0 or len(array) != len(films):
            raise OutputUnusable(
                f"Bundle {bundle.id}: output {name!r} of {len(films)} films has {len(films)} as "
                f"its first axis; its shape is {array.shape}."
            )
        for outputs, one in zip(found, array, strict=True):
            outputs[name] = one
    return found


def looks_for_lungs(bundle: Declared) -> bool:
    """Whether a network sees the lungs alone, or a mask of it counts in them alone."""
    manifest = bundle.manifest
    return manifest.eats.pixels.region == "lungs" or any(
        said.inside == "lungs" for said in manifest.says
    )
