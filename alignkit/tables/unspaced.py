"""Words of scripts that put no spaces between them, found by how their letters stand together."""

from __future__ import annotations

from collections import Counter
from itertools import chain

# chosen on 1,800 Chinese sentences: with words 50% of a teacher's neighbours are found, with letters alone 48%
LONGEST = 4
# how much more often than by chance the parts of a word stand together
COHESION = 10.0
# share of a word's places where the letter beside it is another than its usual one
FREEDOM = 0.2


def words_of_runs(runs: Counter[str], least: int) -> list[str]:
    """All letters, and the strings of two to four letters that look like words or set phrases.

    A word holds together wherever it is cut, and has many neighbours; a part of a word has the rest of it (Sproat and
    Shih 1990; Feng et al. 2004). That needs no dictionary, and serves Thai and Japanese as well as Chinese.

    Args:
        runs: stretches of such a script, and how often each stands in the texts.
        least: how often a string must stand.

    >>> some = ["我的包裹", "包裹到了", "我的", "到了", "一二三四五六七八九十"]
    >>> words_of_runs(Counter(some), 2)[-3:]
    ['我的', '包裹', '到了']
    """
    counts = Counter(chain.from_iterable(map(list, runs.elements())))
    total, frequent = sum(counts.values()), set(counts)
    neighbours = Counter[str]()  # how often a string has its most usual one
    found = list(counts)
    for length in range(2, LONGEST + 2):
        here = Counter[str]()
        for run, count in runs.items():
            for start in range(len(run) - length + 1):
                # a string cannot be frequent whose parts are not
                if run[start : start + length - 1] in frequent and run[start + 1 : start + length] in frequent:
                    here[run[start : start + length]] += count
        for string, count in here.items():
            for part in (string[1:], string[:-1]):
                neighbours[part] = max(neighbours[part], count)
        frequent = {string for string, count in here.items() if count >= least}
        counts.update({string: here[string] for string in here if string in frequent})
    for string, count in counts.items():
        if 2 <= len(string) <= LONGEST and neighbours[string] <= (1 - FREEDOM) * count:
            parts = ((string[:place], string[place:]) for place in range(1, len(string)))
            if all(count * total >= COHESION * counts[first] * counts[second] for first, second in parts):
                found.append(string)
    return found
