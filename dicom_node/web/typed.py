"""What a person typed into a form: read beside the handler, given back where it was not kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import FormData

_OURS = ("csrf", "seen", "said", "revision", "template", "is_new", "next")
_SHORTEST = 2
"""Characters from which on a field is worth giving back."""


async def form_of(request: Request) -> FormData:
    """Return the form of a request. A dependency, so that the handler itself need not be async."""
    return await request.form()


async def _typed(request: Request) -> Mapping[str, str]:
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


Form = Annotated[FormData, Depends(form_of)]
Typed = Annotated[Mapping[str, str], Depends(_typed)]
"""The texts of a form by name; of several with one name the last."""


def remember(request: Request, form: FormData) -> None:
    """Keep what was typed at hand, for the page that says why it was not taken."""
    request.state.typed = [
        (name, value)
        for name, value in form.multi_items()
        if isinstance(value, str) and not name.startswith((*_OURS, "password"))
    ]


def typed_in(request: Request) -> list[tuple[str, str]]:
    """Return what `remember` kept and is worth giving back."""
    typed: list[tuple[str, str]] = getattr(request.state, "typed", [])
    return [(name, value) for name, value in typed if len(value.strip()) >= _SHORTEST]
