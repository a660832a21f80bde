"""Whether an object is still what we would apply.

Guarantee: what is compared is what we intend now and what we intended last time (a hash that the
object carries), never the live object, which the server has filled with defaults and others write to.
"""

from __future__ import annotations

import copy
import hashlib
import json

from controller.api.model import JsonObject
from controller.api.objects import Object
from controller.resources.labels import SPEC_HASH


def content_hash(content: object) -> str:
    """Sixteen hex digits of the canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_spec_hash(manifest: JsonObject) -> JsonObject:
    """The object with the annotation that ``is_current`` looks at."""
    result = copy.deepcopy(manifest)
    result["metadata"].setdefault("annotations", {})[SPEC_HASH] = content_hash(manifest)
    return result


def is_current(existing: Object, intended: JsonObject) -> bool:
    """True when ``existing`` was last written from just this ``intended`` (with its hash)."""
    wanted: str = intended["metadata"]["annotations"][SPEC_HASH]
    return existing.annotations.get(SPEC_HASH) == wanted
