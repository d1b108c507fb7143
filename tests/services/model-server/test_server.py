"""The running server over HTTP: correct answers, correct errors, and no other routes."""

import json
from typing import Any

import pytest
import tiny_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_bundle.child import Server

ROWS = tiny_bundle.ROWS
GOOD = tiny_bundle.request(ROWS)


def answers(server: Server, body: object) -> list[tuple[str, float]]:
    given = server.infer(body)
    assert given.status == 200, given.text
    data = {output["name"]: output["data"] for output in given.json["outputs"]}
    return list(zip(data["label"], data["score"], strict=True))


def refused(server: Server, body: object, status: int = 400) -> str:
    given = server.infer(body)
    assert given.status == status, given.text
    assert set(given.json) == {"error"}
    return str(given.json["error"])


def changed(name: str, /, **fields: object) -> dict[str, Any]:
    inputs = [{**tensor, **fields} if tensor["name"] == name else tensor for tensor in GOOD["inputs"]]
    return {"inputs": inputs}


def test_answers_are_the_formulas(server: Server) -> None:
    for answered, row in zip(answers(server, GOOD), ROWS, strict=True):
        wanted = tiny_bundle.answer(row)
        assert answered[0] == wanted["label"]
        assert answered[1] == pytest.approx(wanted["score"], abs=1e-6)


def test_a_row_gets_the_same_answer_alone_and_in_a_batch(server: Server) -> None:
    assert [answers(server, tiny_bundle.request([row]))[0] for row in ROWS] == answers(server, GOOD)


def test_every_answer_names_its_bundle(server: Server) -> None:
    said = server.infer({**GOOD, "id": "case-7"}).json
    assert (said["model_name"], said["model_version"], said["id"]) == ("tiny", server.bundle[7:19], "case-7")
    assert said["parameters"] == {"bundle": server.bundle}
    assert [(o["name"], o["datatype"], o["shape"]) for o in said["outputs"]] == [
        ("label", "BYTES", [3]),
        ("score", "FP64", [3]),
    ]


def test_a_caller_may_ask_for_one_output(server: Server) -> None:
    said = server.infer({**GOOD, "outputs": [{"name": "score"}]}).json
    assert [output["name"] for output in said["outputs"]] == ["score"]
    assert "label and score" in refused(server, {**GOOD, "outputs": [{"name": "probability"}]})


def test_metadata_is_the_bundles_schema(server: Server) -> None:
    said = server.call("GET", "/v2/models/tiny").json
    assert {key: said[key] for key in tiny_bundle.SCHEMA} == tiny_bundle.SCHEMA
    assert said["versions"] == [server.bundle[7:19]]
    assert said["parameters"] == {"bundle": server.bundle}


def test_only_its_own_version_has_an_address(server: Server) -> None:
    version = server.bundle[7:19]
    assert server.infer(GOOD, f"/v2/models/tiny/versions/{version}/infer").status == 200
    for path in ("/v2/models/tiny/versions/1/infer", "/v2/models/other/infer", "/v2/models//infer"):
        given = server.infer(GOOD, path)
        assert (given.status, given.json) == (404, {"error": "model or version not found; GET /v2/models/tiny"})


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready", "/v2"])
def test_health_and_server_metadata_answer(server: Server, path: str) -> None:
    assert server.call("GET", path).status == 200


@pytest.mark.parametrize("path", ["index", "models/tiny/load", "models/tiny/unload", "models/other/load", ""])
def test_the_repository_api_is_closed(server: Server, path: str) -> None:
    given = server.call("POST", f"/v2/repository/{path}", b"{}", content_type="application/json")
    assert given.status == 403
    assert given.json["error"].startswith("repository API disabled")
    assert server.call("GET", "/v2/models/tiny/ready").status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/openapi.json", "/v2/docs", "/v2/docs/dataplane.json", "/v2/models/tiny/docs", "/metrics"],
)
def test_docs_and_metrics_are_not_served(server: Server, path: str) -> None:
    assert server.call("GET", path).status == 404


@pytest.mark.parametrize("verb", ["generate", "infer_stream", "generate_stream"])
def test_other_ways_to_ask_are_not_served(server: Server, verb: str) -> None:
    given = server.infer(GOOD, f"/v2/models/tiny/{verb}")
    assert (given.status, set(given.json)) == (404, {"error"})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (changed("age", data=[50, 25, 91]), "column 'age': 1 of 3 values are above 90"),
        (changed("age", data=[50, None, 38]), "column 'age': 1 of 3 values are missing"),
        (changed("age", data=[50, 25, 38.5]), "column 'age': 1 of 3 values are not whole"),
        (changed("age", datatype="BYTES"), "column 'age' must be sent as FP64, not BYTES"),
        (changed("age", shape=[2]), "column 'age' has a shape that does not fit its data"),
        (changed("age", data=[50, 25], shape=[2]), "column 'age' has 2 rows where another column has 3"),
        (changed("age", data=None), "column 'age' has a shape"),
        (changed("occupation", data=["Exec", "Clerk", "Priest"]), "column 'occupation': 1 of 3 values are not among"),
        (changed("hours", name="hour"), "column 'hour' is not an input of this model; column 'hours' is missing"),
        ({"inputs": []}, "column 'age' is missing"),
        (tiny_bundle.request([]), "column 'age' is empty"),
        ({}, "body: Object missing required field `inputs`"),
        ({"inputs": {}}, "body.inputs: Expected `array`, got `object`"),
        (changed("age", datatype="DECIMAL"), "body.inputs.0.datatype"),
        (changed("age", shape=["three"]), "body.inputs.0.shape.0"),
        ([], "body: Expected `object`, got `array`"),
        (b"", "the body is not JSON"),
        (b'{"inputs": [', "the body is not JSON"),
        (b'{"inputs": NaN}', "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[" * 100_000, "body: Expected `object`, got `array`"),
        (b'{"a":' + b"[" * 100_000, "the body is not JSON"),
        ({**GOOD, "id": "ü"}, "id must be"),
        ({**GOOD, "id": "a\r\nSet-Cookie: b"}, "id must be"),
        ({**GOOD, "id": "x" * 129}, "id must be"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(server: Server, body: object, said: str) -> None:
    assert said in refused(server, body)


def test_what_is_refused_is_neither_answered_nor_logged(server: Server) -> None:
    secret = "Wolfgang-4711"
    for body in (
        changed("occupation", data=["Exec", secret, "Clerk"]),
        changed("age", data=[50, secret, 38]),
        changed("age", shape=[secret]),
        changed("age", datatype=secret),
        {**GOOD, "id": secret + "\n"},
        {"inputs": secret},
        secret.encode(),
        {**GOOD, "parameters": secret},
    ):
        assert secret not in server.infer(body).text
    assert secret not in server.log


def test_integers_and_nested_columns_are_taken(server: Server) -> None:
    assert answers(server, changed("age", datatype="INT64", data=[50, 25, 38])) == answers(server, GOOD)
    assert answers(server, changed("age", shape=[3, 1], data=[[50], [25], [38]])) == answers(server, GOOD)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
def test_another_content_type_is_refused(server: Server, kind: str) -> None:
    given = server.call("POST", "/v2/models/tiny/infer", json.dumps(GOOD).encode(), content_type=kind)
    assert (given.status, set(given.json)) == (415, {"error"})


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_by_any_of_its_names_is_taken(server: Server, kind: str) -> None:
    given = server.call("POST", "/v2/models/tiny/infer", json.dumps(GOOD).encode(), content_type=kind)
    assert given.status == 200


@pytest.mark.parametrize("megabytes", [9, 40])
def test_a_body_beyond_the_limit_is_refused(server: Server, megabytes: int) -> None:
    assert "larger than 8388608 bytes" in refused(server, b" " * (megabytes * 2**20), 413)


def test_a_caller_who_hangs_up_after_the_answer_still_gets_it(server: Server) -> None:
    """If the server closed the connection with unread bytes, the caller would get a reset instead of the error."""
    headers = {"content_type": "application/json", "connection": "close"}
    assert server.call("POST", "/v2/models/tiny/infer", b" " * (40 * 2**20), **headers).status == 413


def test_a_large_batch_within_the_limit_is_answered(server: Server) -> None:
    assert len(answers(server, tiny_bundle.request(ROWS * 10_000))) == 30_000


def test_a_wrong_method_is_refused(server: Server) -> None:
    assert server.call("GET", "/v2/models/tiny/infer").status == 405
    assert server.call("DELETE", "/v2/models/tiny").status == 405


def test_answers_carry_no_name_of_what_serves_them(server: Server) -> None:
    assert "server" not in server.infer(GOOD).headers


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
cells = st.sampled_from([None, 17, 40, 90, 91, 17.5, "Exec", "Clerk", "x"]) | values
tensor = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["age", "hours", "occupation", "sex"]),
        "datatype": st.sampled_from(["FP64", "BYTES", "INT64", "BOOL", "FP8"]),
        "shape": st.lists(st.integers(-1, 3), max_size=3) | values,
        "data": st.lists(cells, max_size=3) | values,
    },
    optional={"parameters": st.dictionaries(st.sampled_from(["content_type", "headers", "x"]), values, max_size=2)},
)
near_requests = st.builds(
    lambda replaced, extra: {"inputs": [*(replaced or GOOD["inputs"])], **extra},
    st.lists(tensor, min_size=2, max_size=4) | st.none(),
    st.dictionaries(st.sampled_from(["id", "parameters", "outputs", "x"]), values, max_size=2),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(near_requests | values | st.binary(max_size=40))
def test_no_request_makes_it_fail(server: Server, body: object) -> None:
    given = server.infer(body)
    assert given.status == 200 or (400 <= given.status < 500 and set(given.json) == {"error"}), given.text
    assert "Traceback" not in given.text


def test_after_all_tests_it_still_answers(server: Server) -> None:
    """Must be the last test: all tests above use the same process."""
    assert server.call("GET", "/v2/health/ready").status == 200
    assert len(answers(server, GOOD)) == 3
    assert [json.loads(line)["event"] for line in server.log.splitlines() if "exception" in line] == []
