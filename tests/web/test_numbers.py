"""A number in a request may be anything: what it can't be is said in one line."""

import json

import pytest
from starlette.testclient import TestClient

from tests.web.conftest import png, problem

NUMBERS = ["9" * 19,
           "9" * 25, "1" + "0" * 400, "1" + "0" * 5000, "0" * 5000 + "1", "-" + "9" * 5000, "9" * 20_000, "1e400",
           "NaN", "inf", "-1", "1_0", "٣", "+1", " 1", "0x10", "1.5"]  # fmt: skip
ADDRESSES = ["/?page={}", "/search?id={}", "/search?id=1&k={}", "/search?id=1&box=0,0,{},5",
             "/search?id=1&min_score={}",
             "/search?id=1&positive={}", "/search?id=1&negative={}", "/search?id=1&rerank=aqe:n={}",
             "/search?id=1&rerank=aqe:alpha={}", "/images/{}", "/api/images?page={}", "/api/images/{}",
             "/api/images/{}/thumbnail", "/api/images/{}/file", "/api/images/1/thumbnail?size={}",
             "/api/uploads/{}"]  # fmt: skip
FIELDS = ["id", "k", "min_score", "box", "positive", "negative", "hit", "rerank", "label"]
RERANKERS = ["qe:n={}", "aqe:alpha={}", "dba:m={}", "kreciprocal:k1={}", "kreciprocal:lam={}", "diffusion:gamma={}"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_in_an_address(shared: TestClient, address: str) -> None:
    for number in NUMBERS:
        response = shared.get(address.format(number))
        assert response.status_code < 500, number[:20]
        if address.startswith("/api") and response.status_code != 200:
            problem(response, response.status_code)
    for large in ("9" * 25, "1" + "0" * 5000):
        response = shared.get(address.format(large))
        assert response.status_code in (400, 422) or "box" in address or "alpha" in address, large[:20]


def test_a_page_of_the_wall(shared: TestClient) -> None:
    for number in ("1" + "0" * 9, "1"):
        assert shared.get(f"/?page={number}").status_code == 200
    for number in ("1" + "0" * 10, "1" + "0" * 5000, "1000000001", "0", "", "٣"):
        response = shared.get(f"/?page={number}")
        assert response.status_code == 422
        assert "whole number from 1 on" in response.text
        assert len(response.text) < 10_000


@pytest.mark.parametrize("field", FIELDS)
def test_in_a_question(shared: TestClient, field: str) -> None:
    for number in NUMBERS:
        for value in (number, f"[{number}]", f'"{number}"', f"[0, 0, {number}, 4]"):
            sent = f'{{"id": 1, "{field}": {value}}}'.encode()
            for path in ("/api/search", "/api/explain"):
                response = shared.post(path, content=sent, headers={"Content-Type": "application/json"})
                assert response.status_code < 500, sent[:40]
                if response.status_code != 200:
                    problem(response, response.status_code)
    for number in NUMBERS[:7]:
        response = shared.post("/api/search", files={"image": png("red")}, data={field: number})
        assert response.status_code < 500, number[:20]


@pytest.mark.parametrize("spec", RERANKERS)
def test_in_a_re_ranker(shared: TestClient, spec: str) -> None:
    for number in NUMBERS:
        response = shared.post("/api/search", json={"id": 1, "rerank": spec.format(number)[:1000]})
        assert response.status_code < 500, number[:20]
        if response.status_code != 200:
            assert json.loads(response.text)["detail"]
