"""Every engine of `conf/index/` keeps the promises of `indexes/base.py`, on the real engine."""

import json
import sys
import uuid

import numpy as np
import pytest
from engines import DIM, ENGINES, ROWS, stored, unit_vectors

from alignkit.errors import AlignkitError, DataError, MissingExtraError
from alignkit.indexes.exact import exact_search
from alignkit.indexes.index_rows import joined

# broken rows that an engine can hold: where one refuses them, there are none to find
HOLDS = {
    "parquet": ("missing", "nan", "zero", "width"),
    "pgvector": ("missing", "zero", "width"),
    "faiss": ("nan", "zero"),
    "qdrant": ("missing", "zero"),
    "lancedb": ("missing", "nan", "zero"),
    "sqlite_vec": ("nan", "zero"),
    "chroma": ("zero",),
    "milvus": ("nan", "zero"),
}
LIBRARY = {
    "parquet": "pyarrow",
    "pgvector": "psycopg",
    "faiss": "faiss",
    "qdrant": "qdrant_client",
    "lancedb": "lance",
    "sqlite_vec": "apsw",
    "chroma": "chromadb",
    "milvus": "pymilvus",
}
BROKEN = {
    "missing": (None, "it has no vector"),
    "nan": ([np.nan] * DIM, "its vector holds NaN or infinity"),
    "zero": ([0.0] * DIM, "its vector is zero"),
    "width": ([1.0, 2.0], "its vector has 2 dimensions, not 8"),
}


@pytest.fixture(params=ENGINES, scope="module")
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def made(engine, tmp_path_factory, request):
    return stored(engine, tmp_path_factory.mktemp(engine), request)


@pytest.fixture
def index(made):
    with made.open() as opened:
        yield opened


def test_it_describes_what_it_holds(index, made):
    described = index.describe()
    assert (described.rows, described.dim, described.dtype) == (ROWS, DIM, "float32")
    assert described.metric in ("cosine", "dot")  # the same for vectors of length 1
    assert described.fields and "postgres:" not in described.place


def test_a_scan_gives_every_row_once_and_in_order(index, made):
    parts = list(index.scan(batch=16))
    assert max(map(len, parts)) <= 16
    rows = joined(parts)
    assert sorted(rows.ids, key=str) == sorted(made.ids, key=str)
    place = {one: row for row, one in enumerate(made.ids)}
    order = [place[one] for one in rows.ids]
    np.testing.assert_allclose(rows.vectors, made.vectors[order], atol=1e-6)
    assert rows.vectors.dtype == np.float32
    assert rows.texts == [made.texts[row] for row in order]
    assert (rows.payload, rows.faults) == ([{}] * ROWS, {})
    assert joined(list(index.scan(batch=7))).ids == rows.ids


def test_a_scan_goes_on_behind_any_batch_in_another_process(index, made):
    parts = list(index.scan(batch=11))
    for number, part in enumerate(parts):
        cursor = json.loads(json.dumps(part.cursor))
        with made.open() as other:
            rest = [one for rows in other.scan(after=cursor, batch=13) for one in rows.ids]
        assert rest == [one for later in parts[number + 1 :] for one in later.ids]


def test_a_sample_is_seeded_and_spread_over_the_rows(index):
    order = joined(list(index.scan())).ids
    drawn = index.sample(10, seed=1)
    assert [order.index(one) // (ROWS // 10) for one in drawn.ids] == list(range(10))
    assert index.sample(10, seed=1).ids == drawn.ids != index.sample(10, seed=2).ids
    assert drawn.vectors.shape == (10, DIM) and len(drawn.texts) == 10
    assert index.sample(1000, seed=0).ids == order


def test_rows_are_fetched_by_their_ids(index, made):
    wanted = [made.ids[40], made.ids[3], made.ids[41]]
    unknown = type(made.ids[0])(987654) if isinstance(made.ids[0], int) else "nonesuch"
    rows = index.fetch([wanted[0], unknown, *wanted[1:]])
    assert rows.ids == wanted
    np.testing.assert_allclose(rows.vectors, made.vectors[[40, 3, 41]], atol=1e-6)
    assert rows.texts == [made.texts[row] for row in (40, 3, 41)]
    assert index.fetch([]).ids == [] == index.fetch([unknown]).ids


def test_rows_are_fetched_by_ids_of_any_type(index, made):
    wanted = [made.ids[40], made.ids[3]]
    unlike = [None, "", True, -1, 1.5, 2**70, "a\0b", "a\x01b", "007", "it's\n\"", b"d3", uuid.UUID(int=10**30)]
    # other engines, and files of judgements, have another type for the same id
    assert index.fetch([*unlike, *map(str, wanted)]).ids == wanted
    assert index.fetch(unlike).ids == []


def test_its_search_finds_what_an_exact_one_finds(index, made):
    queries = unit_vectors(5, seed=9)
    ids, scores = index.search(queries, 7)
    expected_ids, expected = exact_search(index, queries, 7)
    reference = queries @ made.vectors.T
    assert ids == expected_ids == [[made.ids[row] for row in np.argsort(-line)[:7]] for line in reference]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(scores, -np.sort(-reference)[:, :7], atol=1e-5)


def test_more_hits_than_rows_are_padded(index, made):
    ids, scores = index.search(made.vectors[:2], ROWS + 5)
    assert [len(hits) for hits in ids] == [ROWS, ROWS] and ids[0][0] == made.ids[0]
    assert scores.shape == (2, ROWS + 5) and np.isneginf(scores[:, ROWS:]).all()


def test_queries_that_do_not_fit_are_refused(index):
    with pytest.raises(DataError, match=r"expected \(queries, 8\)"):
        index.search(unit_vectors(2, 5), 3)
    with pytest.raises(DataError, match="NaN"):
        index.search(np.full((1, DIM), np.nan), 3)


def test_vectors_that_cannot_be_used_are_named_and_nan(engine, tmp_path, request):
    kinds, vectors = HOLDS[engine], list(unit_vectors())
    for number, kind in enumerate(kinds):
        vectors[10 * number + 5] = BROKEN[kind][0]
    made = stored(engine, tmp_path, request, vectors)
    with made.open() as index:
        rows = joined(list(index.scan(batch=8)))
        place = {one: row for row, one in enumerate(rows.ids)}
        expected = {place[made.ids[10 * number + 5]]: BROKEN[kind][1] for number, kind in enumerate(kinds)}
        assert rows.faults == dict(sorted(expected.items()))
        assert np.flatnonzero(np.isnan(rows.vectors).any(axis=1)).tolist() == list(rows.faults)
        # nor is one ever a hit of the exact search, whose scores stay in order
        ids, scores = exact_search(index, unit_vectors(2, seed=3), ROWS)
        assert not {rows.ids[row] for row in rows.faults} & {one for hits in ids for one in hits}
        assert np.isneginf(scores[:, ROWS - len(kinds) :]).all()


def test_without_its_library_it_says_what_to_install(engine, made, monkeypatch):
    monkeypatch.setitem(sys.modules, LIBRARY[engine], None)
    with pytest.raises(MissingExtraError, match=r'pip install "alignkit\['):
        made.open()


def test_a_place_that_is_not_there_is_one_line(engine, made):
    for setting in ("path", "table", "collection"):
        if setting in made.settings and made.settings.get(setting):
            with pytest.raises(AlignkitError, match="nonesuch") as caught:
                made.open(**{setting: str(made.settings[setting]).replace("docs", "nonesuch")})
            assert "\n" not in str(caught.value)
