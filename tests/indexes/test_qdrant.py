"""Qdrant as it is met: aliases, named vectors, its cosine's lengths, points that come and go."""

import uuid

import numpy as np
import pytest
from needed import needed

from alignkit.errors import ConfigError, DataError, EngineError
from alignkit.indexes.index_rows import joined
from alignkit.indexes.qdrant import QdrantIndex

qdrant_client = needed("qdrant_client")
models = needed("qdrant_client.models")


@pytest.fixture(scope="module")
def client():
    client = qdrant_client.QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def collection(client):
    name = f"docs {uuid.uuid4().hex[:6]} 'x'"
    yield name
    client.delete_collection(name)


def create(client, name, vectors, points):
    client.create_collection(name, vectors_config=vectors)
    client.upsert(name, [models.PointStruct(id=one, vector=vector, payload=payload) for one, vector, payload in points])


def test_its_cosine_gives_back_vectors_of_length_one_and_says_so(client, collection):
    create(client, collection, models.VectorParams(size=2, distance="Cosine"), [(1, [3.0, 4.0], {})])
    with QdrantIndex(collection, client=client) as index:
        assert index.describe().normalizes
        np.testing.assert_allclose(joined(list(index.scan())).vectors, [[0.6, 0.8]], atol=1e-6)


def test_named_vectors_are_told_apart_and_distances_are_turned(client, collection):
    vectors = {
        "wide": models.VectorParams(size=3, distance="Euclid"),
        "small one": models.VectorParams(size=2, distance="Dot", datatype="float16"),
        "many": models.VectorParams(
            size=2, distance="Dot", multivector_config=models.MultiVectorConfig(comparator="max_sim")
        ),
    }
    points = [(1, {"wide": [1, 2, 3]}, {"a": {"b": "inside"}}), (2, {"wide": [1, 2, 4], "small one": [1, 0]}, {})]
    create(client, collection, vectors, points)
    with pytest.raises(DataError, match="vectors: wide, small one; expected one"):
        QdrantIndex(collection, client=client)
    with pytest.raises(DataError, match="got many"):
        QdrantIndex(collection, client=client, vector="many")
    with QdrantIndex(collection, client=client, vector="wide", text="a.b") as index:
        assert (index.describe().metric, index.describe().normalizes) == ("l2", False)
        ids, scores = index.search(np.array([[1, 2, 3.25]]), 3)
        assert ids == [[1, 2]] and scores[0].tolist() == [-0.25, -0.75, -np.inf]
        assert joined(list(index.scan())).texts == ["inside", ""]
    with QdrantIndex(collection, client=client, vector="small one") as index:
        assert (index.describe().dtype, index.describe().dim) == ("float16", 2)
        assert joined(list(index.scan())).faults == {0: "it has no vector"}


def test_an_alias_is_read_as_its_collection(client, collection):
    create(client, collection, models.VectorParams(size=2, distance="Dot"), [(7, [1, 2], {"t": "x", "n": [1]})])
    alias = models.CreateAlias(collection_name=collection, alias_name="live")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    with QdrantIndex("live", client=client, text="t", payload=["n"]) as index:
        rows = joined(list(index.scan()))
        assert (rows.ids, rows.texts, rows.payload) == ([7], ["x"], [{"n": [1]}])


def test_points_that_come_and_go_during_a_scan_do_no_harm(client, collection):
    config = models.VectorParams(size=2, distance="Dot")
    create(client, collection, config, [(one, [1, one], {}) for one in range(0, 40, 2)])
    with QdrantIndex(collection, client=client) as index:
        seen = []
        for number, rows in enumerate(index.scan(batch=5)):
            seen += rows.ids
            new = [models.PointStruct(id=one, vector=[1, 2], payload={}) for one in (1 + 2 * number, 39 - 2 * number)]
            client.upsert(collection, new)
            client.delete(collection, [rows.ids[-1]])  # the very one at which the next page begins
    assert len(seen) == len(set(seen)) and set(range(0, 40, 2)) <= set(seen)


def test_a_collection_that_is_not_there_is_refused_with_those_that_are(client, collection):
    client.create_collection(collection, vectors_config=models.VectorParams(size=2, distance="Dot"))
    with pytest.raises(DataError, match=f"there are: .*{collection}"):
        QdrantIndex("nonesuch", client=client)


@pytest.mark.filterwarnings("ignore:.*")  # a client that is refused leaves its lock file open
def test_a_folder_of_the_clients_own_is_read_and_held_by_one(tmp_path):
    client = qdrant_client.QdrantClient(path=str(tmp_path))
    create(client, "docs", models.VectorParams(size=2, distance="Dot"), [(7, [1, 2], {})])
    with pytest.raises(EngineError, match="already accessed"):
        QdrantIndex("docs", path=str(tmp_path))
    client.close()
    with QdrantIndex("docs", path=str(tmp_path)) as index:
        assert joined(list(index.scan())).ids == [7]


def test_a_server_that_is_not_there_is_one_line(monkeypatch):
    with pytest.raises(EngineError, match=r"127.0.0.1:1: .*is the server running\?") as caught:
        QdrantIndex("docs", url="http://127.0.0.1:1")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="index.api_key_env"):
        QdrantIndex("docs", url="http://127.0.0.1:1", api_key_env="NO_SUCH_KEY_IS_SET")


def test_a_replacement_keeps_payload_and_other_vectors_and_needs_an_alias(client, collection):
    config = {"a": models.VectorParams(size=2, distance="Dot"), "b": models.VectorParams(size=3, distance="Cosine")}
    points = [(1, {"a": [1, 2], "b": [0, 0, 1]}, {"t": "x"}), (2, {"b": [0, 1, 0]}, {"t": "y"}), (3, {"a": [3, 4]}, {})]
    create(client, collection, config, points)
    with QdrantIndex(collection, client=client, vector="a") as index:
        for step in ("way", "begin"):  # planned or done
            with pytest.raises(DataError, match="this is a collection, and Qdrant can rename none; make an alias"):
                getattr(index.replacement(), step)(2)
    alias = models.CreateAlias(collection_name=collection, alias_name="shop")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    with QdrantIndex("shop", client=client, vector="a") as index:
        replacement = index.replacement()
        replacement.begin(4)
        for rows in replacement.missing():
            replacement.write(rows, np.arange(12).reshape(3, 4))
        replacement.cut_over()  # the point without this vector is moved too
        assert joined(list(index.scan())).faults == {1: "it has no vector"}
        one, two, three = client.retrieve("shop", [1, 2, 3], with_vectors=True)
        assert (one.payload, one.vector) == ({"t": "x"}, {"a": [0, 1, 2, 3], "b": [0, 0, 1]})
        assert (two.payload, two.vector, three.vector) == ({"t": "y"}, {"b": [0, 1, 0]}, {"a": [8, 9, 10, 11]})
        replacement.roll_back()
        replacement.give_up()
        assert [one.name for one in client.get_collections().collections if one.name.startswith("shop")] == []
    delete = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="shop"))
    client.update_collection_aliases([delete])


@pytest.mark.parametrize("field", ["my text", "a.b", "it's; --", "100% [0]", "Größe", "a[]", 'x "q"'])
def test_fields_whose_names_are_no_paths(client, collection, field):
    """Qdrant takes paths, in which a dot leads inside and other signs need quotes."""
    vectors = {"v #1": models.VectorParams(size=2, distance="Dot")}
    points = [(one, {"v #1": [1, one]}, {field: f"t{one}", "other": one}) for one in (1, 2)]
    create(client, collection, vectors, points)
    with QdrantIndex(collection, client=client, text=field, payload=[field]) as index:
        rows = joined(list(index.scan()))
        assert (rows.texts, rows.payload) == (["t1", "t2"], [{field: "t1"}, {field: "t2"}])
        if '"' in field:
            with pytest.raises(DataError, match="has no path"):
                index.search(np.array([[1, 1]]), 1, where={field: "t1"})
        else:
            assert index.search(np.array([[1, 1]]), 1, where={field: "t1"})[0] == [[1]]
            assert index.search(np.array([[1, 1]]), 1, where={field: {"ne": "t1"}})[0] == [[2]]
