"""Make the pictures of the documentation, and the reports of its gallery, by `python docs/make_gallery.py`.

It runs the commands in a folder of its own, with the models that run in this process, and looks at what they write in
Chromium, which has to be on the PATH. It takes some minutes. Pictures are kept in the repository, reports are not: they
are as large as ten pictures, and the site shows them where they were made.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

DOCS = Path(__file__).parent
PICTURES, REPORTS = DOCS / "pictures", DOCS / "reports"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
WIDTH, HEIGHT = 1100, 1500
PORT = 18618
# name of the picture and of the report → the command, and where in its folder the report lies
SHOWN = {
    "report": ("train hydra.run.dir=use", "use/report.html"),
    "other_texts": (
        "evaluate head=static student=static data=built data.path=texts teacher=minilm hydra.run.dir=other",
        "other/report.html",
    ),
    "distilled": ("distill student=two_layer trainer.max_epochs=1 hydra.run.dir=tuned", "tuned/report.html"),
}
BEFORE = {
    "other_texts": (
        "train student=static hydra.run.dir=static",
        "build target=100 out=texts",
        "embed which=both sentences=texts/sentences.txt student=static teacher=minilm save_to=vectors",
    )
}
QUERY = "the coffee machine needs a repair"


def main() -> None:
    """Make the pictures that are named, all by default."""
    wanted = sys.argv[1:] or [*SHOWN, "page"]
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit("make_gallery: no Chromium on the PATH")
    for folder in (PICTURES, REPORTS):
        folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found)
        for name, (command, report) in SHOWN.items():
            if name not in wanted and name != "other_texts":  # whose head and index the page needs
                continue
            for line in (*BEFORE.get(name, ()), command):
                run(line, Path(work))
            if name in wanted:
                shutil.copy(Path(work) / report, REPORTS / f"{name}.html")
                photograph(browser, (REPORTS / f"{name}.html").as_uri(), PICTURES / f"{name}.png")
        if "page" in wanted:
            photograph_searches(browser, Path(work))
        browser.close()


def run(command: str, work: Path) -> None:
    """One command, as a user gives it."""
    print(f"python -m alignkit.{command}", flush=True)
    subprocess.run([sys.executable, *f"-m alignkit.{command}".split()], cwd=work, check=True)


def photograph(browser: Browser, address: str, picture: Path, query: str | None = None) -> None:
    """The top of a page; colours are few, so that a picture stays small."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT if query is None else HEIGHT // 2})
    page.goto(address)
    if query is not None:
        for _ in range(60):  # the student embeds the index first, while the server answers already
            page.fill("#query", query)
            page.press("#query", "Enter")
            page.wait_for_selector("#status:not(:text('Searching'))", timeout=60_000)
            if "Not available" not in page.inner_text("#student"):
                break
            time.sleep(1)
    page.screenshot(path=picture)
    page.close()
    Image.open(picture).convert("RGB").quantize(96).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size // 1000} KB", flush=True)


def photograph_searches(browser: Browser, work: Path) -> None:
    """The page of a server: what each way finds for one query."""
    run("train data=built data.path=texts student=static teacher=minilm hydra.run.dir=own", work)
    (work / "index.py").write_text(INDEX, encoding="utf-8")
    subprocess.run([sys.executable, "index.py"], cwd=work, check=True)
    with serving(work) as address:
        photograph(browser, address, PICTURES / "page.png", QUERY)


INDEX = """
import lancedb, numpy
texts = open("texts/sentences.txt", encoding="utf-8").read().splitlines()
rows = [{"id": i, "body": t, "vector": v} for i, (t, v) in enumerate(zip(texts, numpy.load("vectors/teacher.npy")))]
lancedb.connect("my_index").create_table("docs", rows)
"""


@contextmanager
def serving(work: Path) -> Iterator[str]:
    """A server of the index, until it is no longer needed."""
    of_index = "index=lancedb index.path=my_index index.table=docs index.text=body"
    words = f"-m alignkit.serve head=own student=static teacher=minilm {of_index} port={PORT}".split()
    server = subprocess.Popen([sys.executable, *words], cwd=work)
    address = f"http://127.0.0.1:{PORT}/"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}ready", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
