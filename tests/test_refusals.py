"""What Windows refuses, refused everywhere: a file that is held can be neither replaced, moved nor deleted.

Whatever a command was writing then, what was there before is whole, the message is one line and names the file.
"""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from alignkit import files
from alignkit.artifact import Artifact, load_artifact, save_artifact
from alignkit.errors import AlignkitError
from alignkit.heads.linear import LinearHead

IN_USE = "The process cannot access the file because it is being used by another process"
SENTENCES = [f"please book table {number} for tonight" for number in range(30)]


class Held:
    """Files that another process holds, and places where no folder can be made."""

    def __init__(self, monkeypatch):
        self.files, self.places = set(), set()
        monkeypatch.setattr(files, "PATIENCE_S", 0.0)
        for name in ("replace", "rename", "unlink", "remove", "rmdir"):
            monkeypatch.setattr(os, name, self._guarded(getattr(os, name)))
        monkeypatch.setattr(os, "mkdir", self._guarded_mkdir(os.mkdir))

    def hold(self, *paths):
        found = [Path(path).absolute() for path in paths]
        assert all(path.is_file() for path in found)
        self.files |= set(found)

    def let_go(self):
        self.files, self.places = set(), set()

    def _guarded(self, function):
        def guarded(*paths, **more):
            for path in paths:
                path = Path(os.fsdecode(path)).absolute()
                # a folder cannot be moved either while a file in it is open
                if any(held == path or path in held.parents for held in self.files):
                    raise PermissionError(errno.EACCES, IN_USE, str(path))
            return function(*paths, **more)

        return guarded

    def _guarded_mkdir(self, function):
        def guarded(path, *arguments, **more):
            if any(place in (Path(path).absolute(), *Path(path).absolute().parents) for place in self.places):
                raise PermissionError(errno.EACCES, "Access is denied", str(path))
            return function(path, *arguments, **more)

        return guarded


@pytest.fixture
def held(monkeypatch):
    return Held(monkeypatch)


@pytest.fixture
def run(run_command, tmp_path):
    """Run a command that fails: its one line."""
    (tmp_path / "s.txt").write_text("\n".join(SENTENCES), encoding="utf-8")

    def call(name, *arguments, code=1):
        got, out, errors = run_command(name, *arguments)
        assert got == code, errors
        assert "Traceback" not in errors
        last = [line for line in errors.splitlines() if line.startswith("alignkit: ")]
        assert len(last) == bool(code), errors
        return out, last[0] if last else ""

    return call


EMBED = ("embed", "which=student", "student=static", "sentences=s.txt")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def head_of(seed, dims=(256, 16)):
    torch.manual_seed(seed)
    return LinearHead(*dims).eval()


class TestVectors:
    @pytest.fixture
    def saved(self, run, tmp_path):
        pytest.importorskip("wordllama")
        save_artifact(Artifact({"query_head": head_of(0)}), tmp_path / "head")
        self.aligned = (*EMBED, "which=aligned", "head=head", "save_to=out")
        run(*self.aligned, code=0)
        (tmp_path / "s.txt").write_text("another sentence\n", encoding="utf-8")
        return tmp_path / "out"

    @pytest.mark.parametrize("name", ["student.npy", "student_index.json", "aligned.npy", "aligned.npy.json"])
    def test_all_of_them_or_none(self, run, held, saved, name):
        before = contents(saved)
        held.hold(saved / name)
        _, message = run(*self.aligned)
        assert message == (
            f"alignkit: {Path('out', name)}: could not be written ({IN_USE}); close what uses it, or choose another "
            "place, and try again"
        )
        assert contents(saved) == before
        held.let_go()
        run(*self.aligned, code=0)
        assert np.load(saved / "aligned.npy").shape == (1, 16)
        assert json.loads((saved / "student_index.json").read_text(encoding="utf-8"))["rows"] == {"another sentence": 0}
        assert set(contents(saved)) == set(before)

    def test_a_folder_that_cannot_be_made(self, run, held, tmp_path):
        pytest.importorskip("wordllama")
        held.places.add(tmp_path / "there")
        _, message = run(*EMBED, f"save_to={tmp_path / 'there' / 'vectors'}")
        assert f"{tmp_path / 'there' / 'vectors'}: could not be written (Access is denied)" in message

    def test_a_cache_that_cannot_be_made(self, run, held, tmp_path):
        pytest.importorskip("wordllama")
        held.places.add(tmp_path / "there")
        _, message = run(*EMBED, f"cache_dir={tmp_path / 'there'}")
        assert f"cannot make a cache in {tmp_path / 'there'}: Access is denied" in message


class TestCache:
    PRUNE = ("embed", "action=prune", "which=student", "student=static", "confirm=true")

    @pytest.fixture
    def shards(self, run, tmp_path):
        """Files of the model that is kept, and of one that is not."""
        pytest.importorskip("wordllama")
        run(*EMBED, "student.normalize=false", code=0)
        dropped = set((tmp_path / "cache" / "shards").iterdir())
        run(*EMBED, code=0)
        return set((tmp_path / "cache" / "shards").iterdir()) - dropped, dropped

    @pytest.mark.parametrize("kind", ["vectors", "keys", "json"])
    def test_prune_leaves_a_shard_in_use_whole_and_names_it(self, run, held, shards, kind, tmp_path):
        kept, dropped = shards
        (path,) = (path for path in dropped if path.suffix == f".{kind}")
        held.hold(path)
        out, message = run(*self.PRUNE)
        assert f"left as it is: {path.relative_to(tmp_path)} is in use ({IN_USE})" in out
        assert "1 of the shards are in use and were not pruned" in message
        assert set((tmp_path / "cache" / "shards").iterdir()) == kept | dropped
        assert "2 models, 60 vectors" in run("embed", "action=list", code=0)[0]
        run("embed", "action=verify", code=0)
        held.let_go()
        assert "30 vectors and " in run(*self.PRUNE, code=0)[0]
        assert set((tmp_path / "cache" / "shards").iterdir()) == kept

    def test_prune_goes_on_with_what_is_not_in_use(self, run, held, shards, tmp_path):
        run(*EMBED, "student.query_prompt=query: ", "role=query", "student.normalize=false", code=0)
        held.hold(next(path for path in shards[1] if path.suffix == ".keys"))
        out, _ = run(*self.PRUNE)
        assert "cache: 30 vectors and " in out
        assert "2 models, 60 vectors" in run("embed", "action=list", code=0)[0]

    def test_left_over_files_in_use_are_named_and_the_others_swept(self, run, held, shards, tmp_path):
        left = [tmp_path / "cache" / "shards" / name for name in ("a-1.keys", "b-2.vectors", "c-3.keys.deleted")]
        for path in left:
            path.write_bytes(bytes(10))
        held.hold(left[0])
        out, _ = run(*self.PRUNE)
        assert f"left as it is: {left[0].relative_to(tmp_path)} is in use" in out
        assert [path.exists() for path in left] == [True, False, False]

    def test_a_list_of_quarantined_texts_that_is_in_use(self, run, held, tmp_path):
        pytest.importorskip("wordllama")
        (tmp_path / "s.txt").write_text("good\n\nfine", encoding="utf-8")
        run(*EMBED, code=0)
        (path,) = (tmp_path / "cache" / "quarantine").iterdir()
        held.hold(path)
        (tmp_path / "s.txt").write_text("good\n\nfine\n \nbetter", encoding="utf-8")
        _, message = run(*EMBED)
        assert f"{path.relative_to(tmp_path)}: could not be written ({IN_USE})" in message
        held.let_go()
        assert ": 0 new, 3 cached, 2 quarantined" in run(*EMBED, code=0)[0]

    def test_an_index_that_is_damaged_and_in_use(self, run, held, shards, tmp_path):
        index = tmp_path / "cache" / "index.sqlite"
        index.write_bytes(b"no database" * 1000)
        held.hold(index)
        _, message = run("embed", "action=verify")
        assert "index.sqlite is damaged and in use" in message
        held.let_go()
        run("embed", "action=verify", code=0)


class TestHead:
    @pytest.mark.parametrize("name", ["head.json", "head.safetensors"])
    def test_the_old_head_stays_whole(self, held, tmp_path, name):
        old = Artifact({"query_head": head_of(0)})
        save_artifact(old, tmp_path)
        held.hold(tmp_path / name)
        with pytest.raises(AlignkitError, match=rf"{name}: could not be written \({IN_USE}\)"):
            save_artifact(Artifact({"query_head": head_of(1)}), tmp_path)
        assert load_artifact(tmp_path).digest() == old.digest()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["head.json", "head.safetensors"]


class TestExport:
    @pytest.fixture
    def head(self, static_run):
        return f"head={static_run}"

    @pytest.mark.parametrize("form", ["torch", "numpy", "bundle"])
    def test_a_folder_that_cannot_take_its_name(self, run, monkeypatch, tmp_path, head, form):
        replace = os.replace

        def refuse(source, target):
            if Path(target).name in ("made", "made.zip"):
                raise PermissionError(errno.EACCES, IN_USE)
            replace(source, target)

        monkeypatch.setattr(files, "PATIENCE_S", 0.0)
        monkeypatch.setattr(os, "replace", refuse)
        _, message = run("export", head, f"format={form}", "student=static", "out=made")
        assert f"could not be written ({IN_USE}), nothing was left there; close what uses it" in message
        assert not [path for path in tmp_path.iterdir() if "made" in path.name]

    def test_a_folder_that_cannot_be_made(self, run, held, tmp_path, head):
        held.places.add(tmp_path / "there")
        _, message = run("export", head, "format=torch", "student=static", f"out={tmp_path / 'there' / 'made'}")
        assert "could not be written" in message and "Access is denied" in message


class TestBuild:
    BUILD = ("build", "target=20", "out=made")

    def test_a_folder_that_cannot_take_its_name(self, run, held, monkeypatch, tmp_path):
        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, IN_USE)

        with monkeypatch.context() as patch:
            replace = os.replace
            patch.setattr(
                os, "replace", lambda source, target: refuse() if Path(source).is_dir() else replace(source, target)
            )
            _, message = run(*self.BUILD)
        assert message.startswith(f"alignkit: made: could not be written ({IN_USE})")
        assert not [path for path in tmp_path.iterdir() if "made" in path.name]
        run(*self.BUILD, code=0)

    def test_a_folder_that_cannot_be_made(self, run, held, tmp_path):
        held.places.add(tmp_path / "there")
        _, message = run("build", "target=20", f"out={tmp_path / 'there' / 'made'}")
        assert f"{tmp_path / 'there' / 'made'}: could not be written (Access is denied)" in message

    def test_a_full_disk(self, run, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        _, message = run(*self.BUILD)
        assert "could not be written (No space left on device); free some space and try again" in message
        assert not [path for path in tmp_path.iterdir() if "made" in path.name]


class TestMigrate:
    @pytest.fixture
    def move(self, tmp_path):
        save_artifact(Artifact({"query_head": head_of(0, (8, 4))}), tmp_path / "head")
        np.save(tmp_path / "old.npy", np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32))
        return ("migrate", "vectors=old.npy", "head=head", "out=new.npy")

    @pytest.mark.parametrize("name", ["new.npy.part", "new.npy.part.json"])
    def test_what_is_left_behind_disturbs_nobody(self, run, held, move, tmp_path, name):
        run(*move, code=0)
        (tmp_path / name).write_bytes(b"left by a process that was killed at the very end")
        held.hold(tmp_path / name)
        out, _ = run(*move, code=0)
        assert "new.npy: 50 rows of 4 dimensions" in out

    def test_a_result_that_cannot_take_its_name(self, run, held, move, tmp_path, monkeypatch):
        replace = os.replace

        def refuse(source, target):
            if Path(target).name == "new.npy":
                raise PermissionError(errno.EACCES, IN_USE)
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", refuse)
            _, message = run(*move)
        assert f"old.npy could not be moved to new.npy ({IN_USE})" in message
        assert "run the same command again; it continues from what is done" in message
        run(*move, code=0)
        assert sorted(path.name for path in tmp_path.glob("new*")) == ["new.npy", "new.npy.json"]


class TestReport:
    NAMES = ("alignment_metrics.csv", "alignment_report.md", "metrics.json")

    @pytest.mark.parametrize("name", NAMES)
    def test_a_table_that_is_open_in_a_spreadsheet(self, held, tmp_path, name, monkeypatch):
        from alignkit.reporting import report_files as report

        monkeypatch.setattr(report, "report_words", lambda result: {})
        monkeypatch.setattr(report, "csv_text", lambda result: "new")
        monkeypatch.setattr(report, "metrics_text", lambda result: "new")
        monkeypatch.setattr(report, "render", lambda template, **values: f"new {template}")
        for old in self.NAMES:
            (tmp_path / old).write_text("old", encoding="utf-8")
        held.hold(tmp_path / name)
        with pytest.raises(AlignkitError, match=rf"{name}: could not be written \({IN_USE}\)"):
            report.write_report(None, tmp_path, html=False)
        assert (tmp_path / "metrics.json").read_text(encoding="utf-8") == "old"
        assert set(contents(tmp_path)) == {Path(old) for old in self.NAMES}
        held.let_go()
        report.write_report(None, tmp_path, html=False)
        assert "old" not in [(tmp_path / old).read_text(encoding="utf-8") for old in self.NAMES]


def test_a_run_folder_that_cannot_be_made(held, tmp_path):
    from alignkit.runs.folder import claim_run_folder

    held.places.add(tmp_path / "outputs")
    with pytest.raises(AlignkitError, match=r"could not be written \(Access is denied\)"):
        claim_run_folder(tmp_path / "outputs" / "train" / "1", "seed: 0\n")
