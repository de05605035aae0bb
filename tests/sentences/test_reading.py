import builtins
import csv
import io
import json
import re

import numpy as np
import pytest

from alignkit.errors import DataError, MissingExtraError
from alignkit.object_storage.located import located, write_object
from alignkit.sentences.importing import import_samples
from alignkit.sentences.pair_files import read_sts
from alignkit.sentences.sentence_files import read_rows, read_sentences, texts_at


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
        ("a.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n', "line 2: a lone surrogate"),
        ("a.jsonl", '{"body": "a", "lang": "en"}\n', "no column 'text'; found: body, lang"),
        ("a.csv", "text,label\na,b,c\n", r"line 2: expected 2 columns \(text, label\), got 3"),
        ("a.csv", 'text\n"a\n', "line 2: not CSV"),
        ("a.csv", "body,lang\na,en\n", "no column 'text'; found: body, lang"),
        ("a.csv", "text,text\na,b\n", "column 'text' appears twice"),
        ("a.tsv", "text\tlabel\na\n", "line 2: expected 2 columns"),
        ("a.jsonl", '{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}\n', "line 2: id '1' is already in line 1"),
        ("a.txt", "gut\nmüde\n".encode("latin-1"), "line 2: byte 2 is not UTF-8"),
        ("a.csv", "text\nmüde\n".encode("latin-1"), "line 2: byte 2 is not UTF-8"),
        ("a.doc", "one\n", "expected one of .txt, .jsonl, .json, .csv, .tsv, .parquet, got '.doc'"),
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
    with pytest.raises(DataError, match="is not a Parquet file"):
        read_sentences(write(tmp_path / "b.parquet", b"not parquet at all"))


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_line_ending_in_every_encoding_with_a_mark(tmp_path, ending, encoding):
    rows = [f"第{number} sentence" for number in range(60)]
    assert texts(write(tmp_path / "a.txt", ending.join(rows), encoding)) == rows
    table = ending.join(["id,text", *(f'{number},"{text}"' for number, text in enumerate(rows))])
    assert texts(write(tmp_path / "a.csv", table, encoding)) == rows
    lines = ending.join(json.dumps({"text": text}) + ending for text in rows)
    assert texts(write(tmp_path / "a.jsonl", lines, encoding)) == rows
    assert texts(write(tmp_path / "a.tsv", ending.join(["text\tx", *(f"{text}\t" for text in rows)]), encoding)) == rows


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16-le", r"UTF-16 \(little endian\) without a byte-order mark; save the file as UTF-8"),
        ("utf-16-be", r"UTF-16 \(big endian\) without"),
        ("utf-32-le", r"UTF-32 \(little endian\) without"),
        ("utf-32-be", r"UTF-32 \(big endian\) without"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl"])
@pytest.mark.parametrize("content", ["one sentence\nanother\n" * 30, "短句\n第1句\n" * 30, "one line"])
def test_wide_characters_without_a_mark_are_refused(tmp_path, encoding, said, name, content):
    path = write(tmp_path / name, content, encoding)
    with pytest.raises(DataError) as error:
        read_sentences(path)
    assert re.search(f"{name}, line 1: {said}", str(error.value))


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv"])
@pytest.mark.parametrize(
    "line",
    [b"text with a \0 stray", b"\0", b"a\0b\0c\0d", b"text\0\0\0\0", b"caf\xc3\xa9\0", b"even\0\0 odd\0"],
)
def test_a_stray_nul_is_called_by_its_place_and_no_encoding(tmp_path, name, line):
    head = b"" if name == "a.txt" else b"text\n"
    with pytest.raises(DataError) as error:
        read_sentences(write(tmp_path / name, head + b"a first sentence\n" * 5 + line + b"\na last sentence\n", None))
    place = len(line.split(b"\0")[0].decode()) + 1
    number = 6 if name == "a.txt" else 7
    assert f"{name}, line {number}: character {place} is NUL (byte 0), which no text holds; remove it" in str(
        error.value
    )
    assert "UTF-16" not in str(error.value) and "UTF-32" not in str(error.value)


def test_other_encodings_are_named_by_their_likely_name(tmp_path):
    with pytest.raises(DataError, match=r"line 2: byte 1 is not UTF-8 \(it may be GBK\)"):
        read_sentences(write(tmp_path / "a.txt", "one\n请取消我的订单\n", "gbk"))
    with pytest.raises(DataError, match=r"line 1: byte 5 is not UTF-8 \(it may be Windows-1252\)"):
        read_sentences(write(tmp_path / "a.txt", "the \u20ac5 caf\u00e9\n", "cp1252"))
    with pytest.raises(DataError, match="begins as UTF-16 but is not"):
        read_sentences(write(tmp_path / "a.txt", "odd".encode("utf-16") + b"x"))


def test_a_mark_in_the_middle_of_files_put_together_is_no_part_of_a_text(tmp_path):
    assert texts(write(tmp_path / "a.txt", "\ufeffone\n\ufefftwo\n")) == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04 cut", "a ZIP archive that is damaged"),
        (b"\x1f\x8b\x08\x00", "a gzip archive; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html>", "a web page"),
        (b"%PDF-1.7\n", "a PDF"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_what_only_has_the_name_of_a_text_is_said(tmp_path, content, said, name):
    with pytest.raises(DataError, match=f"{name}: expected text in UTF-8, but it is .*{said}") as caught:
        read_sentences(write(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_a_field_of_any_length(tmp_path):
    long = "very long document " * 8000
    for name, content in (("a.csv", f"id,text\n1,short\n2,{long}\n"), ("b.csv", f'text;id\n"{long}";1\n')):
        assert long in texts(write(tmp_path / name, content))


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_as_spreadsheets_write_it_elsewhere(tmp_path, separator):
    rows = [["id", "text", "label"], ["1", "a, b; c", "x"], ["2", 'say "hi"\nthere', ""]]
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator).writerows(rows)
    for start in ("", f"sep={separator}\r\n"):
        found = read_sentences(write(tmp_path / "a.csv", start + buffer.getvalue()))
        assert [(one.id, one.text, one.label) for one in found] == [
            ("1", "a, b; c", "x"),
            ("2", 'say "hi"\nthere', None),
        ]


def test_cells_that_a_spreadsheet_adds_and_spaces_after_a_comma(tmp_path):
    assert texts(write(tmp_path / "a.csv", ",text,label,,\n0,one,x,,\n1,two,y,,\n")) == ["one", "two"]
    assert texts(write(tmp_path / "a.csv", "text,label\none,x,,\n")) == ["one"]
    found = read_sentences(write(tmp_path / "a.csv", 'id, text, label\n1, "a, b", x\n'))
    assert [(one.text, one.label) for one in found] == [("a, b", "x")]


def test_json_arrays_and_blank_lines(tmp_path):
    rows = [{"text": "a", "label": float("nan")}, {"text": "b", "id": None}]
    for name in ("a.json", "a.jsonl"):
        for content in (json.dumps(rows, indent=2), "\n\n" + "\n\n".join(map(json.dumps, rows)) + "\n\n"):
            found = read_sentences(write(tmp_path / name, content))
            assert [(one.id, one.text, one.label) for one in found] == [("a-0", "a", None), ("a-1", "b", None)]
    with pytest.raises(DataError, match=r"a.json, line 2: expected a JSON object, got str"):
        read_sentences(write(tmp_path / "a.json", '[{"text": "a"}, "b"]'))
    with pytest.raises(DataError, match=r"a.json: not JSON: .* expected an array of objects"):
        read_sentences(write(tmp_path / "a.json", '[{"text": "a"}'))


@pytest.mark.parametrize("missing", ["", None, float("nan")])
def test_a_missing_id_is_made_up_and_a_missing_label_is_none(tmp_path, missing):
    rows = [{"id": missing, "text": "a", "label": missing}, {"id": missing, "_id": "k", "text": "b"}]
    found = read_sentences(write(tmp_path / "a.jsonl", *["\n".join(map(json.dumps, rows))]))
    assert [(one.id, one.label, one.has_own_id) for one in found] == [("a-0", None, False), ("k", None, True)]
    row = json.dumps({"_id": missing, "text": "a"})
    assert [one.has_own_id for one in read_sentences(write(tmp_path / "b.jsonl", row))] == [False]


def test_a_file_without_an_ending_is_read_as_text(tmp_path):
    assert texts(write(tmp_path / "2024_05", "one\ntwo\n")) == ["one", "two"]


def test_of_parquet_only_the_columns_that_count_are_read(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    asked = []
    original = pq.ParquetFile.iter_batches

    def noting(self, *arguments, **settings):
        asked.append(settings["columns"])
        return original(self, *arguments, **settings)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noting)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 64), 32)
    table = pa.table({"text": ["a", "b"], "embedding": vectors, "label": [float("nan"), 3.0], "id": [7, 8]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = read_sentences(tmp_path / "a.parquet")
    assert [(one.id, one.text, one.label) for one in found] == [("7", "a", None), ("8", "b", "3")]
    assert [one.text for one in import_samples(tmp_path / "a.parquet")] == ["a", "b"]
    assert asked == [["text", "label", "id"]] * 2
    pairs = pa.table({"sentence1": ["a"], "sentence2": ["b"], "vector": [[1.0]], "score": [1.0]})
    pq.write_table(pairs, tmp_path / "p.parquet")
    assert read_sts(tmp_path / "p.parquet").first == ["a"] and asked[-1] == ["sentence1", "sentence2", "score"]


def test_some_rows_of_a_file_wherever_it_lies(tmp_path, monkeypatch):
    pytest.importorskip("upath")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    (tmp_path / "all.txt").write_text("a\nb\nc\nd\n", encoding="utf-8")
    write_object(located("memory://reading/all.txt"), tmp_path / "all.txt")
    for path in (tmp_path / "all.txt", str(tmp_path / "all.txt"), "memory://reading/all.txt"):
        assert texts_at(path, np.array([1, 3])) == ({1: "b", 3: "d"}, 4)
