"""What a build costs a sample, and whether that stays flat; run with: pytest tests/bench/test_sentences.py."""

import statistics
import time
import tracemalloc

import pytest

from alignkit.sentences.dataset_folder import new_folder
from alignkit.sentences.dataset_writing import write_dataset
from alignkit.sentences.grammar import generate
from alignkit.sentences.leaks import find_leaks
from alignkit.sentences.normalise import normalise_text
from alignkit.sentences.seeds import read_seeds


@pytest.fixture(scope="module")
def seeds():
    return [read_seeds("en")]


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_generating_costs_little_beside_normalising_what_was_generated(seeds, record_property):
    samples = list(generate(seeds, 3_000, 0))
    generating_s = statistics.median(seconds(lambda: list(generate(seeds, 3_000, 0))) for _ in range(3))
    normalising_s = seconds(lambda: [normalise_text(text) for one in samples for text in one.texts()])
    record_property("ms_per_sample", generating_s / 3)
    assert generating_s < 12 * normalising_s


def test_a_sample_costs_the_same_however_many_there_are(seeds):
    few, many = (min(seconds(lambda n=n: list(generate(seeds, n, 0))) for _ in range(2)) for n in (2_000, 16_000))
    assert many / 16_000 < 2 * few / 2_000


def test_memory_a_sample_stays_small(seeds, tmp_path):
    """A million samples must fit in 2 GB: what is remembered of one is far below 2 KB."""
    peaks = []
    for count in (4_000, 12_000):  # from 2,560 on the near-duplicate check has all it looks at
        tracemalloc.start()
        with new_folder(tmp_path / str(count)) as folder:
            write_dataset(folder, generate(seeds, count, 0), [], seed=0, keep_first=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 8_000 < 2_000


def test_a_leak_check_of_a_hundred_thousand_against_five_thousand(seeds):
    samples = list(generate(seeds, 13_000, 0))
    groups = sorted({one.group for one in samples})
    held_out = set(groups[::10])
    train = [text for one in samples if one.group not in held_out for text in one.texts()][:100_000]
    test = [text for one in samples if one.group in held_out for text in one.texts()][:5_000]
    found = []
    looking_s = seconds(lambda: found.append(find_leaks(train, test)))
    normalising_s = seconds(lambda: [normalise_text(text) for text in train])
    assert (found[0].test_checked, found[0].near) == (5_000, ())
    assert looking_s < 40 * normalising_s
