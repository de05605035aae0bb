"""A search finds only the rows that pass: the same conditions in every engine, and what is particular to one."""

import datetime
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engines import DIM, ENGINES, ROWS, further_fields, qdrant_in_memory, stored, unit_vectors

from alignkit.errors import DataError
from alignkit.indexes.filters import conditions_of, passes
from alignkit.indexes.parquet import ParquetIndex
from alignkit.indexes.pgvector import PgvectorIndex

FIELDS = further_fields(ROWS)
CASES = [
    ({"lang": "de"}, lambda row: row["lang"] == "de"),
    ({"lang": "it's"}, lambda row: row["lang"] == "it's"),
    ({"lang": ["en", "de", "nonesuch"]}, lambda row: row["lang"] in ("en", "de")),
    ({"lang": []}, lambda row: False),
    ({"lang": "nonesuch"}, lambda row: False),
    ({"year": 1995}, lambda row: row["year"] == 1995),
    ({"year": 1995.0}, lambda row: row["year"] == 1995),
    ({"year": [1995, 1996.0, 7]}, lambda row: row["year"] in (1995, 1996)),
    ({"year": {"gt": 2000}}, lambda row: row["year"] is not None and row["year"] > 2000),
    ({"year": {"gte": 1999.5, "lt": 2003}}, lambda row: row["year"] is not None and 2000 <= row["year"] < 2003),
    ({"year": {"lte": -3}}, lambda row: False),
    ({"year": {"ne": 1995}}, lambda row: row["year"] not in (None, 1995)),
    ({"lang": {"ne": "en"}, "year": {"gt": 1992}}, lambda row: row["lang"] != "en" and (row["year"] or 0) > 1992),
    ({}, lambda row: True),
]


@pytest.fixture(params=ENGINES, scope="module")
def made(request, tmp_path_factory):
    return stored(request.param, tmp_path_factory.mktemp(request.param), request)


@pytest.fixture(scope="module")
def index(made):
    with made.open() as opened:
        yield opened


@pytest.fixture
def with_fields(index):
    if "lang" not in index.describe().fields:
        pytest.skip("holds ids, and texts perhaps, and nothing else")
    return index


@pytest.mark.parametrize(("where", "rule"), CASES, ids=[str(where) for where, _ in CASES])
def test_as_many_hits_come_back_as_are_asked_for_and_pass(with_fields, made, where, rule):
    queries = unit_vectors(3, seed=4)
    ids, scores = with_fields.search(queries, 6, where)
    passing = [row for row in range(ROWS) if rule(FIELDS[row])]
    for found, line, shown in zip(ids, queries @ made.vectors.T, scores, strict=True):
        expected = sorted(passing, key=lambda row: -line[row])[:6]
        assert found == [made.ids[row] for row in expected]
        np.testing.assert_allclose(shown[: len(found)], line[expected], atol=1e-5)
        assert np.isneginf(shown[len(found) :]).all()


def test_rows_are_chosen_by_their_ids(index, made):
    wanted = [made.ids[row] for row in (50, 3, 40)]
    ids, _ = index.search(unit_vectors(1), 5, {"id": wanted})
    assert sorted(ids[0], key=str) == sorted(wanted, key=str)
    assert index.search(unit_vectors(1), 5, {"id": wanted[1]})[0] == [[made.ids[3]]]
    assert len(index.search(unit_vectors(1), ROWS, {"id": {"ne": wanted[1]}})[0][0]) == ROWS - 1


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"nonesuch": 1}, "no field 'nonesuch'; its fields are: id, "),
        ({"embedding": 1}, "no field 'embedding'"),
        ({"nonesuch; DROP TABLE docs": 1}, "no field 'nonesuch; DROP TABLE docs'"),
        ({"id" + "x" * 500: 1}, f"no field 'id{'x' * 58}'; its"),
        ({"id..a": 1}, "no field 'id..a'"),
        ({"id": None}, "field 'id': expected a text, a number, true or false, or a list of them; got null"),
        ({"id": [["a"]]}, "got a list"),
        ({"id": float("nan")}, "got a number that is not finite"),
        ({"id": {"like": "a"}}, "field 'id': expected comparisons gt, gte, lt, lte, ne; got like"),
        ({"id": {}}, "got none"),
        ({"id": {"gt": [1]}}, "got a list"),
        ("id = 1", "expected an object of fields and conditions, got a text"),
    ],
)
def test_what_is_wrong_with_a_filter_is_one_line(index, where, said):
    with pytest.raises(DataError, match="filter") as caught:
        index.search(unit_vectors(1), 5, where)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("where", [{"year": "x"}, {"year": True}, {"lang": 5}, {"lang": {"gt": False}}, {"lang.a": 1}])
def test_a_value_of_another_kind_finds_nothing_or_is_refused_in_words(with_fields, where):
    """Engines with types refuse it; those without have no such value."""
    try:
        assert with_fields.search(unit_vectors(1), 5, where)[0] == [[]]
    except DataError as error:
        assert str(error).startswith("filter: ") and "\n" not in str(error)


ODD = 'na%me"; --{x}'


@pytest.fixture
def table_of_all_types(connection, table):
    """PostgreSQL's types, JSON and lists, with an HNSW index."""
    quoted = '"' + ODD.replace('"', '""') + '"'
    connection.execute(
        f"CREATE TABLE {table} (id uuid PRIMARY KEY, {quoted} varchar(3), price numeric(6,2), share real, day date, "
        f"at timestamptz, flag boolean, meta jsonb, tags text[], nums int[], embedding vector({DIM}))"
    )
    for row, vector in enumerate(unit_vectors(40)):
        connection.execute(
            f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                uuid.UUID(int=row),
                "abc" if row % 2 else "xyz",
                row / 4,
                0.1 * row,
                datetime.date(2020, 1, 1) + datetime.timedelta(days=row),
                datetime.datetime(2020, 1, 1, row % 24, tzinfo=datetime.UTC),
                row % 4 == 0,
                f'{{"lang": "{"en" if row % 2 else "de"}", "deep": {{"n": {row}}}, "list": ["a{row}", {row}]}}',
                [f"t{row}", "all"],
                [row, row + 1],
                str(vector.tolist()),
            ),
        )
    connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
    return table


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({ODD: "abc"}, range(1, 40, 2)),
        ({ODD: "abcd"}, []),  # a cast to the column's type would cut it to three letters
        ({"price": 1.25}, [5]),
        ({"price": 1.251}, []),
        ({"share": {"lte": 0.1}}, [0, 1]),
        ({"day": ["2020-01-05", "2020-02-01"]}, [4, 31]),
        ({"at": {"gte": "2020-01-01T22:00:00Z"}}, [22, 23]),
        ({"flag": True, "price": {"lt": 3}}, [0, 4, 8]),
        ({"id": str(uuid.UUID(int=7))}, [7]),
        ({"meta.lang": "en", "meta.deep.n": {"gt": 30, "ne": 33}}, [31, 35, 37, 39]),
        ({"meta.list": ["a3", 9]}, [3, 9]),
        ({"meta.list": {"gt": 37}}, [38, 39]),
        ({"meta.nonesuch": {"ne": 1}}, []),
        ({"meta.deep.n": {"gt": "a"}}, []),
        ({"tags": "t4"}, [4]),
        ({"tags": {"ne": "t4"}, "price": {"lt": 1.5}}, [0, 1, 2, 3, 5]),
        ({"nums": {"gte": 40}}, [39]),
    ],
)
def test_columns_of_postgresqls_types(postgres, table_of_all_types, where, expected):
    with PgvectorIndex(table_of_all_types, postgres.url) as index:
        found = index.search(unit_vectors(1, seed=2), 40, where)[0][0]
    assert sorted(one.int for one in found) == list(expected)


def test_a_value_that_postgresql_cannot_read_is_named(postgres, table_of_all_types):
    with PgvectorIndex(table_of_all_types, postgres.url) as index:
        for where in ({"day": "soon"}, {"day": "a\0b"}, {"price": "dear"}, {"flag": 1}, {"id": "7"}, {"price.x": 1}):
            with pytest.raises(DataError) as caught:
                index.search(unit_vectors(1), 5, where)
            assert "\n" not in str(caught.value)
        assert index.search(unit_vectors(1), 5, {"flag": True})[0][0]  # the connection is still of use


def test_hnsw_goes_on_until_enough_pass(postgres, connection, table):
    """Of the 40 candidates that the graph gives at first hardly one passes."""
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, owner int, embedding vector({DIM}))")
    vectors = unit_vectors(3000)
    with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        for row, vector in enumerate(vectors):
            copy.write_row((row, row % 500, str(vector.tolist())))
    connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
    query = unit_vectors(1, seed=5)
    order = np.argsort(-(vectors @ query[0]))
    with PgvectorIndex(table, postgres.url) as index:
        assert index.search(query, 6, {"owner": 17})[0] == [[row for row in order.tolist() if row % 500 == 17]]
        # many hits are found, and the searches after it are as fast as those before
        assert len(index.search(query, 1500)[0][0]) == 1500
        index.search(query, 5)
        assert index.rows.execute("SELECT current_setting('hnsw.ef_search')") == [("40",)]


def test_what_lies_inside_a_column_of_parquet(tmp_path):
    vectors = pa.array([list(map(float, row)) for row in unit_vectors(6)], pa.list_(pa.float32()))
    days = [datetime.date(2020, 1, 1 + row) for row in range(6)]
    table = {"meta": [{"n": row} for row in range(6)], "tags": [["a"], ["a", "b"], None, [], ["b"], ["c"]], "day": days}
    table["at"] = [datetime.datetime(2020, 1, 1 + row, 6, tzinfo=datetime.UTC) for row in range(6)]
    pq.write_table(pa.table({**table, "embedding": vectors}), tmp_path / "docs.parquet")
    index = ParquetIndex(str(tmp_path / "docs.parquet"))

    def found(where):
        return sorted(index.search(unit_vectors(1), 6, where)[0][0])

    assert found({"meta.n": {"gte": 4}}) == [4, 5]
    assert found({"tags": "b"}) == [1, 4] and found({"tags": {"ne": "a"}}) == [4, 5]
    assert found({"day": {"lt": "2020-01-03"}}) == [0, 1]
    assert found({"at": {"gt": "2020-01-05T12:00:00"}}) == [5] == found({"at": {"gt": "2020-01-05T13:00:00+01:00"}})
    with pytest.raises(DataError, match="field 'day' takes values of date, as texts, got a text"):
        found({"day": "soon"})


def test_what_lies_inside_a_column_of_lancedb(tmp_path):
    lancedb = pytest.importorskip("lancedb")
    pytest.importorskip("lance")
    from alignkit.indexes.lancedb import LancedbIndex

    table = {
        "id": [f"d{row}" for row in range(6)],
        "my col": ["a'b", "c\\", "d", "e", None, "f"],
        "meta": [{"n": row} for row in range(6)],
        "tags": [["a"], ["a", "b"], None, [], ["b"], ["c"]],
        "day": [datetime.date(2020, 1, 1 + row) for row in range(6)],
        "back`tick": list(range(6)),
        "embedding": pa.array([list(map(float, row)) for row in unit_vectors(6)], pa.list_(pa.float32(), DIM)),
    }
    lancedb.connect(tmp_path).create_table("docs", pa.table(table))
    with LancedbIndex(str(tmp_path), "docs") as index:

        def found(where):
            return sorted(int(one[1:]) for one in index.search(unit_vectors(1), 6, where)[0][0])

        assert found({"my col": "a'b"}) == [0] and found({"my col": "c\\"}) == [1]
        assert found({"my col": "' OR 1=1 --"}) == []
        assert found({"meta.n": {"gte": 4}}) == [4, 5]
        assert found({"tags": "b"}) == [1, 4] and found({"tags": {"ne": "a"}}) == [4, 5]
        assert found({"day": {"lt": "2020-01-03"}}) == [0, 1]
        for where, said in (
            ({"day": "soon"}, "takes values of date32"),
            ({"meta.x": 1}, "nothing called 'x' inside; it has n"),
            ({"meta.n": 2**70}, "takes numbers of int64, got a number"),
            ({"tags": {"gt": "a"}}, "holds lists"),
            ({"back`tick": 1}, "cannot name the field"),
        ):
            with pytest.raises(DataError, match=said):
                found(where)


def test_a_part_of_what_qdrant_holds():
    pytest.importorskip("qdrant_client")
    from qdrant_client import models

    from alignkit.indexes.qdrant import QdrantIndex

    client = qdrant_in_memory()
    client.create_collection("docs", vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE))
    points = []
    for row, vector in enumerate(unit_vectors(100)):
        payload = {"meta": {"n": row}, "tags": ["a", f"t{row}"], "price": row / 4, "day": f"2020-01-{1 + row % 28:02}"}
        if row == 99:
            payload["rare"] = "yes"
        points.append(models.PointStruct(id=row, vector=vector.tolist(), payload=payload))
    client.upsert("docs", points)
    with QdrantIndex("docs", client=client) as index:

        def found(where):
            return sorted(index.search(unit_vectors(1), 100, where)[0][0])

        assert found({"meta.n": {"gt": 97}}) == [98, 99]
        assert found({"tags": "t5"}) == [5] and found({"price": 1.25}) == [5]
        assert found({"day": {"gt": "2020-01-27"}}) == [27, 55, 83]
        assert found({"rare": "yes"}) == [99]  # of none of the points that the fields were read from
        for where in ({"meta": {"gt": "b"}}, {"id": {"gt": 5}}):
            with pytest.raises(DataError, match=r"^filter: "):
                found(where)


def test_values_are_compared_with_those_of_their_own_kind():
    conditions = conditions_of({"a": 1}, ["a"], "docs")
    assert passes({"a": 1.0}, conditions) and not passes({"a": 2}, conditions) and not passes({}, conditions)
    for value in (True, "1", {"b": 1}):
        with pytest.raises(DataError, match="field 'a' takes"):
            passes({"a": value}, conditions)
