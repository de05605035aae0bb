"""What is packed around the library: extras, the container, what it was tested with."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import alignkit
from alignkit.__main__ import commands

ROOT = Path(alignkit.__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "Dockerfile").is_file(), reason="only a checkout has these files")
NOT_OF_ALL = {"all", "dev", "bench", "docs"}


@pytest.fixture(scope="module")
def project():
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]


def named(requirements):
    return {extra for one in requirements for extra in Requirement(one).extras}


def test_all_is_every_extra_that_a_user_may_want(project):
    extras = project["optional-dependencies"]
    assert named(extras["all"]) == extras.keys() - NOT_OF_ALL


def test_the_lock_holds_what_the_project_asks_for(project):
    """Of another system, or newer than the last green run: not there."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    locked = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert not any("/" in line or "@" in line for line in lines)  # no host and no path
    checked = 0
    for one in map(Requirement, project["dependencies"]):
        version = locked.get(re.sub(r"[-_.]+", "-", one.name).lower())
        assert version is not None, one
        assert one.specifier.contains(version), (one, version)
        checked += 1
    assert checked > 10


def lines_of_the_container():
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return [line.partition(" ")[::2] for line in text.splitlines() if line and not line.startswith("#")]


def test_the_container_serves_a_head_as_a_user_without_rights(composed_command):
    lines = lines_of_the_container()
    words = dict(lines)
    assert yaml.safe_load(words["ENTRYPOINT"]) == ["alignkit"]
    name, *settings = yaml.safe_load(words["CMD"])
    assert name in commands()
    code, out, err = composed_command(name, *settings)
    assert code == 0 and "token_env: ALIGNKIT_TOKEN" in out and f"port: {words['EXPOSE']}" in out, err
    last = [place for place, (word, _) in enumerate(lines) if word == "FROM"][-1]
    assert "USER" in dict(lines[last:]) and "/health" in dict(lines[last:])["HEALTHCHECK"]


@pytest.fixture
def composed_command(run_command):
    return lambda name, *settings: run_command(name, *settings, "--cfg", "job")


def test_what_the_container_copies_is_there_and_not_ignored(project):
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"]
    for word, rest in lines_of_the_container():
        sources = rest.split()[:-1] if word == "COPY" and not rest.startswith("--") else []
        for source in sources:
            assert (ROOT / source).exists() and source in kept, source
    assert {project["readme"], *project["license-files"]} <= set(kept)  # the build reads them


def test_compose_starts_what_the_container_is():
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["alignkit"]
    assert service["ports"] == ["127.0.0.1:8088:8088"] and service["read_only"] and service["cap_drop"] == ["ALL"]
    assert "ALIGNKIT_TOKEN" in service["environment"] and service["volumes"][0].endswith(":/head:ro")


def test_who_cites_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == alignkit.__version__ and citation["license"] == "Apache-2.0"
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
