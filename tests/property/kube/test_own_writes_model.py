"""Own writes against a list of all of them: what is waited for, and that the waiting ends."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.kube.ownwrites import LIMIT_SECONDS, OwnWrites, Place
from controller.kube.resource import PODS, Resource
from tests.unit.kube.things import THINGS

OWNERS, UIDS = st.sampled_from("xy"), st.sampled_from("12")
PLACES = st.builds(Place, st.sampled_from([THINGS, PODS]), st.just("ns"), st.sampled_from("ab"))


class OwnWritesAgainstAll(RuleBasedStateMachine):
    """The server's versions go up; each cache follows at its own pace, or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.own: OwnWrites[str] = OwnWrites(lambda _: None)
        self.now, self.version = 0.0, 10
        self.caches: dict[Resource, int] = {THINGS: 10, PODS: 10}
        self.there: set[tuple[Place, str]] = set()
        self.uids: dict[str, str] = {}
        self.written: list[tuple[str, Place, int, float]] = []
        self.deleted: list[tuple[str, Place, str, float]] = []

    def version_of(self, resource: Resource, _namespace: str) -> str:
        return str(self.caches[resource])

    def shows(self, place: Place, uid: str) -> bool:
        return (place, uid) in self.there

    @rule(owner=OWNERS, uid=UIDS, place=PLACES)
    def write(self, owner: str, uid: str, place: Place) -> None:
        self.is_owner(owner, uid)
        self.version += 1
        with self.own.writing(owner, uid, place, lambda: self.now) as write:
            write.version = str(self.version)
        self.written.append((owner, place, self.version, self.now))

    @rule(owner=OWNERS, uid=UIDS, place=PLACES)
    def delete(self, owner: str, uid: str, place: Place) -> None:
        self.is_owner(owner, uid)
        self.there.add((place, "uid"))
        self.own.deleted(owner, uid, place, "uid", self.now)
        self.deleted.append((owner, place, "uid", self.now))

    @rule(resource=st.sampled_from([THINGS, PODS]), steps=st.integers(1, 5))
    def a_cache_catches_up(self, resource: Resource, steps: int) -> None:
        self.caches[resource] = min(self.version, self.caches[resource] + steps)

    @rule(place=PLACES)
    def a_deletion_arrives(self, place: Place) -> None:
        self.there.discard((place, "uid"))

    @rule(owner=OWNERS)
    def an_owner_goes(self, owner: str) -> None:
        self.own.forget(owner)
        self.drop(owner)

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(owner=OWNERS)
    def look(self, owner: str) -> None:
        uid = self.uids.get(owner, "1")
        sight = self.own.look(owner, uid, self, self.now)
        missing = self.missing(owner)
        fresh = [since for since in missing if self.now - since < LIMIT_SECONDS]
        assert bool(sight.lacking) == bool(fresh), "what is waited for is what cannot be seen"
        assert not (sight.lacking and sight.again <= 0.0), "a look comes after a pause"
        assert sight.given_up == 0 or not fresh
        if not fresh:
            self.drop(owner)

    def missing(self, owner: str) -> list[float]:
        """When each kind was last written, and each object deleted, that cannot be seen yet."""
        newest: dict[Resource, tuple[int, float]] = {}
        for who, place, version, at in self.written:
            if who == owner:
                newest[place.resource] = (version, at)
        gone = {(place, uid): at for who, place, uid, at in self.deleted if who == owner}
        behind = [at for resource, (version, at) in newest.items() if self.caches[resource] < version]
        return behind + [at for key, at in gone.items() if key in self.there]

    def is_owner(self, owner: str, uid: str) -> None:
        if self.uids.get(owner) != uid:
            self.drop(owner)
            self.uids[owner] = uid

    def drop(self, owner: str) -> None:
        self.written = [item for item in self.written if item[0] != owner]
        self.deleted = [item for item in self.deleted if item[0] != owner]

    @invariant()
    def it_remembers_nobody_who_wrote_nothing(self) -> None:
        assert len(self.own) <= len({item[0] for item in [*self.written, *self.deleted]})

    def teardown(self) -> None:
        """Progress: whatever the caches do, after the limit nobody waits."""
        self.now += LIMIT_SECONDS + 1.0
        for owner, uid in self.uids.items():
            assert not self.own.look(owner, uid, self, self.now).lacking


TestOwnWrites = OwnWritesAgainstAll.TestCase
