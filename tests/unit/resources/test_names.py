"""Names: valid for every valid backup name, stable, and never two backups under one name."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.resources import labels, names
from tests.unit.resources.builders import a_backup

LABEL = re.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?")
BACKUP_NAMES = st.from_regex(
    re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?){0,3}"),
    fullmatch=True,
).filter(lambda name: len(name) <= 253)

MAKERS: list[Callable[[str], str]] = [
    names.job,
    names.cron_job,
    names.service_account,
    names.claim,
    lambda name: names.rerun_job(name, "2/again"),
    lambda name: names.role("a", name, "a"),
    lambda name: names.role("a", name, "b"),
]


@given(BACKUP_NAMES)
def test_every_name_is_a_label_within_its_limit(backup: str) -> None:
    for make in MAKERS:
        assert LABEL.fullmatch(make(backup))
        assert len(make(backup)) <= 63
    assert len(names.cron_job(backup)) <= 52


@given(BACKUP_NAMES, BACKUP_NAMES)
def test_two_backups_never_share_a_name(one: str, other: str) -> None:
    for make in MAKERS:
        assert (make(one) == make(other)) == (one == other)


@pytest.mark.parametrize("one", ["a" * 60, "a" * 70])
def test_names_that_differ_only_in_what_is_cut_off_stay_apart(one: str) -> None:
    for make in MAKERS:
        assert make(one + "x") != make(one + "y")


def test_a_dotted_name_does_not_meet_the_dashed_one() -> None:
    assert names.job("a.b") != names.job("a-b")


def test_the_names_of_the_reference() -> None:
    assert names.job("production-backup") == "production-backup-backup"
    assert names.cron_job("production-backup") == "production-backup-backup-cron"


def test_each_request_for_one_more_run_has_its_own_job() -> None:
    jobs = {names.rerun_job("nightly", key) for key in ("2", "3", "3/a", "3/b")}
    assert len(jobs) == 4
    assert names.rerun_job("nightly", "2") == names.rerun_job("nightly", "2")
    assert names.job("nightly") not in jobs


def test_backups_of_one_name_in_two_namespaces_do_not_share_a_role() -> None:
    there = {names.role(namespace, "nightly", "prod") for namespace in ("prod", "team-a", "team-b")}
    assert len(there) == 3


@given(BACKUP_NAMES, st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True))
def test_label_values_fit(backup: str, namespace: str) -> None:
    for value in labels.for_backup(a_backup(backup, namespace)).values():
        assert re.fullmatch("[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", value)


def test_pods_wear_what_the_network_policy_of_a_cluster_asks_for() -> None:
    worn = labels.for_backup(a_backup())
    assert worn["app.kubernetes.io/managed-by"] == "neo4j-operator"
    assert worn["app.kubernetes.io/component"] == "backup"


def test_the_selector_finds_what_the_labels_mark() -> None:
    key, _, value = labels.selector("uid-1").partition("=")
    assert labels.for_backup(a_backup())[key] == value
