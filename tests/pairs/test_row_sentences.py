"""Which sentences of documents a teacher is asked for."""

from alignkit.pairs.row_sentences import sentences_of, spread_sentences

DOCUMENTS = [
    "The first one is about planes. It flies over the mountains. It lands in the evening.",
    "The second one is about boats. It flies over the mountains! All of it.",
    "A single sentence about nothing at all.",
    "标题在这里。正文的第一句话。\n第二行也有字。",
]


def test_sentences_and_lines_of_any_script_and_none_of_a_single_one():
    assert sentences_of(DOCUMENTS[1]) == ["The second one is about boats.", "It flies over the mountains!"]
    assert sentences_of(DOCUMENTS[2]) == []
    assert sentences_of(DOCUMENTS[3]) == ["标题在这里。", "正文的第一句话。", "第二行也有字。"]
    assert sentences_of("A heading without a full stop\nand a second line of text") == [
        "A heading without a full stop", "and a second line of text",
    ]  # fmt: skip


def test_every_document_has_its_turn_before_a_second_sentence_of_any():
    found = spread_sentences(DOCUMENTS, 3, 0, ())
    assert sorted(found.values()) == [0, 1, 3]
    assert found == spread_sentences(DOCUMENTS, 3, 0, ()) and len(spread_sentences(DOCUMENTS, 99, 0, ())) == 7


def test_what_is_looked_at_later_and_what_is_known_is_left_out():
    found = spread_sentences(DOCUMENTS, 99, 1, ["it flies over THE mountains", "The first one is about planes"])
    assert not any("mountains" in text or "planes" in text for text in found)
