"""Networks in shadow: asked about films beside the suites, and what they say is never reported.

They are asked after a film's findings are made, by a call of their own: nothing that they say or
do changes a byte of the findings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dicom_node.bundles.declared import Declared, versioned
from dicom_node.errors import NodeError, Unavailable
from dicom_node.findings import FilmFindings
from dicom_node.imaging.header import FilmHeader
from dicom_node.intake.eats import not_eaten
from dicom_node.intake.rules import AdmissionRules, load_rules
from dicom_node.line.bundles import shadow_bundles
from dicom_node.patience import place_of
from dicom_node.settings import Configuration


@dataclass(frozen=True, slots=True)
class SaidBeside:
    """What was said of a film in shadow: observations as JSON by ``id@version``.

    ``reasons``: why some said nothing.
    """

    observations: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShadowCast:
    """Who runs in shadow."""

    bundles: tuple[Declared, ...]
    rules: AdmissionRules

    def eaters(self, header: FilmHeader) -> frozenset[str]:
        """Return who eats a film."""
        return frozenset(
            bundle.id
            for bundle in self.bundles
            if not_eaten(header, bundle.manifest.eats, self.rules) is None
        )

    def told(self, header: FilmHeader, ask: Callable[[frozenset[str]], FilmFindings]) -> SaidBeside:
        """Return what they observe on a film. Raises `Unavailable` alone.

        ``ask``: returns the findings of these networks on it.
        """
        networks = self.eaters(header)
        if not networks:
            return SaidBeside()
        try:
            findings = ask(networks)
        except Unavailable:
            raise
        except NodeError as error:
            return SaidBeside(reasons=(error.message,))
        except Exception as error:  # noqa: BLE001 - in shadow nothing may hurt a film
            return SaidBeside(reasons=(f"an error that nobody foresaw: {place_of(error)}",))
        return SaidBeside(self._said(findings), tuple(findings.unanswered.values()))

    def _said(self, findings: FilmFindings) -> dict[str, str]:
        return {
            versioned(bundle.manifest): json.dumps(
                [one.to_json() for one in findings.observed if one.network == bundle.id]
            )
            for bundle in self.bundles
            if any(one.network == bundle.id for one in findings.observed)
        }


def shadow_of(configuration: Configuration) -> ShadowCast | None:
    """Return who runs in shadow by the configuration; None: nobody."""
    bundles = shadow_bundles(configuration.settings)
    if not bundles:
        return None
    rules = load_rules(configuration.admission_path, configuration.settings.admission)
    return ShadowCast(bundles, rules)
