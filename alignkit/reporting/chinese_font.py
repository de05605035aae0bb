"""A font of this machine in which pictures can say Chinese."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator

logger = logging.getLogger(__name__)

# characters of mainland China that fonts for Japanese lack
NEEDED = "\u6559\u5e08\u8bad\u7ec3\u8bed\u4e49\u68c0\u7d22"
# those that read best in a small picture; others are taken too
PREFERRED = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Hiragino Sans GB",
    "Heiti SC", "STHeiti", "Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Noto Sans CJK JP",
    "Droid Sans Fallback", "Arial Unicode MS", "SimSun",
)  # fmt: skip


@functools.cache
def chinese_font() -> str | None:
    """The family of such a font; `None` where there is none, which is said once."""
    found = next(_with_the_characters(), None)
    if found is None:
        logger.warning(
            "no font of this machine has Chinese characters, so the words in pictures stay English; install one, such "
            "as Noto Sans CJK (fonts-noto-cjk, google-noto-sans-cjk-fonts)"
        )
    return found


def _with_the_characters() -> Iterator[str]:
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {font.fname for font in fontManager.ttflist}
    # matplotlib keeps its list of fonts on disk: one that was installed since is not in it
    for path in sorted(set(findSystemFonts()) - known):
        try:
            fontManager.addfont(path)
        except (OSError, RuntimeError):  # a file that FreeType does not read
            continue
    order = {name: at for at, name in enumerate(PREFERRED)}
    fonts = sorted(
        fontManager.ttflist, key=lambda font: (order.get(font.name, len(order)), font.weight != 400, font.name)
    )
    return (font.name for font in fonts if _has_them(font.fname))


def _has_them(path: str) -> bool:
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
    except (OSError, RuntimeError):
        return False
    return all(font.get_char_index(ord(character)) for character in NEEDED)
