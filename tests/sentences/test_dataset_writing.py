import json

import numpy as np
import pytest

from alignkit.errors import ConfigError, DataError
from alignkit.sentences.beir import read_beir
from alignkit.sentences.dataset_folder import new_folder, read_dataset
from alignkit.sentences.dataset_writing import write_dataset
from alignkit.sentences.leaks import find_leaks
from alignkit.sentences.normalise import normalise_text
from alignkit.sentences.quality import judge_samples, measure_texts
from alignkit.sentences.records import HardNegative, Sample


def sample(number, text, group=None, paraphrases=(), negatives=()):
    return Sample(
        id=f"s{number}",
        text=text,
        domain="office",
        intent="ask",
        group=group or f"g{number}",
        language="en",
        source="test",
        slots={"person": "Ann"},
        paraphrases=tuple(paraphrases),
        hard_negatives=tuple(HardNegative(one, "negation") for one in negatives),
    )


def build(out, samples, **settings):
    with new_folder(out) as folder:
        return write_dataset(folder, samples, samples[:1], **({"seed": 0} | settings))


@pytest.fixture
def samples():
    words = ["amber", "bronze", "copper", "denim", "ebony", "fuchsia", "golden", "hazel", "indigo", "jade"]
    return [
        sample(number, f"paint {word} walls", None, [f"walls in {word}", f"{word} it is"], [f"never use {word}"])
        for number, word in enumerate(words)
    ]


def test_what_was_written_is_read_back(tmp_path, samples):
    written = build(tmp_path / "set", samples)
    found, splits = read_dataset(tmp_path / "set")
    assert found == samples
    assert (
        {name: len(ids) for name, ids in splits.items()} == written.splits == {"train": 8, "validation": 1, "test": 1}
    )
    assert written.texts == written.closed.distinct_texts == 40
    assert len((tmp_path / "set" / "sentences.txt").read_text(encoding="utf-8").splitlines()) == 40
    assert json.loads((tmp_path / "set" / "raw_sentences.jsonl").read_text(encoding="utf-8")) == samples[0].to_json()


def test_the_beir_folder_holds_the_same(tmp_path, samples):
    build(tmp_path / "set", samples)
    _, splits = read_dataset(tmp_path / "set")
    found = read_beir(tmp_path / "set")
    assert set(found.query_ids) == splits["test"] and len(found.corpus_texts) == 30
    text_of = dict(zip(found.corpus_ids, found.corpus_texts, strict=True))
    asked = next(one for one in samples if one.id in splits["test"])
    assert {text_of[one] for one in found.qrels[asked.id]} == set(asked.paraphrases)
    assert len(read_beir(tmp_path / "set", split=None).query_ids) == 10


def test_equal_texts_are_one_document_and_keep_their_groups_together(tmp_path, samples):
    twin = sample(10, "another anchor", None, ["WALLS in amber!"])
    written = build(tmp_path / "set", [*samples, twin], validation=0.3, test=0.3)
    assert written.closed.merged_equal == 1 and written.closed.distinct_texts == 41
    _, splits = read_dataset(tmp_path / "set")
    assert any({"s0", "s10"} <= ids for ids in splits.values())
    found = read_beir(tmp_path / "set", split=None)
    assert set(found.qrels["s10"]) < set(found.qrels["s0"])


def test_near_duplicates_are_moved_into_one_split(tmp_path, samples):
    texts = [
        "please move the weekly review meeting to thursday morning",
        "please move the weekly review meetings to thursday morning",
    ]
    near = [sample(10 + number, text) for number, text in enumerate(texts)]
    for seed in range(4):
        out = tmp_path / str(seed)
        written = build(out, samples + near, seed=seed, validation=0.3, test=0.3)
        assert (written.closed.merged_equal, written.closed.merged_near) == (0, 1)
        assert any({"s10", "s11"} <= ids for ids in read_dataset(out)[1].values())


def test_no_normalised_text_stands_in_two_splits(tmp_path):
    rng = np.random.default_rng(0)
    samples = [
        sample(number, f"{number} start", f"g{number % 50}", [f"shared {rng.integers(400)}"]) for number in range(200)
    ]
    build(tmp_path / "set", samples, threshold=1.0)
    found, splits = read_dataset(tmp_path / "set")
    texts = {name: [text for one in found if one.id in ids for text in one.texts()] for name, ids in splits.items()}
    seen = [set(map(normalise_text, part)) for part in texts.values()]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert find_leaks(texts["train"], texts["test"], 1.0).near == ()


def test_a_folder_in_use_is_left_alone(tmp_path, samples):
    build(tmp_path / "set", samples)
    before = (tmp_path / "set" / "dataset.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="is not empty; name an empty or a new folder"):
        build(tmp_path / "set", samples[:5])
    assert (tmp_path / "set" / "dataset.jsonl").read_bytes() == before
    (tmp_path / "other.part").mkdir()
    with pytest.raises(ConfigError, match="another build is writing"):
        build(tmp_path / "other", samples)


def test_a_build_that_fails_leaves_nothing(tmp_path, samples):
    def broken():
        yield samples[0]
        raise DataError("broken")

    with pytest.raises(DataError, match="broken"), new_folder(tmp_path / "set") as folder:
        write_dataset(folder, broken(), [], seed=0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    build(tmp_path / "empty", samples)
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_folders_are_named(tmp_path, samples):
    with pytest.raises(DataError, match="is not a data set: expected dataset.jsonl and split.json"):
        read_dataset(tmp_path)
    out = tmp_path / "set"
    build(out, samples)
    split = out / "split.json"
    good = json.loads(split.read_text(encoding="utf-8"))
    for bad, said in (
        ({"train": []}, "must hold a list of ids for each of train, validation, test"),
        (good | {"test": ["nobody"]}, "1 ids of test are not in dataset.jsonl"),
        (good | {"test": good["train"]}, "an id is in two splits"),
    ):
        split.write_text(json.dumps(bad), encoding="utf-8")
        with pytest.raises(DataError, match=said):
            read_dataset(out)
    with (out / "dataset.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "s11"}\n')
    with pytest.raises(DataError, match="dataset.jsonl, line 11: not a sample: KeyError"):
        read_dataset(out)


def test_text_figures_by_hand():
    figures = measure_texts([sample(0, "pay the bill", None, ["settle the invoice now"], ["pay no bill"])])
    assert (figures.words_mean, figures.vocabulary) == (pytest.approx(10 / 3), 7)
    assert figures.paraphrases_far == 1 and figures.paraphrase_overlap == 0.25
    assert figures.negative_overlap == pytest.approx(2 / 3)


def test_judged_figures_by_hand():
    samples = [sample(0, "a", None, ["b", "c"], ["d"]), sample(1, "e", None, ["f"], ["g"]), sample(2, "h")]
    angles = np.radians([0, 80, 10, 20, 180, 220, 190, 5])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 3
    figures = judge_samples(samples, vectors)
    # a: c at 10 degrees beats d at 20; e: f at 40 loses to g at 10. Of all texts h at 5 degrees is nearest to a.
    assert (figures.judge, figures.recall_at_1, figures.by) == (0.5, 0.0, "teacher")
    angles[-1] = np.radians(100)
    student = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    figures = judge_samples(samples, vectors, student)
    assert (figures.judge, figures.recall_at_1, figures.by) == (0.5, 0.5, "student")
    assert judge_samples(samples) is None
    assert judge_samples(samples[2:], vectors[-1:]).judge is None


@pytest.mark.parametrize("missing", [None, "", "nan", float("nan"), "NULL"])
def test_a_sample_without_an_intent_has_none(tmp_path, samples, missing):
    out = tmp_path / "set"
    build(out, samples)
    rows = [json.loads(line) | {"intent": missing} for line in (out / "dataset.jsonl").read_text("utf-8").splitlines()]
    (out / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert {one.intent for one in read_dataset(out)[0]} == {""}
