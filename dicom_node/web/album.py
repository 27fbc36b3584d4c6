"""Small pictures that were drawn a moment ago, in memory.

Browsers may keep none (no-store: they show a patient), and the list asks for fifty every few
seconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from dicom_node.records import Digest

_MOST = 1000
"""A picture has about 5 KB."""


class Album:
    """The pictures that were asked for last; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pictures: OrderedDict[tuple[Digest, int], bytes] = OrderedDict()

    def picture(self, digest: Digest, longest: int, draw: Callable[[], bytes]) -> bytes:
        """Return the picture of a film, its longer side ``longest`` pixels; drawn if need be."""
        key = digest, longest
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
        drawn = draw()
        with self._lock:
            self._pictures[key] = drawn
            while len(self._pictures) > _MOST:
                self._pictures.popitem(last=False)
        return drawn
