"""What the server gives a browser: the page and its parts, and what it says about the run."""

import re

import pytest

from alignkit.serving.answers import Answerer
from alignkit.serving.page import FILES, PARTS
from alignkit.serving.service import Service

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
REPORT = {
    "verdict": {"name": "use", "headline": "Use it.", "reasons": ["it keeps 97.1%"]},
    "alarms": ["the texts were seen"],
    "pictures": [{"question": "Nearer?", "svg": "<svg/>", "answer": "Yes."}],
}


@pytest.fixture
def service(aligned):
    return Service(Answerer(aligned), page=REPORT)


def test_a_browser_gets_the_page_and_ollamas_clients_what_they_look_for(service, ask):
    page = ask(service, "GET", "/", headers=BROWSER)
    assert page.text.startswith("<!doctype html>") and page.headers["content-type"] == "text/html; charset=utf-8"
    for headers in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        plain = ask(service, "GET", "/", headers=headers)
        assert plain.text == "alignkit is running" and plain.headers["vary"] == page.headers["vary"] == "accept"
    assert ask(service, "HEAD", "/").status_code == 200


def test_all_that_the_page_is_made_of_comes_from_here(service, ask):
    texts = {path.name: path.read_text("utf-8") for path in FILES.iterdir()}
    assert set(texts) == {"page.html", *PARTS}
    for text in texts.values():
        assert not re.search(r"https?:|url\(|@import|innerHTML|insertAdjacentHTML|document\.write", text)
    for name in PARTS:
        part = ask(service, "GET", f"/page/{name}")
        assert part.text == texts[name]
        assert part.headers["content-type"] == f"text/{'css' if name.endswith('.css') else 'javascript'}; charset=utf-8"
        assert part.headers["x-content-type-options"] == "nosniff"
    named = re.findall(r'(?:src|href)="(?:page/)?([\w.]+)"', texts["page.html"])
    named += re.findall(r'from "\./([\w.]+)"', "".join(texts.values()))
    assert set(named) == set(PARTS)


def test_a_browser_lets_nothing_into_the_page(service, ask):
    policy = ask(service, "GET", "/", headers=BROWSER).headers["content-security-policy"]
    allowed = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert allowed["default-src"] == allowed["frame-ancestors"] == allowed["base-uri"] == "'none'"
    assert allowed["script-src"] == allowed["style-src"] == allowed["connect-src"] == "'self'"
    assert allowed["img-src"] == "data:" and "unsafe" not in policy


def test_what_it_says_about_the_run(service, ask):
    answer = ask(service, "GET", "/page/run")
    shown = answer.json()
    assert {name: shown[name] for name in REPORT} == REPORT and answer.headers["cache-control"] == "no-store"
    assert (shown["model"], shown["student"], shown["teacher"]) == ("alignkit", "l2_supercat_256", "all-MiniLM-L6-v2")
    assert "pgvector" in shown["engines"]


def test_a_head_without_a_report_has_no_verdict(aligned, ask):
    shown = ask(Service(Answerer(aligned), page={}), "GET", "/page/run").json()
    assert (shown["verdict"], shown["alarms"], shown["pictures"]) == (None, [], [])


def test_the_page_itself_needs_no_token_and_what_it_shows_does(aligned, ask):
    service = Service(Answerer(aligned), token="right", page=REPORT)
    assert ask(service, "GET", "/", headers=BROWSER).status_code == 200
    assert {ask(service, "GET", f"/page/{name}").status_code for name in PARTS} == {200}
    assert ask(service, "GET", "/page/run").status_code == 401
    assert ask(service, "GET", "/page/run", headers={"authorization": "Bearer right"}).json()["verdict"]


def test_without_a_page_there_is_none(aligned, ask):
    service = Service(Answerer(aligned))
    assert ask(service, "GET", "/", headers=BROWSER).text == "alignkit is running"
    for path in ("/page/run", *(f"/page/{name}" for name in PARTS)):
        answer = ask(service, "GET", path)
        assert answer.status_code == 404 and "/page/" not in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/page/", "/page/page.html", "/page/../page.py", "/page/%2e%2e/page.py", "/page/x.js"]
)
def test_no_other_file_is_given(service, ask, path):
    assert ask(service, "GET", path).status_code == 404
