"""Parts on a real Ray: a node and a driver that are killed, workers out of memory, parts that fail; every row once."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray_cluster
import torch
import waiting
from engines import fill
from small_work import Squares, cut, tries, written

from alignkit.artifact import load_artifact, save_head
from alignkit.errors import AlignkitError, EngineError
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.migration.moving import migrate
from alignkit.workers import ray as workers_ray
from alignkit.workers.local import LocalEngine
from alignkit.workers.manifest import Manifest
from alignkit.workers.ray import RayEngine
from alignkit.workers.running import run

# Ray itself, in this process
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROWS, STUDENT_DIM, TEACHER_DIM = 20_000, 64, 96
ROWS_A_PART, PARTS = 1024, 20


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster.running() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """20,000 rows with ids, and a head."""
    folder = tmp_path_factory.mktemp("old")
    vectors = np.random.default_rng(0).standard_normal((ROWS, STUDENT_DIM)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), STUDENT_DIM)
    pq.write_table(pa.table({"id": [f"r{row}" for row in range(ROWS)], "made": column}), folder / "old.parquet")
    torch.manual_seed(0)
    head = MlpHead(STUDENT_DIM, TEACHER_DIM, hidden=128).eval()
    save_head(head, folder / "head")
    with torch.inference_mode():
        made = torch.cat([head(part) for part in torch.from_numpy(vectors).split(2_000)])
    return folder, torch.nn.functional.normalize(made, dim=1).numpy()


def expect_every_row_once(table, expected):
    made = pq.read_table(table)
    assert made.column("id").to_pylist() == [f"r{row}" for row in range(ROWS)]
    vectors = made.column("made").combine_chunks().flatten().to_numpy().reshape(ROWS, -1)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def squares(work, engine, parts=8, on_progress=lambda progress: None):
    manifest = Manifest.open(Path(work.folder) / "parts", {}, lambda: cut(parts))
    return run(work, manifest, engine, on_progress), manifest


def test_what_fails_is_named_and_what_dies_is_done_again(cluster, tmp_path, capfd):
    work = Squares(str(tmp_path), fails=[3], dies_once=[4], out_of_memory=[5])
    seen = []
    outcome, manifest = squares(work, RayEngine(cluster.address), on_progress=seen.append)
    assert sorted(outcome.done) == [0, 1, 2, 4, 6, 7]
    assert outcome.failed == {3: "ValueError: no number at all", 5: "the worker ran out of memory"}
    counts = tries(tmp_path)
    assert (counts[3], counts[4], counts[5]) == (1, 2, 4)  # what is wrong with a part is wrong everywhere
    assert seen[-1].rates and all(" process " in worker for worker in seen[-1].rates)
    with pytest.raises(AlignkitError, match="2 of 8 parts failed, 6 are done; part 3 .first=15, count=5.: Val"):
        outcome.expect_whole(manifest.parts)
    assert "worker died" not in capfd.readouterr().out  # results of commands go there
    outcome, _ = squares(Squares(str(tmp_path)), LocalEngine())
    assert not outcome.failed and written(tmp_path) == [one * one for one in range(40)]


def test_workers_that_cannot_load_what_they_need_end_the_job(cluster, tmp_path):
    with pytest.raises(AlignkitError, match=r"process \d+: no such model"):
        squares(Squares(str(tmp_path), cannot_open="no such model"), RayEngine(cluster.address, workers=1))


def test_nobody_waits_for_a_gpu_in_silence(cluster, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(workers_ray, "BEAT_S", 0.01)
    finished = RayEngine(cluster.address, gpus_per_worker=0.5).run(Squares(str(tmp_path)), cut(1))
    assert next(finished) is None
    finished.close()
    assert "engine.gpus_per_worker=0.5: Ray has 0 GPUs now; all parts wait for a node that has more" in caplog.text
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(cluster_resources=dict, is_initialized=lambda: True))
    with pytest.raises(EngineError, match=r"gpus_per_worker=1: Ray has 0 GPUs on this machine; give a smaller"):
        next(RayEngine(gpus_per_worker=1).run(Squares(str(tmp_path)), cut(1)))


def test_rows_of_a_database_are_copied_by_ranges_of_ids(cluster, tmp_path, postgres, connection, table, run_command):
    vectors = fill(connection, table, rows=40)
    save_head(LinearHead(vectors.shape[1], 12).eval(), tmp_path / "head")
    words = ["step=copy", "source=pgvector", f"source.url={postgres.url}", f"source.table={table}", "head=head"]
    words += ["engine=ray", f"engine.address={cluster.address}", "engine.workers=1"]
    code, out, err = run_command("migrate", *words)
    assert (code, err) == (0, ""), err
    assert "40 rows got a vector of 12 dimensions" in " ".join(out.split())
    asked = f"SELECT count(*), count(embedding_alignkit_new) FROM {table}"
    assert connection.execute(asked).fetchone() == (40, 40)


def test_another_version_of_ray_is_one_line(cluster, tmp_path, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "__version__", "2.0.0")
    with pytest.raises(EngineError, match="Ray or Python is of another version here than in the cluster.*2.0.0"):
        squares(Squares(str(tmp_path)), RayEngine(cluster.address))


def test_a_driver_and_then_a_node_that_are_killed_lose_no_row(cluster, old, tmp_path):
    """The last test here: the node does not come back."""
    folder, expected = old
    new, seen = tmp_path / "new.parquet", []
    driver = f"""
import os
from alignkit.artifact import load_artifact
from alignkit.migration.moving import migrate
from alignkit.workers.ray import RayEngine

def die(done, rows):
    if done:
        os._exit(9)

head, engine = load_artifact({str(folder / "head")!r}), RayEngine({cluster.address!r}, workers=1)
migrate({str(folder / "old.parquet")!r}, head, {str(new)!r}, progress=die, engine=engine)
"""
    assert subprocess.run([sys.executable, "-c", driver], timeout=waiting.HANG_S).returncode == 9
    assert len(list((tmp_path / "new.parquet.parts").glob("*.npy"))) < PARTS and not new.exists()

    def kill(done, rows):
        seen.append(done)
        if len(seen) == 2:
            ray_cluster.kill_a_node(cluster)

    head, engine = load_artifact(folder / "head"), RayEngine(cluster.address)
    manifest = migrate(folder / "old.parquet", head, new, progress=kill, engine=engine)
    assert (seen[0], seen[-1], manifest["rows"]) == (ROWS_A_PART, ROWS, ROWS), "it goes on after the part that is done"
    assert len(seen) == PARTS, "and takes each of the others once"
    expect_every_row_once(new, expected)
