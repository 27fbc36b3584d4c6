"""The engine: films in, findings and saliency maps out, the same for the same pixels.

The gate says whether a film can be analysed at all, it is set right and its lungs are found
(`dicom_node.analysis.sight`); then each family of networks answers, is explained, and is asked
again with what speaks for its answers hidden. A brain (`dicom_node.brains`) answers for all of
them; several films may be worked on at once, each in a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from dicom_node.analysis.answers import NetworkFindings, changed, told
from dicom_node.analysis.asked import EVERYTHING, Asked
from dicom_node.analysis.declared import (
    Answering,
    DeclaredNetworks,
    SaidOfFilm,
    looks_for_lungs,
)
from dicom_node.analysis.evidence import hide_salient, without_structure
from dicom_node.analysis.gate import Gate, check_gate
from dicom_node.analysis.lungs import LungFinder
from dicom_node.analysis.opacity import opacity_map
from dicom_node.analysis.quality import quality
from dicom_node.analysis.saliency import evidence_in_lungs
from dicom_node.analysis.sight import Sight
from dicom_node.brains import CLUSTER, KERAS, Answers, Brain
from dicom_node.brains.apart import Apart
from dicom_node.brains.choice import NOBODY, Elsewhere, EngineName, Wanted, brain_for
from dicom_node.brains.devices import Device
from dicom_node.brains.gathered import Gathered
from dicom_node.brains.models import HEAT, MAP, Model, family, key, single
from dicom_node.bundles import Bundle, open_bundle
from dicom_node.bundles.declared import Declared
from dicom_node.bundles.network import self_test_film
from dicom_node.chest import NAMED_KEYS, ChestAnswers
from dicom_node.errors import BundleContractBroken, NoAnswer, NodeError, OutputNotFinite
from dicom_node.findings import (
    Evidence,
    Explanation,
    FilmFindings,
    LungMask,
    NetworkVersion,
    OpacityMap,
    Outcome,
    Region,
    SaliencyMap,
)
from dicom_node.imaging.lungs import Lungs
from dicom_node.imaging.opaque import GRID, drawn, mapped
from dicom_node.imaging.orientation import turned_back
from dicom_node.imaging.prepare import Float, prepare
from dicom_node.observations import ObservationKind

Answer = tuple[FilmFindings, Explanation]
_Looked = tuple[NetworkFindings, Evidence, SaliencyMap]

_NOBODY_ASKED = "No network of this node is asked about such a film."

_BESIDE_THE_SUITE = {"segmentation": "lungs", "gate": "gate"}
"""Tasks of bundles that look before the suite, with the setting that names them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Film:
    """A film that is looked at: upright, bright = dense, with what was found of its lungs."""

    grey: Float
    uid: str
    lungs: Lungs | None

    @property
    def whole(self) -> Region:
        """All of it."""
        return Region(0.0, 0.0, float(self.grey.shape[0]), float(self.grey.shape[1]))


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What a family told of one film, by network, and its opacity map if it has one.

    ``area``: what is mapped opaque, see `drawn`.
    """

    networks: Mapping[str, _Looked]
    opacity: OpacityMap | None
    area: Float | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The suite, and who answers for it.

    ``at_once``: so many films are worth being asked about at once. On a GPU, and elsewhere, some
    are answered while the next are made ready; on a CPU a film is one call, and more are no faster.
    """

    brain: Brain
    sight: Sight
    at_once: int
    passed_over: NodeError | None = None

    def working(self) -> AbstractContextManager[None]:
        """Say that a film is worked on, to a brain that gathers films."""
        return self.brain.working() if isinstance(self.brain, Gathered) else nullcontext()


class Engine:
    """The networks of a suite: manifests read at once, weights loaded when first wanted.

    ``bundles_folder`` holds the model bundles, ``suite`` names those to run, the first detection
    network gives the finding. ``gate`` names the bundle that declines what is no frontal chest
    radiograph and sets films right that lie inverted or turned; ``lungs`` the one that finds the
    lungs, so that the evidence tells how much of what a network looked at was lung. Without a gate
    films on which no two lungs are found are declined. ``device``: auto, gpu or cpu. ``batch``: how
    many films a GPU takes at once, and ``wait_seconds`` for how long a call waits that is not full.
    So that a film's findings never depend on which films came with it, every call of a model has
    the same shape: ``batch`` films on a GPU (filled up with zeros), one on the CPU, where more at
    once is no faster. ``engine``: which brain answers, see `brain_for`; ``shelf``: the folder where
    it keeps what it makes of the networks; ``elsewhere``: where a brain is asked that computes on
    other machines, one film a call as on the CPU. ``declared``: the bundles of the suite that say
    themselves what they eat and say, each computed by what ``apart`` makes of it; ``broken``: those
    that cannot be opened, and why. Raises
    `BundleMissing` or `BundleContractBroken`.
    """

    def __init__(
        self,
        bundles_folder: Path,
        suite: Sequence[str],
        device: Device = "auto",
        batch: int = 8,
        *,
        gate: str = "",
        lungs: str = "",
        memory_growth: bool = True,
        engine: EngineName = KERAS,
        shelf: Path | None = None,
        wait_seconds: float = 0.0,
        elsewhere: Elsewhere = Elsewhere(),  # noqa: B008 - a frozen value
        declared: Sequence[Declared] = (),
        broken: Mapping[str, NodeError] = MappingProxyType({}),
        apart: Callable[[Declared], Answering] = Apart,
    ) -> None:
        self.declared = DeclaredNetworks(declared, apart, broken)
        """The bundles of the suite that declare what they say."""
        self._bundles = tuple(_answering(bundles_folder, bundle_id) for bundle_id in suite)
        self._families = tuple(
            family(bundles, _asked(bundles, suite))
            for bundles in _families(self._bundles, bundles_folder)
        )
        is_sighted = bool(self._bundles or self.declared.ask_gate or self.declared.look_for_lungs)
        self._lungs = _lung_bundle(self._bundles, bundles_folder, lungs) if is_sighted else None
        self._gate = _gate_bundle(bundles_folder, gate) if is_sighted else None
        if self._lungs is None and (blind := self.declared.need_lungs):
            raise BundleContractBroken(
                f"Bundle {blind[0]} looks at the lungs, and no network finds them.",
                remedy="Name one in analysis.lungs.",
            )
        self.wanted = Wanted(engine, device, memory_growth, shelf, elsewhere)
        """What is asked of a brain."""
        self._batch, self._wait_seconds = max(1, batch), wait_seconds
        self._loaded: _Loaded | None = None
        self._loading = threading.Lock()

    @property
    def suite_version(self) -> Mapping[str, NetworkVersion]:
        """Bundle id → version, weights and who answers, of all that run: trunks, lungs, gate too.

        Who answers is known once the networks are loaded.
        """
        return self._versions(self._families)

    def _versions(self, families: Sequence[Model]) -> dict[str, NetworkVersion]:
        """Return the versions of what runs for these families, of what looks before them too."""
        asked = {name for model in families for name in model.asked}
        trunks = [bundle for model in families for bundle in model.bundles]
        named = [bundle for bundle in self._bundles if bundle.id in asked]
        ran = (*named, *trunks, *filter(None, (self._lungs, self._gate)))
        name = self.computed_by
        return {
            bundle.id: NetworkVersion(
                bundle.manifest.version, bundle.manifest.weights.digest,
                "" if name == KERAS else name,
            )
            for bundle in ran
        }  # fmt: skip

    @property
    def models(self) -> tuple[Model, ...]:
        """What the brain is asked for: the gate, what finds the lungs, the families."""
        before = (single(bundle) for bundle in (self._gate, self._lungs) if bundle)
        return (*before, *self._families)

    @property
    def device(self) -> str:
        """Where the networks run: gpu, cpu or cluster; not loaded before the first use."""
        return self._loaded.brain.device if self._loaded else "not loaded"

    @property
    def computed_by(self) -> str:
        """Who computes the networks, and how precisely; Keras before the first use."""
        return self._loaded.brain.name if self._loaded else KERAS

    @property
    def passed_over(self) -> NodeError | None:
        """Why an engine that is installed and faster does not answer; None if none is."""
        return self._loaded.passed_over if self._loaded else None

    @property
    def at_once(self) -> int:
        """How many films are worth being asked about at once; 1 before the first use."""
        return self._loaded.at_once if self._loaded else 1

    def warm(self) -> None:
        """Load and run every network once, so that the first film does not wait for that.

        Also those that would not see the self-test film, were it declined. Raises
        `DeviceUnavailable`, `BrainUnavailable`, `BundleDamaged` or `BundleContractBroken`.
        """
        loaded = self._load()
        with loaded.working():
            seen = loaded.sight.look(self_test_film())
            lungs = seen.lungs
            if lungs is None and loaded.sight.lungs:
                lungs = loaded.sight.lungs.find(seen.film)
            for model in self._families:
                self._look(loaded.brain, model, _Film(seen.film, "", lungs))
        self.declared.warm()

    def analyse(self, film: Float, sop_instance_uid: str, asked: Asked = EVERYTHING) -> Answer:
        """Return what was found on one film, a saliency map a network, and its lungs.

        ``film``: float32 in [0, 1], (rows, columns), bright = dense. May be called by several
        threads at once. A film that the gate declines is looked at by declared networks alone that
        do not ask it. Raises `OutputNotFinite` if the film or an answer holds a value that is no
        number or out of its range, `NoAnswer` where declared networks alone were asked, and none of
        them answered.
        """
        _check_film(film, sop_instance_uid)
        families = [model for model in self._families if _is_wanted(model, asked)]
        gated = self.declared.wanted(asked.networks, gated=True)
        free = self.declared.wanted(asked.networks, gated=False)
        if not (families or gated or free):
            return FilmFindings(sop_instance_uid, Outcome.DECLINED, _NOBODY_ASKED), Explanation()
        loaded, said, answer = self._load(), SaidOfFilm(), None
        if families or gated:
            looked = self._looked(loaded, film, sop_instance_uid, (families, gated, asked))
            if looked[0].outcome is Outcome.DECLINED and free:
                ids = [*_named(families, asked), *(bundle.id for bundle in gated)]
                said = SaidOfFilm(unanswered=dict.fromkeys(ids, looked[0].reason or ""))
            else:
                answer = looked
        if free:
            with loaded.working():
                lungs = _lungs_for(free, loaded.sight, film)
            said = said.then(self.declared.look(free, film, lungs, asked.spacing))
        findings, explanation = self._in_order(_joined(answer, said, sop_instance_uid))
        if findings.outcome is Outcome.ANALYSED and not _says_anything(findings):
            why = "; ".join(f"{name}: {reason}" for name, reason in findings.unanswered.items())
            raise NoAnswer(f"No network answered: {why}")
        return findings, explanation

    def _in_order(self, answer: Answer) -> Answer:
        """Return an answer with what declared networks said in the order of the suite."""
        (findings, shown), order = answer, self.declared.in_order
        return (
            findings.with_observed(order(findings.observed)),
            replace(shown, maps=order(shown.maps), areas=order(shown.areas)),
        )

    def _looked(
        self,
        loaded: _Loaded,
        film: Float,
        uid: str,
        wanted: tuple[Sequence[Model], Sequence[Declared], Asked],
    ) -> Answer:
        """Return what those say of a film that look at it as the gate has set it right."""
        families, gated, asked = wanted
        with loaded.working():
            seen = loaded.sight.look(film)
            if seen.reason is not None:
                declined = FilmFindings(
                    uid, Outcome.DECLINED, seen.reason, suite=self._versions(families)
                )
                return declined, Explanation()
            looked_at = _Film(seen.film, uid, seen.lungs)
            told_by = [self._look(loaded.brain, model, looked_at) for model in families]
        answer = self._answer(looked_at, told_by, families)
        if gated:
            spacing = asked.spacing
            if spacing is not None and turned_back(seen.lie.turned).transposed:
                spacing = spacing[::-1]
            said = self.declared.look(gated, seen.film, seen.lungs, spacing)
            answer = _joined(answer, said, uid)
        return seen.as_it_came(*answer)

    def analyse_many(self, films: Sequence[tuple[Float, str]]) -> list[Answer]:
        """Return the answers to (film, SOP Instance UID) pairs, in their order; see `analyse`."""
        at_once = self._load().at_once
        if at_once == 1:
            return [self.analyse(*film) for film in films]
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda film: self.analyse(*film), films))

    def _load(self) -> _Loaded:
        """Return the networks, on their device; loads them the first time."""
        with self._loading:
            if self._loaded is None:
                chosen = brain_for(self.models, self.wanted) if self.models else NOBODY
                self._loaded = replace(
                    self.answered_by(chosen.brain), passed_over=chosen.passed_over
                )
        return self._loaded

    def answered_by(self, brain: Brain) -> _Loaded:
        """Return the suite as this brain answers for it."""
        is_gathered = brain.device == "gpu" and self._batch > 1
        at_once = 2 * self._batch if is_gathered or brain.device == CLUSTER else 1
        if is_gathered:
            brain = Gathered(brain, self._batch, self._wait_seconds)
        sight = Sight(
            Gate(self._gate, brain) if self._gate else None,
            LungFinder(self._lungs, brain) if self._lungs else None,
        )
        return _Loaded(brain, sight, at_once)

    def _answer(self, film: _Film, told_by: Sequence[_Seen], families: Sequence[Model]) -> Answer:
        """Return the findings of one film from what each network of the suite told."""
        looked = {name: each for seen in told_by for name, each in seen.networks.items()}
        ordered = {b.id: looked[b.id] for b in self._bundles if b.id in looked}
        by_map = next((seen for seen in told_by if seen.opacity is not None), None)
        opacity, area = (by_map.opacity, by_map.area) if by_map else (None, None)
        found = self._lung_mask(film.lungs)
        # The network of the finding comes first, of whatever else it says too.
        names = [name for name, (seen, _, _) in ordered.items() if _names_a_class(seen)]
        first = next(iter(names), next(iter(ordered), ""))
        order = [first, *(name for name in ordered if name != first)] if first else []
        said = [one for name in order for one in ordered[name][0].observations]
        chest = ChestAnswers.of(said)
        if opacity:
            chest = replace(chest, opacity_map=mapped(opacity, found, film.whole, area))
        findings = FilmFindings(
            film.uid,
            Outcome.ANALYSED,
            observations=(
                *chest.observations(),
                *(one for one in said if one.key not in NAMED_KEYS),
            ),
            evidence=ordered[first][1] if first else None,
            checks={name: evidence for name, (_, evidence, _) in ordered.items()},
            suite=self._versions(families),
            quality=quality(film.grey, film.lungs) if film.lungs else (),
        )
        maps = {name: heat for name, (_, _, heat) in ordered.items()}
        return findings, Explanation(
            tuple([maps.pop(first), *maps.values()] if first else []), found, opacity
        )

    def _lung_mask(self, lungs: Lungs | None) -> LungMask | None:
        """Return the lungs as results show them; None where there are none."""
        if self._lungs is None or lungs is None or not lungs.found:
            return None
        return LungMask(self._lungs.id, lungs.mask)

    def _look(self, brain: Brain, model: Model, film: _Film) -> _Seen:
        """Run one family on a film, then again with what speaks for its answers hidden.

        Every network has its own heat hidden, so that its evidence does not depend on which others
        run; those that a map explains share one film, without what is mapped opaque. All share the
        second call: the film is in it once for each thing that is hidden.
        """
        grid, region = prepare(film.grey, model.contract, film.lungs)
        before = brain.answer(model.id, grid[None], explain=True)
        maps = self._mapped(model, before, region, film)
        hot = {
            name: drawn(opacity, self._lung_mask(film.lungs), film.whole, opacity.region, GRID)
            for name, opacity in maps.items()
        }
        after = _hidden(brain, model, grid, hot | _heat_of(before, model))
        networks = {}
        for bundle in (one for one in model.bundles if one.id in model.asked):
            opacity = maps.get(model.map_of(bundle.id))
            place = model.hides.index(model.map_of(bundle.id) or bundle.id)
            answers = _values(before, bundle, 0), _values(after, bundle, place)
            heat = before[key(bundle.id, HEAT)][0] if opacity is None else opacity.probability
            saliency = SaliencyMap(
                bundle.id, "", heat, region, "" if opacity is None else opacity.network
            )
            networks[bundle.id] = _seen(bundle, answers, saliency, film)
        return _Seen(networks, next(iter(maps.values()), None), next(iter(hot.values()), None))

    def _mapped(
        self, model: Model, answers: Answers, region: Region, film: _Film
    ) -> dict[str, OpacityMap]:
        """Return the opacity maps of a film by the networks of a family."""
        mask, found = self._lung_mask(film.lungs), {}
        for bundle in (one for one in model.bundles if one.id in model.maps):
            values = _values(answers, bundle, 0)
            _check_output(values, None, film.uid)
            found[bundle.id] = opacity_map(bundle, values, region, mask, film.grey.shape)
        return found


def _names_a_class(seen: NetworkFindings) -> bool:
    return seen.observations[0].kind is ObservationKind.CLASS


def _is_wanted(model: Model, asked: Asked) -> bool:
    return asked.networks is None or not asked.networks.isdisjoint(model.asked)


def _named(families: Sequence[Model], asked: Asked) -> list[str]:
    """Return the networks of the suite in some families that are asked."""
    names = [name for model in families for name in model.asked]
    return [name for name in names if asked.networks is None or name in asked.networks]


def _lungs_for(bundles: Sequence[Declared], sight: Sight, film: Float) -> Lungs | None:
    """Return the lungs of a film that no gate saw, where it matters to a network."""
    wanted = any(map(looks_for_lungs, bundles))
    return sight.lungs.find(film) if wanted and sight.lungs else None


def _joined(answer: Answer | None, said: SaidOfFilm, uid: str) -> Answer:
    """Return an answer with what declared networks said beside it; theirs alone without one."""
    findings, explanation = answer or (FilmFindings(uid, Outcome.ANALYSED), Explanation())
    return (
        replace(
            findings,
            observations=findings.observations + said.observed,
            unanswered={**findings.unanswered, **said.unanswered},
            checks={**findings.checks, **said.checks},
            suite={**findings.suite, **said.suite},
        ),
        replace(
            explanation,
            maps=explanation.maps + said.maps,
            areas=explanation.areas + said.areas,
        ),
    )


def _says_anything(findings: FilmFindings) -> bool:
    return not findings.unanswered or bool(findings.observations)


def _values(answers: Answers, bundle: Bundle, place: int) -> dict[str, Float]:
    """Return a network's outputs of one input by their names."""
    return {one.name: answers[key(bundle.id, one.name)][place] for one in bundle.manifest.outputs}


def _heat_of(answers: Answers, model: Model) -> dict[str, Float]:
    return {name: answers[key(name, HEAT)][0] for name in model.heated()}


def _hidden(brain: Brain, model: Model, grid: Float, hot: Mapping[str, Float]) -> Answers:
    """Return the answers to a film without what speaks for them, one after the other."""
    if not model.asked:
        return {}
    blurred = without_structure(grid)
    hidden = [hide_salient(grid, blurred, hot[name]) for name in model.hides]
    return brain.answer(model.id, np.stack(hidden), explain=False)


def _seen(
    bundle: Bundle,
    answers: tuple[Mapping[str, Float], Mapping[str, Float]],
    saliency: SaliencyMap,
    film: _Film,
) -> _Looked:
    """Return what one network told about one film, its evidence and where it looked.

    ``answers``: as it is, and with what speaks for them hidden.
    """
    values, hidden = answers
    _check_output(values, saliency.heat, film.uid)
    seen = told(bundle, values)
    change = changed(seen, told(bundle, hidden))
    saliency = replace(saliency, target=seen.target)
    if saliency.mapped_by:
        # Inside the lungs by construction: how it lies to them is no evidence.
        return seen, Evidence(change_when_hidden=change), saliency
    return seen, evidence_in_lungs(saliency, film.lungs, change), saliency


def _asked(bundles: Sequence[Bundle], suite: Sequence[str]) -> tuple[str, ...]:
    """Return the networks of a family that name a finding of the suite."""
    return tuple(one.id for one in bundles if one.id in suite and one.manifest.task != MAP)


def _answering(folder: Path, bundle_id: str) -> Bundle:
    """Open a bundle of the suite; raises `BundleContractBroken` for one that finds nothing."""
    bundle = open_bundle(folder, bundle_id)
    key = _BESIDE_THE_SUITE.get(bundle.manifest.task)
    if key is not None:
        raise BundleContractBroken(
            f"Bundle {bundle_id} is for {bundle.manifest.task} and names no finding.",
            remedy=f"Take it out of analysis.suite and name it in analysis.{key}.",
        )
    return bundle


def _families(bundles: Sequence[Bundle], folder: Path) -> tuple[tuple[Bundle, ...], ...]:
    """Return the suite's families, each with its trunk first, in the suite's order."""
    found: dict[str, dict[str, Bundle]] = {}
    for bundle in bundles:
        line = [bundle]
        while trunk := line[-1].manifest.trunk:
            line.append(open_bundle(folder, trunk))
            if len(line) > 8:
                raise BundleContractBroken(f"Bundle {bundle.id}: its trunks lead in a circle.")
        root = line[-1]
        if any(member.contract != root.contract for member in line):
            raise BundleContractBroken(f"Bundle {bundle.id}: its [input] is not that of its trunk.")
        family = found.setdefault(root.id, {})
        for member in reversed(line):
            family.setdefault(member.id, member)
    return tuple(tuple(family.values()) for family in found.values())


def _lung_bundle(bundles: Sequence[Bundle], folder: Path, wanted: str) -> Bundle | None:
    """Return the bundle that finds the lungs; raises if networks want different ones."""
    named = {wanted, *(bundle.manifest.input.lungs for bundle in bundles)} - {""}
    if len(named) > 1:
        raise BundleContractBroken(
            f"The suite needs the lungs from several bundles: {', '.join(sorted(named))}.",
            remedy="Choose networks that use the same one, and name it in analysis.lungs.",
        )
    return open_bundle(folder, named.pop()) if named else None


def _gate_bundle(folder: Path, wanted: str) -> Bundle | None:
    """Return the bundle of the gate, if one is wanted; raises if it is none."""
    if not wanted:
        return None
    bundle = open_bundle(folder, wanted)
    check_gate(bundle)
    return bundle


def _check_film(film: Float, uid: str) -> None:
    # What is no number is no least or greatest one either.
    if not (film.min() >= 0.0 and film.max() <= 1.0):
        raise OutputNotFinite(f"Film {uid} holds values that are no numbers or not in [0, 1].")


def _check_output(values: Mapping[str, Float], heat: Float | None, uid: str) -> None:
    if not all(np.isfinite(value).all() for value in values.values()):
        raise OutputNotFinite(f"A network's answer to film {uid} is not a number.")
    if heat is None:
        return
    if not np.isfinite(heat).all():
        raise OutputNotFinite(f"A network's answer to film {uid} is not a number.")
    if heat.min() < 0.0 or heat.max() > 1.0:
        raise OutputNotFinite(f"A network's answer to film {uid} is out of its range.")
