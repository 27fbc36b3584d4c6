"""What the configuration means to who decides on films and who writes results of them.

The menu, the networks' cards, the template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dicom_node.bundles import open_bundle, with_neighbours
from dicom_node.bundles.declared import Declaration, Declared
from dicom_node.bundles.installed import declaring_folder
from dicom_node.intake.menu import Menu
from dicom_node.intake.rules import load_rules
from dicom_node.line.bundles import broken_bundles, declared_bundles
from dicom_node.resources import model_bundles, report_templates
from dicom_node.results.templates import Template, load_template
from dicom_node.results.write import NetworkCard
from dicom_node.settings import Configuration, Settings


def menu_of(configuration: Configuration) -> Menu:
    """Return which networks a film gets. Raises `SettingsError`."""
    settings = configuration.settings
    rules = load_rules(configuration.admission_path, settings.admission)
    return Menu.of(settings, rules, declared_bundles(settings), broken_bundles(settings))


def menu_alone(configuration: Configuration, bundle: Declared) -> Menu:
    """Return the menu of one bundle that declares what it eats."""
    rules = load_rules(configuration.admission_path, configuration.settings.admission)
    return Menu(rules, (bundle.id,), eats={bundle.id: bundle.manifest.eats})


def network_cards(settings: Settings) -> Mapping[str, NetworkCard]:
    """Return what a report says about each network that answers, trunks and lungs too."""
    folder = settings.analysis.models_dir or model_bundles()
    declared = declared_cards(settings)
    own = [name for name in settings.bundles if declaring_folder(settings, name) is None]
    cards = {}
    for name in sorted(with_neighbours(folder, own)):
        manifest = open_bundle(folder, name).manifest
        cards[name] = NetworkCard(
            id=manifest.id,
            title=manifest.title,
            version=manifest.version,
            weights=manifest.weights_digest,
            intended_use=manifest.intended_use,
        )
    return cards | declared


def manifests_of(settings: Settings) -> dict[str, Declaration]:
    """Return the manifests of the bundles that declare what they say, by id."""
    return {bundle.id: bundle.manifest for bundle in declared_bundles(settings)}


def declared_cards(settings: Settings) -> dict[str, NetworkCard]:
    """Return what a report says about each bundle of the suite that declares what it says."""
    return cards_of(declared_bundles(settings))


def cards_of(bundles: Iterable[Declared]) -> dict[str, NetworkCard]:
    """Return what a report says about bundles that declare what they say."""
    told = ((bundle.id, bundle.manifest) for bundle in bundles)
    return {
        name: NetworkCard(
            said.id, said.title, said.version, said.weights_digest, said.intended_use, said
        )
        for name, said in told
    }


def template_of(settings: Settings) -> Template:
    """Return the configured report template."""
    folder = settings.results.templates_dir or report_templates()
    return load_template(folder / f"{settings.results.template}.toml")
