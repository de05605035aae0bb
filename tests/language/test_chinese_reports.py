"""What a reader of Chinese gets: a report, a page and pictures in Chinese, and nothing of it in English by mistake."""

import dataclasses
import json
import re
import time
import warnings

import pytest
from measured_sets import demo_artifact, demo_baselines, demo_head, demo_set, demo_splits  # noqa: F401

import alignkit
from alignkit.errors import ConfigError
from alignkit.estimator.report import Report
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.learning_curve import learning_curve
from alignkit.evaluation.result import About
from alignkit.evaluation.table_rows import Times
from alignkit.language.speaking import say, speaking, told
from alignkit.reporting import chinese_font, plots
from alignkit.reporting.console import console_rows, console_words
from alignkit.reporting.pictures import recall_words

# what stays: names of rows, models, settings and files, and texts of the data
KEPT = re.compile(r"`[^`]*`|CC BY 3\.0|<code>.*?</code>|title=\"[^\"]*\"|<style>.*?</style>|<svg.*?</svg>", re.DOTALL)
SENTENCE = re.compile(r"[A-Za-z]+[,;:]? [a-z]+[,;:]? [a-z]+")
GLYPHS = set(map(chr, range(0x20, 0x7F))) | {"\u2212"}


@pytest.fixture(scope="module")
def result(demo_set, demo_artifact, demo_baselines, demo_splits):  # noqa: F811
    # queries without a blank are no English sentence
    side = dataclasses.replace(demo_set.queries, texts=[text.replace(" ", "") for text in demo_set.queries.texts])
    made = compare(dataclasses.replace(demo_set, queries=side, corpus=side), demo_artifact, demo_baselines)
    times = {name: Times(5.0, 0.1, 0.4) for name in made.rows}
    about = About(
        leaks="3 of 600 queries are among the sentences that this head was trained on; no test text is in training; 2 "
        "of 600 compared test texts have a near-duplicate among 2,700 training texts (character n-grams, Jaccard >= "
        "0.8)",
        head="here",
        doubts=("there is no learning curve: 12 training pairs, at least 50 are needed",),
        timed={"student": "this machine, CPU", "teacher": "not timed: time_embedding=false"},
    )
    return dataclasses.replace(
        made.with_times(times), curve=learning_curve(demo_splits, demo_set, made.measure), about=about
    )


@pytest.fixture
def font(tmp_path, monkeypatch):
    """A font of this test's own, which has the characters of every picture."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    from matplotlib.font_manager import fontManager

    from alignkit.language.catalogue import catalogue

    characters = sorted(GLYPHS | set("".join(catalogue("zh").messages.values()) + chinese_font.NEEDED) - {"\n"})
    names = [".notdef", *(f"u{ord(one):X}" for one in characters)]
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    pen.lineTo((500, 0))
    pen.lineTo((500, 700))
    pen.closePath()
    glyph = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(one): name for one, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, glyph))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Zhi Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "zhi.ttf")
    before = list(fontManager.ttflist)
    fontManager.addfont(tmp_path / "zhi.ttf")
    monkeypatch.setattr(chinese_font, "PREFERRED", ("Zhi Test",))
    chinese_font.chinese_font.cache_clear()
    yield "Zhi Test"
    chinese_font.chinese_font.cache_clear()
    fontManager.ttflist[:] = before


def test_a_report_is_chinese_throughout(result, font, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of every character that a font lacks
        Report(result, "zh").save(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in page and "这个映射头能代替教师模型吗？" in page
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 5 and all(re.search(r"[\u4e00-\u9fff]{3}", picture) for picture in pictures)
    assert all(font in picture for picture in pictures)
    written = {"report.html": page, "alignment_report.md": (tmp_path / "alignment_report.md").read_text("utf-8")}
    for name, text in written.items():
        plain = re.sub(r"<[^>]*>", "|", KEPT.sub("|", text))
        assert SENTENCE.findall(plain) == [], name
    assert "600 条查询中有 3 条在训练这个映射头所用的句子之中；没有测试文本出现在训练集中" in page


def test_figures_are_the_same_in_both_languages(result, tmp_path):
    for language in ("en", "zh"):
        Report(result, language).save(tmp_path / language, html=False)
    english, chinese = (json.loads((tmp_path / one / "metrics.json").read_text("utf-8")) for one in ("en", "zh"))
    assert english["rows"] == chinese["rows"]
    words = [one["meta"].pop("verdict_text") for one in (english, chinese)]
    assert words[0]["name"] == words[1]["name"] == "use"  # for programs
    assert words[0]["headline"].startswith("Use it") and words[1]["headline"].startswith("可以使用")
    tables = [
        [re.sub(r"[^0-9.%+|-]", "", line) for line in text.splitlines() if line.startswith("|")]
        for one in ("en", "zh")
        for text in [(tmp_path / one / "alignment_report.md").read_text("utf-8")]
    ]
    assert [row.replace("|", "") for row in tables[0]][-20:] == [row.replace("|", "") for row in tables[1]][-20:]
    csv = [(tmp_path / one / "alignment_metrics.csv").read_bytes() for one in ("en", "zh")]
    assert csv[0] == csv[1]


def test_the_terminal_shows_chinese_in_eighty_columns(result):
    from rich.cells import cell_len
    from rich.console import Console

    report = Report(result).in_language("zh")
    shown = str(report)
    assert "可以使用：用这个映射头查询教师模型的索引。 (use)" in shown
    assert max(map(cell_len, shown.splitlines())) <= 80
    assert report.language == "zh" and str(Report(result)).startswith("Use it")
    with alignkit.speaking("zh"):  # whatever is said meanwhile, what `save` of a fitted head writes included
        assert str(Report(result)) == shown and str(report.in_language("en")).startswith("Use it")
    console = Console(width=80, file=None)
    with speaking("zh"), console.capture() as captured:
        console.print(console_rows(result))
    heading, *rows = captured.get().rstrip().splitlines()
    assert cell_len(heading) == cell_len(rows[0].rstrip()), "headings stand above their columns"
    assert not any("\u4e00" <= one <= "\u9fff" for line in console_words(result) for one in line)


def test_without_a_font_the_pictures_stay_english_and_that_is_said_once(result, monkeypatch, caplog):
    monkeypatch.setattr(chinese_font, "_with_the_characters", lambda: iter(()))
    chinese_font.chinese_font.cache_clear()
    with speaking("zh"):
        drawn = [plots.recall_plot(result.recall, result.product.row) for _ in range(2)]
        below = recall_words(result)
    chinese_font.chinese_font.cache_clear()
    assert all("how many hits are looked at" in one and not re.search(r"[\u4e00-\u9fff]", one) for one in drawn)
    assert below.startswith("经过映射头的前 10 条结果")  # what stands below a picture is the page's own
    said = [record.message for record in caplog.records if "Chinese characters" in record.message]
    assert len(said) == 1 and "fonts-noto-cjk" in said[0]


def test_a_font_of_this_machine_is_taken_that_has_the_characters(font):
    assert chinese_font.chinese_font() == font


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("12 queries are texts of the corpus; each is left out of its own hits",
         "12 条查询本身就是语料库中的文本，检索时各自从自己的结果中排除"),
        ("not timed: data=cached never calls the teacher; time_embedding=true does",
         "没有计时：data=cached 从不调用教师模型；如需计时请用 time_embedding=true"),
        ("3 of 20 texts of the corpus cannot be embedded and are left out. The first: a; b: too long",
         "20 个语料库文本中有 3 个无法向量化，已略去。最前面的：a; b: too long"),
        ("1 of 600 queries are among the sentences that this head was trained on; 9 of 600 test texts compared have a "
         "near-duplicate among 2,700 training texts (character n-grams, Jaccard >= 0.8)",
         "600 条查询中有 1 条在训练这个映射头所用的句子之中；抽查的 600 条测试文本中，有 9 条在 2,700 条训练文本里"
         "有近似重复（字符 n-gram，Jaccard >= 0.8）"),
        ("queries stay as the head gives them: no whitening surely raises self_mrr (0.950); taken over from first, "
         "which had more held-out texts to choose on",
         "查询保持映射头给出的样子：没有哪种白化确定能提高 self_mrr（0.950）；"
         "沿用自 first，那里可供选择的留出文本更多"),
        ("student server", "学生模型服务"),
        ("nobody knows this sentence; all rows can go", "nobody knows this sentence; all rows can go"),
        ("which model of which server", "which model of which server"),
        ("faq_2024.jsonl: a BEIR folder with judgements, searched by title+text",
         "faq_2024.jsonl：带相关性标注的 BEIR 目录，按 title+text 检索"),
    ],
)  # fmt: skip
def test_facts_of_lower_rooms_are_told(english, chinese):
    assert told(english) == english
    with speaking("zh"):
        assert told(english) == chinese


def test_a_long_text_is_looked_at_once():
    """The whole of a server's answer, say; cut in all possible ways it took minutes."""
    long = "3 of 20 of the " * 200
    with speaking("zh"):
        before = time.process_time()
        assert told(long) == long
    assert time.process_time() - before < 5


def test_a_language_is_one_of_two():
    with pytest.raises(ConfigError, match=r"language=fr: expected en or zh"), speaking("fr"):
        pass
    assert say("queries") == "queries"
    with speaking("zh"):
        assert (
            say("queries") == "查询" and say("a sentence that nobody translated") == "a sentence that nobody translated"
        )
