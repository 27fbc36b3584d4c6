"""A column of text and bars, drawn from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from dicom_node.results.lettering import Colour, Face, width_of, wrapped, write

BACKGROUND: Colour = (16, 17, 20)
BRIGHT: Colour = (240, 242, 244)
PLAIN: Colour = (206, 209, 214)
QUIET: Colour = (158, 163, 171)
BAR: Colour = (88, 152, 214)
BAR_FOUND: Colour = (255, 196, 0)
ZONE: Colour = (52, 92, 132)
GROOVE: Colour = (44, 47, 53)
RULE: Colour = (58, 62, 70)


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
        self._draw = None if dry else ImageDraw.Draw(image)
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
        self._line((self.left, self.y, self.right, self.y), RULE, 1)
        self.gap(9)
        self.text(text, 15, QUIET, bold=True)
        self.gap(4)

    def text(self, text: str, size: int, colour: Colour = PLAIN, *, bold: bool = False) -> None:
        """Write ``text``, wrapped at words."""
        face = Face(self.sized(size), bold)
        # A number and its unit stay on one line.
        whole = text.replace(" %", "\N{NO-BREAK SPACE}%")
        for line in wrapped(whole, face, self.right - self.left):
            self._write((self.left, self.y), line, face, (colour, "la"))
            self.y += round(face.size * 1.34)

    def row(self, words: tuple[str, str, str], size: int, colour: Colour = QUIET) -> None:
        """Write three words on one line: left, in the middle, right."""
        face, middle = Face(self.sized(size)), (self.left + self.right) // 2
        for word, x, anchor in zip(words, (self.left, middle, self.right), "lmr", strict=True):
            self._write((x, self.y), word, face, (colour, f"{anchor}a"))
        self.y += round(face.size * 1.34)

    def pair(
        self, label: str, value: str, ink: Colour = BRIGHT, mark: Colour | None = None
    ) -> None:
        """Write a label at the left and its value at the right, on one line if there is room.

        ``ink``: of the value. ``mark``: the colour of a square before the label.
        """
        face, left = Face(self.sized(16)), self.left
        if mark is not None:
            side = self.sized(11)
            top = self.y + (face.size - side) // 2 + self.sized(2)
            self._box((left, top, left + side, top + side), mark)
            left += side + self.sized(6)
        room = self.right - left - width_of(value, face) - self.sized(10)
        lines = wrapped(label, face, room) if room >= self.sized(120) else [label]
        for line in lines[:-1]:
            self._write((left, self.y), line, face, (PLAIN, "la"))
            self.y += round(face.size * 1.3)
        self._write((left, self.y), lines[-1], face, (PLAIN, "la"))
        if room < self.sized(120):
            self.y += round(face.size * 1.3)
        self._write((self.right, self.y), value, face, (ink, "ra"))
        self.y += round(face.size * 1.4)

    def bar(
        self, label_and_value: tuple[str, str], fraction: float, mark: float | None, colour: Colour
    ) -> None:
        """Draw a labelled bar of ``fraction`` (0 to 1) with a tick at ``mark``, if there is one."""
        label, value = label_and_value
        face, thick = Face(self.sized(17)), self.sized(10)
        self._write((self.left, self.y), label, face, (PLAIN, "la"))
        self._write((self.right, self.y), value, face, (BRIGHT, "ra"))
        top, width = self.y + self.sized(24), self.right - self.left
        self._box((self.left, top, self.right, top + thick), GROOVE)
        if (end := self.left + round(width * fraction)) > self.left:
            self._box((self.left, top, end, top + thick), colour)
        if mark is not None:
            tick, beyond = self.left + round(width * mark), self.sized(3)
            self._line((tick, top - beyond, tick, top + thick + beyond), BRIGHT, 2)
        self.y = top + thick + self.sized(11)

    def cells(self, values: Sequence[tuple[str, float]]) -> None:
        """Draw boxes side by side, each with its words, filled from below by its fraction."""
        face, gap, high = Face(self.sized(16)), self.sized(4), self.sized(30)
        width = (self.right - self.left - gap * (len(values) - 1)) // len(values)
        for place, (words, fraction) in enumerate(values):
            left, bottom = self.left + place * (width + gap), self.y + high
            self._box((left, self.y, left + width, bottom), GROOVE)
            if (filled := round(high * min(max(fraction, 0.0), 1.0))) > 0:
                self._box((left, bottom - filled, left + width, bottom), ZONE)
            middle = (left + width // 2, self.y + high // 2)
            self._write(middle, words, face, (BRIGHT, "mm"))
        self.y += high + gap

    def picture(self, size: tuple[int, int], draw: Callable[[int, int], Image.Image]) -> None:
        """Put a picture of ``size`` (width, height) below what is there."""
        if self._image is not None:
            self._image.paste(draw(*size), (self.left, self.y))
        self.y += size[1] + self.sized(3)

    def _write(self, at: tuple[int, int], text: str, face: Face, ink: tuple[Colour, str]) -> None:
        if self._image is not None:
            write(self._image, at, text, face, ink)

    def _line(self, ends: tuple[int, int, int, int], colour: Colour, width: int) -> None:
        if self._draw is not None:
            self._draw.line(ends, fill=colour, width=width)

    def _box(self, corners: tuple[int, int, int, int], colour: Colour) -> None:
        if self._draw is not None:
            self._draw.rectangle(corners, fill=colour)
