"""A column of text and bars, drawn from top to bottom."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Colour = (16, 17, 20)
BRIGHT: Colour = (236, 238, 240)
PLAIN: Colour = (198, 201, 206)
QUIET: Colour = (142, 147, 155)
BAR: Colour = (88, 152, 214)
BAR_FOUND: Colour = (255, 176, 0)
GROOVE: Colour = (44, 47, 53)

_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@lru_cache(maxsize=32)
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans in ``size`` pixels, as matplotlib ships it."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(_FONTS / name), size)


class Panel:
    """Writes into ``image`` between ``left`` and ``right``, from ``top`` on."""

    def __init__(self, image: Image.Image, left: int, right: int, top: int) -> None:
        self._image = image
        self._draw = ImageDraw.Draw(image)
        self.left, self.right, self.y = left, right, top

    def gap(self, pixels: int) -> None:
        """Leave room."""
        self.y += pixels

    def text(self, text: str, size: int, colour: Colour = PLAIN, *, bold: bool = False) -> None:
        """Write ``text``, wrapped at words."""
        face = font(size, bold=bold)
        for line in self._wrapped(text, face):
            self._draw.text((self.left, self.y), line, font=face, fill=colour)
            self.y += round(size * 1.35)

    def bar(self, label: str, fraction: float, value: str, colour: Colour, mark: float) -> None:
        """Draw a labelled bar of ``fraction`` (0 to 1) with a tick at ``mark``."""
        face = font(18)
        self._draw.text((self.left, self.y), label, font=face, fill=PLAIN)
        self._draw.text((self.right, self.y), value, font=face, fill=BRIGHT, anchor="ra")
        top, width = self.y + 26, self.right - self.left
        self._draw.rectangle((self.left, top, self.right, top + 10), fill=GROOVE)
        end = self.left + round(width * fraction)
        self._draw.rectangle((self.left, top, max(end, self.left + 1), top + 10), fill=colour)
        tick = self.left + round(width * mark)
        self._draw.line((tick, top - 4, tick, top + 14), fill=BRIGHT, width=2)
        self.y += 50

    def paste(self, image: Image.Image) -> None:
        """Put a picture below what is there."""
        self._image.paste(image, (self.left, self.y))
        self.y += image.height + 4

    def _wrapped(self, text: str, face: ImageFont.FreeTypeFont) -> list[str]:
        lines, line = [], ""
        # A number and its unit stay on one line.
        for word in text.replace(" %", "\N{NO-BREAK SPACE}%").split(" "):
            longer = f"{line} {word}".strip()
            if line and face.getlength(longer) > self.right - self.left:
                lines.append(line)
                longer = word
            line = longer
        return [*lines, line]
