import errno
import os
import threading

import numpy as np
import pytest

from alignkit import files
from alignkit.errors import AlignkitError
from alignkit.files import appearing, appearing_together, let_others_read, write_whole


def test_text_and_bytes_are_written_as_they_are(tmp_path):
    write_whole(tmp_path / "new" / "a.txt", "héllo\r\n", "utf-8-sig")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xef\xbb\xbfh\xc3\xa9llo\r\n"
    write_whole(tmp_path / "new" / "a.txt", b"\x00")
    assert [path.read_bytes() for path in (tmp_path / "new").iterdir()] == [b"\x00"]


def test_what_was_there_survives_a_failed_write(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(AlignkitError, match=r"a\.txt: could not be written \(No space left"):
        write_whole(path, "new")
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_what_a_library_writes_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.npy"
    with appearing(path) as unfinished:
        with unfinished.open("wb") as file:
            np.save(file, np.zeros(3))
        assert not path.exists()
    with pytest.raises(ValueError, match="half"), appearing(path) as unfinished:
        unfinished.write_bytes(b"half")
        raise ValueError("half")
    assert [*tmp_path.iterdir()] == [path] and len(np.load(path)) == 3


def test_threads_that_write_one_path_do_not_meet(tmp_path):
    faults = []

    def write(name):
        for number in range(200):
            try:
                write_whole(tmp_path / "a.txt", f"{name} {number}")
            except AlignkitError as error:
                faults.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() in ("a 199", "b 199")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space"),
        (PermissionError(errno.EACCES, "Access is denied"), "close what uses it, or choose another place"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "choose a shorter name"),
        (OSError(errno.EROFS, "Read-only file system"), "choose another place"),
    ],
)
def test_the_advice_fits_the_refusal(tmp_path, monkeypatch, error, advice):
    def refuse(*_):
        raise error

    monkeypatch.setattr("os.replace", refuse)
    monkeypatch.setattr(files, "PATIENCE_S", 0.0)
    with pytest.raises(AlignkitError, match=advice):
        write_whole(tmp_path / "a.txt", "new")


class TestTogether:
    def test_all_appear_and_what_else_is_there_stays(self, tmp_path):
        for name in ("a", "other"):
            (tmp_path / name).write_text("old")
        with appearing_together(tmp_path) as staging:
            for name in ("a", "b"):
                (staging / name).write_text("new")
            assert (tmp_path / "a").read_text() == "old"
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new", "b": "new", "other": "old"}

    @pytest.mark.parametrize("refused_at", range(4))
    def test_all_is_as_before_where_one_is_refused(self, tmp_path, monkeypatch, refused_at):
        for name in ("a", "b"):
            (tmp_path / name).write_text("old")
        replace, calls = os.replace, []

        def refuse(source, target):
            calls.append(source)
            if len(calls) == refused_at + 1:
                raise PermissionError(errno.EACCES, "used by another process")
            replace(source, target)

        monkeypatch.setattr("os.replace", refuse)
        monkeypatch.setattr(files, "PATIENCE_S", 0.0)
        with (
            pytest.raises(AlignkitError, match=rf"{'ab'[refused_at % 2]}: could not be written \(used by"),
            appearing_together(tmp_path) as staging,
        ):
            for name in ("a", "b"):
                (staging / name).write_text("new")
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old", "b": "old"}

    def test_nothing_appears_where_the_block_fails(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), appearing_together(tmp_path / "new") as staging:
            (staging / "a").write_text("half")
            raise KeyboardInterrupt
        assert not list((tmp_path / "new").iterdir())

    def test_a_folder_in_the_way_is_never_replaced(self, tmp_path):
        (tmp_path / "a" / "mine").mkdir(parents=True)
        with pytest.raises(AlignkitError, match="a: could not be written"), appearing_together(tmp_path) as staging:
            (staging / "a").write_text("new")
        assert (tmp_path / "a" / "mine").is_dir()

    def test_an_old_file_that_cannot_be_put_back_is_not_deleted(self, tmp_path, monkeypatch):
        (tmp_path / "a").write_text("old")
        replace, calls = os.replace, []

        def once(source, target):
            calls.append(source)
            if len(calls) > 1:
                raise PermissionError(errno.EACCES, "used by another process")
            replace(source, target)

        monkeypatch.setattr("os.replace", once)
        monkeypatch.setattr(files, "PATIENCE_S", 0.0)
        with pytest.raises(AlignkitError), appearing_together(tmp_path) as staging:
            (staging / "a").write_text("new")
        assert [path.read_text() for path in tmp_path.rglob("old/a")] == ["old"]


def test_a_file_that_is_held_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def held(source, target):
        calls.append(source)
        if len(calls) < 3:
            raise PermissionError(errno.EACCES, "used by another process")
        replace(source, target)

    monkeypatch.setattr("os.replace", held)
    monkeypatch.setattr(files, "PATIENCE_S", 30.0)
    write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_who_may_read_a_folder_may_read_what_safetensors_wrote_there(tmp_path):
    from safetensors.numpy import save_file

    model = tmp_path / "model"
    (model / "1_Dense").mkdir(parents=True)
    model.chmod(0o755)
    save_file({"weight": np.ones(2)}, model / "1_Dense" / "model.safetensors")
    let_others_read(model)
    assert (model / "1_Dense" / "model.safetensors").stat().st_mode & 0o777 == 0o644
