"""Chroma as it is met: its order, its metadata, names that change one at a time, a folder and a server."""

import contextlib
import os
import socket
import subprocess
import sys

import httpx
import numpy as np
import pytest
import waiting
from engines import DIM, WIDE, copied, unit_vectors, widened
from needed import needed
from ports import quiet_port

from alignkit.errors import ConfigError, DataError, EngineError
from alignkit.indexes.chroma import ChromaIndex
from alignkit.indexes.chroma_calls import silent
from alignkit.indexes.index_rows import joined

chromadb = needed("chromadb")


def connected(folder):
    from chromadb.config import Settings

    return chromadb.PersistentClient(str(folder), settings=Settings(anonymized_telemetry=False))


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    opened = connected(tmp_path_factory.mktemp("chroma"))
    yield opened
    opened.close()


@pytest.fixture
def make(client):
    """A collection of some vectors; all are deleted afterwards."""

    def made(vectors, metadatas=None, space="cosine", **changes):
        settings = {"embedding_function": None, "configuration": {"hnsw": {"space": space}}, **changes}
        collection = client.create_collection("docs", **settings)
        ids = [f"d{row:02}" for row in range(len(vectors))]
        texts = [f"text {row}" for row in range(len(vectors))]
        collection.add(ids=ids, embeddings=np.asarray(vectors), documents=texts, metadatas=metadatas)
        return collection

    yield made
    for one in client.list_collections():
        client.delete_collection(one.name)


def test_rows_that_come_and_go_during_a_scan_do_no_harm(client, make):
    collection = make(unit_vectors(60))
    with ChromaIndex("docs", client=client) as index:
        seen = []
        for number, rows in enumerate(index.scan(batch=10)):
            seen += rows.ids
            collection.delete(ids=list({rows.ids[0], rows.ids[-1]}))  # all later rows move forward
            if number < 3:
                collection.add(ids=[f"new {number}"], embeddings=unit_vectors(1))
        there = {f"d{row:02}" for row in range(60)}
        assert len(seen) == len(set(seen)) and there <= set(seen)
        # another process goes on from there, or says that it cannot
        first = next(index.scan(batch=20))
        collection.delete(ids=first.ids[4:])
        with ChromaIndex("docs", client=client) as other:
            rest = [one for rows in other.scan(after=[20, first.ids[:6]]) for one in rows.ids]
            assert first.ids[:4] + rest == joined(list(index.scan())).ids
            with pytest.raises(DataError, match="that nobody can say where to go on; begin again"):
                list(other.scan(after=first.cursor))


@pytest.mark.parametrize("space", ["cosine", "ip", "l2"])
def test_scores_are_those_of_the_metric_and_vectors_keep_their_lengths(client, make, space):
    vectors = unit_vectors(30) * np.linspace(0.5, 2, 30, dtype=np.float32)[:, None]
    make(vectors, space=space)
    query = unit_vectors(1, seed=5)
    lengths = np.linalg.norm(vectors, axis=1)
    expected = {
        "cosine": vectors @ query[0] / lengths,
        "ip": vectors @ query[0],
        "l2": -np.linalg.norm(vectors - query, axis=1),
    }[space]
    with ChromaIndex("docs", client=client) as index:
        ids, scores = index.search(query, 5)
        np.testing.assert_allclose(joined(list(index.scan())).vectors, vectors, atol=1e-6)
    assert ids[0] == [f"d{row:02}" for row in np.argsort(-expected)[:5]]
    np.testing.assert_allclose(scores[0], np.sort(expected)[::-1][:5], atol=1e-5)


def test_what_a_field_of_chroma_can_hold(tmp_path):
    # in a folder of its own: Chroma gives lists of deleted rows to new ones
    client = connected(tmp_path)
    fields = [{"n": row, "share": row / 4, "tags": ["all", f"t{row % 3}"], "new": row > 10} for row in range(100)]
    fields[99]["rare"] = "yes"  # of none of the rows that the fields are read from
    collection = client.create_collection("docs", embedding_function=None)
    collection.add(ids=[f"d{row:02}" for row in range(100)], embeddings=unit_vectors(100), metadatas=fields)
    with ChromaIndex("docs", path=str(tmp_path), payload=["share"]) as index:

        def found(where, k=100):
            return sorted(int(one[1:]) for one in index.search(unit_vectors(1), k, where)[0][0])

        assert index.fetch(["d03"]).payload == [{"share": 0.75}]
        # whole numbers are not cut to, as Chroma does it
        assert found({"n": 3.5}) == [] and found({"n": {"gt": 96.5}}) == [97, 98, 99]
        assert found({"n": {"lt": 2.5}}) == [0, 1, 2] and found({"n": [3, 4.0, 4.5]}) == [3, 4]
        assert found({"share": {"gte": 24.3}}) == [98, 99] and found({"share": [0.25, 6]}) == [1, 24]
        assert found({"tags": "t2", "n": {"lt": 6}}) == [2, 5] and found({"new": False}) == list(range(11))
        assert found({"rare": "yes"}) == [99] and found({"rare": {"ne": "no"}}) == [99]
        assert found({"id": {"gt": "d97"}}) == [98, 99] and found({"id": ["d05", "nonesuch"]}) == [5]
        # few that pass are found all the same
        assert len(index.search(unit_vectors(1), 3, {"id": {"gte": "d90"}})[0][0]) == 3
        for where, said in (
            ({"tags": {"gt": "a"}}, "field 'tags' takes numbers alone for gt, gte, lt and lte in Chroma, got a text"),
            ({"document": "text 5"}, "Chroma compares no documents; use a field of the metadata"),
            ({"rare": "no"}, "has no field 'rare'"),
        ):
            with pytest.raises(DataError, match=rf"^filter: .*{said}"):
                found(where)


def test_texts_can_be_a_field_of_the_metadata(client, make):
    make(unit_vectors(3), [{"title": "one"}, {"title": "two"}, {"other": 1}])
    with ChromaIndex("docs", client=client, text="title", payload=["*"]) as index:
        rows = joined(list(index.scan()))
        assert (rows.texts, rows.payload) == (["one", "two", ""], [{}, {}, {"other": 1}])


def test_rows_and_settings_are_kept_and_changes_meanwhile_caught_up(client, make):
    settings = {"space": "ip", "ef_search": 77, "max_neighbors": 9}
    fields = [{"n": row, "gone": True} for row in range(30)]
    make(unit_vectors(30), fields, configuration={"hnsw": settings}, metadata={"mine": "kept", "hnsw:space": "ip"})
    with ChromaIndex("docs", client=client) as index:
        replacement = copied(index)
        live = client.get_collection("docs", embedding_function=None)
        changed = unit_vectors(1, seed=8)
        live.update(ids=["d07"], embeddings=changed)
        live.update(ids=["d08"], metadatas=[{"n": 800, "gone": None}])
        live.delete(ids=["d09"])
        live.add(ids=["new"], embeddings=changed, documents=["new one"])
        with pytest.raises(DataError, match="3 rows have no new vector"):
            replacement.cut_over()
        left = joined(list(replacement.missing()))
        assert (left.ids, replacement.surplus()) == (["d07", "d08", "new"], 1)
        for rows in replacement.missing():
            replacement.write(rows, widened(rows))
        replacement.cut_over()  # deletes what is gone
        new = client.get_collection("docs", embedding_function=None)
        assert {name: new.configuration_json["hnsw"][name] for name in settings} == settings
        found = new.get(ids=["d07", "d08", "new"], include=["embeddings", "metadatas", "documents"])
        np.testing.assert_allclose(found["embeddings"][[0, 2], :DIM], np.concatenate([changed, changed]), atol=1e-6)
        assert found["documents"] == ["text 7", "text 8", "new one"]
        assert new.count() == 30 and new.get(ids=["d09"])["ids"] == []
        replacement.drop_old()
        found = new.get(ids=["d08", "new"], include=["metadatas"])["metadatas"]
        assert ([one or {} for one in found]) == [{"n": 800}, {}]  # nothing of ours stays
        assert client.get_collection("docs", embedding_function=None).metadata == {"mine": "kept"}
        assert [one.name for one in client.list_collections()] == ["docs"]


def test_a_pass_over_the_rows_is_enough_to_delete_what_is_gone(client, make, monkeypatch):
    make(unit_vectors(20))
    scans, scan = [], ChromaIndex.scan
    with ChromaIndex("docs", client=client) as index:
        replacement = copied(index)
        client.get_collection("docs", embedding_function=None).delete(ids=["d03"])
        monkeypatch.setattr(ChromaIndex, "scan", lambda *asked, **further: scans.append(1) or scan(*asked, **further))
        assert list(replacement.missing()) == [] and replacement.prune() == 1
        assert len(scans) == 1


def test_a_change_of_names_that_was_interrupted_is_undone_and_loses_nothing(client, make):
    old = make(unit_vectors(20))
    with ChromaIndex("docs", client=client) as index:
        copied(index)
    old.modify(name="docs_alignkit_old")  # and here the process ended
    with ChromaIndex("docs", client=client) as index:
        assert index.describe().dim == DIM and "docs" not in {one.name for one in client.list_collections()}
        replacement = index.replacement()
        assert replacement.stage() == "begun"
        replacement.cut_over()
        assert index.describe().dim == WIDE
    client.get_collection("docs", embedding_function=None).modify(name="docs_alignkit_new")  # the same of roll_back
    with ChromaIndex("docs", client=client) as index:
        assert (index.describe().dim, index.replacement().stage()) == (DIM, "begun")


def test_an_interrupted_dropping_of_the_old_vectors_is_gone_on_with(client, make, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    make(unit_vectors(20))
    with ChromaIndex("docs", client=client) as index:
        replacement = copied(index)
        replacement.keep_note({"head": "a"})
        replacement.cut_over()
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(type(replacement), "drop", killed)
            replacement.drop_old()
    with ChromaIndex("docs", client=client) as index:
        replacement = index.replacement()
        assert (replacement.stage(), replacement.note()) == ("cut over", None)
        replacement.drop_old()
        assert (replacement.stage(), index.describe().dim) == ("untouched", WIDE)


def test_nothing_is_embedded_and_nobody_is_told(client, make, monkeypatch):
    """Chroma's own collections carry a model that would be downloaded."""
    client.create_collection("docs").add(ids=["a", "b"], embeddings=unit_vectors(2), documents=["x", "y"])

    def refuse(*_):
        raise AssertionError("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with ChromaIndex("docs", client=client) as index:
        copied(index).cut_over()
        assert index.search(unit_vectors(1, WIDE), 1)[0][0]
        assert silent().anonymized_telemetry is False


def test_what_is_not_there_is_named(client, make, tmp_path):
    make(unit_vectors(2))
    client.create_collection("empty")
    with pytest.raises(DataError, match="index.collection=nonesuch: no such collection; there are: docs, empty"):
        ChromaIndex("nonesuch", client=client)
    with pytest.raises(DataError, match="collection empty: holds no vectors"):
        ChromaIndex("empty", client=client)
    with pytest.raises(DataError, match="holds no database of Chroma"):
        ChromaIndex("docs", path=str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="expected an address such as"):
        ChromaIndex("docs", url="127.0.0.1:8000")
    with pytest.raises(EngineError, match=r"Could not connect .*127.0.0.1:1; is the server running\?") as caught:
        ChromaIndex("docs", url="http://me:secret@127.0.0.1:1")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def _answers(port):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/api/v2/heartbeat", trust_env=False, verify=False).is_success


def test_a_server_is_read_searched_and_missed(tmp_path, monkeypatch):
    from chromadb.config import Settings

    monkeypatch.setenv("CHROMA_TOKEN", "a-secret-token")
    port = quiet_port()
    command = [os.path.join(os.path.dirname(sys.executable), "chroma"), "run", "--path", str(tmp_path)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
        contextlib.ExitStack() as cleaning,
    ):
        try:
            settings = Settings(anonymized_telemetry=False)
            waiting.until(lambda: _answers(port), server)
            client = chromadb.HttpClient("127.0.0.1", port, settings=settings)
            for part in (client, client._admin_client):
                cleaning.callback(part._server._session.close)
            vectors = unit_vectors(30)
            collection = client.create_collection("docs", embedding_function=None)
            collection.add(ids=[f"d{row}" for row in range(30)], embeddings=vectors, documents=["x"] * 30)
            with ChromaIndex("docs", url=f"http://127.0.0.1:{port}", api_key_env="CHROMA_TOKEN") as index:
                copied(index).cut_over()
                rows = joined(list(index.scan(batch=8)))
                np.testing.assert_allclose(rows.vectors[:, :DIM], vectors, atol=1e-6)
                assert index.search(rows.vectors[4:5], 1)[0] == [["d4"]]
                index.hurry()  # clients wait
                server.kill()
                server.wait()
                with pytest.raises(EngineError, match=r"is the server running\?") as caught:
                    index.search(rows.vectors[:1], 1)
                assert "\n" not in str(caught.value)
        finally:
            server.kill()
