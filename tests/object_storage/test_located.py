"""Addresses in object storage as they are typed, and what cannot be one."""

import sys
from pathlib import Path

import pytest

from alignkit.errors import ConfigError, MissingExtraError
from alignkit.object_storage.located import is_address, is_there, located, read_range, state_of, write_object


def test_paths_stay_paths(tmp_path):
    assert located("~/old.npy") == Path.home() / "old.npy"
    assert located("C:/old.npy") == Path("C:/old.npy")
    assert not is_address(tmp_path)


def test_an_address_keeps_its_name():
    place = located("MEMORY://bucket/folder/old.npy")
    assert (str(place), place.name, place.suffix) == ("memory://bucket/folder/old.npy", "old.npy", ".npy")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://host/old.npy", r"expected a path on a disk, or an address with s3://, gs://"),
        ("s3:///old.npy", r"expected s3://BUCKET/NAME; keys belong into the environment: AWS_ACCESS_KEY_ID"),
        ("s3://me:hunter2@bucket/old.npy", r"s3://\*\*\*@bucket/old.npy: expected s3://BUCKET/NAME"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(address, said):
    with pytest.raises(ConfigError, match=said) as refused:
        located(address)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("scheme", "package", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gs"), ("az", "adlfs", "azure")]
)
@pytest.mark.parametrize("missing", ["upath", "its own"])
def test_a_missing_package_names_its_extra(scheme, package, extra, missing, monkeypatch):
    from fsspec.registry import _registry

    for name in ("s3", "gs", "az"):
        monkeypatch.delitem(_registry, name, raising=False)
    monkeypatch.setitem(sys.modules, "upath" if missing == "upath" else package, None)
    with pytest.raises(MissingExtraError, match=rf'{package} is not installed; .*"alignkit\[{extra}\]"'):
        is_there(located(f"{scheme}://bucket/old.npy"))


def test_a_file_is_written_whole_and_changes_its_state(tmp_path):
    place = located("memory://states/a.bin")
    assert not is_there(place)
    write_object(place, b"one")
    before = state_of(place)
    (tmp_path / "two").write_bytes(b"two")
    write_object(place, tmp_path / "two")
    assert read_range(place, 1, 99) == b"wo"
    assert before["size_bytes"] == 3
    assert state_of(place) != before
