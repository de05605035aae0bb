"""A sample of the distinct texts of a stream: each with the same probability, each with its exact count."""

import numpy as np

from alignkit.choosing.text_sample import TextSample


def read(texts, most, seed=0):
    sample = TextSample(most, seed)
    for text in texts:
        sample.add(text)
    return sample


def test_all_of_a_few_in_order_with_their_counts():
    sample = read(["Where is it?", "when", "where is it", "WHERE IS IT!", "我的包裹", "when"], 3)
    assert sample.texts == ["Where is it?", "when", "我的包裹"]
    assert sample.counts.tolist() == [3, 2, 1]
    assert (sample.read, sample.distinct, sample.is_whole) == (6, 3, True)


def test_of_many_a_uniform_sample_with_exact_counts_and_an_estimate_of_their_number():
    stream = [f"sentence {number % 5_000}" for number in range(12_000)]
    sample = read(stream, 500)
    assert len(sample.texts) == 500 and not sample.is_whole and sample.read == 12_000
    assert 4_300 < sample.distinct < 5_700
    numbers = np.array([int(text.split()[1]) for text in sample.texts])
    # the first 2,000 come three times, and are no likelier to be kept for that
    assert sample.counts.tolist() == [3 if number < 2_000 else 2 for number in numbers]
    assert 150 < (numbers < 2_000).sum() < 250


def test_the_seed_decides_not_the_order():
    stream = [f"sentence {number}" for number in range(3_000)]
    assert set(read(stream, 100).texts) == set(read(stream[::-1], 100).texts)
    assert len(set(read(stream, 100).texts) & set(read(stream, 100, seed=1).texts)) < 20


def test_memory_does_not_grow_with_the_stream():
    sample = TextSample(50)
    most = 0
    for number in range(5_000):
        sample.add(f"sentence {number}")
        most = max(most, len(sample._kept))
    assert most <= 101
