"""A column of text and bars, drawn from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Colour = (16, 17, 20)
BRIGHT: Colour = (240, 242, 244)
PLAIN: Colour = (206, 209, 214)
QUIET: Colour = (158, 163, 171)
BAR: Colour = (88, 152, 214)
BAR_FOUND: Colour = (255, 196, 0)
ZONE: Colour = (52, 92, 132)
GROOVE: Colour = (44, 47, 53)
RULE: Colour = (58, 62, 70)

_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@lru_cache(maxsize=64)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans in ``size`` pixels, as matplotlib ships it."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(_FONTS / name), size)


class _DryPen:
    """Draws nothing: what is written takes its room, which is all that is asked."""

    def text(self, *_: Any, **__: Any) -> None:
        """Draw no text."""

    def line(self, *_: Any, **__: Any) -> None:
        """Draw no line."""

    def rectangle(self, *_: Any, **__: Any) -> None:
        """Draw no rectangle."""


class Panel:
    """Writes into ``image`` between ``left`` and ``right``, from ``top`` on.

    Every size is multiplied by ``scale``; ``y`` is where the next thing goes. ``dry``: nothing is
    drawn, so that the room for a text can be found without drawing it.
    """

    def __init__(
        self, image: Image.Image, left: int, right: int, top: int, scale: float = 1.0,
        *, dry: bool = False,
    ) -> None:  # fmt: skip
        self._image = None if dry else image
        self._draw: Any = _DryPen() if dry else ImageDraw.Draw(image)
        self._scale = scale
        self.left, self.right, self.y = left, right, top

    def sized(self, pixels: float) -> int:
        """Return ``pixels`` in the scale of this panel."""
        return max(round(pixels * self._scale), 1)

    def gap(self, pixels: int) -> None:
        """Leave room."""
        self.y += self.sized(pixels)

    def heading(self, text: str) -> None:
        """Begin a section: a rule, then its title."""
        self.gap(13)
        self._draw.line((self.left, self.y, self.right, self.y), fill=RULE, width=1)
        self.gap(9)
        self.text(text, 15, QUIET, bold=True)
        self.gap(4)

    def text(self, text: str, size: int, colour: Colour = PLAIN, *, bold: bool = False) -> None:
        """Write ``text``, wrapped at words."""
        face = font(self.sized(size), bold=bold)
        for line in self._wrapped(text, face):
            self._draw.text((self.left, self.y), line, font=face, fill=colour)
            self.y += round(self.sized(size) * 1.34)

    def row(self, words: tuple[str, str, str], size: int, colour: Colour = QUIET) -> None:
        """Write three words on one line: left, in the middle, right."""
        face, middle = font(self.sized(size)), (self.left + self.right) // 2
        for word, x, anchor in zip(words, (self.left, middle, self.right), "lmr", strict=True):
            self._draw.text((x, self.y), word, font=face, fill=colour, anchor=f"{anchor}a")
        self.y += round(self.sized(size) * 1.34)

    def pair(self, label: str, value: str) -> None:
        """Write a label at the left and its value at the right, on one line."""
        face = font(self.sized(16))
        self._draw.text((self.left, self.y), label, font=face, fill=PLAIN)
        self._draw.text((self.right, self.y), value, font=face, fill=BRIGHT, anchor="ra")
        self.y += round(self.sized(16) * 1.4)

    def bar(
        self, label_and_value: tuple[str, str], fraction: float, mark: float, colour: Colour
    ) -> None:
        """Draw a labelled bar of ``fraction`` (0 to 1) with a tick at ``mark``."""
        label, value = label_and_value
        face, thick = font(self.sized(17)), self.sized(10)
        self._draw.text((self.left, self.y), label, font=face, fill=PLAIN)
        self._draw.text((self.right, self.y), value, font=face, fill=BRIGHT, anchor="ra")
        top, width = self.y + self.sized(24), self.right - self.left
        self._draw.rectangle((self.left, top, self.right, top + thick), fill=GROOVE)
        if (end := self.left + round(width * fraction)) > self.left:
            self._draw.rectangle((self.left, top, end, top + thick), fill=colour)
        tick, beyond = self.left + round(width * mark), self.sized(3)
        self._draw.line((tick, top - beyond, tick, top + thick + beyond), fill=BRIGHT, width=2)
        self.y = top + thick + self.sized(11)

    def cells(self, values: Sequence[tuple[str, float]]) -> None:
        """Draw boxes side by side, each with its words, filled from below by its fraction."""
        face, gap, high = font(self.sized(16)), self.sized(4), self.sized(30)
        width = (self.right - self.left - gap * (len(values) - 1)) // len(values)
        for place, (words, fraction) in enumerate(values):
            left, bottom = self.left + place * (width + gap), self.y + high
            self._draw.rectangle((left, self.y, left + width, bottom), fill=GROOVE)
            if (filled := round(high * min(max(fraction, 0.0), 1.0))) > 0:
                self._draw.rectangle((left, bottom - filled, left + width, bottom), fill=ZONE)
            middle = (left + width // 2, self.y + high // 2)
            self._draw.text(middle, words, font=face, fill=BRIGHT, anchor="mm")
        self.y += high + gap

    def paste(self, image: Image.Image) -> None:
        """Put a picture below what is there."""
        if self._image is not None:
            self._image.paste(image, (self.left, self.y))
        self.y += image.height + self.sized(3)

    def _wrapped(self, text: str, face: ImageFont.FreeTypeFont) -> list[str]:
        lines, line = [], ""
        # A number and its unit stay on one line.
        for word in text.replace(" %", "\N{NO-BREAK SPACE}%").split(" "):
            longer = f"{line} {word}".strip(" ")
            if line and face.getlength(longer) > self.right - self.left:
                lines.append(line)
                longer = word
            line = longer
        return [*lines, line]
