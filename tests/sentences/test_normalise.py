import pytest

from alignkit.sentences.normalise import normalise_text, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cancel it, please!", "cancel it please"),
        ("Ｃａｎｃｅｌ　it", "cancel it"),
        ("don't", "don’t"),
        ("don′t", "don`t"),
        ("'quoted' and “quoted”", "quoted and quoted"),
        ("我要 退款。", "我要退款"),
        ("用 Excel 表", "用Excel表"),
        ("好！3点见", "好，3点见"),
        ("《红楼梦》", "红楼梦"),
        ("straße", "STRASSE"),
        ("e\u0301tat", "\u00e9tat"),
        ("zero\u200bwidth", "zerowidth"),
        ("well-known", "well known"),
        ("covid-19", "covid 19"),
        ("a - b — c--d", "a b c d"),
        ("wait... well", "wait …well"),
        ("－５ 度", "−5度"),
        ("–5 degrees", "-5 degrees"),
        ("＠home １０％", "@home 10%"),
        ("￡5", "£5"),
        ("(yes); or: no?", "yes or no"),
    ],
)
def test_the_same_text(one, other):
    assert normalise_text(one) == normalise_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5 €", "5 $"),
        ("£5", "5"),
        ("?", "!"),
        ("1.5", "15"),
        ("1.5", "1 5"),
        ("1,5", "1 5"),
        ("👍", "👎"),
        ("a b", "ab"),
        ("C", "C#"),
        ("C", "C++"),
        ("A*", "A"),
        ("grade A-", "grade A"),
        ("grade A-", "grade A+"),
        (".net", "net"),
        ("R&D", "RD"),
        ("R&D", "R D"),
        ("home", "@home"),
        ("10", "10%"),
        ("5‰", "5%"),
        ("snake_case", "snake case"),
        ("5 degrees", "-5 degrees"),
        ("5 degrees", "−5 degrees"),
        ("9 - 2", "9 2"),
        ("-$5", "$5"),
        ("气温－€5", "气温€5"),
        ("-.5", ".5"),
        ("10⁻³", "10-3"),
        ("at 10:30", "at 10 30"),
        ("1/2", "1 2"),
        ("10²", "102"),
        ("1½ cups", "11⁄2 cups"),
        ("6′", "6"),
        ("6′", "6″"),
        ("rm -rf", "rm rf"),
        ("git --amend", "git amend"),
        ("cd /etc", "cd etc"),
        ("!important", "important"),
        ("a != b", "a = b"),
        ("we're late", "were late"),
        ("great :)", "great :("),
        ("great =)", "great =("),
        ("￥5", "5"),
        ("１０％", "10"),
        ("＃标签", "标签"),
        ("气温－5度", "气温5度"),
        ("气温-5度", "气温5度"),
        ("我不去", "我去"),
        ("¬a", "a"),
    ],
)
def test_another_text(one, other):
    assert normalise_text(one) != normalise_text(other)


def test_normalising_again_changes_nothing():
    for text in ("−5° at 10:30, :) we're at C#!", "６′ － 气温-5度 ½ 1½", "'tis .net/5 -- !a"):
        assert normalise_text(normalise_text(text)) == normalise_text(text)


def test_words_count_chinese_by_character():
    assert words("给Anna发20封信") == ["给", "anna", "发", "20", "封", "信"]
