"""A question as an address holds it."""

import math
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from congener.errors import CongenerError
from congener.query import parse_box
from congener.web.question import LARGEST_ID, MOST, MOST_FEEDBACK, Question, box_text

KEY = "0123456789abcdef" * 2


def parse(address: str) -> Question:
    return Question.parse(parse_qsl(urlsplit(f"/search?{address}").query, keep_blank_values=True))


def test_an_address_holds_the_whole_question() -> None:
    question = parse(
        "id=7&box=1,2.5,30,40&positive=3&negative=4&positive=5&k=20&label=a%2Cb&label=%C3%A4&min_score=.25"
        "&rerank=qe&rerank=aqe:n=3"
    )

    assert question == Question(7, None, (1, 2.5, 30, 40), (3, 5), (4,), 20, ("a,b", "ä"), 0.25, ("qe", "aqe:n=3"))
    assert parse(question.query_string()) == question


def test_defaults_are_left_out_of_the_address() -> None:
    assert Question(id=7).query_string() == "id=7"
    assert Question(upload=KEY).query_string() == f"upload={KEY}"
    assert Question(id=7, k=20).query_string(k=10) == "id=7"
    assert Question(id=7).query_string(k=20, label=("x y&",)) == "id=7&k=20&label=x+y%26"
    assert Question(id=7, box=(0, 0, 5, 5)).query_string(box=None) == "id=7"


def test_what_is_empty_is_not_asked() -> None:
    assert parse("id=7&label=&box=&k=&min_score=&rerank=&positive=&upload=") == Question(id=7)


numbers = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.10g}"))
sizes = st.floats(0.01, 1e6).map(lambda value: float(f"{value:.10g}"))
ids = st.integers(1, LARGEST_ID)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@settings(deadline=None, derandomize=True)
@given(
    st.builds(
        Question,
        id=ids,
        box=st.none() | st.tuples(numbers, numbers, sizes, sizes),
        positive=st.lists(ids, max_size=5).map(tuple),
        negative=st.lists(ids, max_size=5).map(tuple),
        k=st.integers(1, MOST),
        label=st.lists(texts, max_size=5).map(tuple),
        min_score=st.integers(0, 100).map(lambda value: value / 100),
        rerank=st.lists(st.sampled_from(["qe", "aqe:n=3", "kreciprocal"]), max_size=2).map(tuple),
    )
)
def test_every_question_survives_its_address(question: Question) -> None:
    assert parse(question.query_string()) == question


@settings(deadline=None, derandomize=True)
@given(st.floats(0, 1))
def test_a_least_score_survives_it_exactly(score: float) -> None:
    assert parse(Question(id=1, min_score=score).query_string()).min_score == score


names = st.sampled_from(["x", "id", "upload", "box", "positive", "k", "label", "min_score", "rerank"])


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(names, st.text(max_size=20))))
def test_any_address_is_a_question_or_one_line(pairs: list[tuple[str, str]]) -> None:
    said, question = "", None
    try:
        question = Question.parse(pairs)
    except CongenerError as error:
        said = str(error)

    assert "\n" not in said
    assert len(said) < 1000
    assert question is None or parse(question.query_string()) == question


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "one picture"),
        (f"id=1&upload={KEY}", "one picture"),
        ("ID=1", "choose from: id, upload, box, positive, negative, k, label, min_score, rerank"),
        ("id=1&hit=2", "'hit'"),
        ("id=1&id=2", "twice"),
        ("id=1&k=2&k=3", "twice"),
        ("id=0", "from 1"),
        ("id=-1", "whole number"),
        ("id=1.0", "whole number"),
        ("id=%2B1", "whole number"),
        ("id=1_0", "whole number"),
        ("id=%D9%A3", "whole number"),
        (f"id={2**53}", "whole numbers"),
        (f"id={2**63}", ""),
        ("id=" + "9" * 5000, "whole number"),
        ("id=1&k=0", "from 1 to 1000"),
        ("id=1&k=1001", "from 1 to 1000"),
        ("id=1&min_score=-0.1", "from 0 to 1"),
        ("id=1&min_score=nan", "from 0 to 1"),
        ("id=1&min_score=inf", "from 0 to 1"),
        ("id=1&min_score=x", "from 0 to 1"),
        ("id=1&box=1,2,3", "x,y,width,height"),
        ("id=1&box=1,2,3,4,5", "x,y,width,height"),
        ("id=1&box=1,2,nan,4", "box"),
        ("id=1&box=nan,2,3,4", "box"),
        ("id=1&box=1,2,inf,4", "box"),
        ("id=1&box=1,2,0,4", "above 0"),
        ("id=1&box=1,2,-3,4", "above 0"),
        ("id=1&box=" + "1" * 5000, "x,y,width,height"),
        ("id=1&positive=0", "from 1"),
        ("id=1&negative=x", "whole number"),
        ("id=1" + "&positive=1" * (MOST_FEEDBACK + 1), "at most 100"),
        ("id=1" + "&label=x" * 101, "100 times"),
        ("id=1&label=" + "x" * 1001, "up to 1000"),
        ("id=1&rerank=" + "x" * 5000, "up to 1000"),
        ("id=1&rerank=best", "aqe"),
        ("upload=" + "g" * 32, "key of a picture"),
        ("upload=" + "a" * 5000, "key of a picture"),
        (f"upload={KEY}%0A", "key of a picture"),
        ("id=1&rerank=qe:x=1", ""),
        ("id=1&rerank=a%0Ab", "aqe"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(address: str, said: str) -> None:
    with pytest.raises(CongenerError) as caught:
        parse(address)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_boxes_are_read_and_written() -> None:
    assert parse_box("box", " 1, 2,3.5 ,4e1") == (1, 2, 3.5, 40)
    assert box_text((1, 2.5, 30, 40)) == "1,2.5,30,40"
    assert math.isclose(parse_box("box", box_text((1 / 3, 0, 1, 1)))[0], 1 / 3, rel_tol=1e-9)
