"""How long work is shown: on standard error, so that what a command answers stays alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that is told what is being done, how much of it is done, and of how much."""
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as progress:
        known: dict[str, TaskID] = {}

        def told(what: str, done: int, of: int) -> None:
            if what not in known:
                known[what] = progress.add_task(what.capitalize(), total=max(of, 1))
            progress.update(known[what], completed=done if of else 1, total=max(of, 1))

        yield told
