"""What names a repository on the Hub, and what does not."""

from pathlib import Path

import pytest

from alignkit.errors import ConfigError
from alignkit.hub.hub_address import HubAddress, is_hub_address, parse_address


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("hf://me/head", "me/head", None),
        ("hf://me/head@v1.0", "me/head", "v1.0"),
        ("HF://me/head@refs/pr/3", "me/head", "refs/pr/3"),
        ("hf://models/me/head@main", "me/head", "main"),
        ("hf://me/head/", "me/head", None),
        (Path("hf://me/head@v1"), "me/head", "v1"),
        ("hf:\\me\\head", "me/head", None),  # what a `Path` of it is on Windows
    ],
)
def test_an_address_names_repository_and_revision(text, repo, revision):
    assert is_hub_address(text)
    assert parse_address(text) == HubAddress(repo, revision)


@pytest.mark.parametrize(
    "text",
    [
        "hf://",
        "hf://head",
        "hf://me/head@",
        "hf://me/head/student",
        "hf://me/../head",
        "hf://datasets/me/set",
        "hf://a b/c",
    ],
)
def test_what_is_no_address_is_told_with_what_one_looks_like(text):
    with pytest.raises(ConfigError, match=r"expected hf://user/repo or hf://user/repo@revision"):
        parse_address(text)


def test_a_key_in_an_address_is_not_repeated():
    with pytest.raises(ConfigError) as refused:
        parse_address("hf://user:hf_abcdefgh12345678@me/head")
    assert "abcdefgh12345678" not in str(refused.value)


@pytest.mark.parametrize("path", ["outputs/train/first", "C:/head", "s3://bucket/head", "me/head", None])
def test_other_paths_are_none(path):
    assert not is_hub_address(path)
