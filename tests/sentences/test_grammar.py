from collections import Counter, defaultdict

import pytest

from alignkit.errors import ConfigError, DataError
from alignkit.sentences.grammar import SUBTLE_SHARE, SituationGrammar, capacity, generate, seed_samples
from alignkit.sentences.normalise import is_cjk, normalise_text
from alignkit.sentences.overlap import word_overlap
from alignkit.sentences.seeds import languages, read_seeds
from alignkit.sentences.wordings import parse_wording

SLOTS = "[person]\nAnn\nBob\nCy\nDee\nEve\n[date *]\n{1..3} May\n{1..3} June\n"
DOMAIN = """[call]
Call {person} on {date} <today~never>. / On {date} call {person} today.
(Phone|Ring) {person}, the day is {date} <now!not now>. / The day is {date}, phone {person} now.
{person} expects <us^her> on {date}. / On {date} {person} expects us.
"""
FIRST_TEXTS = [
    "Grant Teresa Costa access to Outlook, read only.",
    "Denver reports a puddle in the training hall, something above must be broken.",
]


@pytest.fixture(scope="module", params=["en", "zh"])
def built(request):
    seeds = read_seeds(request.param)
    return seeds, list(generate([seeds], 1000, 0))


@pytest.fixture
def own(tmp_path):
    def write(domain=DOMAIN, slots=SLOTS):
        (tmp_path / "en").mkdir(exist_ok=True)
        (tmp_path / "en" / "office.txt").write_text(domain, encoding="utf-8")
        (tmp_path / "en" / "slots.txt").write_text(slots, encoding="utf-8")
        return tmp_path

    return write


def test_there_are_enough_seeds_all_different_in_eight_domains(built):
    seeds, _ = built
    sentences = list(seed_samples(seeds))
    assert len({normalise_text(one.text) for one in sentences}) == len(sentences) >= 240
    assert len({one.domain for one in sentences}) >= 8
    assert {"customer_service", "scheduling", "operations"} <= {one.domain for one in sentences}
    assert all(is_cjk(one.text) == (seeds.language == "zh") for one in sentences)


def test_a_thousand_samples_are_distinct_and_complete(built):
    _, samples = built
    assert len(samples) == 1000 and len({sample.id for sample in samples}) == 1000
    assert {(len(sample.paraphrases), len(sample.hard_negatives)) for sample in samples} == {(4, 3)}
    assert len({normalise_text(text) for sample in samples for text in sample.texts()}) >= 7_600
    for sample in samples:
        assert len({normalise_text(text) for text in sample.texts()}) == 8


def test_paraphrases_keep_every_value_and_change_the_words(built):
    _, samples = built
    for sample in samples:
        for paraphrase in sample.paraphrases:
            assert all(value.lower() in paraphrase.lower() for value in sample.slots.values())
    shares = [word_overlap(sample.text, other) for sample in samples for other in sample.paraphrases]
    assert sum(share < 0.6 for share in shares) >= 0.5 * len(shares)


def test_hard_negatives_keep_most_words_and_say_how_they_differ(built):
    _, samples = built
    shares = [word_overlap(sample.text, other.text) for sample in samples for other in sample.hard_negatives]
    assert sum(shares) / len(shares) > 0.6
    for sample in samples:
        for negative in sample.hard_negatives:
            names = [name for name in sample.slots if name.removesuffix("2") == negative.kind]
            if negative.kind in ("opposite", "negation", "neighbour"):
                assert all(value.lower() in negative.text.lower() for value in sample.slots.values())
            else:
                assert names
    kinds = Counter(negative.kind for sample in samples for negative in sample.hard_negatives)
    assert {"date", "person", "amount", "negation", "opposite", "neighbour"} <= set(kinds)
    assert 0 < SUBTLE_SHARE < 1


def test_same_seed_same_samples_and_zero_is_a_seed():
    seeds = read_seeds("en")
    assert list(generate([seeds], 50, 0)) == list(generate([seeds], 50, 0))
    assert list(generate([seeds], 50, 0)) != list(generate([seeds], 50, 1))


def test_the_first_samples_are_the_same_on_every_platform():
    assert [sample.text for sample in generate([read_seeds("en")], 2, 0)] == FIRST_TEXTS


def test_no_two_situations_can_make_the_same_sentence():
    shapes = defaultdict(set)
    for language in languages():
        for situation in read_seeds(language).situations:
            for wording in (one for family in situation.families for one in family):
                shape = "".join(part if isinstance(part, str) else "_" for part in wording.choose())
                shapes[language, shape].add(situation.name)
    assert all(len(names) == 1 for names in shapes.values())


def test_both_languages_have_the_same_situations():
    names = [{one.name for one in read_seeds(language).situations} for language in ("en", "zh")]
    assert names[0] == names[1]


def test_languages_take_turns():
    samples = list(generate([read_seeds("en"), read_seeds("zh")], 320, 0))
    assert Counter(sample.language for sample in samples) == {"en": 160, "zh": 160}


def test_slot_values_are_numbered_without_gap_or_repetition(own):
    slots = "[date *]\n{1..4} May\n[person]\nA\nB\nC\nD\n"
    domain = DOMAIN.replace("on {date}", "on {date} not {date2}").replace("day is {date}", "day is {date2} or {date}")
    seeds = read_seeds("en", own(domain.replace("On {date}", "On {date} or {date2}"), slots))
    grammar = SituationGrammar(seeds.situations[0], seeds.slot_types, 0)
    assert grammar.capacity == 4 * 3 * 4
    found = [grammar._decode(number) for number in range(grammar.capacity)]
    assert len({tuple(indices) for indices in found}) == grammar.capacity
    assert all(indices[0] != indices[1] for indices in found)
    assert [grammar._encode(indices) for indices in found] == list(range(grammar.capacity))


def test_more_than_the_seeds_can_make_says_the_most(own):
    seeds = [read_seeds("en", own())]
    assert capacity(seeds) == 30
    assert len(list(generate(seeds, 30, 0))) == 30
    with pytest.raises(
        ConfigError, match="target=31 is more distinct samples than these seeds can make; the most is 30"
    ):
        generate(seeds, 31, 0)


def test_an_unknown_language_names_the_known_ones():
    with pytest.raises(ConfigError, match="language 'fr'.*expected one of: en, zh"):
        read_seeds("fr")


@pytest.mark.parametrize(
    ("domain", "slots", "said"),
    [
        ("Call {person}.\n", SLOTS, "office.txt, line 1: expected a .heading."),
        (DOMAIN + "{person} <a~b>.\n", SLOTS, "line 5: every wording of a situation must have the same slots"),
        (DOMAIN.replace("{date}", "{day}"), SLOTS, r"line 2: slot \{day\} is not in slots.txt; found: date, person"),
        (DOMAIN.replace("<us^her>", "<us^her"), SLOTS, "line 4: '<' in"),
        (DOMAIN.replace("<us^her>", "us"), SLOTS, "line 4: mark at least one <a~b>"),
        ("[call]\nCall {person} <a~b>.\n", SLOTS, r"line 1: \[call\] needs more than 4 wordings"),
        (DOMAIN + DOMAIN, SLOTS, r"line 5: \[call\] appears twice"),
        (DOMAIN, SLOTS + "[x]\na\nA\nb\nc\nd\n", "slots.txt, line 12: value 'A' appears twice"),
        (DOMAIN, SLOTS + "[x]\n{nobody}\n", r"slots.txt, line 11: \{nobody\} is neither"),
        (DOMAIN, SLOTS + "[x]\na\n", r"slots.txt, line 10: \[x\] needs at least 4 values"),
        ("# nothing\n", SLOTS, "holds no situations"),
    ],
)
def test_broken_seed_files_are_named_by_line(own, domain, slots, said):
    with pytest.raises(DataError, match=said):
        read_seeds("en", own(domain, slots))


def test_plain_brackets_are_text():
    assert parse_wording("Call (again) now").parts == ("Call (again) now",)
