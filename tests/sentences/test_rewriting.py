"""A chat model on loopback that answers by plan: right, wrong, late, busy, gone."""

import json
import socket
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from ports import quiet_port
from waiting import HANG_S, joined, until

from alignkit.errors import ConfigError
from alignkit.sentences import patience as patience_module
from alignkit.sentences.chat import ChatError, ChatModel
from alignkit.sentences.drafts import Draft, completed
from alignkit.sentences.generators import from_chat_model
from alignkit.sentences.grammar import generate
from alignkit.sentences.journal import Journal
from alignkit.sentences.normalise import normalise_text
from alignkit.sentences.partial_json import object_in
from alignkit.sentences.patience import MOST_USELESS, Patience
from alignkit.sentences.rewriting import RewriteCounts, rewrite
from alignkit.sentences.seeds import read_seeds

FAKE_OLLAMA = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "fake_ollama.py"


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
    joined(thread)


@pytest.fixture
def run(server, tmp_path):
    def run(samples, api="ollama", settings=None, timeout_s=HANG_S, **more):
        counts = RewriteCounts()
        base_url = server.url if api == "ollama" else server.url + "/v1"
        chat = ChatModel("m", base_url, api, retries=2, retry_wait_s=0.001, timeout_s=timeout_s)
        try:
            journal = Journal(tmp_path / "j.jsonl", settings or {"seed": 0})
            found = list(rewrite(samples, chat, journal, counts, **more))
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
    (body,) = (
        body for _, body, _ in server.requests if sentence_of(body["messages"][-1]["content"]) == samples[0].text
    )
    schema = body["format"] if api == "ollama" else body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["paraphrases", "hard_negatives"] and body["stream"] is False
    length = len(samples[0].text)
    bounds = schema["properties"]["paraphrases"]["items"]
    assert length / 4 <= bounds["minLength"] < length < bounds["maxLength"] <= 2.5 * length
    assert 200 < (body["options"]["num_predict"] if api == "ollama" else body["max_tokens"]) < 700


def test_a_wrong_answer_is_asked_for_again_with_another_seed(server, run, samples):
    server.plan = lambda question, number: (200, "no json" if number == 1 else good_answer(question))
    _, counts = run(samples[:1])
    assert counts.written == 1
    assert [body["options"]["seed"] for _, body, _ in server.requests] == [0, 1]


def test_what_stays_wrong_stays_the_grammars_and_is_counted(server, run, samples):
    spoilt = samples[2].text
    server.plan = lambda question, number: (
        200, '{"texts": []}' if sentence_of(question) == spoilt else good_answer(question)
    )  # fmt: skip
    found, counts = run(samples)
    assert found[2] == samples[2] and counts.written == 11 and counts.fallen_back == 1
    assert counts.line() == ("the model wrote 11 of 12 samples, the grammar 1 (no whole sentence in the answer: 1)")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, run, samples, status):
    server.plan = lambda question, number: (200, good_answer(question)) if number > 2 else (status, "busy")
    assert run(samples[:1])[1].written == 1


def test_a_refusal_at_the_start_is_an_error_with_the_fix(server, run, samples):
    server.plan = lambda question, number: (404, "model 'm' not found")
    with pytest.raises(ChatError, match="answered HTTP 404: model 'm' not found; run: ollama pull m"):
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


def test_a_journal_with_answers_to_other_settings_is_refused(run, samples):
    run(samples[:1], settings={"model": "a", "seed": 0})
    with pytest.raises(ConfigError, match=r"holds the answers of another build \(model=a, now b\); finish it"):
        run(samples[:1], settings={"model": "b", "seed": 0})


def test_a_journal_without_answers_is_overwritten(server, run, samples, tmp_path):
    server.plan = lambda question, number: (404, "model 'typo' not found")
    with pytest.raises(ChatError):
        run(samples[:1], settings={"model": "typo"})
    assert not (tmp_path / "j.jsonl").exists()
    server.plan = lambda question, number: (200, "nothing")
    run(samples[:1], settings={"model": "bad"}, attempts=1)
    (tmp_path / "k").write_text((tmp_path / "j.jsonl").read_text("utf-8"), encoding="utf-8")
    server.plan = lambda question, number: (200, good_answer(question))
    for left_over in ('{"model": "older"}\n', "", (tmp_path / "k").read_text("utf-8")):
        (tmp_path / "j.jsonl").write_text(left_over, encoding="utf-8")
        assert run(samples[:1], settings={"model": "right"})[1].written == 1
        assert (tmp_path / "j.jsonl").read_text("utf-8").startswith('{"model": "right"}\n{"id"')


def test_nothing_listens(tmp_path, samples):
    chat = ChatModel("m", "http://127.0.0.1:9", retries=1, retry_wait_s=0.001)
    with pytest.raises(ChatError, match=r"cannot connect to http://127.0.0.1:9 \(connection refused\); is Ollama run"):
        list(rewrite(samples[:1], chat, Journal(tmp_path / "j", {}), RewriteCounts()))
    chat.close()


def test_https_on_a_port_of_plain_http_names_the_setting_to_mend(server):
    chat = ChatModel("m", server.url.replace("http:", "https:"), retries=1, retry_wait_s=0.001)
    with pytest.raises(ChatError, match=rf"speaks plain http there; set generator.base_url={server.url}"):
        chat.ask("s", "q", {}, 0, 10)
    chat.close()


@pytest.mark.parametrize("typed", ["{url}/v1", "{url}/api/chat", "{url}/api/", " {bare} ", "{url}/v1/chat/completions"])
def test_an_address_is_read_as_it_is_meant(server, run, samples, typed):
    address = typed.format(url=server.url, bare=server.url.removeprefix("http://"))
    chat = ChatModel("m", address)
    chat.ask("s", f"Sentence (English): {samples[0].text}\nValues", {}, 0, 10)
    chat.close()
    chat = ChatModel("m", server.url + "/v1/chat/completions/", "openai")
    chat.ask("s", f"Sentence (English): {samples[0].text}\nValues", {}, 0, 10)
    chat.close()
    assert [path for path, _, _ in server.requests] == ["/api/chat", "/v1/chat/completions"]


def test_a_server_of_another_kind_is_an_address_and_no_model(server, run, samples):
    server.plan = lambda question, number: (404, "404 page not found")
    with pytest.raises(ChatError, match=r"404 page not found; does Ollama answer at .*generator.api=openai") as caught:
        run(samples)
    assert "pull" not in str(caught.value)
    server.plan = lambda question, number: (400, '{"error": "\\"minilm\\" does not support chat"}')
    with pytest.raises(ChatError, match=r'refused: HTTP 400: "minilm" does not support chat'):
        run(samples)
    asked = [body["messages"][-1]["content"] for _, body, _ in server.requests]
    assert all(asked.count(one) <= 2 for one in asked)  # once a run: nothing of it will change


def seeds_of(server):
    return [body["options"]["seed"] for _, body, _ in server.requests]


def test_no_question_is_asked_twice_with_one_seed(server, run, samples):
    server.plan = lambda question, number: (503, "busy") if number % 2 else (200, "{")
    run(samples[:1], attempts=3)
    assert len(seeds_of(server)) == 6 == len(set(seeds_of(server)))


def test_a_cut_answer_counts_as_far_as_it_is_whole(server, run, samples):
    server.plan = lambda question, number: (
        200,
        good_answer(question).partition(', {"text": "hardly')[0] + ', {"text": "a',
    )
    found, counts = run(samples[:2])
    assert len(server.requests) == 2 and counts.partly == 2
    assert counts.line() == "the model wrote 0 of 2 samples and a part of 2, the grammar 0"
    one = found[0]
    assert [text.rsplit(" ", 1)[1] for text in one.paraphrases] == ["now", "today", "soon", "then"]
    assert one.hard_negatives[0].text.startswith("never ") and len(one.hard_negatives) == 3
    assert one.hard_negatives[1:] == samples[0].hard_negatives[:2]


def test_sentences_of_several_answers_come_together(server, run, samples):
    def plan(question, number):
        text = sentence_of(question)
        return 200, f'{{"paraphrases": ["{text} no{number}", "{text} so{number}' if number < 3 else good_answer(
            question
        )

    server.plan = plan
    found, counts = run(samples[:1])
    assert len(server.requests) == 3 and counts.written == 1
    text = samples[0].text
    assert found[0].paraphrases == (f"{text} no1", f"{text} no2", f"{text} now", f"{text} today")


def endless(question, number):
    return 200, '{"paraphrases": ["' + " again and" * 300


def test_a_model_that_never_comes_to_an_end_is_given_up(server, run, samples, caplog):
    server.plan = endless
    found, counts = run(samples)
    assert MOST_USELESS <= len(server.requests) <= MOST_USELESS + 2  # what was under way
    assert found == samples and counts.fallen_back == 12
    assert "no whole sentence in the answer" in counts.line() and "were unusable" in counts.line()
    assert caplog.text.count("none of 8 answers held a usable sentence") == 1


def test_when_the_time_is_up_what_was_reached_counts(server, run, samples, caplog, tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(patience_module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def slowly(question, number):
        now[0] += 150
        return 200, good_answer(question)

    server.plan = slowly
    found, counts = run(samples, patience=Patience(500), concurrency=1)
    assert counts.written == 4 and counts.fallen_back == 8
    assert counts.reasons.keys() == {"the time was up"}
    assert found[-1] == samples[-1] and "the 500 s for answers are up" in caplog.text
    assert len((tmp_path / "j.jsonl").read_text("utf-8").splitlines()) == 1 + counts.written


def test_an_answer_that_takes_too_long_is_asked_for_with_another_seed(server, run, samples):
    given_up = threading.Event()

    def plan(question, number):
        if number == 1:
            assert given_up.wait(HANG_S)
        given_up.set()
        return 200, good_answer(question)

    server.plan = plan
    assert run(samples[:1], timeout_s=1.5)[1].written == 1
    assert seeds_of(server) == [0, 1]


def test_another_name_of_the_limit_is_taken_where_a_server_wants_it(server, run, samples):
    def plan(question, number):
        refusal = '{"error": {"message": "Unsupported parameter: use max_completion_tokens instead"}}'
        return (400, refusal) if "max_tokens" in server.requests[-1][1] else (200, good_answer(question))

    server.plan = plan
    assert run(samples[:2], "openai", concurrency=1)[1].written == 2
    assert ["max_tokens" in body for _, body, _ in server.requests] == [True, False, False]


def test_a_schema_without_lengths_is_taken_where_a_server_knows_none(server, run, samples):
    def plan(question, number):
        refusal = '{"error": {"message": "Invalid schema for response_format: \'minLength\' is not permitted."}}'
        return (400, refusal) if "minLength" in str(server.requests[-1][1]) else (200, good_answer(question))

    server.plan = plan
    assert run(samples[:2], "openai", concurrency=1)[1].written == 2
    assert ["maxLength" in str(body) for _, body, _ in server.requests] == [True, False, False]


@pytest.mark.skipif(not FAKE_OLLAMA.is_file(), reason="the replica of Ollama is not there")
def test_against_the_replica_of_ollama_whose_answers_never_end(samples, tmp_path):
    port = quiet_port()
    with subprocess.Popen([sys.executable, FAKE_OLLAMA, str(port), "0.32.15", "endless"]) as replica:
        chat = ChatModel("smol", f"http://127.0.0.1:{port}/v1", retries=8, retry_wait_s=0.1)
        try:
            until(lambda: _listens(port), replica)
            counts = RewriteCounts()
            patience = Patience(3.0)
            found = list(rewrite(samples, chat, Journal(tmp_path / "j", {}), counts, patience=patience))
            assert found == samples and counts.fallen_back == 12
            for name, said in (
                ("typo", "model 'typo' not found; run: ollama pull typo"),
                ("minilm", '"minilm" does not support chat; set generator.model to a chat model'),
            ):
                with closing(ChatModel(name, f"127.0.0.1:{port}")) as other, pytest.raises(ChatError, match=said):
                    other.ask("", "", {}, 0, 1)
        finally:
            chat.close()
            replica.kill()


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_that_goes_keeps_what_was_answered(server, run, samples, caplog):
    server.plan = lambda question, number: (200, good_answer(question)) if number < 4 else (503, "busy")
    with pytest.raises(ChatError, match="gave no answer in 3 attempts; the last: HTTP 503: busy; see the server's log"):
        run(samples, concurrency=1)
    assert "3 answers are kept; run the same command" in caplog.text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": [1, 2]} and more', {"a": [1, 2]}),
        ('```json\n{"a": "b"}\n```', {"a": "b"}),
        ('{"a": ["one", "two", "thr', {"a": ["one", "two"]}),
        (
            '{"a": ["say \\"hi\\" }", "x\\\\"], "b": [{"c": "d"}, {"c": "e',
            {"a": ['say "hi" }', "x\\"], "b": [{"c": "d"}, {}]},
        ),
        ('{"a": ["one"], "b', {"a": ["one"]}),
        ('{"a": ["one"], "b":', {"a": ["one"]}),
        ('{"a', {}),
        ('{"a": "again and again', {}),
        ("{", {}),
    ],
)
def test_what_is_whole_of_an_object_that_is_cut(text, found):
    assert object_in(text) == found


def test_where_no_object_begins():
    for text in ("", "no", "[1, 2", "null"):
        with pytest.raises(ValueError, match="no JSON object"):
            object_in(text)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: one["paraphrases"].__setitem__(0, "let somebody see something"), "a paraphrase lost a value"),
        (lambda one: one["paraphrases"].__setitem__(0, "ANCHOR!"), "a copy"),
        (lambda one: one["paraphrases"].__setitem__(1, one["paraphrases"][0].upper()), "a copy"),
        (lambda one: one["paraphrases"].__setitem__(1, one["paraphrases"][1] + "好"), "another language"),
        (lambda one: one["paraphrases"].__setitem__(1, " "), "several lines, or far"),
        (lambda one: one["hard_negatives"][0].update(text="The cat is very pretty today"), "a hard negative about"),
        (lambda one: one["hard_negatives"][0].update(text="The"), "several lines, or far too short"),
        (
            lambda one: one["paraphrases"].__setitem__(1, one["paraphrases"][1] * 3),
            "several lines, or far too short or long",
        ),
        (lambda one: one["paraphrases"].__setitem__(1, "a\nb"), "several lines"),
        (lambda one: one["paraphrases"].__setitem__(1, "a\rb"), "several lines"),
        (lambda one: one["paraphrases"].__setitem__(1, "\ud800 see something else"), "a lone surrogate"),
        (lambda one: one["paraphrases"].__setitem__(1, 7), "not the requested shape"),
        (lambda one: one["hard_negatives"][0].update(kind="mood"), "a kind"),
        (lambda one: one["hard_negatives"][0].update(text=one["paraphrases"][1].upper()), "a copy"),
        (lambda one: one["hard_negatives"].__setitem__(0, "text"), "not the requested shape"),
    ],
)
def test_one_bad_sentence_is_left_out_and_the_grammars_stands_in(samples, change, reason):
    sample = samples[0]
    answer = json.loads(good_answer(f"Sentence (English): {sample.text}\nValues"))
    assert Draft(sample).take(answer) == ""
    change(answer)
    if answer["paraphrases"][0] == "ANCHOR!":
        answer["paraphrases"][0] = sample.text.upper() + "!"
    draft = Draft(sample)
    assert draft.take(answer).startswith(reason)
    assert len(draft.paraphrases) + len(draft.negatives) == 6 and draft.is_enough
    found, whole = completed(sample, draft.row(""))
    assert not whole and len({normalise_text(text) for text in found.texts()}) == 8


def test_an_answer_without_a_list_counts_as_far_as_the_other_goes(samples):
    answer = json.loads(good_answer(f"Sentence (English): {samples[0].text}\nValues"))
    del answer["hard_negatives"]
    draft = Draft(samples[0])
    assert draft.take(answer) == "" and len(draft.paraphrases) == 4
    assert not draft.is_enough


def test_the_key_comes_from_the_environment_and_is_sent(server, samples, tmp_path, monkeypatch):
    chat = ChatModel("m", server.url, api_key_env="NO_KEY")
    with pytest.raises(ChatError, match="the environment variable NO_KEY is not set"):
        chat.ask("", "", {}, 0, 10)
    chat.close()
    monkeypatch.setenv("CHAT_KEY", "s3cret")
    chat = ChatModel("m", server.url + "/v1", "openai", api_key_env="CHAT_KEY")
    list(rewrite(samples[:1], chat, Journal(tmp_path / "j", {}), RewriteCounts()))
    chat.close()
    assert server.requests[0][2] == "Bearer s3cret" and "s3cret" not in (tmp_path / "j").read_text(encoding="utf-8")


def test_settings_are_checked(tmp_path):
    with pytest.raises(ConfigError, match="api=soap: expected ollama or openai"):
        ChatModel("m", api="soap")
    with pytest.raises(ConfigError, match="concurrency=0"):
        from_chat_model(5, "en", 0, tmp_path / "o", model="m", concurrency=0)
    for budget_s in (0, -1, "long", True):
        with pytest.raises(ConfigError, match=f"budget_s={budget_s}: expected seconds"):
            from_chat_model(5, "en", 0, tmp_path / "o", model="m", budget_s=budget_s)
