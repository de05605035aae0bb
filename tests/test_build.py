import json
import re
import threading

import pytest

from alignkit.sentences.dataset_folder import read_dataset
from alignkit.sentences.normalise import is_cjk


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_seed_same_bytes_and_another_seed_others(run_command, tmp_path):
    for out, seed in (("a", 3), ("b/a", 3), ("c/a", 4)):
        code, printed, error = run_command("build", "target=40", f"seed={seed}", f"out={out}")
        assert (code, error) == (0, "")
    assert "40 samples (" in printed and "320 of 320 texts are distinct" in printed
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b/a")
    changed = [
        name for name, content in files_of(tmp_path / "c/a").items() if content != files_of(tmp_path / "a")[name]
    ]
    assert "dataset.jsonl" in changed and "raw_sentences.jsonl" not in changed
    assert set(files_of(tmp_path / "a")) >= {
        "raw_sentences.jsonl", "dataset.jsonl", "split.json", "corpus.jsonl", "queries.jsonl", "README.md",
        "sentences.txt",
    }  # fmt: skip
    assert (tmp_path / "a" / "qrels" / "test.tsv").read_bytes().startswith(b"query-id\tcorpus-id\tscore\n")


def test_mixed_languages_and_the_data_card(run_command, tmp_path):
    assert run_command("build", "target=40", "language=mixed", "out=m")[0] == 0
    samples, _ = read_dataset(tmp_path / "m")
    assert [sum(one.language == name for one in samples) for name in ("en", "zh")] == [20, 20]
    assert all(is_cjk(text) == (one.language == "zh") for one in samples for text in one.texts())
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    for said in (
        "| seeds | 640 |",
        "| samples | 40 |",
        "Jaccard",
        "vocabulary",
        "No embedder took part",
        "| zh | 20 |",
    ):
        assert said in card


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("target=0", "target=0: expected a whole number from 1 to 1,000,000"),
        ("target=-3", "target=-3: expected a whole number"),
        ("target=many", "target=many: expected a whole number"),
        ("target=1000001", "target=1000001: expected a whole number from 1 to 1,000,000"),
        ("language=fr", "language=fr: expected one of en, zh, mixed"),
        ("seed=x", "seed=x: expected a whole number"),
        ("test=much", "test=much: expected a number"),
        ("test=1", "test=1: expected a number of at least 0 and below 1"),
        ("test=0.95", "leave something to train on"),
        ("near_duplicate=7", "near_duplicate=7: expected a number of at least 0.5 and at most 1"),
        ("generator=poet", "unknown generator 'poet'; choices: grammar, import, llm"),
        ("generator=import", "generator.path is not set"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(run_command, tmp_path, argument, said):
    code, _, error = run_command("build", *dict.fromkeys(["target=30", "out=o", argument]))
    assert code == 1 and said in error and error.strip().count("\n") == 0
    assert not (tmp_path / "o").exists() and not (tmp_path / "o.part").exists()


def test_more_than_the_seeds_can_make_and_a_folder_in_use(run_command, tmp_path):
    (tmp_path / "seeds" / "en").mkdir(parents=True)
    (tmp_path / "seeds" / "en" / "office.txt").write_text(
        "[call]\nCall {person} <now~never>. / Now call {person}.\n{person} expects <us^her>. / Us {person} expects.\n"
        "Ring up {person} <first~last>.\n",
        encoding="utf-8",
    )
    (tmp_path / "seeds" / "en" / "slots.txt").write_text("[person]\nA\nB\nC\nD\n", encoding="utf-8")
    code, _, error = run_command("build", "target=5", "generator.seeds_folder=seeds", "out=o")
    assert code == 1 and "the most is 4" in error
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("keep me", encoding="utf-8")
    code, _, error = run_command("build", "target=5", "out=used")
    assert code == 1 and "out=used is not empty" in error
    assert files_of(tmp_path / "used") == {"mine.txt": b"keep me"}


def test_your_own_sentences(run_command, tmp_path):
    lines = [f"my own sentence about {word}" for word in "ants bees cats dogs elks foxes goats hens ibises".split()]
    (tmp_path / "mine.txt").write_text("\n".join(lines), encoding="utf-8")
    code, printed, _ = run_command("build", "generator=import", "generator.path=mine.txt", "out=o")
    assert code == 0 and "imported from mine.txt" in printed
    samples, splits = read_dataset(tmp_path / "o")
    assert [one.text for one in samples] == lines and all(splits.values())


def test_a_broken_import_line_is_named(run_command, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"text": "a"}\n{"text"\n', encoding="utf-8")
    code, _, error = run_command("build", "generator=import", "generator.path=mine.jsonl", "out=o")
    assert code == 1 and "mine.jsonl, line 2: not JSON" in error


def test_a_chat_model_writes_what_it_can(run_command, tmp_path):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            payload = json.dumps({"message": {"content": "{}"}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        code, printed, _ = run_command(
            "build", "generator=llm", "generator.model=m", f"generator.base_url=http://127.0.0.1:{server.server_port}",
            "generator.attempts=1", "target=20", "out=o",
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert code == 0 and "the model wrote 0 of 20 samples, the grammar 20" in printed
    assert "the model wrote 0 of 20" in (tmp_path / "o" / "README.md").read_text(encoding="utf-8")
    assert not (tmp_path / "o.journal.jsonl").exists()


def test_a_log_file_shows_how_far_a_build_is(run_command, tmp_path, monkeypatch):
    monkeypatch.setattr("alignkit.progress.FIRST_LINE_S", 0.0)
    code, _, error = run_command("build", "target=200", "out=o")
    assert code == 0 and re.search(r"build: [\d,]+ (of 200 )?samples", error)


def test_an_embedder_judges_the_set(run_command, tmp_path):
    pytest.importorskip("wordllama")
    code, printed, _ = run_command("build", "target=100", "student=static", "teacher=static", "out=o")
    assert code == 0 and "student alone: Recall@1" in printed and "teacher ranks a paraphrase over" in printed
