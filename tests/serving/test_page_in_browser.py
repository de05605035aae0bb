"""The page as a user sees it, in a real browser, on a served head that searches a real table in PostgreSQL."""

import contextlib
import itertools
import json

import pytest
import torch
from in_browser import browsing, focused, keys_of, opened, search
from running_server import running
from searched import RecordedTeacher, searching, table_of
from waiting import Client

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.heads.confidence import ConfidenceEstimate
from alignkit.pairs.demo import load_demo
from alignkit.serving.answers import Answerer
from alignkit.serving.service import Service

pytest.importorskip("psycopg")
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
DRAWN = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><script>document.title=3</script></svg>'
REPORT = {
    "verdict": {"name": "use", "headline": "Use it.", "reasons": ["it keeps 97.1%", HOSTILE]},
    "alarms": ["the texts were seen"],
    "pictures": [{"question": "Nearer?", "svg": DRAWN, "answer": "Yes."}],
}
ROUTES = ["student", "head", "cascade", "teacher"]
# rounded to a multiple of two where a browser takes it for a number
LARGE_ID = 2**53 + 3


class Sure(ConfidenceEstimate):
    def forward(self, student):
        return torch.full((len(student),), 0.8)


@pytest.fixture(scope="module")
def browser():
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def demo():
    return load_demo("static")


@pytest.fixture(scope="module")
def query(demo):
    return demo.test.texts[3]


@pytest.fixture(scope="module")
def docs(postgres, demo):
    with table_of(postgres, demo.train.teacher) as name:
        yield name


@pytest.fixture(scope="module")
def sure(aligned, artifact):
    parts = {**artifact.parts, "confidence": Sure(artifact.student_dim).eval()}
    return AlignedEmbedder(Artifact(parts, artifact.student_identity, artifact.teacher_identity), aligned.student)


@pytest.fixture(scope="module")
def served(sure, postgres, docs, demo, query):
    """The address; the teacher's first hit for the query holds what must never run."""
    with running(searching(sure, postgres.url, docs, RecordedTeacher(demo), page=REPORT)) as url:
        with Client(base_url=url) as client, postgres.connect() as connection:
            first = client.post("/search", json={"query": query, "route": "teacher"}).json()["hits"][0]["id"]
            change = f"UPDATE {docs} SET id = %s, body = %s, topic = %s WHERE id = %s"
            connection.execute(change, (LARGE_ID, HOSTILE, HOSTILE, first))
        yield url


def never(request):
    """What the request asks, of rows that do not exist."""
    return json.dumps({**request.post_data_json, "filter": {"year": -1}}) if request.method == "POST" else None


@pytest.fixture(scope="module")
def searched(browser, served, query):
    """The page after a search, for tests that only look."""
    with opened(browser, served) as page:
        search(page, query)
        # the student's own vectors of the rows are made once the page has asked for them
        while "Not available" in page.inner_text("#student"):
            search(page, query)
        yield page


def test_the_hits_of_all_routes_stand_side_by_side(searched, served, query):
    tops = []
    for route in ROUTES:
        with Client(base_url=served) as client:
            answer = client.post("/search", json={"query": query, "route": route}).json()
        assert keys_of(searched, route) == [str(hit["id"]) for hit in answer["hits"]]
        assert searched.inner_text(f"#{route} .took").partition(" ")[2].startswith("ms: embedding ")
        tops.append(searched.locator(f"#{route} li").first.bounding_box())
    assert "(the teacher's vector was kept)" in searched.inner_text("#teacher .took")
    assert "kept" not in searched.inner_text("#head .took")
    assert len({top["y"] for top in tops}) == 1
    assert all(left["x"] + left["width"] < right["x"] for left, right in itertools.pairwise(tops))
    assert searched.inner_text("#head .sure b") == "0.80" and not searched.is_visible("#teacher .sure")


def test_what_moved_against_the_teachers_order_is_said(searched):
    reference = keys_of(searched, "teacher")
    for route in ROUTES[:-1]:
        keys = keys_of(searched, route)
        shared = len(set(keys) & set(reference))
        assert searched.inner_text(f"#{route} .shared") == f"finds {shared} of the teacher's 10"
        for place, (key, sign) in enumerate(
            zip(keys, searched.locator(f"#{route} .moved > span:first-child").all_inner_texts(), strict=True)
        ):
            there = reference.index(key) - place if key in reference else None
            expected = "not the teacher's" if there is None else f"▲ {there}" if there > 0 else f"▼ {-there}"
            assert sign == ("=" if there == 0 else expected)
    missed = [route for route in ROUTES[:-1] if reference[-1] not in keys_of(searched, route)]
    said = searched.locator("#teacher .moved").last.inner_text()
    assert said == (f"missed by {', '.join(missed)}" if missed else "")


def test_nothing_of_the_index_or_the_run_is_taken_as_html(searched):
    assert HOSTILE in searched.inner_text("#teacher li:first-child .text")
    assert HOSTILE in searched.inner_text("#reasons")
    assert searched.title() == "alignkit" and searched.problems == []
    assert searched.locator("#results img, #results script, #reasons img, svg").count() == 0


def test_nothing_is_fetched_from_elsewhere(searched, served):
    assert all(url.startswith((served, "data:image/svg+xml,")) for url in searched.asked)


def test_the_verdict_and_the_plots_of_the_run(searched):
    assert searched.inner_text("#headline") == "Use it."
    assert searched.get_attribute("#verdict", "class") == "use"
    assert "Alarm: the texts were seen" in searched.inner_text("#reasons")
    assert searched.inner_text("figure h3") == "Nearer?" and searched.inner_text("figcaption") == "Yes."
    assert searched.evaluate("document.querySelector('figure img').naturalWidth") > 0


def test_a_large_id_is_shown_as_it_is(searched):
    assert keys_of(searched, "teacher")[0] == searched.locator("#teacher dd").first.text_content() == str(LARGE_ID)


def test_a_search_and_its_hits_by_keyboard_alone(browser, served, query):
    with opened(browser, served) as page:
        page.wait_for_selector("#search-form:not([hidden])")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("/")
        page.keyboard.type(query)
        page.keyboard.press("Enter")
        page.wait_for_selector("#teacher li")
        page.wait_for_selector("#results:not(:has([aria-busy]))")
        page.keyboard.press("ArrowDown")
        assert focused(page) == ["head", 0]
        page.keyboard.press("ArrowDown")
        key = keys_of(page, "head")[1]
        page.keyboard.press("ArrowRight")
        assert focused(page) == ["cascade", keys_of(page, "cascade").index(key)]
        assert page.locator("li.same").count() == sum(key in keys_of(page, route) for route in ROUTES)
        page.keyboard.press("Enter")
        hit = page.locator("#cascade .hit[aria-expanded=true]")
        fields = hit.locator("xpath=following-sibling::dl").inner_text().split("\n")
        assert fields[:2] == ["id", key] and {"year", "topic"} <= set(fields)
        page.keyboard.press("Escape")
        assert hit.count() == 0 and focused(page)[0] == "cascade"
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id") == "query"
        page.keyboard.press("Escape")
        assert page.input_value("#query") == ""
        page.keyboard.type("a/b")
        assert page.input_value("#query") == "a/b"


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_screen_shows_one_below_the_other(browser, served, query, dark):
    with opened(browser, served, width=360, dark=dark) as page:
        page.wait_for_selector("#search-form:not([hidden])")
        search(page, query)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        boxes = [page.locator(f"#{route}").bounding_box() for route in ROUTES]
        assert all(above["y"] + above["height"] <= below["y"] for above, below in itertools.pairwise(boxes))
        page.click("#jump >> text=Teacher")
        assert page.locator("#teacher h2").bounding_box()["y"] < 200
        ground, ink = page.evaluate(
            "(s => [s.backgroundColor, s.color].map(c => Number(c.match(/\\d+/)[0])))(getComputedStyle(document.body))"
        )
        assert (ground < ink) is dark
        assert page.problems == []


def test_a_teacher_that_fails_is_named_and_the_rest_is_shown(browser, sure, postgres, docs, demo, query):
    teacher = RecordedTeacher(demo)
    teacher.broken = True
    with running(searching(sure, postgres.url, docs, teacher, page={})) as url, opened(browser, url) as page:
        page.wait_for_selector("#search-form:not([hidden])")
        search(page, query)
        assert "Route used: head; the teacher gave no vector" in page.inner_text("#cascade .note")
        assert page.locator("#head li").count() == 10
        assert page.inner_text("#head .shared") == "the others are compared with this order"
        search(page, query)
        assert "Not available: the teacher failed" in page.inner_text("#teacher .note")
        assert not page.is_visible("#run")


def test_a_slow_teacher_is_waited_for_until_escape(browser, served, query):
    with opened(browser, served) as page:
        held = []
        page.route(
            "**/search",
            lambda route: held.append(route) if '"cascade"' in (route.request.post_data or "") else route.continue_(),
        )
        page.wait_for_selector("#search-form:not([hidden])")
        search(page, query, ended=False)
        page.wait_for_selector("#cascade[aria-busy=true] .took:text('Esc stops')")
        assert page.locator("#head li").count() == 10 and page.inner_text("#status") == "Searching: cascade"
        page.keyboard.press("Escape")
        page.wait_for_selector("#status:text('stopped')")
        assert page.locator("[aria-busy]").count() == 0 and page.locator("#head li").count() == 10
        assert len(held) == 1


def test_a_new_search_takes_the_place_of_the_one_under_way(browser, served, query, demo):
    with opened(browser, served) as page:
        held = []
        page.route(
            "**/search",
            lambda route: held.append(route) if query in (route.request.post_data or "") else route.continue_(),
        )
        page.wait_for_selector("#search-form:not([hidden])")
        search(page, query, ended=False)
        page.wait_for_selector("[aria-busy]")
        search(page, demo.test.texts[7])
        with Client(base_url=served) as client:
            expected = client.post("/search", json={"query": demo.test.texts[7]}).json()["hits"]
        assert keys_of(page, "head") == [str(hit["id"]) for hit in expected]
        assert "stopped" not in page.inner_text("#status") and len(held) == 1


def test_a_query_of_any_length_is_sent_whole_and_none_is_asked_for(browser, served):
    with opened(browser, served) as page:
        page.wait_for_selector("#search-form:not([hidden])")
        search(page, "  ", ended=False)
        page.wait_for_selector("#status.wrong:text('Type a text to search for.')")
        page.select_option("#count", "5")
        with page.expect_request(lambda request: request.method == "POST") as sent:
            search(page, "a long sentence " * 1000, ended=False)
        assert sent.value.post_data_json["k"] == 5
        assert sent.value.post_data_json["query"] == ("a long sentence " * 1000).strip()


def test_a_server_that_is_gone_is_said_to_be(browser, sure, postgres, docs, query):
    with contextlib.ExitStack() as until_here:
        url = until_here.enter_context(running(searching(sure, postgres.url, docs, page={})))
        with opened(browser, url) as page:
            page.wait_for_selector("#search-form:not([hidden])")
            until_here.close()
            search(page, query, ended=False)
            page.wait_for_selector("#status.wrong:text('The server does not answer. Is it still running?')")


def test_an_index_that_fails_is_said_to_and_searched_again(browser, served, query):
    """The page is opened while the index does not answer; it comes back."""
    with opened(browser, "about:blank") as page:
        fault = {"status": 503, "json": {"error": {"message": "the index behind this server does not answer"}}}
        page.route("**/search", lambda route: route.fulfill(**fault))
        page.goto(served)
        page.wait_for_selector("#status.wrong:text('the index behind this server does not answer')")
        page.unroute("**/search")
        search(page, query)
        assert page.locator("#head li").count() == 10


def test_nothing_found_is_said(browser, served, postgres, docs, query):
    with opened(browser, served) as page:
        page.wait_for_selector("#search-form:not([hidden])")
        page.route("**/search", lambda route: route.continue_(post_data=never(route.request)))
        search(page, query)
        assert page.inner_text("#head .note") == "nothing found" and page.locator("#results li").count() == 0


def test_a_token_is_asked_for_and_kept_nowhere(browser, sure, postgres, docs, demo, query):
    service = searching(sure, postgres.url, docs, token="right", page=REPORT)
    with running(service) as url, opened(browser, url) as page:
        page.wait_for_selector("#token-form:not([hidden])")
        assert not page.is_visible("#search-form") and not page.is_visible("#run")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#status.wrong:text('no valid token')")
        page.keyboard.type("right")
        page.keyboard.press("Enter")
        page.wait_for_selector("#search-form:not([hidden])")
        search(page, query)
        assert page.locator("#head li").count() == 10 and page.is_visible("#run")
        assert not page.is_visible("#token-form")
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert not any("right" in url for url in [*page.asked, page.url])


def test_without_an_index_the_page_says_how_to_give_one(browser, aligned):
    with running(Service(Answerer(aligned), page=REPORT)) as url, opened(browser, url, width=360) as page:
        page.wait_for_selector("#no-index:not([hidden])")
        assert "index=pgvector" in page.inner_text("#no-index") and "qdrant" in page.inner_text("#engines")
        assert not page.is_visible("#search-form")
        assert page.inner_text("#headline") == "Use it." and page.problems == []
        assert page.evaluate("document.documentElement.scrollWidth") == 360
