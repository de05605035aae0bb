"""Milvus as it is met: its order, fields that nobody declared, aliases, several vectors a row."""

import uuid

import numpy as np
import pytest
from engines import DIM, WIDE, copied, unit_vectors, widened

from alignkit.errors import DataError, EngineError
from alignkit.indexes.index_rows import joined
from alignkit.indexes.milvus import MilvusIndex
from alignkit.indexes.milvus_calls import MilvusCalls

pymilvus = pytest.importorskip("pymilvus")
KINDS = pymilvus.DataType


@pytest.fixture
def alias():
    return f"shop_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make(milvus, alias):
    """A collection behind an alias."""

    def made(rows, key=KINDS.INT64, metric="COSINE", also=(), dynamic=True, **settings):
        schema = milvus.create_schema(**{"auto_id": False, "enable_dynamic_field": dynamic, **settings})
        schema.add_field("key", key, is_primary=True, **({"max_length": 99} if key == KINDS.VARCHAR else {}))
        schema.add_field("embedding", KINDS.FLOAT_VECTOR, dim=DIM)
        indexes = milvus.prepare_index_params()
        indexes.add_index("embedding", index_type="AUTOINDEX", metric_type=metric)
        for name, kind, further in also:
            schema.add_field(name, kind, **further)
            if "dim" in further:
                indexes.add_index(name, index_type="FLAT", metric_type="L2")
        milvus.create_collection(f"{alias}_1", schema=schema, index_params=indexes)
        milvus.create_alias(f"{alias}_1", alias)
        if rows:
            milvus.insert(alias, rows)

    return made


def rows_of(vectors, **fields):
    columns = [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
    return [
        {"key": row, "embedding": vector, **further}
        for row, (vector, further) in enumerate(zip(vectors, columns or [{}] * len(vectors), strict=True))
    ]


def test_rows_come_in_the_order_of_their_ids_whatever_comes_and_goes(milvus, alias, make):
    rows = rows_of(unit_vectors(60))
    order = np.random.default_rng(0).permutation(30) * 2
    make([rows[row] for row in order])
    with MilvusIndex(alias, client=milvus) as index:
        seen = []
        for number, part in enumerate(index.scan(batch=5)):
            seen += part.ids
            milvus.insert(alias, [rows[1 + 2 * number], rows[59 - 2 * number]] if number < 6 else [rows[55]])
            milvus.delete(alias, ids=[part.ids[-1]])
        assert seen == sorted(set(seen)) and {int(one) for one in order} <= set(seen)


@pytest.mark.parametrize("metric", ["COSINE", "IP", "L2"])
def test_scores_are_those_of_the_metric_and_vectors_keep_their_lengths(milvus, alias, make, metric):
    vectors = unit_vectors(30) * np.linspace(0.5, 2, 30, dtype=np.float32)[:, None]
    make(rows_of(vectors), metric=metric)
    query = unit_vectors(1, seed=5)
    expected = {
        "COSINE": vectors @ query[0] / np.linalg.norm(vectors, axis=1),
        "IP": vectors @ query[0],
        "L2": -np.linalg.norm(vectors - query, axis=1),
    }[metric]
    with MilvusIndex(alias, client=milvus) as index:
        ids, scores = index.search(query, 5)
        np.testing.assert_allclose(joined(list(index.scan())).vectors, vectors, atol=1e-6)
    assert ids[0] == np.argsort(-expected)[:5].tolist()
    np.testing.assert_allclose(scores[0], np.sort(expected)[::-1][:5], atol=1e-5)


def test_fields_that_are_declared_and_those_that_are_not(milvus, alias, make):
    declared = [("price", KINDS.DOUBLE, {"nullable": True}), ("sold", KINDS.BOOL, {"nullable": True})]
    rows = rows_of(unit_vectors(80), price=[row / 4 for row in range(80)], sold=[row % 2 == 0 for row in range(80)])
    for row, one in enumerate(rows):
        one |= {
            "n": row,
            "in stock": row % 3 == 0,
            "tags": [f"t{row % 5}"],
            "deep": {"lang": "de" if row % 2 else "en"},
        }
    rows[79] |= {"rare": 'it\'s "odd" \\ %'}  # of none of the rows that the fields are read from
    make(rows, also=declared)
    with MilvusIndex(alias, client=milvus, text="n", payload=["in stock", "rare"]) as index:

        def found(where, k=80):
            return sorted(index.search(unit_vectors(1), k, where)[0][0])

        part = index.fetch([79, 12345, 3, "x"])
        assert (part.ids, part.texts) == ([79, 3], ["79", "3"])
        assert part.payload == [{"in stock": False, "rare": rows[79]["rare"]}, {"in stock": True, "rare": None}]
        assert found({"price": {"gt": 19.3}}) == [78, 79] and found({"price": [0.25, 3]}) == [1, 12]
        assert found({"sold": True, "n": {"lt": 5}}) == [0, 2, 4] and found({"n": [3.0, 4.5]}) == [3]
        assert found({"in stock": True, "n": {"lt": 8}}) == [0, 3, 6]
        assert found({"tags": ["t1", "t2"], "n": {"lt": 8}}) == [1, 2, 6, 7]
        assert found({"deep.lang": "de", "n": {"lte": 3}}) == [1, 3]
        assert found({"rare": rows[79]["rare"]}) == [79] == found({"rare": {"ne": "x"}})
        assert found({"key": [5, 99]}) == [5] and found({"rare": '" or key > 0 or "" == "'}) == []
        for where, said in (
            ({"price": "dear"}, "takes numbers, got a text"),
            ({"sold": 1}, "takes true and false, got a number"),
            ({"nonesuch": 1}, "has no field 'nonesuch'"),
        ):
            with pytest.raises(DataError, match=rf"^filter: .*{said}"):
                found(where)


def test_rows_are_kept_whole_and_changes_meanwhile_caught_up(milvus, alias, make):
    other = [("small", KINDS.FLOAT_VECTOR, {"dim": 2}), ("name", KINDS.VARCHAR, {"max_length": 20, "nullable": True})]
    small = [[float(row), 1.0] for row in range(20)]
    rows = rows_of(unit_vectors(20), small=small, name=[f"n{row}" for row in range(20)], n=list(range(20)))
    make(rows, also=other, metric="IP")
    with MilvusIndex(alias, client=milvus, vector="embedding", text="name") as index:
        replacement = copied(index)
        changed = unit_vectors(1, seed=8)[0]
        milvus.upsert(alias, [rows[7] | {"embedding": changed}, rows[8] | {"name": "other"}])
        milvus.delete(alias, ids=[9])
        milvus.insert(alias, [rows[9] | {"key": 99, "embedding": changed}])
        with pytest.raises(DataError, match="3 rows have no new vector"):
            replacement.cut_over()
        left = joined(list(replacement.missing()))
        assert (left.ids, replacement.surplus()) == ([7, 8, 99], 1)
        for part in replacement.missing():
            replacement.write(part, widened(part))
        replacement.cut_over()  # deletes what is gone
        assert (index.describe().metric, index.describe().dim) == ("dot", WIDE)
        found = index.fetch([7, 8, 99])
        np.testing.assert_allclose(found.vectors[[0, 2], :DIM], [changed, changed], atol=1e-6)
        assert found.texts == ["n7", "other", "n9"]
        new = milvus.query(alias, filter="key == 5", output_fields=["*"])[0]
        assert (new["small"], new["n"]) == ([5.0, 1.0], 5)
        assert index.describe().rows == 20 and not len(index.fetch([9]))
        replacement.drop_old()
    mine = [name for name in milvus.list_collections() if alias in name]
    assert mine == [f"{alias}_2"] == [milvus.describe_collection(alias)["collection_name"]]


def test_a_change_that_was_interrupted_is_gone_on_with(milvus, alias, make, monkeypatch):
    make(rows_of(unit_vectors(6)))
    with MilvusIndex(alias, client=milvus) as index:
        copied(index)

    def killed_after(done):
        left = [done]

        def killed(calls, work, **how):
            if any(name in work.__code__.co_names for name in ("alter_alias", "drop_alias")):
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
            return run(calls, work, **how)

        return killed

    run = MilvusCalls.run
    for step, done, stage in (
        ("cut_over", 1, "begun"),
        ("cut_over", 2, "cut over"),
        ("roll_back", 1, "cut over"),
        ("roll_back", 2, "begun"),
    ):
        with MilvusIndex(alias, client=milvus) as index, monkeypatch.context() as patched:
            patched.setattr(MilvusCalls, "run", killed_after(done))
            with pytest.raises(KeyboardInterrupt):
                getattr(index.replacement(), step)()
        with MilvusIndex(alias, client=milvus) as index:
            assert index.replacement().stage() == stage, (step, done)
            assert index.describe().dim == (WIDE if stage == "cut over" else DIM)
    with MilvusIndex(alias, client=milvus) as index:
        replacement = index.replacement()
        for step in ("cut_over", "roll_back", "give_up"):
            getattr(replacement, step)()
        assert index.describe().rows == 6 and replacement.stage() == "untouched"
    assert [name for name in milvus.list_collections() if alias in name] == [f"{alias}_1"]


def test_what_an_interrupted_begin_left_is_gone_on_with_or_given_up(milvus, alias, make, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    make(rows_of(unit_vectors(3)))
    with MilvusIndex(alias, client=milvus) as index:
        replacement = index.replacement()
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(type(replacement), "_point", killed)
            replacement.begin(WIDE)
        assert replacement.stage() == "untouched"
        with pytest.raises(DataError, match="by 12-d vectors has begun, .*give it up"):
            replacement.begin(5)
        replacement.give_up()
        assert [name for name in milvus.list_collections() if alias in name] == [f"{alias}_1"]
        replacement.begin(5)


def test_a_collection_that_cannot_be_replaced_says_why(milvus, alias, make):
    make(rows_of(unit_vectors(3)))
    with MilvusIndex(f"{alias}_1", client=milvus) as index:
        for step in ("way", "begin"):  # planned or done
            with pytest.raises(
                DataError, match="this is a collection, which has its name for good; make an alias of it"
            ):
                getattr(index.replacement(), step)(WIDE)


def test_ids_that_milvus_makes_itself_are_not_promised(milvus, alias, make):
    make([], auto_id=True)
    milvus.insert(alias, [{"embedding": vector} for vector in unit_vectors(3)])
    with MilvusIndex(alias, client=milvus) as index:
        assert len(joined(list(index.scan()))) == 3
        with pytest.raises(DataError, match="Milvus makes its ids itself, and a copy could not keep them"):
            index.replacement().begin(WIDE)
        assert index.replacement().stage() == "untouched"


def test_what_is_not_there_is_named_and_the_client_says_nothing_of_its_own(milvus, alias, make, tmp_path, capfd):
    vectors = [("coarse", KINDS.FLOAT_VECTOR, {"dim": 2}), ("title", KINDS.VARCHAR, {"max_length": 9})]
    make([], also=vectors, dynamic=False)
    for settings, said in (
        ({"collection": "nonesuch"}, f"no such collection; there are: .*{alias}_1"),
        ({}, "fields of vectors of floats: embedding, coarse; expected one as index.vector=…, none is named"),
        ({"vector": "title"}, "got title"),
        (
            {"vector": "coarse", "text": "body"},
            "index.text=body: table .* has no such column; the others are: key, title",
        ),
    ):
        with pytest.raises(DataError, match=said) as caught:
            MilvusIndex(**{"collection": alias, "client": milvus, **settings})
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such file; expected one of Milvus Lite"):
        MilvusIndex("docs", path=str(tmp_path / "nonesuch.db"))
    (tmp_path / "text.db").write_text("no database")
    with pytest.raises(EngineError, match="cannot be opened") as caught:
        MilvusIndex("docs", path=str(tmp_path / "text.db"))
    assert "\n" not in str(caught.value)
    with MilvusIndex(alias, client=milvus, vector="coarse") as index, pytest.raises(EngineError, match="^Milvus: "):
        index._query("key >", ["key"])
    assert "Traceback" not in capfd.readouterr().err


def test_a_file_that_is_opened_anew_is_read_and_gone_on_with(tmp_path, caplog):
    """A server keeps its collections ready for reading, a file that another process had open does not."""
    from milvus_lite.server_manager import server_manager_instance

    path = str(tmp_path / "docs.db")
    client = pymilvus.MilvusClient(path)
    client.create_collection("docs_1", dimension=DIM, metric_type="COSINE")
    client.insert("docs_1", [{"id": row, "vector": one} for row, one in enumerate(unit_vectors(9))])
    client.create_alias("docs_1", "docs")
    client.close()
    caplog.clear()
    for step in ("read", "copy", "cut over", "roll back"):
        server_manager_instance.release_server(path)
        with MilvusIndex("docs", path=path) as index:
            replacement = index.replacement()
            assert joined(list(index.scan())).ids == list(range(9))
            if step == "copy":
                copied(index)
            elif step != "read":
                assert joined(list(replacement.missing())).ids == []
                (replacement.cut_over if step == "cut over" else replacement.roll_back)()
                assert index.describe().dim == (WIDE if step == "cut over" else DIM)
    server_manager_instance.release_server(path)
    assert [one for one in caplog.records if one.levelname == "ERROR"] == []  # nor any traceback of theirs
