"""The engine: films in, findings and saliency maps out, the same for the same pixels.

One engine a process, one inference at a time. The gate says whether a film can be analysed at all,
it is set right and its lungs are found (`dicom_node.analysis.sight`); then each family of networks
(`dicom_node.analysis.family`) answers, is explained, and is asked again with what speaks for its
answers hidden.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicom_node.analysis.answers import NetworkFindings, changed, told
from dicom_node.analysis.devices import Device, make_deterministic, use_device
from dicom_node.analysis.evidence import hide_salient, without_structure
from dicom_node.analysis.family import MAP, Family, NetworkAnswer
from dicom_node.analysis.gate import Gate, check_gate
from dicom_node.analysis.lungs import LungFinder
from dicom_node.analysis.opacity import opacity_map
from dicom_node.analysis.quality import quality
from dicom_node.analysis.saliency import evidence_in_lungs
from dicom_node.analysis.sight import Sight
from dicom_node.bundles import Bundle, open_bundle
from dicom_node.bundles.network import self_test_film
from dicom_node.errors import BundleContractBroken, OutputNotFinite
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
from dicom_node.imaging.prepare import Float, InputContract, prepare

Answer = tuple[FilmFindings, Explanation]
_Looked = tuple[NetworkFindings, Evidence, SaliencyMap]

_BESIDE_THE_SUITE = {"segmentation": "lungs", "gate": "gate"}
"""Tasks of bundles that look before the suite, with the setting that names them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What a family told of one film, by network, and its opacity map if it has one.

    ``area``: what is mapped opaque, see `drawn`.
    """

    networks: Mapping[str, _Looked]
    opacity: OpacityMap | None
    area: Float | None


@dataclass(frozen=True, slots=True)
class _Branch:
    """A loaded family with the contract of its films.

    ``wanted``: the ids in the suite that name a finding.
    """

    family: Family
    contract: InputContract
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The suite in memory; ``lanes``: films a call."""

    sight: Sight
    branches: tuple[_Branch, ...]
    lanes: int
    device: str


class Engine:
    """The networks of a suite: manifests read at once, weights loaded when first wanted.

    ``bundles_folder`` holds the model bundles, ``suite`` names those to run, the first detection
    network gives the finding. ``gate`` names the bundle that declines what is no frontal chest
    radiograph and sets films right that lie inverted or turned; ``lungs`` the one that finds the
    lungs, so that the evidence tells how much of what a network looked at was lung. Without a gate
    films on which no two lungs are found are declined. ``device``: auto, gpu or cpu. ``batch``: how
    many films a GPU takes at once. So that a film's findings never depend on which films came with
    it, every call has the same shape: ``batch`` films on a GPU (filled up with zeros), one on the
    CPU, where more at once is no faster. Raises `BundleMissing` or `BundleContractBroken`.
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
    ) -> None:
        self._bundles = tuple(_answering(bundles_folder, bundle_id) for bundle_id in suite)
        self._families = _families(self._bundles, bundles_folder)
        self._lungs = _lung_bundle(self._bundles, bundles_folder, lungs)
        self._gate = _gate_bundle(bundles_folder, gate)
        self._wanted: Device = device
        self._batch = max(1, batch)
        self._memory_growth = memory_growth
        self._loaded: _Loaded | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def suite_version(self) -> Mapping[str, NetworkVersion]:
        """Bundle id → version and weights digest, of all that run: trunks, lungs and gate too."""
        trunks = [bundle for family in self._families for bundle in family]
        ran = (*self._bundles, *trunks, *filter(None, (self._lungs, self._gate)))
        return {bundle.id: bundle.network_version for bundle in ran}

    @property
    def device(self) -> str:
        """Where the networks run: gpu or cpu; not loaded before the first use."""
        return self._loaded.device if self._loaded else "not loaded"

    def warm(self) -> None:
        """Load and run every network once, so that the first film does not wait for that.

        Also those that would not see the self-test film, were it declined. Raises
        `DeviceUnavailable`, `BundleDamaged` or `BundleContractBroken`.
        """
        film = self_test_film()
        with self._one_at_a_time:
            loaded = self._load()
            seen = loaded.sight.look(film)
            lungs = seen.lungs
            if lungs is None and loaded.sight.lungs:
                lungs = loaded.sight.lungs.find(seen.film)
            for branch in loaded.branches:
                self._look(branch, [(seen.film, "")], [lungs])

    def analyse(self, film: Float, sop_instance_uid: str) -> Answer:
        """Return what was found on one film, a saliency map a network, and its lungs.

        ``film``: float32 in [0, 1], (rows, columns), bright = dense. Raises `OutputNotFinite` if
        the film or an answer holds a value that is no number or out of its range.
        """
        return self.analyse_many([(film, sop_instance_uid)])[0]

    def analyse_many(self, films: Sequence[tuple[Float, str]]) -> list[Answer]:
        """Return the answers to (film, SOP Instance UID) pairs, in their order; see `analyse`."""
        for film, uid in films:
            _check_film(film, uid)
        with self._one_at_a_time:
            loaded = self._load()
            seen = [loaded.sight.look(film) for film, _ in films]
            taken = [i for i, one in enumerate(seen) if one.reason is None]
            chosen = [(seen[i].film, films[i][1]) for i in taken]
            found = [self._look(branch, chosen, [seen[i].lungs for i in taken])
                     for branch in loaded.branches] if taken else []  # fmt: skip
        answers: list[Answer] = [
            (
                FilmFindings(uid, Outcome.DECLINED, reason=one.reason, suite=self.suite_version),
                Explanation(),
            )
            for (_, uid), one in zip(films, seen, strict=True)
        ]
        for place, index in enumerate(taken):
            told_by = [branch[place] for branch in found]
            answer = self._answer(chosen[place], told_by, seen[index].lungs)
            answers[index] = seen[index].as_it_came(*answer)
        return answers

    def _load(self) -> _Loaded:
        """Return the networks, on their device; loads them the first time."""
        if self._loaded is None:
            device = use_device(self._wanted, memory_growth=self._memory_growth)
            make_deterministic()
            suite = [bundle.id for bundle in self._bundles]
            self._loaded = _Loaded(
                Sight(
                    Gate(self._gate) if self._gate else None,
                    LungFinder(self._lungs) if self._lungs else None,
                ),
                tuple(
                    _Branch(
                        Family(bundles), bundles[0].contract,
                        tuple(
                            bundle.id for bundle in bundles
                            if bundle.id in suite and bundle.manifest.task != MAP
                        ),
                    )
                    for bundles in self._families
                ),
                lanes=self._batch if device == "gpu" else 1,
                device=device,
            )  # fmt: skip
        return self._loaded

    def _answer(
        self, seen_film: tuple[Float, str], told_by: Sequence[_Seen], lungs: Lungs | None
    ) -> Answer:
        """Return the findings of one film from what each network of the suite told."""
        film, uid = seen_film
        looked = {name: each for seen in told_by for name, each in seen.networks.items()}
        ordered = {b.id: looked[b.id] for b in self._bundles if b.id in looked}
        by_map = next((seen for seen in told_by if seen.opacity is not None), None)
        opacity, area = (by_map.opacity, by_map.area) if by_map else (None, None)
        found = self._lung_mask(lungs)
        detections = {
            name: seen.detection for name, (seen, _, _) in ordered.items() if seen.detection
        }
        first = next(iter(detections), next(iter(ordered), ""))
        airspace = [seen.airspace for seen, _, _ in ordered.values() if seen.airspace]
        findings = FilmFindings(
            uid,
            Outcome.ANALYSED,
            finding=detections.get(first),
            opacity=ordered[first][0].opacity if first else None,
            appearance=ordered[first][0].appearance if first else None,
            scores={name: s for seen, _, _ in ordered.values() for name, s in seen.scores.items()},
            airspace=airspace[0] if airspace else None,
            evidence=ordered[first][1] if first else None,
            checks={name: evidence for name, (_, evidence, _) in ordered.items()},
            detections=detections if len(detections) > 1 else {},
            suite=self.suite_version,
            quality=quality(film, lungs) if lungs else (),
            opacity_map=mapped(opacity, found, _whole(film), area) if opacity else None,
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

    def _look(
        self,
        branch: _Branch,
        films: Sequence[tuple[Float, str]],
        lungs: Sequence[Lungs | None],
    ) -> list[_Seen]:
        """Run one family on the films, then again with what speaks for its answers hidden.

        Every network has its own heat hidden, so that its evidence does not depend on which others
        run; those that a map explains share one film, without what is mapped opaque. Networks of a
        group share the second call: the film is in it once for each thing that is hidden.
        """
        prepared = [
            prepare(film, branch.contract, found)
            for (film, _), found in zip(films, lungs, strict=True)
        ]
        family, grids = branch.family, np.stack([grid for grid, _ in prepared])
        blurred = np.stack([without_structure(grid) for grid in grids])
        before = self._ask(family, grids, (*branch.wanted, *family.maps), explain=True)
        maps = [
            self._mapped(family, before, index, region, lungs[index], films[index])
            for index, (_, region) in enumerate(prepared)
        ]
        hot = [
            {name: self._opaque(opacity, lungs[index], films[index][0])
             for name, opacity in maps[index].items()}
            for index in range(len(films))
        ]  # fmt: skip
        after: dict[str, NetworkAnswer] = {}
        for group in family.groups:
            if asked := [name for name in group if name in branch.wanted]:
                hides = list(dict.fromkeys(family.map_of(name) or name for name in asked))
                hidden = [
                    hide_salient(grid, smooth, hot[index].get(name, before[name].heat[index]))
                    for index, (grid, smooth) in enumerate(zip(grids, blurred, strict=True))
                    for name in hides
                ]
                found = self._ask(
                    family, np.stack(hidden), asked, explain=False, variants=len(hides)
                )
                for name in asked:
                    place = hides.index(family.map_of(name) or name)
                    after[name] = _every(found[name], place, len(hides))
        bundles = {bundle.id: bundle for bundle in self._bundles}
        return [
            _Seen(
                {
                    name: _seen(bundles[name], before[name], after[name], index,
                                (region, maps[index].get(family.map_of(name))),
                                lungs[index], films[index][1])
                    for name in branch.wanted
                },
                next(iter(maps[index].values()), None),
                next(iter(hot[index].values()), None),
            )
            for index, (_, region) in enumerate(prepared)
        ]  # fmt: skip

    def _mapped(
        self,
        family: Family,
        answers: Mapping[str, NetworkAnswer],
        index: int,
        region: Region,
        lungs: Lungs | None,
        film: tuple[Float, str],
    ) -> dict[str, OpacityMap]:
        """Return the opacity maps of one film of a family, by network."""
        bundles = {bundle.id: bundle for each in self._families for bundle in each}
        grey, uid = film
        found = {}
        for name in family.maps:
            values = {key: value[index] for key, value in answers[name].values.items()}
            _check_output(values, None, uid)
            mask = self._lung_mask(lungs)
            found[name] = opacity_map(bundles[name], values, region, mask, grey.shape)
        return found

    def _opaque(self, opacity: OpacityMap, lungs: Lungs | None, film: Float) -> Float:
        """Return what is mapped opaque, as it is drawn, on a grid of what the network saw."""
        mask = self._lung_mask(lungs)
        return drawn(opacity, mask, _whole(film), opacity.region, GRID)

    def _ask(
        self,
        family: Family,
        grids: Float,
        wanted: Sequence[str],
        *,
        explain: bool,
        variants: int = 1,
    ) -> dict[str, NetworkAnswer]:
        """Return the answers to the prepared films, in calls of one shape.

        ``grids`` holds each film ``variants`` times in a row, and a call takes all of a film's.
        """
        parts, lanes = [], self._load().lanes * variants
        for start in range(0, len(grids), lanes):
            part = grids[start : start + lanes]
            filled = np.zeros((lanes, *part.shape[1:]), dtype=np.float32)
            filled[: len(part)] = part
            found = family.answer(filled, wanted, explain=explain)
            parts.append({name: _first(answer, len(part)) for name, answer in found.items()})
        return {name: _joined([part[name] for part in parts]) for name in wanted}


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


def _seen(
    bundle: Bundle,
    before: NetworkAnswer,
    after: NetworkAnswer,
    index: int,
    explained: tuple[Region, OpacityMap | None],
    lungs: Lungs | None,
    uid: str,
) -> _Looked:
    """Return what one network told about one film, its evidence and where it looked.

    ``explained``: what it saw of the film, and the map that explains it if one does.
    """
    region, opacity = explained
    values = {name: value[index] for name, value in before.values.items()}
    hidden = {name: value[index] for name, value in after.values.items()}
    heat = before.heat[index] if opacity is None else opacity.probability
    _check_output(values, heat, uid)
    seen = told(bundle, values)
    change = changed(seen, told(bundle, hidden))
    if opacity is not None:
        # Inside the lungs by construction: how it lies to them is no evidence.
        saliency = SaliencyMap(bundle.id, seen.target, heat, region, opacity.network)
        return seen, Evidence(change_when_hidden=change), saliency
    saliency = SaliencyMap(bundle.id, seen.target, heat, region)
    return seen, evidence_in_lungs(saliency, lungs, change), saliency


def _first(answer: NetworkAnswer, films: int) -> NetworkAnswer:
    return NetworkAnswer(
        {name: value[:films] for name, value in answer.values.items()}, answer.heat[:films]
    )


def _every(answer: NetworkAnswer, first: int, step: int) -> NetworkAnswer:
    """Return the answers to one variant of each film, of which there are ``step`` in a row."""
    return NetworkAnswer(
        {name: value[first::step] for name, value in answer.values.items()},
        answer.heat[first::step],
    )


def _joined(parts: Sequence[NetworkAnswer]) -> NetworkAnswer:
    return NetworkAnswer(
        {n: np.concatenate([part.values[n] for part in parts]) for n in parts[0].values},
        np.concatenate([part.heat for part in parts]),
    )


def _check_film(film: Float, uid: str) -> None:
    if not (np.isfinite(film).all() and film.min() >= 0.0 and film.max() <= 1.0):
        raise OutputNotFinite(f"Film {uid} holds values that are no numbers or not in [0, 1].")


def _whole(film: Float) -> Region:
    return Region(0.0, 0.0, float(film.shape[0]), float(film.shape[1]))


def _check_output(values: Mapping[str, Float], heat: Float | None, uid: str) -> None:
    if not all(np.isfinite(value).all() for value in values.values()):
        raise OutputNotFinite(f"A network's answer to film {uid} is not a number.")
    if heat is None:
        return
    if not np.isfinite(heat).all():
        raise OutputNotFinite(f"A network's answer to film {uid} is not a number.")
    if heat.min() < 0.0 or heat.max() > 1.0:
        raise OutputNotFinite(f"A network's answer to film {uid} is out of its range.")
