"""A Hub on loopback: repositories with commits and branches, tokens, private and gated ones, pull requests.

It speaks what `huggingface_hub` asks for here, and nothing else.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TOKENS = {"hf_writerWriterWriter1234": "write", "hf_readerReaderReader1234": "read"}
WRITER, READER = TOKENS


class Repo:
    def __init__(self, private=False, gated=False):
        self.private, self.gated = private, gated
        self.commits, self.branches, self.messages = {}, {}, []
        self.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})

    def commit(self, branch, files, message="first"):
        sha = hashlib.sha1(repr((branch, sorted(files.items()), len(self.commits))).encode()).hexdigest()
        self.commits[sha], self.branches[branch] = dict(files), sha
        self.messages.append(message)
        return sha

    def find(self, revision):
        revision = urllib.parse.unquote(revision)
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class LoopbackHub:
    """Attributes: `repos` by name; `asked`, method and path of each request; `broken`, a status for all of them."""

    def __init__(self):
        self.repos, self.asked, self.broken, self.only_public = {}, [], None, False

    def __enter__(self):
        hub = self

        class Handler(Answers):
            state = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer("GET")

    def do_HEAD(self):
        self._answer("HEAD")

    def do_POST(self):
        self._answer("POST")

    def _answer(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        self.state.asked.append(f"{method} {path}")
        role = TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if self.state.broken:
            return self._json({"error": "the Hub is resting"}, self.state.broken)
        if path == "/api/whoami-v2":
            known = {"name": "me", "type": "user", "orgs": [], "auth": {"accessToken": {"role": role}}}
            return self._json(known if role else {"error": "Invalid username or password."}, 200 if role else 401)
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body), role)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit|branch)/(.+))?", path):
            return self._of_repo(*found.groups(), body, role, query)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(*found.groups(), method, role)
        return self._json({"error": f"no such route {path}"}, 404)

    def _create(self, asked, role):
        if role != "write":
            return self._json({"error": "Forbidden"}, 403)
        name = f"{asked['organization']}/{asked['name']}"
        private = asked.get("visibility") == "private" or asked.get("private") is True
        self.state.repos.setdefault(name, Repo(private=private and not self.state.only_public))
        return self._json({"url": f"{self.state.url}/{name}"})

    def _of_repo(self, name, what, revision, body, role, query):
        repo = self._open(name, role)
        if repo is None:
            return None
        if what in ("preupload", "commit", "branch") and role != "write":
            return self._json({"error": "Forbidden: you do not have write access"}, 403)
        if what == "branch":
            fresh = revision not in repo.branches
            repo.branches.setdefault(revision, repo.branches["main"])
            return self._json({}, 200 if fresh else 409)
        sha = repo.find(revision or "main")
        if sha is None:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = repo.commits[sha]
        if what == "tree":
            return self._json([{"type": "file", "path": one, "size": len(content), "oid": oid(content)}
                               for one, content in files.items()])  # fmt: skip
        if what == "preupload":
            names = [one["path"] for one in json.loads(body)["files"]]
            modes = [{"path": one, "uploadMode": "regular", "shouldIgnore": False} for one in names]
            return self._json({"files": modes})
        if what == "commit":
            return self._commit(name, repo, revision, body, "create_pr=1" in query)
        siblings = [{"rfilename": one} for one in files]
        return self._json({"id": name, "sha": sha, "private": repo.private, "siblings": siblings, "tags": []})

    def _commit(self, name, repo, revision, body, create_pr):
        branch = urllib.parse.unquote(revision)
        files, message = dict(repo.commits[repo.find(branch)]), ""
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        branch = f"refs/pr/{len(repo.commits)}" if create_pr else branch
        url = f"{self.state.url}/{name}"
        answer = {"commitOid": repo.commit(branch, files, message)}
        answer |= {"commitUrl": f"{url}/commit/{answer['commitOid']}"}
        if create_pr:
            answer["pullRequestUrl"] = f"{url}/discussions/{branch.rpartition('/')[2]}"
        return self._json(answer)

    def _file(self, name, revision, path, method, role):
        repo = self._open(name, role)
        if repo is None:
            return None
        content = repo.commits[repo.find(revision)].get(urllib.parse.unquote(path))
        if content is None:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        about = {"X-Repo-Commit": repo.find(revision), "ETag": f'"{oid(content)}"'}
        return self._send(content, 200, about, "application/octet-stream", method)

    def _open(self, name, role):
        repo = self.state.repos.get(name)
        if repo is None or (repo.private and not role):
            self._json({"error": "Repository not found"}, 404 if role else 401, {"X-Error-Code": "RepoNotFound"})
            return None
        if repo.gated:
            self._json({"error": "Access is restricted"}, 403, {"X-Error-Code": "GatedRepo"})
            return None
        return repo

    def _json(self, answer, status=200, headers=None):
        self._send(json.dumps(answer).encode(), status, headers or {}, "application/json", self.command)

    def _send(self, content, status, headers, kind, method):
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": len(content)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if method != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(content)


def oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def files_of(folder):
    """Name → content of all files in a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A running one that `huggingface_hub` takes for the real one, with a token that may write."""
    constants = pytest.importorskip("huggingface_hub.constants")
    from alignkit.hub import fetching

    with LoopbackHub() as running:
        told = {
            "ENDPOINT": running.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": running.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hub_cache"),
            "HF_HUB_OFFLINE": False,
        }
        for name, value in told.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no_token"))
        fetching._fetched_once.cache_clear()
        yield running
