from __future__ import annotations

import pytest

from controller.neo4j.versions import Version, capabilities, parse_image, parse_version, parse_version_output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5.26.3", Version(5, 26, 3)),
        ("5.26", Version(5, 26)),
        ("2025.01.0", Version(2025, 1, 0)),
        ("2026.07.1-enterprise-ubi10", Version(2026, 7, 1)),
        ("5.26.25-enterprise", Version(5, 26, 25)),
    ],
)
def test_exact_versions_are_read(text: str, expected: Version) -> None:
    assert parse_version(text) == expected


@pytest.mark.parametrize("text", ["5-enterprise", "enterprise", "latest", "", "v5.26.1", "5.26.x", "2025"])
def test_floating_tags_are_not_guessed(text: str) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("neo4j:5.26.3-enterprise", Version(5, 26, 3)),
        ("registry.example:5000/team/neo4j:2025.11.2-enterprise", Version(2025, 11, 2)),
        ("neo4j:5.26.3-enterprise@sha256:0123", Version(5, 26, 3)),
        ("registry.example:5000/neo4j", None),
        ("registry.example:5.26/neo4j", None),
        ("neo4j@sha256:0123", None),
        ("neo4j:5-enterprise", None),
    ],
)
def test_image_references_state_a_version_or_nothing(image: str, expected: Version | None) -> None:
    assert parse_image(image) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("5.26.29\n", Version(5, 26, 29)),
        ("Picked up JAVA_TOOL_OPTIONS: -Dx=1\nneo4j-admin 2025.10.1\n", Version(2025, 10, 1)),
        ("WARNING: something\n2026.01.0\n", Version(2026, 1, 0)),
        ("java: not found", None),
    ],
)
def test_what_neo4j_admin_prints_is_read(output: str, expected: Version | None) -> None:
    assert parse_version_output(output) == expected


def test_calendar_versions_compare_numerically_and_print_as_neo4j_does() -> None:
    assert Version(2025, 9) < Version(2025, 10) < Version(2026, 1)
    assert Version(5, 26, 29) < Version(2025, 1)
    assert str(Version(2025, 1, 0)) == "2025.01.0"
    assert str(Version(5, 26, 3)) == "5.26.3"
    assert not Version(5, 25, 9).is_supported
    assert Version(5, 26).is_supported


@pytest.mark.parametrize(
    ("capability", "first"),
    [
        ("prefer_diff_as_parent", Version(2025, 4)),
        ("remote_address_resolution", Version(2025, 9)),
        ("include_metadata_users", Version(2025, 10)),
        ("parallel_download", Version(2025, 11)),
        ("skip_recovery", Version(2025, 11)),
        ("backup_aggregate", Version(2025, 1)),
        ("backup_validate", Version(2025, 12)),
        ("check_accepts_file", Version(2025, 9)),
        ("first_diff_may_overlap", Version(2026, 2)),
    ],
)
def test_a_capability_begins_with_the_release_that_documents_it(capability: str, first: Version) -> None:
    before = Version(first.major, first.minor - 1, 9) if first.minor > 1 else Version(5, 26, 29)
    assert getattr(capabilities(first), capability)
    assert not getattr(capabilities(before), capability)


def test_inspect_needs_its_flag_until_2025_07() -> None:
    assert capabilities(Version(5, 26, 29)).inspect_needs_show_metadata
    assert capabilities(Version(2025, 6)).inspect_needs_show_metadata
    assert not capabilities(Version(2025, 7)).inspect_needs_show_metadata
