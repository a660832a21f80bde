"""CustomResourceDefinitions: pruning, defaults, validation, and which definitions are refused."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable

import pytest

from tests.contract.api import MERGE, Api, Json
from tests.contract.conftest import eventually, install
from tests.contract.widgets import CRDS, definition, widget

pytestmark = pytest.mark.asyncio


async def test_unknown_fields_are_dropped(api: Api, widgets: str, group: str) -> None:
    obj = widget(group, "a", bogus=1, free={"any": {"thing": [1]}}, parts=[{"name": "x", "bogus": 1}])
    made = await api.create(widgets, obj | {"bogus": True})
    assert "bogus" not in made
    assert "bogus" not in made["spec"]
    assert made["spec"]["free"] == {"any": {"thing": [1]}}
    assert made["spec"]["parts"] == [{"name": "x", "unit": "piece"}]


async def test_defaults_appear_where_their_parents_are(api: Api, widgets: str, group: str) -> None:
    made = await api.create(widgets, widget(group, "a", color=None))
    assert made["spec"]["color"] == "red"
    assert "parts" not in made["spec"]


async def test_null_stays_where_it_is_allowed(api: Api, widgets: str, group: str) -> None:
    made = await api.create(widgets, widget(group, "a", owner=None, code=None))
    assert made["spec"] == {"size": 1, "color": "red", "owner": None}


@pytest.mark.parametrize(
    ("spec", "field", "word"),
    [
        ({"size": "3"}, "spec.size", "integer"),
        ({"size": 0}, "spec.size", "greater than or equal to 1"),
        ({"size": 101}, "spec.size", "less than or equal to 100"),
        ({"size": 1.5}, "spec.size", "integer"),
        ({"size": True}, "spec.size", "integer"),
        ({"color": "green"}, "spec.color", 'supported values: "red", "blue"'),
        ({"code": "A1"}, "spec.code", "should match"),
        ({"code": "abcdef"}, "spec.code", "5"),
        ({"tags": ["a", "b", "c", "d"]}, "spec.tags", "at most 3 items"),
        ({"tags": [1]}, "spec.tags", "string"),
        ({"labels": {"a": 1}}, "spec.labels.a", "string"),
        ({"parts": [{"count": 1}]}, "spec.parts.name", "Required value"),
        ({"parts": [{"name": "x"}, {"name": "x"}]}, "spec.parts", "Duplicate value"),
    ],
)
async def test_values_are_checked(
    api: Api, widgets: str, group: str, spec: Json, field: str, word: str
) -> None:
    answer = await api.request("POST", widgets, widget(group, "a", **spec))
    assert (answer.status, answer.reason) == (422, "Invalid")
    # Servers differ in how exactly they say where.
    assert {re.sub(r"\[\d+\]", "", each.replace("[a]", ".a")) for each in answer.fields} == {field}
    assert word.lower() in answer.message.lower()


async def test_every_fault_is_told_at_once(api: Api, widgets: str, group: str) -> None:
    obj = widget(group, "a", color="green", code="A1")
    del obj["spec"]["size"]
    answer = await api.request("POST", widgets, obj)
    assert answer.fields == {"spec.size", "spec.color", "spec.code"}


async def test_a_missing_required_field(api: Api, widgets: str, group: str) -> None:
    obj = widget(group, "a")
    del obj["spec"]
    answer = await api.request("POST", widgets, obj)
    assert (answer.status, answer.fields) == (422, {"spec"})


async def test_changes_are_checked_too(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a"))
    answer = await api.request("PATCH", f"{widgets}/a", {"spec": {"size": 0}}, content_type=MERGE)
    assert answer.fields == {"spec.size"}
    answer = await api.request("PATCH", f"{widgets}/a/status", {"status": {"phase": 1}}, content_type=MERGE)
    assert answer.fields == {"status.phase"}


async def test_strictness_refuses_unknown_fields_where_it_is_known(
    api: Api, widgets: str, group: str
) -> None:
    minor = int((await api.get("/version"))["minor"].rstrip("+"))
    answer = await api.request("POST", widgets, widget(group, "a", bogus=1), fieldValidation="Strict")
    if minor < 25:
        assert answer.status == 201
    else:
        assert answer.status == 400
        assert 'unknown field "spec.bogus"' in answer.message


async def test_a_new_default_reaches_what_is_stored(api: Api) -> None:
    group = f"d{secrets.token_hex(4)}.example.com"
    name = f"widgets.{group}"
    path = f"/apis/{group}/v1/namespaces/default/widgets"
    await install(api, definition(group))
    try:
        made = await api.create(path, widget(group, "a"))
        crd = definition(group)
        properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        properties["spec"]["properties"]["extra"] = {"type": "string", "default": "new"}
        await api.merge(f"{CRDS}/{name}", {"spec": {"versions": crd["spec"]["versions"]}})

        async def reads_with_it() -> bool:
            extra: str = (await api.get(f"{path}/a"))["spec"].get("extra", "")
            return extra == "new"

        await eventually(reads_with_it, "the default is there on reading")
        assert (await api.get(f"{path}/a"))["metadata"] == made["metadata"]
    finally:
        await api.request("DELETE", f"{CRDS}/{name}")


async def test_the_type_goes_with_its_definition(api: Api) -> None:
    group = f"d{secrets.token_hex(4)}.example.com"
    path = f"/apis/{group}/v1/namespaces/default/widgets"
    await install(api, definition(group))
    await api.create(path, widget(group, "a", {"finalizers": ["example.com/hold"]}))
    await api.ok("DELETE", f"{CRDS}/widgets.{group}")
    await asyncio.sleep(0.2)
    assert not await api.gone(f"{CRDS}/widgets.{group}")

    async def let_go() -> bool:
        held = await api.request("GET", f"{path}/a")
        if held.status != 200 or "deletionTimestamp" not in held.body["metadata"]:
            return False
        await api.merge(f"{path}/a", {"metadata": {"finalizers": None}})
        return True

    await eventually(let_go, "the object is being deleted")

    async def is_gone() -> bool:
        return await api.gone(f"{CRDS}/widgets.{group}") and (await api.request("GET", path)).status == 404

    await eventually(is_gone, "definition and type are gone")


async def test_rules_are_asked_where_they_are_known(api: Api) -> None:
    """Servers before 1.25 drop them, which is why the operator checks everything itself too."""
    minor = int((await api.get("/version"))["minor"].rstrip("+"))
    group = f"d{secrets.token_hex(4)}.example.com"
    path = f"/apis/{group}/v1/namespaces/default/widgets"
    crd = definition(group)
    _schema(crd)["properties"]["spec"]["x-kubernetes-validations"] = [
        {"rule": "self.size < 10 || has(self.code)", "message": "big ones need a code"},
        {"rule": "self.size >= oldSelf.size", "message": "size may not shrink"},
    ]
    await install(api, crd)
    try:
        codeless = await api.request("POST", path, widget(group, "a", size=10))
        await api.request("POST", path, widget(group, "b", size=10, code="x"))
        shrunk = await api.request("PATCH", f"{path}/b", {"spec": {"size": 9}}, content_type=MERGE)
        if minor < 25:
            assert (codeless.status, shrunk.status) == (201, 200)
        else:
            assert (codeless.status, codeless.fields) == (422, {"spec"})
            assert 'Invalid value: "object": big ones need a code' in codeless.message
            assert "size may not shrink" in shrunk.message
    finally:
        await api.request("DELETE", f"{CRDS}/widgets.{group}")


def _schema(crd: Json) -> Json:
    found: Json = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _spec(crd: Json) -> Json:
    found: Json = _schema(crd)["properties"]["spec"]["properties"]
    return found


_BAD: dict[str, Callable[[Json], object]] = {
    "another name": lambda crd: crd["metadata"].update(name="gadgets.example.com"),
    "a property without a type": lambda crd: _spec(crd).update(extra={"description": "untyped"}),
    "a list without items": lambda crd: _spec(crd).update(extra={"type": "array"}),
    "a reference": lambda crd: _spec(crd).update(extra={"$ref": "#/definitions/x"}),
    "properties and additionalProperties": lambda crd: _spec(crd).update(
        extra={"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}
        | {"properties": {"a": {"type": "string"}}}
    ),
    "a type inside anyOf": lambda crd: _spec(crd).update(
        extra={"type": "string", "anyOf": [{"type": "string", "pattern": "a"}]}
    ),
    "a default that is not valid": lambda crd: _spec(crd).update(extra={"type": "string", "default": 3}),
    "a list-map key that items need not have": lambda crd: _spec(crd)["parts"]["items"].pop("required"),
    "restrictions of metadata": lambda crd: _schema(crd)["properties"].update(
        metadata={"type": "object", "required": ["name"]}
    ),
    "no storage version": lambda crd: crd["spec"]["versions"][0].update(storage=False),
    "no schema": lambda crd: crd["spec"]["versions"][0].pop("schema"),
    "another scope": lambda crd: crd["spec"].update(scope="Galaxy"),
}


@pytest.mark.parametrize("fault", sorted(_BAD))
async def test_a_definition_that_is_not_structural_is_refused(api: Api, fault: str) -> None:
    crd = definition(f"d{secrets.token_hex(4)}.example.com")
    _BAD[fault](crd)
    answer = await api.request("POST", CRDS, crd, dryRun="All")
    assert (answer.status, answer.reason) == (422, "Invalid"), answer.body
