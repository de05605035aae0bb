"""A chat model on loopback that answers by plan: right, wrong, late, busy, gone."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from alignkit.errors import ConfigError
from alignkit.sentences.chat import ChatError, ChatModel
from alignkit.sentences.generators import from_chat_model
from alignkit.sentences.grammar import generate
from alignkit.sentences.rewriting import RewriteCounts, check_answer, rewrite
from alignkit.sentences.seeds import read_seeds


@pytest.fixture(scope="module")
def samples():
    return list(generate([read_seeds("en")], 12, 0))


class ChatServer(ThreadingHTTPServer):
    """`plan(question, number of the request)` gives a status and a body; `requests` keeps what was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests = []
        self.plan = lambda question, number: (200, good_answer(question))
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, body, self.headers.get("Authorization")))
        status, content = self.server.plan(body["messages"][-1]["content"], len(self.server.requests))
        if self.path == "/api/chat":
            answer = {"message": {"role": "assistant", "content": content}, "done": True}
        else:
            answer = {"choices": [{"message": {"role": "assistant", "content": content}}]}
        payload = (json.dumps(answer) if status == 200 else content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *args):
        pass


def sentence_of(question):
    return question.split(": ", 1)[1].split("\nValues", 1)[0]


def good_answer(question):
    text = sentence_of(question)
    return json.dumps(
        {
            "paraphrases": [f"{text} {word}" for word in ("now", "today", "soon", "then")],
            "hard_negatives": [{"text": f"{word} {text}", "kind": "negation"} for word in ("never", "hardly", "not")],
        }
    )


@pytest.fixture
def server():
    server = ChatServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run(server, tmp_path):
    def run(samples, api="ollama", settings=None, **more):
        counts = RewriteCounts()
        base_url = server.url if api == "ollama" else server.url + "/v1"
        chat = ChatModel("m", base_url, api, retries=2, retry_wait_s=0.001, timeout_s=10)
        try:
            found = list(rewrite(samples, chat, tmp_path / "j.jsonl", settings or {"seed": 0}, counts, **more))
        finally:
            chat.close()
        return found, counts

    return run


@pytest.mark.parametrize(("api", "path"), [("ollama", "/api/chat"), ("openai", "/v1/chat/completions")])
def test_samples_are_rewritten_in_order_with_a_schema(server, run, samples, api, path):
    found, counts = run(samples, api, concurrency=3)
    assert [one.id for one in found] == [one.id for one in samples]
    assert {one.source for one in found} == {"llm"} and counts.written == 12 and counts.fallen_back == 0
    assert found[0].paraphrases[0] == samples[0].text + " now" and found[0].hard_negatives[0].kind == "negation"
    assert {asked for asked, _, _ in server.requests} == {path}
    body = server.requests[0][1]
    schema = body["format"] if api == "ollama" else body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["paraphrases", "hard_negatives"] and body["stream"] is False


def test_a_wrong_answer_is_asked_for_again_with_another_seed(server, run, samples):
    server.plan = lambda question, number: (200, "no json" if number == 1 else good_answer(question))
    _, counts = run(samples[:1])
    assert counts.written == 1
    assert [body["options"]["seed"] for _, body, _ in server.requests] == [0, 1]


def test_what_stays_wrong_stays_the_grammars_and_is_counted(server, run, samples):
    spoilt = samples[2].text
    server.plan = lambda question, number: (200, "{}" if sentence_of(question) == spoilt else good_answer(question))
    found, counts = run(samples)
    assert found[2] == samples[2] and counts.written == 11 and counts.fallen_back == 1
    assert counts.line() == ("the model wrote 11 of 12 samples, the grammar 1 (another shape than asked for: 1)")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, run, samples, status):
    server.plan = lambda question, number: (200, good_answer(question)) if number > 2 else (status, "busy")
    assert run(samples[:1])[1].written == 1


def test_a_refusal_at_the_start_is_an_error_with_the_fix(server, run, samples):
    server.plan = lambda question, number: (404, "model 'm' not found")
    with pytest.raises(ChatError, match="status 404.*try: ollama pull m"):
        run(samples)


def test_one_fault_falls_back_but_a_dead_server_ends_the_run_and_the_next_goes_on(server, run, samples, tmp_path):
    dead = {one.text for one in samples[6:]}
    server.plan = lambda question, number: (500, "x") if sentence_of(question) in dead else (200, good_answer(question))
    with pytest.raises(ChatError, match="gave no answer in 3 attempts"):
        run(samples, concurrency=1)
    before = len(server.requests)
    server.plan = lambda question, number: (200, good_answer(question))
    found, counts = run(samples, concurrency=1)
    assert counts.written == 12 and len(server.requests) - before == 6
    assert [one.id for one in found] == [one.id for one in samples]


def test_a_torn_last_line_of_the_journal_is_dropped(server, run, samples, tmp_path):
    run(samples[:3])
    journal = tmp_path / "j.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    before = len(server.requests)
    assert run(samples[:3])[1].written == 3
    assert len(server.requests) - before == 1


def test_a_journal_of_other_settings_is_refused(run, samples):
    run(samples[:1])
    with pytest.raises(ConfigError, match="was begun with other settings"):
        run(samples[:1], settings={"seed": 1})


def test_nothing_listens(tmp_path, samples):
    chat = ChatModel("m", "http://127.0.0.1:9", retries=1, retry_wait_s=0.001)
    with pytest.raises(ChatError, match="gave no answer in 2 attempts; the last: ConnectError"):
        list(rewrite(samples[:1], chat, tmp_path / "j", {}, RewriteCounts()))
    chat.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: one["paraphrases"].pop(), "another number"),
        (lambda one: one["paraphrases"].__setitem__(0, "short"), "a paraphrase lost a value"),
        (lambda one: one["paraphrases"].__setitem__(0, "ANCHOR!"), "a copy"),
        (lambda one: one["hard_negatives"][0].update(text=one["paraphrases"][1].upper()), "a copy"),
        (lambda one: one["paraphrases"].__setitem__(1, one["paraphrases"][1] + "好"), "another language"),
        (lambda one: one["paraphrases"].__setitem__(1, " "), "blank"),
        (lambda one: one["paraphrases"].__setitem__(1, "a\nb"), "blank, several lines"),
        (lambda one: one["hard_negatives"][0].update(kind="mood"), "a kind"),
        (lambda one: one.pop("hard_negatives"), "another shape"),
    ],
)
def test_answers_are_held_to_what_was_asked(samples, change, reason):
    sample = samples[0]
    answer = json.loads(good_answer(f"Sentence (English): {sample.text}\nValues"))
    assert check_answer(sample, answer) is None
    change(answer)
    answer = json.loads(json.dumps(answer).replace("ANCHOR", json.dumps(sample.text)[1:-1]))
    assert check_answer(sample, answer).startswith(reason)


def test_the_key_comes_from_the_environment_and_is_sent(server, samples, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="api_key_env=NO_KEY: this environment variable is not set"):
        ChatModel("m", server.url, api_key_env="NO_KEY")
    monkeypatch.setenv("CHAT_KEY", "s3cret")
    chat = ChatModel("m", server.url + "/v1", "openai", api_key_env="CHAT_KEY")
    list(rewrite(samples[:1], chat, tmp_path / "j", {}, RewriteCounts()))
    chat.close()
    assert server.requests[0][2] == "Bearer s3cret" and "s3cret" not in (tmp_path / "j").read_text(encoding="utf-8")


def test_settings_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="api=soap: expected one of ollama, openai"):
        ChatModel("m", api="soap")
    with pytest.raises(ConfigError, match="concurrency=0"):
        from_chat_model(5, "en", 0, tmp_path / "o", model="m", concurrency=0)
