import pytest

from alignkit.errors import AlignkitError
from alignkit.files import write_whole


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
