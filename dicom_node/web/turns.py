"""Pictures in turn: whoever wants one waits on the event loop, not with a large film in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from anyio import Semaphore
from fastapi import Depends, Request

AT_A_TIME = 2
"""Films that are decoded for the pages at one time."""


async def _turn(request: Request) -> AsyncIterator[None]:
    drawing: Semaphore = request.app.state.drawing
    async with drawing:
        yield


InTurn = Annotated[None, Depends(_turn, scope="function")]
"""For a route that decodes pixels; the turn ends before the answer is sent."""
