"""Environment variables ``DICOM_NODE__SECTION__KEY`` override ``node.toml``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from dicom_node.settings.faults import Fault, suggestion, table_of

PREFIX = "DICOM_NODE__"

Overrides = dict[tuple[str, str], tuple[str, object]]


def overrides(
    environment: Mapping[str, str], model: type[BaseModel]
) -> tuple[Overrides, list[Fault]]:
    """Return ``{(section, key): (variable, value)}`` and a fault for each unknown variable.

    A list is written as in TOML (``["PA", "AP"]``) or with commas (``PA,AP``).
    """
    found: Overrides = {}
    faults = []
    for variable in sorted(name for name in environment if name.upper().startswith(PREFIX)):
        section, _, key = variable[len(PREFIX) :].lower().partition("__")
        info = _field(model, section, key)
        if info is None:
            faults.append(_unknown(variable, section, key, model))
        else:
            found[section, key] = (variable, _value(environment[variable], info))
    return found, faults


def _field(model: type[BaseModel], section: str, key: str) -> FieldInfo | None:
    home = model.model_fields.get(section)
    table = table_of(home.annotation) if home else None
    return table.model_fields.get(key) if table else None


def _unknown(variable: str, section: str, key: str, model: type[BaseModel]) -> Fault:
    known = model.model_fields
    if section not in known:
        remedy = suggestion(section, known)
        return Fault(f"environment {variable}", section, "unknown section", remedy)
    table = table_of(known[section].annotation)
    remedy = suggestion(key, table.model_fields if table else ())
    return Fault(f"environment {variable}", f"{section}.{key}", "unknown key", remedy)


def _value(text: str, info: FieldInfo) -> object:
    """Return the first reading of ``text`` that the setting accepts, else the text itself."""
    kind: Any = Annotated[info.annotation, info]
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    for candidate in _readings(text):
        try:
            adapter.validate_json(json.dumps(candidate, default=str), strict=True)
        except ValidationError:
            continue
        return candidate
    return text


def _readings(text: str) -> Iterator[object]:
    yield text
    if text.lower() in ("true", "false"):
        yield text.lower() == "true"
    with suppress(tomllib.TOMLDecodeError):
        yield tomllib.loads(f"value = {text}")["value"]
    yield [item.strip() for item in text.split(",") if item.strip()]
