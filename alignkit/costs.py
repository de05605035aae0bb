"""What calls of a model cost: how many tokens texts have, and a price where the user names one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignkit.embedders.base import Embedder
from alignkit.parts import PRICE
from alignkit.sentences.normalise import is_cjk
from alignkit.setting_rules import check, number_from

# rules of thumb: OpenAI's for Latin text, and a token for each Chinese or Japanese character
CHARACTERS_A_TOKEN = 4
CENT = 0.01
# of more texts a sample says how long they are
MOST_COUNTED = 2_000


@dataclass(frozen=True)
class CallCost:
    """Of the calls of a model, a text each.

    Attributes:
        tokens_a_text: mean.
        estimated: whether the tokens are estimated from characters, for want of the model's tokenizer.
        price: of a million tokens.
    """

    tokens_a_text: float
    estimated: bool
    price: float

    def of(self, calls: int) -> float:
        """What so many calls cost."""
        return calls * self.tokens_a_text * self.price / 1e6

    def words(self, calls: int) -> str:
        """In a few words.

        >>> CallCost(10.0, True, 0.5).words(2_000)
        'about 20,000 tokens (estimated from characters), 0.01 at 0.5 a million'
        """
        how = "estimated from characters" if self.estimated else "by its tokenizer"
        cost = self.of(calls)
        said = f"{cost:,.2f}" if cost >= CENT or not cost else f"less than {CENT:g}"
        return f"about {round(calls * self.tokens_a_text):,} tokens ({how}), {said} at {self.price:g} a million"

    def to_json(self, calls: int) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "tokens": round(calls * self.tokens_a_text), "cost": self.of(calls)}


def price_of(settings: Mapping[str, Any] | None) -> float | None:
    """The price that the settings of a teacher name; `None` for none.

    Raises:
        ConfigError: if it is no price.
    """
    price = (settings or {}).get(PRICE)
    check({PRICE: price}, {PRICE: number_from(0).or_null("for none")}, "teacher")
    return None if price is None else float(price)


def call_cost(price: float, texts: Sequence[str], embedder: Embedder | None) -> CallCost:
    """Count the tokens of some texts, or of an even sample of them.

    Args:
        price: of a million tokens.
        texts: at least one.
        embedder: whose tokens; one that knows its tokenizer has a method `count_tokens`.
    """
    some = [texts[row] for row in range(0, len(texts), -(-len(texts) // MOST_COUNTED))]
    count = getattr(embedder, "count_tokens", None)
    tokens = sum(count(some)) if count else sum(map(estimated_tokens, some))
    return CallCost(tokens / len(some), count is None, price)


def estimated_tokens(text: str) -> int:
    """Tokens of a text by the number of its characters.

    >>> estimated_tokens("where is my parcel"), estimated_tokens("\u6211\u7684\u5305\u88f9")
    (5, 4)
    """
    cjk = sum(map(is_cjk, text)) if not text.isascii() else 0
    return max(1, cjk + -(-(len(text) - cjk) // CHARACTERS_A_TOKEN))
