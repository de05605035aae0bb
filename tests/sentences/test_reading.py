import builtins
import json

import pytest

from alignkit.errors import DataError, MissingExtraError
from alignkit.sentences.files import read_rows, read_sentences


def write(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
    return path


def texts(path, **settings):
    return [sentence.text for sentence in read_sentences(path, **settings)]


def test_text_file_keeps_blanks_and_repetitions_and_numbers_the_lines(tmp_path):
    found = read_sentences(write(tmp_path / "a.txt", "one\n\none\n"))
    assert [one.text for one in found] == ["one", "", "one"]
    assert [one.id for one in found] == ["a-0", "a-1", "a-2"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_byte_order_mark_are_no_part_of_a_text(tmp_path, ending, mark):
    assert texts(write(tmp_path / "a.txt", mark + f"一{ending}two{ending}")) == ["一", "two"]
    assert texts(write(tmp_path / "a.csv", mark + f"text,label{ending}one,x{ending}")) == ["one"]
    assert texts(write(tmp_path / "a.tsv", mark + f"text\tlabel{ending}one\tx{ending}")) == ["one"]
    assert texts(write(tmp_path / "a.jsonl", mark + '{"text": "one"}' + ending)) == ["one"]


def test_ids_and_labels_come_from_their_columns(tmp_path):
    rows = [{"_id": 7, "text": "a", "label": "x"}, {"id": "k", "text": "b"}]
    found = read_sentences(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert [(one.id, one.label) for one in found] == [("7", "x"), ("k", None)]


def test_a_quoted_csv_field_may_hold_commas_quotes_and_line_breaks(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"a, ""b""\nc",x\nd,y\n')
    assert texts(path) == ['a, "b"\nc', "d"]
    assert [line for line, _ in read_rows(path)] == [2, 4]


def test_quotes_in_a_tsv_are_text_unless_a_spreadsheet_put_them_there(tmp_path):
    assert texts(write(tmp_path / "a.tsv", 'text\nsay "hi"\n"say ""hi"""\n5" disk\n')) == [
        'say "hi"',
        'say "hi"',
        '5" disk',
    ]


def test_another_column_can_hold_the_text(tmp_path):
    assert texts(write(tmp_path / "a.csv", "question,answer\nwhy?,so\n"), text_column="question") == ["why?"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "line 2: not JSON"),
        ("a.jsonl", '{"text": "a"}\n[1]\n', "line 2: expected a JSON object, got list"),
        ("a.jsonl", '{"text": "a"}\n{"text": 3}\n', "line 2: column 'text' must be text, got int"),
        ("a.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n', "line 2: half of a surrogate pair"),
        ("a.jsonl", '{"body": "a", "lang": "en"}\n', "no column 'text'; found: body, lang"),
        ("a.csv", "text,label\na,b,c\n", r"line 2: expected 2 columns \(text, label\), got 3"),
        ("a.csv", 'text\n"a\n', "line 2: not CSV"),
        ("a.csv", "body,lang\na,en\n", "no column 'text'; found: body, lang"),
        ("a.csv", "text,text\na,b\n", "column 'text' stands twice"),
        ("a.tsv", "text\tlabel\na\n", "line 2: expected 2 columns"),
        ("a.jsonl", '{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n', "line 2: id '1' already stands in line 1"),
        ("a.txt", "gut\nmüde\n".encode("latin-1"), "line 2: byte 2 is not UTF-8"),
        ("a.csv", "text\nmüde\n".encode("latin-1"), "line 2: byte 2 is not UTF-8"),
        ("a.txt", "one\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("a.doc", "one\n", "expected one of .txt, .jsonl, .csv, .tsv, .parquet"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_and_line(tmp_path, name, content, said):
    with pytest.raises(DataError, match=said) as caught:
        read_sentences(write(tmp_path / name, content))
    assert name in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no file .*gone.txt"):
        read_sentences(tmp_path / "gone.txt")


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    original = builtins.__import__

    def without_pyarrow(name, *rest, **more):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(MissingExtraError, match=r"alignkit\[parquet\]"):
        read_sentences(write(tmp_path / "a.parquet", b""))


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a", "b"], "label": ["x", None]}), tmp_path / "a.parquet")
    assert [(one.text, one.label) for one in read_sentences(tmp_path / "a.parquet")] == [("a", "x"), ("b", None)]
    with pytest.raises(DataError, match="no column 'body'; found: text, label"):
        read_sentences(tmp_path / "a.parquet", text_column="body")
    with pytest.raises(DataError, match="is no Parquet file"):
        read_sentences(write(tmp_path / "b.parquet", b"not parquet at all"))
