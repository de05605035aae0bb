"""`serve … index=…` with an index that cannot be served; `tests/test_served_migration.py` has one that can."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("wordllama")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("index=parquet", "index.path=nonesuch.parquet"), "nonesuch.parquet: no such file"),
        (("index=pgvector",), "index.table is not set; give it as index.table=..."),
        (("index=parquet", "index.path=narrow.parquet"), "holds 3-d vectors; this head maps 256-d vectors to 384-d"),
        (("index=parquet", "index.path=narrow.parquet", "cascade=0"), "cascade=0: expected a whole number"),
        (
            ("index=pgvector", "index.table=t", "index.url=postgresql://me:sesame@127.0.0.1:9/x"),
            "is the server running, and is index.url right?",
        ),
    ],
)
def test_an_index_that_cannot_be_served_is_one_line(run_command, tmp_path, static_run, words, said):
    vectors = pa.array([[1.0, 2.0, 3.0]] * 4, pa.list_(pa.float32()))
    pq.write_table(pa.table({"embedding": vectors}), tmp_path / "narrow.parquet")
    code, _, err = run_command("serve", f"head={static_run}", "port=0", *words)
    assert code == 1 and said in err and err.count("\n") == 1 and "sesame" not in err
