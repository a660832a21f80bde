"""Reading one's own writes: what is waited for, for how long, and which events are only echoes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from controller.kube.ownwrites import LAST_LOOK_SECONDS, LIMIT_SECONDS, OwnWrites, Place, Sight
from controller.kube.resource import PODS, Resource
from tests.unit.kube.things import THINGS

KEY, UID = ("ns", "owner"), "uid-1"
A = Place(THINGS, "ns", "a")
SEEN = Sight("", 0.0, 0)


@dataclass
class Shown:
    """What the caches show."""

    versions: dict[Resource, str] = field(default_factory=dict)
    there: set[tuple[Place, str]] = field(default_factory=set)

    def version_of(self, resource: Resource, namespace: str) -> str | None:
        return self.versions.get(resource)

    def shows(self, place: Place, uid: str) -> bool:
        return (place, uid) in self.there


def own(woken: list[tuple[str, str]] | None = None) -> OwnWrites[tuple[str, str]]:
    return OwnWrites(([] if woken is None else woken).append)


def test_a_write_is_waited_for_until_its_kinds_cache_has_reached_it() -> None:
    writes = own()
    writes.wrote(KEY, UID, A, "10", 0.0)
    assert writes.look(KEY, UID, Shown({THINGS: "9"}), 1.0).lacking == "things at 10"
    assert writes.look(KEY, UID, Shown({THINGS: "10"}), 2.0) == SEEN
    assert len(writes) == 0, "what is seen is forgotten"


def test_the_newest_write_of_a_kind_counts_whatever_the_order_of_the_answers() -> None:
    writes = own()
    for version in ("10", "12", "11"):
        writes.wrote(KEY, UID, A, version, 0.0)
    assert writes.look(KEY, UID, Shown({THINGS: "11"}), 1.0).lacking == "things at 12"


def test_kinds_are_waited_for_one_by_one_because_their_versions_do_not_compare() -> None:
    writes = own()
    writes.wrote(KEY, UID, A, "10", 0.0)
    writes.wrote(KEY, UID, Place(PODS, "ns", "a"), "20", 0.0)
    assert writes.look(KEY, UID, Shown({THINGS: "30", PODS: "19"}), 1.0).lacking == "pods at 20"


def test_one_owner_is_paused_and_nobody_else() -> None:
    writes = own()
    writes.wrote(KEY, UID, A, "10", 0.0)
    assert writes.look(("ns", "other"), "uid-2", Shown({THINGS: "9"}), 1.0) == SEEN


def test_a_deletion_is_waited_for_until_the_object_is_gone_or_another_one_or_on_its_way() -> None:
    writes = own()
    writes.deleted(KEY, UID, A, "uid-a", 0.0)
    assert writes.look(KEY, UID, Shown(there={(A, "uid-a")}), 1.0).lacking == "the deletion of Thing a"
    assert writes.look(KEY, UID, Shown(there={(A, "uid-of-a-namesake")}), 1.0) == SEEN


def test_an_owner_made_again_under_its_name_does_not_wait_for_its_predecessors_writes() -> None:
    writes = own()
    writes.wrote(KEY, UID, A, "10", 0.0)
    assert writes.look(KEY, "uid-2", Shown({THINGS: "9"}), 1.0) == SEEN
    writes.wrote(KEY, UID, A, "10", 0.0)
    writes.wrote(KEY, "uid-2", A, "8", 0.0)
    assert writes.look(KEY, "uid-2", Shown({THINGS: "9"}), 1.0) == SEEN


def test_an_owner_that_is_gone_is_forgotten() -> None:
    writes = own()
    writes.wrote(KEY, UID, A, "10", 0.0)
    writes.forget(KEY)
    assert len(writes) == 0
    assert writes.look(KEY, UID, Shown({THINGS: "9"}), 1.0) == SEEN


@pytest.mark.parametrize("shown", [Shown(), Shown({THINGS: "a-version-of-another-kind-of-server"})])
def test_what_no_cache_can_see_or_nobody_can_compare_holds_nobody_up(shown: Shown) -> None:
    writes = own()
    writes.wrote(KEY, UID, A, "10", 0.0)
    assert writes.look(KEY, UID, shown, 1.0) == SEEN


def test_what_does_not_come_in_time_is_given_up_and_counted() -> None:
    writes, behind = own(), Shown({THINGS: "9"}, {(A, "uid-a")})
    writes.wrote(KEY, UID, A, "10", 0.0)
    writes.deleted(KEY, UID, A, "uid-a", 0.0)
    assert writes.look(KEY, UID, behind, LIMIT_SECONDS - 0.1).lacking
    assert writes.look(KEY, UID, behind, LIMIT_SECONDS) == Sight("", 0.0, 2)
    assert writes.look(KEY, UID, behind, LIMIT_SECONDS) == SEEN


def test_the_looks_get_rarer_the_longer_it_takes() -> None:
    writes, behind, now, looks = own(), Shown({THINGS: "9"}), 0.0, 0
    writes.wrote(KEY, UID, A, "10", now)
    while (sight := writes.look(KEY, UID, behind, now)).lacking:
        assert sight.again <= LAST_LOOK_SECONDS
        now, looks = now + sight.again, looks + 1
    assert looks < 30


def test_the_event_of_an_own_write_is_an_echo_and_every_other_is_news() -> None:
    writes = own()
    writes.wrote(KEY, UID, A, "10", 0.0)
    assert writes.is_echo(KEY, A, "10")
    assert not writes.is_echo(KEY, A, "11"), "somebody changed it since"
    assert not writes.is_echo(KEY, Place(THINGS, "ns", "b"), "10")
    assert not writes.is_echo(("ns", "other"), A, "10"), "to another owner it is news"


def test_an_echo_that_overtakes_its_answer_wakes_nobody() -> None:
    woken: list[tuple[str, str]] = []
    writes = own(woken)
    with writes.writing(KEY, UID, A, lambda: 0.0) as write:
        assert writes.is_echo(KEY, A, "10")
        write.version = "10"
    assert woken == []
    assert writes.look(KEY, UID, Shown({THINGS: "9"}), 1.0).lacking


@pytest.mark.parametrize("version", ["10", ""])
def test_an_event_that_only_looked_like_an_echo_wakes_after_the_answer(version: str) -> None:
    """Another's change, or one of a write that failed: nothing that was heard may be lost."""
    woken: list[tuple[str, str]] = []
    writes = own(woken)
    with writes.writing(KEY, UID, A, lambda: 0.0) as write:
        assert writes.is_echo(KEY, A, "9")
        write.version = version
    assert woken == [KEY]


def test_a_write_that_fails_is_not_waited_for() -> None:
    writes = own()
    with pytest.raises(ZeroDivisionError), writes.writing(KEY, UID, A, lambda: 0.0):
        raise ZeroDivisionError
    assert len(writes) == 0
    assert not writes.is_echo(KEY, A, "10")
