"""What is wrong with a configuration, said by file, line and key, with what to do."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from dicom_node.errors import SettingsError

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: where (``file``, ``line``, ``key``), ``what`` is wrong and its ``remedy``."""

    file: str
    key: str
    what: str
    remedy: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        what = f"{self.key}: {self.what}" if self.key else self.what
        return f"{where}: {what} — {self.remedy}"


@dataclass(frozen=True, slots=True)
class KeyPlaces:
    """Where keys were written: file name and line of each, and overrides by the environment."""

    file: str
    lines: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    overrides: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    def fault(self, key: Location, what: str, remedy: str) -> Fault:
        """Return a fault at ``key``, or at the nearest table above it that is written down."""
        names = tuple(str(part) for part in key if isinstance(part, str))
        if names in self.overrides:
            return Fault(f"environment {self.overrides[names]}", _dotted(key), what, remedy)
        whole = tuple(map(str, key))
        lines = (self.lines.get(whole[:end]) for end in range(len(whole), 0, -1))
        line = next((line for line in lines if line is not None), self.lines.get(names))
        return Fault(self.file, _dotted(key), what, remedy, line)


def refusal(faults: Sequence[Fault], remedy: str | None = None) -> SettingsError:
    """Return one error that carries every fault; the message shows the first."""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    told = tuple(str(fault) for fault in faults)
    return SettingsError(f"{faults[0]}{more}", faults=told, remedy=remedy)


def explain(
    error: ValidationError,
    model: type[BaseModel],
    places: KeyPlaces,
    page: str = "docs/configuration.md",
) -> list[Fault]:
    """Turn what pydantic found in a ``model`` into faults for people.

    ``page``: where what belongs at a key is explained, if the key does not tell it itself.
    """
    details = error.errors(include_url=False)
    inner = {detail["loc"][:1] for detail in details if len(detail["loc"]) > 1}
    # A list of which an entry has a fault is counted without it: that is no fault of its own.
    own = [each for each in details if each["type"] != "too_short" or each["loc"] not in inner]
    return [_explain(detail, model, places, page) for detail in own]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean …?`` for the nearest of ``known``, or the list of all."""
    names = sorted(known)
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return (
        f"did you mean {lower[near[0]]!r}?"
        if near
        else f"known here: {', '.join(names) or 'nothing'}"
    )


def table_of(annotation: object) -> type[BaseModel] | None:
    """Return the model behind the annotation of a table, optional or not, else None."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else [annotation]
    for option in options:
        if option is not NoneType and isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None


def entry_of(annotation: object) -> type[BaseModel] | None:
    """Return `table_of` an annotation, or of the entries of a list or dictionary of tables."""
    if get_origin(annotation) in (tuple, list, dict):
        return next(filter(None, map(entry_of, reversed(get_args(annotation)))), None)
    return table_of(annotation)


def _explain(detail: ErrorDetails, model: type[BaseModel], places: KeyPlaces, page: str) -> Fault:
    location: Location = detail["loc"]
    context: Mapping[str, Any] = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        return places.fault(location, "unknown key", _instead(location, model))
    if kind == "missing":
        return places.fault(location, "missing", f"write it: {_meaning(location, model, page)}")
    if "remedy" in context:
        key = (*location, context["key"]) if "key" in context else location
        return places.fault(key, detail["msg"], str(context["remedy"]))
    # A pattern is for programs: what belongs there tells its form in words.
    said = "is not of this form" if kind == "string_pattern_mismatch" else _said(detail["msg"])
    what = f"{reprlib.repr(detail['input'])}: {said}"
    return places.fault(location, what, _meaning(location, model, page))


def _said(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _instead(location: Location, model: type[BaseModel]) -> str:
    """Return what an unknown key may have been meant to be, here or in another table."""
    *path, last = (part for part in location if isinstance(part, str))
    here: type[BaseModel] | None = model
    for name in path:
        field = here.model_fields.get(name) if here else None
        here = entry_of(field.annotation) if field else None
    known = here.model_fields if here else {}
    homes = [
        name
        for name, info in model.model_fields.items()
        if last in (getattr(table_of(info.annotation), "model_fields", {}))
    ]
    if homes:
        return f"it belongs in {' or '.join(f'[{home}]' for home in homes)}"
    return suggestion(last, known)


def _meaning(location: Location, model: type[BaseModel], page: str) -> str:
    """Return what belongs at ``location``, with the default if there is one."""
    info: FieldInfo | None = None
    table: type[BaseModel] | None = model
    for part in (each for each in location if isinstance(each, str)):
        if table is None or part not in table.model_fields:
            break
        info = table.model_fields[str(part)]
        table = entry_of(info.annotation)
    if info is None or not info.description:
        return f"see {page}"
    if info.is_required() or info.default is None:
        return info.description
    return f"{info.description} (default {plain(info.default)!r})"


def plain(value: object) -> object:
    """Return a setting as TOML and JSON have it: lists for tuples, text for paths."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _dotted(key: Location) -> str:
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
