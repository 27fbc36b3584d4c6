"""The settings as a reference for people and editors: tables of keys, JSON Schema, plain values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from pydantic import BaseModel

from dicom_node.settings.environment import PREFIX
from dicom_node.settings.faults import entry_of, plain, table_of
from dicom_node.settings.model import Remote, Settings

_HEAD = "| key | values | default | meaning |\n|---|---|---|---|"
SECRET_KEYS = frozenset({("tls", "key"), ("alarms", "webhook")})
"""Who knows the address of a webhook may write to its chat."""


@dataclass(frozen=True, slots=True)
class SettingKey:
    """One key: its table (empty in ``remotes/*.toml``), name, values, default and meaning."""

    section: str
    name: str
    values: str
    default: object
    required: bool
    meaning: str

    @property
    def variable(self) -> str:
        """The environment variable that overrides this key of ``node.toml``."""
        return f"{PREFIX}{self.section}__{self.name}".upper()


def node_keys() -> tuple[SettingKey, ...]:
    """Return every key of ``node.toml``, in the order of the model."""
    return tuple(
        key
        for section, info in Settings.model_fields.items()
        for key in _keys(section, entry_of(info.annotation) or Settings)
    )


def remote_keys() -> tuple[SettingKey, ...]:
    """Return every key of a file in ``remotes/``."""
    return tuple(_keys("", Remote))


def section_meaning(section: str) -> str:
    """Return what a table of ``node.toml`` is about, from its model's docstring."""
    table = entry_of(Settings.model_fields[section].annotation)
    return cleandoc(table.__doc__ or "") if table else ""


def section_heading(section: str) -> str:
    """Return how a table of ``node.toml`` begins: ``[node]``, or ``[[suites]]`` of several."""
    several = table_of(Settings.model_fields[section].annotation) is None
    return f"[[{section}]]" if several else f"[{section}]"


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of ``node.toml`` (`Settings`) or of a remote (`Remote`)."""
    found = model.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


ShownTable = dict[str, object]
"""One table as TOML and JSON have it."""


def effective(settings: Settings) -> dict[str, ShownTable | list[ShownTable]]:
    """Return the settings in use by section and key, as TOML and JSON have them, secrets masked.

    Of ``[[suites]]`` there is a list; where nothing is said of a section, it is left out.
    """
    shown: dict[str, ShownTable | list[ShownTable]] = {}
    for section in Settings.model_fields:
        table = getattr(settings, section)
        if isinstance(table, tuple):
            shown |= {section: [_shown(section, each) for each in table]} if table else {}
        elif table is not None:
            shown[section] = _shown(section, table)
    return shown


def _shown(section: str, table: BaseModel) -> ShownTable:
    return {
        key: "(masked)"
        if (section, key) in SECRET_KEYS and getattr(table, key)
        else plain(getattr(table, key))
        for key in type(table).model_fields
    }


def node_table() -> str:
    """Return every key of ``node.toml`` as Markdown, one table a section."""
    keys = node_keys()
    parts = []
    for section in Settings.model_fields:
        rows = [_row(key) for key in keys if key.section == section]
        parts.append(
            f"### `{section_heading(section)}`\n\n{section_meaning(section)}\n\n{_HEAD}\n"
            + "\n".join(rows)
        )
    return "\n\n".join(parts)


def remote_table() -> str:
    """Return every key of a file in ``remotes/`` as a Markdown table."""
    return "\n".join([_HEAD, *map(_row, remote_keys())])


def as_toml(value: object) -> str:
    """Return a plain value as TOML writes it; an absent value as two double quotes."""
    if value is None:
        return '""'
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1_000_000:
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False)


def _row(key: SettingKey) -> str:
    default = "(required)" if key.required else f"`{as_toml(key.default)}`"
    values = key.values.replace("|", "\\|")
    return f"| `{key.name}` | {values} | {default} | {key.meaning} |"


def _keys(section: str, table: type[BaseModel]) -> Iterator[SettingKey]:
    properties = table.model_json_schema().get("properties", {})
    for name, info in table.model_fields.items():
        yield SettingKey(
            section=section,
            name=name,
            values=_values(properties[name]),
            default=plain(None if info.is_required() else info.default),
            required=info.is_required(),
            meaning=info.description or "",
        )


def _values(kind: dict[str, Any]) -> str:
    """Return what a key accepts, in words, from its JSON Schema."""
    options = [option for option in kind.get("anyOf", ()) if option.get("type") != "null"]
    if options:
        return _values(options[0])
    if "enum" in kind:
        return " | ".join(kind["enum"])
    if kind.get("type") == "array":
        items = _values(kind["items"])
        return f"list of ({items})" if "|" in items else f"list of {items}"
    if kind.get("format") == "path":
        return "path"
    return {"string": "text", "boolean": "true | false"}.get(kind["type"]) or _range(kind)


def _range(kind: dict[str, Any]) -> str:
    name = {"integer": "whole number", "number": "number"}[kind["type"]]
    least, most = kind.get("minimum"), kind.get("maximum")
    if least is not None and most is not None:
        return f"{name}, {least:g} to {most:g}" if most < 1e6 else f"{name}, {least} to {most}"
    if "exclusiveMinimum" in kind:
        return f"{name} above {kind['exclusiveMinimum']:g}"
    return f"{name}, at least {least}" if least is not None else name
