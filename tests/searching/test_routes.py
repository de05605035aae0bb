"""Every engine is searched by each route, before, during and after a migration."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engines import DIM, ENGINES, further_fields, stored, unit_vectors

from alignkit.indexes.parquet import ParquetIndex
from alignkit.searching.half_moved import merged
from alignkit.searching.hits import nearest, reordered
from alignkit.searching.search_routes import NOT_MIGRATED, Asked, Query, find
from alignkit.searching.spaces import SpacesOf
from alignkit.searching.text_table import TextTable

NEW_DIM, HEAD = 6, "digest"
TURN = np.random.default_rng(3).standard_normal((DIM, NEW_DIM)).astype(np.float32)
STUDENT = unit_vectors(1, seed=8)[0]
QUERY = Query(STUDENT, STUDENT @ TURN, unit_vectors(1, NEW_DIM, seed=9)[0])


def turned(vectors):
    new = vectors @ TURN
    return new / np.linalg.norm(new, axis=1, keepdims=True)


def order(vectors, query):
    return np.argsort(-(vectors @ query), kind="stable").tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_each_route_before_during_and_after_a_migration(engine, tmp_path, request, monkeypatch):
    monkeypatch.setattr("alignkit.searching.spaces.LOOK_EVERY_S", 0.0)
    made = stored(engine, tmp_path, request)
    new = turned(made.vectors)
    by_old, by_new = order(made.vectors, STUDENT), order(new, QUERY.head)
    spaces = SpacesOf(made.open, HEAD, DIM, NEW_DIM)

    def found(route, k=10, **where):
        answer = find(spaces.look(), QUERY, Asked(route, k, candidates=15, **where))
        assert all(hit.text == made.texts[made.ids.index(hit.id)] for hit in answer.hits)
        return answer.route, [made.ids.index(hit.id) for hit in answer.hits], answer.reason

    for route in ("head", "cascade", "teacher"):
        assert found(route) == ("student", by_old[:10], NOT_MIGRATED)
    assert found("student") == ("student", by_old[:10], None)

    with made.open() as index:
        replacement = index.replacement()
        replacement.begin(NEW_DIM)
        replacement.keep_note({"head": HEAD})
        half = next(replacement.missing(batch=30))
        replacement.write(half, turned(half.vectors))
        # files are written at the end: until then there is nothing to be searched
        route, rows, _ = found("head")
        moved = {made.ids.index(one) for one in half.ids}
        expected = merged(by_old, [row for row in by_new if row in moved], moved, 10)
        assert (route, rows) in (("mixed", expected), ("student", by_old[:10]))
        for rest in replacement.missing():
            replacement.write(rest, turned(rest.vectors))
        replacement.build_index()
        assert found("head")[:2] == ("mixed", by_new[:10])

        replacement.cut_over()
    assert found("head") == ("head", by_new[:10], None)
    assert found("student")[:2] == ("student", by_old[:10])
    by_teacher = order(new, QUERY.teacher)
    assert found("teacher") == ("teacher", by_teacher[:10], None)
    assert found("cascade")[:2] == ("cascade", [row for row in by_teacher if row in by_new[:15]][:10])
    if "lang" in spaces.now().described.fields:
        german = [row for row in by_new if further_fields(len(new))[row]["lang"] == "de"]
        assert found("head", 5, where={"lang": "de"})[1] == german[:5]
        assert set(found("cascade", 5, where={"lang": "de"})[1]) <= set(german)
    with made.open() as index:
        index.replacement().roll_back()
    assert found("head")[:2] == ("mixed", by_new[:10])
    spaces.close()


def test_rows_that_are_gone_are_no_hits(tmp_path, request, connection):
    made = stored("pgvector", tmp_path, request)
    with made.open() as index:
        best = [hit.id for hit in nearest(index, STUDENT, 4)]
        connection.execute(f"DELETE FROM {made.settings['table']} WHERE id = %s", (best[1],))
        assert [hit.id for hit in reordered(index, "cosine", best, STUDENT, 4)] == [best[0], *best[2:]]
        table = TextTable(made.ids, made.vectors)
        assert best[1] not in [hit.id for hit in table.nearest(index, DIM, STUDENT, 4)]


@pytest.mark.parametrize(
    ("old", "new", "moved", "expected"),
    [
        ("abcd", "", "", "abcd"),
        ("abcd", "wxyz", "abcd", "wxyz"),
        ("abcd", "ax", "ac", "abxd"),
        ("abcd", "a", "abc", "ad"),
        ("", "xyz", "", "xyz"),
    ],
)
def test_halves_are_merged_by_rank(old, new, moved, expected):
    assert "".join(merged(old, new, set(moved), 4)) == expected


@pytest.mark.parametrize(("metric", "said"), [("l2", "ranks by distance"), ("dot", "ranks by dot"), ("cosine", None)])
def test_rows_of_other_lengths_are_found_by_what_they_say(tmp_path, metric, said):
    unit, lengths = unit_vectors(300, NEW_DIM), np.random.default_rng(1).uniform(9, 11, size=(300, 1))
    rows = pa.array(list((unit * lengths).astype(np.float32)), pa.list_(pa.float32()))
    pq.write_table(pa.table({"embedding": rows}), tmp_path / "docs.parquet")
    spaces = SpacesOf(lambda: ParquetIndex(str(tmp_path / "docs.parquet"), metric=metric), HEAD, DIM, NEW_DIM)
    now = spaces.now()
    query = Query(STUDENT, unit[7], unit[7])
    for route in ("head", "teacher", "cascade"):
        hits = [hit.id for hit in find(now, query, Asked(route, 10)).hits]
        assert len({*hits} & {*order(unit, unit[7])[:10]}) >= 7
    assert now.length.note is None if said is None else said in now.length.note
    spaces.close()


def test_rows_of_one_length_stand_in_the_order_of_the_cosine(tmp_path):
    unit = unit_vectors(300, NEW_DIM)
    pq.write_table(pa.table({"embedding": pa.array(list(20 * unit), pa.list_(pa.float32()))}), tmp_path / "d.parquet")
    spaces = SpacesOf(lambda: ParquetIndex(str(tmp_path / "d.parquet"), metric="l2"), HEAD, DIM, NEW_DIM)
    hits = find(spaces.now(), Query(STUDENT, unit[7]), Asked("head", 10)).hits
    assert [hit.id for hit in hits] == order(unit, unit[7])[:10] and spaces.now().length.note is None
    spaces.close()
