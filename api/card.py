"""The picture that a shared link shows (Open Graph): 1200 x 630 PNG, drawn with Pillow.

Most readers of shared links take no SVG. Only this module draws pixels.
"""

import io
import textwrap
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from api.charts.palette import CIVIDIS

SIZE = (1200, 630)
_NAVY = CIVIDIS[0]
_LEFT = 72
_TITLE_LINES = 3
_TITLE_WIDTH = 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is written on a picture."""

    title: str
    figure: str
    """Empty when the title says it all."""
    unit: str
    note: str
    letter: str = ""
    letter_ground: str = ""
    letter_ink: str = ""


def card_png(card: Card) -> bytes:
    """The picture of a card."""
    image = Image.new("RGB", SIZE, _NAVY)
    draw = ImageDraw.Draw(image)
    for position, colour in enumerate(CIVIDIS):
        width = SIZE[0] / len(CIVIDIS)
        draw.rectangle([position * width, 606, (position + 1) * width, 630], fill=colour)
    draw.text((_LEFT, 52), "CarbonBench", font=_font(36), fill=CIVIDIS[-1])
    lines = textwrap.wrap(card.title, _TITLE_WIDTH)[:_TITLE_LINES]
    for number, line in enumerate(lines):
        draw.text((_LEFT, 128 + 66 * number), line, font=_font(52), fill="#ffffff")
    if card.figure:
        draw.text((_LEFT, 362), card.figure, font=_font(108), fill="#ffffff")
        draw.text((_LEFT, 486), card.unit, font=_font(32), fill="#c7d2e0")
    draw.text((_LEFT, 546), card.note[:90], font=_font(26), fill="#c7d2e0")
    if card.letter:
        draw.rounded_rectangle([952, 342, 1128, 518], 28, fill=card.letter_ground)
        draw.text((1040, 430), card.letter, font=_font(130), fill=card.letter_ink, anchor="mm")
    out = io.BytesIO()
    image.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(out, "PNG", optimize=True)
    return out.getvalue()


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
