"""Which networks a film gets: those of the suites that fit it, as far as they eat it.

Pure: the configuration and the manifests in once, then a header and its senders. Admission and
analysis ask the same, so that a film that somebody eats is analysed by exactly those who eat it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from dicom_node.bundles.declared import Declared, Eats
from dicom_node.imaging.header import FilmHeader
from dicom_node.intake.admit import OWN_RESULT, Admitted, Declined, admit
from dicom_node.intake.eats import not_eaten, view_said
from dicom_node.intake.rules import AdmissionRules
from dicom_node.intake.said import descriptions, is_one_of, match_in
from dicom_node.settings import Settings, SuiteSection
from dicom_node.settings.model import AnalysisSection

CHEST_SUITE = "chest suite"
"""What reasons call our own networks, beside bundles that declare what they eat."""

NO_SUITE = "no suite of the configuration is for it"


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is asked about a film.

    ``decision``: `Declined` where nobody is. ``reasons``: why those of its suites that are not
    asked do not eat it, by bundle id, of our own networks together by `CHEST_SUITE`.
    """

    networks: frozenset[str]
    decision: Admitted | Declined
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Menu:
    """What is served here. ``eats``: of bundles that declare it; all others are our own networks.

    ``broken``: bundles of whom nobody knows what they eat, since their manifests have faults.
    ``suite`` is for films that none of ``suites`` fits.
    """

    rules: AdmissionRules
    suite: tuple[str, ...] = AnalysisSection().suite
    suites: tuple[SuiteSection, ...] = ()
    eats: Mapping[str, Eats] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        settings: Settings,
        rules: AdmissionRules,
        declared: Iterable[Declared],
        broken: Iterable[str] = (),
    ) -> Menu:
        """Return the menu of a configuration; ``declared``: those of its bundles that declare."""
        eats = {bundle.id: bundle.manifest.eats for bundle in declared}
        return cls(rules, settings.analysis.suite, settings.suites, eats, frozenset(broken))

    @property
    def networks(self) -> frozenset[str]:
        """Every network that some film may get."""
        return frozenset(self.suite).union(*(suite.networks for suite in self.suites))

    @property
    def asks_senders(self) -> bool:
        """Whether it matters who sent a film."""
        return any(suite.calling_ae_titles for suite in self.suites)

    def offered(self, header: FilmHeader, senders: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the networks of every suite that fits a film, else `suite`.

        ``senders``: the AE titles that sent its study.
        """
        said = {title.strip() for title in senders}
        fitting = [suite.networks for suite in self.suites if _fits(header, said, suite)]
        return tuple(dict.fromkeys(name for names in fitting or [self.suite] for name in names))

    def choose(
        self,
        header: FilmHeader,
        senders: Iterable[str] = (),
        own_instances: Container[str] = (),
    ) -> Choice:
        """Return which of the networks that are offered for a film eat it.

        Our own eat what `admit` admits (also for ``own_instances``); the view is by it where it
        does, else as the header states it. Results of this node are for nobody.
        """
        offered = self.offered(header, senders)
        by_rules = admit(header, self.rules, own_instances)
        if by_rules == Declined(OWN_RESULT):
            return Choice(frozenset(), by_rules)
        against = {name: self._against(name, header, by_rules) for name in offered}
        networks = frozenset(name for name, reason in against.items() if reason is None)
        reasons = {
            name if name in self.eats or name in self.broken else CHEST_SUITE: reason
            for name, reason in against.items()
            if reason is not None
        }
        if not networks:
            return Choice(networks, Declined(_told(reasons)), reasons)
        stated = by_rules if isinstance(by_rules, Admitted) else None
        return Choice(networks, stated or Admitted(view_said(header, self.rules)), reasons)

    def _against(self, name: str, header: FilmHeader, by_rules: Admitted | Declined) -> str | None:
        if name in self.broken:
            return "its manifest has faults (`dicom-node config check`)"
        if name in self.eats:
            return not_eaten(header, self.eats[name], self.rules)
        return by_rules.reason if isinstance(by_rules, Declined) else None


def _fits(header: FilmHeader, senders: set[str], suite: SuiteSection) -> bool:
    """Whether every list that a suite names fits; one entry of it is enough."""
    said = " ".join(descriptions(header))
    return (
        (not suite.calling_ae_titles or not senders.isdisjoint(suite.calling_ae_titles))
        and (not suite.modalities or is_one_of(header.modality, suite.modalities))
        and (not suite.body_parts or is_one_of(header.body_part_examined, suite.body_parts))
        and (not suite.stations or is_one_of(header.station_name, suite.stations))
        and (not suite.words or match_in(said, suite.words) is not None)
    )


def _told(reasons: Mapping[str, str]) -> str:
    """Return why nobody eats a film: the reason that all share alone, else each with whose it is.

    Our own networks beside nobody say theirs alone, too.
    """
    if not reasons:
        return NO_SUITE
    whose: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        whose.setdefault(reason, []).append(name)
    shared = next(iter(whose))
    if len(whose) == 1 and (len(reasons) > 1 or CHEST_SUITE in reasons):
        return shared
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in whose.items())
