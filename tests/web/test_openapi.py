"""The OpenAPI document, and the app held to it by generated requests."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from starlette.testclient import TestClient

from congener.web.app import create_app
from tests.web.conftest import asking, indexed, listening, paint


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = paint(tmp_path_factory.mktemp("documented") / "colours")
    with indexed(folder) as gallery, listening(create_app(gallery, update=False)) as port:
        yield port


def fuzz(port: int, examples: int) -> tuple[Counter[int], list[str]]:
    """Ask with generated requests; return how often each status came, and what was wrong.

    Valid and invalid ones, systematic (each constraint broken) and random, and sequences of them; methods that aren't
    documented too. examples: random ones for each operation.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True},
            # a valid id need not be that of an image
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    )
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json", config=config)
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    for event in from_schema(schema).execute():
        if isinstance(event, NonFatalError | FatalError):
            wrong.append(repr(event))
        if isinstance(event, ScenarioFinished):
            answers = {id: each.response for id, each in event.recorder.interactions.items()}
            statuses.update(0 if answer is None else answer.status_code for answer in answers.values())
            for id, checks in event.recorder.checks.items():
                for check in checks:
                    answer = answers.get(id)
                    if check.failure_info is None or (answer is not None and is_documented_refusal(answer)):
                        continue
                    told = check.failure_info
                    wrong.append(f"{event.recorder.label}: {check.name}: {told.failure.message}\n{told.code_sample}")
    return statuses, wrong


def is_documented_refusal(answer: Any) -> bool:
    """Tell whether an answer asks to come again."""
    return answer.status_code == 503 and "retry-after" in answer.headers


def test_the_app_answers_as_documented(port: int) -> None:
    statuses, wrong = fuzz(port, 6)

    assert not wrong, "\n\n".join(wrong[:5])
    assert statuses.total() >= 300
    assert {200, 201, 202, 404, 405, 415, 422} <= statuses.keys()


@pytest.mark.long
def test_the_app_answers_thousands_of_requests_as_documented(port: int) -> None:
    statuses, wrong = fuzz(port, 120)

    assert not wrong, "\n\n".join(wrong[:5])
    assert statuses.total() >= 2000


def test_a_body_may_be_json_or_a_form(shared: TestClient) -> None:
    paths = shared.get("/openapi.json").json()["paths"]

    for path in ("/api/search", "/api/explain"):
        content = paths[path]["post"]["requestBody"]["content"]
        assert content.keys() == {"application/json", "multipart/form-data"}
        as_json, form = (content[kind]["schema"]["properties"] for kind in content)
        assert as_json.keys() == form.keys()
        assert form["image"]["format"] == "binary"
    assert paths["/api/uploads"]["post"]["requestBody"]["content"].keys() == {"multipart/form-data"}


def test_all_that_may_be_answered_is_documented(shared: TestClient) -> None:
    document = shared.get("/openapi.json").json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    ids = [each["operationId"] for each in operations]

    assert len(ids) == len(set(ids))
    assert all(id.isidentifier() for id in ids)
    assert "/events" not in document["paths"]
    for each in operations:
        assert each["description"]
        for status, response in each["responses"].items():
            assert response["description"] != "Successful Response"
            if int(status) >= 400 and status != "416":
                assert list(response["content"]) == ["application/problem+json"]
    kinds = {path: [*document["paths"][path]["get"]["responses"]["200"]["content"]] for path in document["paths"]
             if "get" in document["paths"][path]}  # fmt: skip
    assert kinds["/api/images/{id}/thumbnail"] == kinds["/api/uploads/{key}/thumbnail"] == ["image/webp"]
    assert kinds["/api/images/{id}/file"] == ["image/*", "application/octet-stream"]
    assert kinds["/metrics"] == ["text/plain"]
    references = [text.split('"')[0] for text in shared.get("/openapi.json").text.split("#/components/schemas/")[1:]]
    assert set(references) <= document["components"]["schemas"].keys()


def test_a_token_is_documented_where_it_is_asked_for(colours: Path) -> None:
    with indexed(colours) as gallery, asking(gallery, token="secret-token") as client:
        document = client.get("/openapi.json", headers={"Authorization": "Bearer secret-token"}).json()

    assert document["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{"token": []}]
    assert document["paths"]["/healthz"]["get"]["security"] == []
