"""Puts rows into every engine as its own users do: with the engine's client, none of ours."""

import functools
import uuid
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from alignkit.indexes.chroma_calls import silent
from alignkit.parts import build_part, conf_folder

ENGINES = sorted(path.stem for path in (conf_folder() / "index").glob("*.yaml"))
ROWS, DIM, WIDE = 60, 8, 12


def unit_vectors(rows=ROWS, dim=DIM, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def further_fields(rows):
    """Two more fields of each row; engines that hold none leave them out."""
    years = [None if row % 12 == 11 else 1990 + row % 20 for row in range(rows)]
    return [{"year": year, "lang": ("en", "de", "it's")[row % 3]} for row, year in enumerate(years)]


def columns(rows):
    """The same, a list of each."""
    return {name: [row[name] for row in further_fields(rows)] for name in ("year", "lang")}


@dataclass
class Stored:
    """What was put into an engine, and the settings that open it."""

    settings: dict
    ids: list
    vectors: np.ndarray
    texts: list

    def open(self, **changes):
        return build_part({**self.settings, **changes})


def stored(engine, folder, request, vectors=None, texts=None):
    """Rows in this engine; a vector that is None is stored as missing, in engines that know that."""
    vectors = unit_vectors() if vectors is None else vectors
    texts = texts or [f"document {row} über Äpfel" for row in range(len(vectors))]
    ids, settings = MAKERS[engine](folder, request, vectors, texts)
    packaged = yaml.safe_load((conf_folder() / "index" / f"{engine}.yaml").read_text(encoding="utf-8"))
    return Stored({**packaged, **settings}, ids, vectors, texts)


def widened(rows):
    """New vectors that hold the old ones."""
    made = np.zeros((len(rows), WIDE), np.float32)
    made[:, :DIM], made[:, DIM] = np.nan_to_num(rows.vectors), 1
    return made


def copied(index):
    """Its replacement, with a new vector for every row."""
    replacement = index.replacement()
    replacement.begin(WIDE)
    for rows in replacement.missing(7):
        replacement.write(rows, widened(rows))
    return replacement


def fill(connection, table, key="id bigint PRIMARY KEY", vector=f"vector({DIM})", rows=20, ids=None):
    connection.execute(f"CREATE TABLE {table} ({key}, body text, embedding {vector})")
    vectors = unit_vectors(rows)
    for row, one in enumerate(ids if ids is not None else range(rows)):
        values = (one, f"text {row}", str(vectors[row].tolist()))
        connection.execute(f"INSERT INTO {table} VALUES (%s, %s, %s)", values)
    return vectors


def lists(vectors):
    return [None if vector is None else [float(number) for number in vector] for vector in vectors]


def in_parquet(folder, request, vectors, texts):
    ids = [f"d{row}" for row in range(len(texts))]
    table = {"id": ids, "body": texts, "embedding": pa.array(lists(vectors), pa.list_(pa.float32()))}
    pq.write_table(pa.table({**table, **columns(len(ids))}), folder / "docs.parquet", row_group_size=16)
    return ids, {"path": str(folder / "docs.parquet"), "id": "id", "text": "body"}


def in_faiss(folder, request, vectors, texts):
    from alignkit.indexes.faiss import faiss_module

    faiss = faiss_module()
    index = faiss.IndexIDMap(faiss.IndexFlatIP(DIM))
    ids = [3 * row + 7 for row in range(len(texts))]
    index.add_with_ids(np.asarray(vectors), np.asarray(ids))
    faiss.write_index(index, str(folder / "docs.faiss"))
    (folder / "docs.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return ids, {"path": str(folder / "docs.faiss"), "texts": str(folder / "docs.txt")}


def in_pgvector(folder, request, vectors, texts):
    database = request.getfixturevalue("postgres")
    table = f"docs_{uuid.uuid4().hex[:8]}"
    with database.connect() as connection:
        # no width: such a column takes vectors of any
        made = "id bigint PRIMARY KEY, body text, embedding vector, year int, lang text"
        connection.execute(f"CREATE TABLE {table} ({made})")
        ids = [5 * row + 2 for row in range(len(texts))]
        sent = [vector and str(vector) for vector in lists(vectors)]
        rows = zip(ids, texts, sent, *columns(len(ids)).values(), strict=True)
        connection.cursor().executemany(f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s)", list(rows))
    return ids, {"url": database.url, "table": table, "text": "body"}


@functools.cache
def _schema():
    from qdrant_client.embed.schema_parser import ModelSchemaParser

    return ModelSchemaParser()


def qdrant_in_memory():
    """A new client; copying the library's own schema once more for it takes all the time that a new one takes."""
    from qdrant_client import QdrantClient
    from qdrant_client.embed import type_inspector

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type_inspector, "ModelSchemaParser", _schema)
        return QdrantClient(":memory:")


def in_qdrant(folder, request, vectors, texts):
    from qdrant_client import models

    client = qdrant_in_memory()
    client.create_collection("docs_1", vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE))
    ids = [2 * row + 1 if row < len(texts) // 2 else str(uuid.UUID(int=row)) for row in range(len(texts))]
    payloads = [{"body": text, **further} for text, further in zip(texts, further_fields(len(ids)), strict=True)]
    points = zip(ids, lists(vectors), payloads, strict=True)
    client.upsert(
        "docs_1",
        [models.PointStruct(id=one, vector=vector or {}, payload=payload) for one, vector, payload in points],
    )
    alias = models.CreateAlias(collection_name="docs_1", alias_name="docs")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    return ids, {"client": client, "collection": "docs", "text": "body"}


def in_lancedb(folder, request, vectors, texts):
    import lancedb

    ids = [f"d{row}" for row in range(len(texts))]
    table = {"id": ids, "body": texts, "embedding": pa.array(lists(vectors), pa.list_(pa.float32(), DIM))}
    lancedb.connect(folder / "docs").create_table("docs", pa.table({**table, **columns(len(ids))}))
    return ids, {"path": str(folder / "docs"), "table": "docs", "text": "body"}


def in_sqlite_vec(folder, request, vectors, texts):
    import apsw
    import sqlite_vec

    connection = apsw.Connection(str(folder / "docs.db"))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    ids = [3 * row + 4 for row in range(len(texts))]
    connection.execute("CREATE TABLE pages (id INTEGER PRIMARY KEY, body TEXT, year INTEGER, lang TEXT)")
    connection.execute(
        f"CREATE VIRTUAL TABLE docs USING vec0(id INTEGER PRIMARY KEY, embedding float[{DIM}] distance_metric=cosine)"
    )
    with connection:
        pages = zip(ids, texts, *columns(len(ids)).values(), strict=True)
        connection.executemany("INSERT INTO pages VALUES (?, ?, ?, ?)", pages)
        sent = [np.asarray(vector, np.float32).tobytes() for vector in vectors]
        connection.executemany("INSERT INTO docs VALUES (?, ?)", zip(ids, sent, strict=True))
    connection.close()
    return ids, {"path": str(folder / "docs.db"), "table": "docs", "joined": "pages", "text": "body"}


def in_chroma(folder, request, vectors, texts):
    import chromadb

    client = chromadb.PersistentClient(str(folder / "docs"), settings=silent())
    collection = client.create_collection(
        "docs", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}, metadata={"mine": "kept"}
    )
    ids = [f"d{row}" for row in range(len(texts))]
    fields = [{name: one for name, one in row.items() if one is not None} for row in further_fields(len(ids))]
    collection.add(ids=ids, embeddings=lists(vectors), documents=texts, metadatas=fields)
    return ids, {"path": str(folder / "docs"), "collection": "docs"}


def in_milvus(folder, request, vectors, texts):
    from pymilvus import DataType, MilvusClient

    client, alias = request.getfixturevalue("milvus"), f"docs_{uuid.uuid4().hex[:8]}"
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("year", DataType.INT64, nullable=True)
    indexes = client.prepare_index_params()
    indexes.add_index("embedding", index_type="AUTOINDEX", metric_type="COSINE")
    client.create_collection(f"{alias}_1", schema=schema, index_params=indexes)
    ids = [f"d{row}" for row in range(len(texts))]
    fields = further_fields(len(ids))
    rows = zip(ids, vectors, texts, fields, strict=True)
    sent = [{"id": one, "embedding": vector, "body": text, **further} for one, vector, text, further in rows]
    client.insert(f"{alias}_1", sent[::-1])  # in another order than that of the ids
    client.create_alias(f"{alias}_1", alias)
    return ids, {"client": client, "collection": alias, "text": "body"}


MAKERS = {name.removeprefix("in_"): make for name, make in list(globals().items()) if name.startswith("in_")}
