"""Folders that are put on a Hub, on loopback."""

import json
import logging

import pytest
from loopback_hub import READER, WRITER, Repo, files_of

from alignkit.errors import ConfigError, HubError
from alignkit.hub.pushing import Destination, check_destination, push_folder


def push(folder, *told, **more):
    to = Destination.of(*told, **more)
    return push_folder(folder, to, "a head", check_destination(to))


def test_a_repository_is_made_and_holds_the_folder(hub, run):
    pushed = push(run, "hf://me/head", private=True)
    repo = hub.repos["me/head"]
    assert repo.private
    assert pushed.is_private
    commit = repo.branches["main"]
    assert pushed.address == f"hf://me/head@{commit}"
    assert repo.commits[commit] == files_of(run) | {".gitattributes": repo.commits[commit][".gitattributes"]}
    assert repo.messages[1:] == ["a head"]  # one commit: nobody finds half of it


def test_an_earlier_student_goes_and_files_of_others_stay(hub, run, distilled_run):
    push(distilled_run, "me/head")
    repo = hub.repos["me/head"]
    repo.commit("main", repo.commits[repo.branches["main"]] | {"picture.png": b"", "notes/how.md": b""})
    push(run, "me/head")
    left = set(repo.commits[repo.branches["main"]])
    assert left == {".gitattributes", "picture.png", "notes/how.md", *files_of(run)}


def manifest(version="alignkit_version", **files):
    return json.dumps({version: "1", "files": files})


def test_what_another_format_put_there_goes_in_the_same_commit(hub, run, tmp_path):
    other = tmp_path / "other"
    (other / "1_Dense").mkdir(parents=True)
    for name in ("modules.json", "1_Dense/config.json"):
        (other / name).write_text("{}", encoding="utf-8")
    about = manifest(**{"modules.json": "a", "1_Dense/config.json": "b"})
    (other / "manifest.json").write_text(about, encoding="utf-8")
    push(other, "me/head")
    repo = hub.repos["me/head"]
    repo.commit("main", repo.commits[repo.branches["main"]] | {"picture.png": b""})
    commits = len(repo.commits)
    (run / "manifest.json").write_text(manifest(), encoding="utf-8")
    push(run, "me/head")
    assert set(repo.commits[repo.branches["main"]]) == {".gitattributes", "picture.png", *files_of(run)}
    assert len(repo.commits) == commits + 1


@pytest.mark.parametrize(
    "found", [manifest("other_version", kept="a"), "[" * 100_000, "[1]", '{"alignkit_version": 1}']
)
def test_a_manifest_of_others_takes_nothing_away(hub, run, found):
    push(run, "me/head")
    repo = hub.repos["me/head"]
    repo.commit("main", repo.commits[repo.branches["main"]] | {"manifest.json": found.encode(), "kept": b""})
    push(run, "me/head")
    assert "kept" in repo.commits[repo.branches["main"]]


def test_a_branch_and_a_pull_request_leave_the_main_branch_alone(hub, run):
    hub.repos["me/head"] = repo = Repo()
    before = repo.branches["main"]
    push(run, "me/head", revision="v2")
    assert set(files_of(run)) < set(repo.commits[repo.branches["v2"]])
    proposed = push(run, "me/head", create_pr=True)
    assert proposed.url.endswith("/discussions/2")
    assert proposed.address == "hf://me/head@refs/pr/2"
    assert repo.branches["main"] == before


@pytest.mark.parametrize(
    ("token", "told", "words"),
    [
        ("", {}, "push=me/public: there is no token for the Hub on this machine; log in with hf auth login, or set"),
        (READER, {}, "push=me/public: this token may only read; take one that may write"),
        ("hf_nobodyNobody1234", {}, "push=me/public: the Hub does not accept the token; log in with hf auth login"),
        (WRITER, {"private": True}, "push=me/public: the repository is public, and private=true was asked for"),
        (WRITER, {"push": "me/none", "create_pr": True}, "push=me/none: there is no such repository to open a pull"),
    ],
)
def test_what_cannot_go_there_is_told_before_anything_is_computed(token, told, words, hub, monkeypatch, caplog):
    hub.repos["me/public"] = Repo()
    monkeypatch.setenv("HF_TOKEN", token)
    with caplog.at_level(logging.DEBUG), pytest.raises(HubError, match=words) as refused:
        check_destination(Destination.of(**{"push": "me/public", **told}))
    assert not any(line.startswith("POST") for line in hub.asked)
    for text in (str(refused.value), *(record.getMessage() for record in caplog.records)):
        assert not token or token not in text


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"push": "head"}, "push=head: expected user/repo"),
        ({"push": "me/head", "revision": "0" * 40}, "a commit stays as it is; name a branch"),
        ({"push": "me/head", "revision": "v1", "create_pr": True}, "leave revision out"),
        ({"push": "hf://me/head@v1", "create_pr": True}, "leave revision out"),
    ],
)
def test_what_no_repository_can_take(told, words):
    with pytest.raises(ConfigError, match=words):
        Destination.of(**told)


def test_a_hub_that_fails_while_it_is_given_the_folder(hub, run, monkeypatch):
    to = Destination.of("me/head")
    is_there = check_destination(to)
    hub.broken = 500
    with pytest.raises(HubError, match=r"push=me/head: the Hub answers with 500 \(the Hub is resting\)"):
        push_folder(run, to, "a head", is_there)


def test_what_should_be_private_is_not_put_where_all_can_see_it(hub, run):
    hub.only_public = True
    with pytest.raises(HubError, match="push=me/head: the repository is public, and private=true was asked for"):
        push(run, "me/head", private=True)
    assert hub.repos["me/head"].messages == ["first"]  # nothing but what it was made with
