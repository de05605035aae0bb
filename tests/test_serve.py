"""The command itself, as a process: it starts, answers, and loses nothing when it is told to stop."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("wordllama")

from waiting import HANG_S, Client, get, head, joined, post, until  # noqa: E402

from alignkit.sentences.query_logs import logged_by, logged_rows  # noqa: E402


@pytest.fixture(scope="module")
def head_folder(static_run):
    return static_run / "head"


class Process:
    """`python -m alignkit.serve …` with its log."""

    def __init__(self, folder, *arguments, **environment):
        command = [sys.executable, "-m", "alignkit.serve", f"head={folder}", "student=static", "port=0", *arguments]
        flags = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {}
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            encoding="utf-8",
            cwd=folder.parent,
            env={**os.environ, **environment, "COLUMNS": "500"},
            **flags,
        )
        self.log = []
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()
        self.url = until(lambda: re.search(r"at (http://\S+)", "".join(list(self.log))), self.process)[1]
        until(self._ready, self.process)

    def _ready(self):
        try:
            return get(f"{self.url}/ready").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, signal_number=signal.SIGTERM):
        self.process.send_signal(signal_number)
        code = self.process.wait(timeout=HANG_S)
        joined(self.reader)
        self.process.stderr.close()
        return code


@pytest.fixture
def start(head_folder):
    started = []

    def begin(*arguments, **environment):
        started.append(Process(head_folder, *arguments, **environment))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.process.stderr.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can handle")
def test_sigterm_under_load_loses_no_accepted_request(start):
    server = start("token_env=SERVE_TEST_TOKEN", SERVE_TEST_TOKEN="a-secret-token")
    answered, refused, broken = [], [], []
    headers = {"authorization": "Bearer a-secret-token"}

    def work():
        with Client(base_url=server.url, headers=headers) as client:
            while True:
                try:
                    response = client.post("/v1/embeddings", json={"input": "how do i cancel an order"})
                    answered.append(response.status_code)
                except httpx.ConnectError:
                    refused.append(1)
                    return
                except httpx.TransportError as error:
                    broken.append(error)
                    return

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(answered) > 200)
    server.stop()
    joined(*threads)
    assert set(answered) == {200}
    # a kept-alive connection is told to close with its last answer: no client finds it cut
    assert not broken
    assert len(refused) == len(threads)
    log = "".join(server.log)
    assert "Traceback" not in log
    assert "a-secret-token" not in log
    assert "cancel an order" not in log


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can handle")
def test_sigterm_loses_nobody_who_was_connected(start):
    """Clients with a connection for each request: some of them wait where the system keeps them, not yet accepted."""
    server = start()
    port = int(server.url.rpartition(":")[2])
    body = b'{"input": "how do i cancel an order"}'
    asked = b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    answered, lost = [], []

    def work():
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port), timeout=HANG_S)
            except ConnectionError:
                return
            with connection:
                try:
                    connection.sendall(asked)
                    start = connection.recv(15)
                except ConnectionError as error:
                    start = repr(error).encode()
            (answered if start == b"HTTP/1.1 200 OK" else lost).append(start)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    until(lambda: len(answered) > 200)
    server.stop()
    joined(*threads)
    assert not lost


def test_the_name_that_clients_ask_for_and_the_log_of_what_they_asked(start, tmp_path):
    server = start("model=2024_05", f"query_log={tmp_path / '2024_05'}", "query_log_share=1")
    assert [card["id"] for card in get(f"{server.url}/v1/models").json()["data"]] == ["2024_05"]
    answer = post(f"{server.url}/api/embed", json={"model": "2024_05:latest", "input": ["a", "", "b"]})
    assert [len(row) for row in answer.json()["embeddings"]] == [384] * 3
    assert head(server.url).status_code == 200
    assert "serving '2024_05'" in "".join(server.log)
    assert "query_log: 100% of the texts are kept in" in "".join(server.log)
    assert "at most 100 MB and 30 days" in "".join(server.log) and "nothing is sent anywhere" in "".join(server.log)
    (file,) = until(lambda: list((tmp_path / "2024_05").glob("*.jsonl")))
    assert [row["text"] for _, row in logged_rows(file)] == ["a", "b"]
    (told,) = logged_by(tmp_path / "2024_05")
    assert told.student["backend"] == "static" and told.share == 1 and len(told.head) == 64


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["host=0.0.0.0"], "host=0.0.0.0 can be reached from other machines"),
        (["token_env=NO_SUCH_VARIABLE"], "token_env=NO_SUCH_VARIABLE: this environment variable is not set"),
        (["fallback=student"], "fallback=student: expected teacher or null"),
        (["fallback=teacher"], "and this one has none"),
        (["student=minilm"], "the student gives 384-d vectors, this head expects 256-d"),
        (["student.query_prompt=query: ", "student.document_prompt=passage: "], "prompt: expected '', got"),
        (["max_batch_texts=0"], "max_batch_texts=0"),
        (["max_body_bytes=8MB"], "max_body_bytes=8MB: expected a whole number"),
        (["answer_timeout_s=0"], "answer_timeout_s=0: expected seconds"),
        (["grace_s=-1"], "grace_s=-1: expected seconds"),
        (["max_connections=0"], "max_connections=0: expected a whole number"),
        (["fallback_timeout_s=soon"], "fallback_timeout_s=soon: expected seconds"),
        (["port=70000"], "port=70000: expected 0 to 65535"),
        (["port=http"], "port=http: expected 0 to 65535"),
        (["batch_wait_ms=-1"], "batch_wait_ms=-1: expected milliseconds, 0 or more"),
        (["fallback=teacher", "fallback_below=often"], "fallback_below=often: expected a confidence from 0 to 1"),
        (["token_env=sk-proj-a1b2c3d4e5f6g7h8"], "(what was given is not shown: it may be the key itself)"),
        (["page=always"], "page=always: expected"),
        ([f"query_log={__file__}"], "cannot be written"),
        (
            ["query_log_share=0.1"],
            "query_log_share=0.1: no effect without a log; name its folder: query_log=",
        ),
        (["query_log=log", "query_log_share=2"], "query_log_share=2: expected a number above 0 and at most 1"),
        (["query_log=log", "query_log_share=0"], "query_log_share=0: expected a number above 0"),
        (["query_log=log", "query_log_mb=0"], "query_log_mb=0: expected a whole number of at least 1"),
        (["query_log=log", "query_log_days=1d"], "query_log_days=1d: expected a number above 0"),
        (["model= "], "model_name=' ': expected the name that clients use"),
        (["served_names=ada"], "served_names=ada: expected names that clients ask for, such as [text-embedding-3-"),
        (["served_names=[fine,5]"], "served_names=['fine', 5]: expected names that clients ask for"),
        (["served_names=[fine,'']"], "served_names='': expected the name that clients use"),
    ],
)
def test_what_cannot_be_served_is_one_line(arguments, words, run_command, head_folder):
    code, out, err = run_command("serve", f"head={head_folder}", "student=static", *arguments)
    assert code == 1
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("told", "expected"), [("null", ["one thread", "serves"]), ("2", ["serves"])])
def test_a_table_takes_one_thread_unless_told(told, expected, run_command, head_folder, monkeypatch):
    from alignkit.commandline import starting
    from alignkit.serving import server

    done = []
    monkeypatch.setattr(starting, "_set_threads", lambda threads: None)  # this process goes on
    monkeypatch.setattr(server, "use_one_thread", lambda: done.append("one thread"))
    monkeypatch.setattr(server, "run", lambda *_: done.append("serves"))
    assert run_command("serve", f"head={head_folder}", "student=static", f"threads={told}")[0] == 0
    assert done == expected
