from __future__ import annotations

import pytest

from controller.neo4j.quantity import (
    GIB,
    MIB,
    BadSize,
    format_size,
    human,
    parse_kubernetes,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512Mi", 512 * MIB),
        ("1Gi", GIB),
        ("1G", 10**9),
        ("1.5Gi", 3 * GIB // 2),
        ("1e9", 10**9),
        ("100k", 100_000),
        ("500m", 1),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("42", 42),
    ],
)
def test_kubernetes_quantities(text: str, size: int) -> None:
    assert parse_kubernetes(text) == size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2G", 2 * GIB),
        ("2Gi", 2 * GIB),
        ("2g", 2 * GIB),
        ("512m", 512 * MIB),
        ("512MB", 512 * MIB),
        ("8MiB", 8 * MIB),
        ("300K", 300 * 1024),
        ("100B", 100),
        ("1T", 1024 * GIB),
    ],
)
def test_neo4j_sizes_are_binary_whatever_the_spelling(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["50%", "", "two", "-1G", "1.5G", "1GG", "1X", "G"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadSize, match="write for example 512M"):
        parse_size(text)


@pytest.mark.parametrize("text", ["1gi", "1GB", "", "-1", "Mi"])
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadSize, match="write for example 512Mi"):
        parse_kubernetes(text)


def test_sizes_are_written_as_the_jvm_and_neo4j_both_read_them() -> None:
    assert format_size(2 * GIB) == "2048m"
    assert format_size(2 * MIB - 1) == "1m"
    assert format_size(300 * 1024) == "300k"
    assert human(3 * GIB // 2) == "1.5GiB"
    assert human(512 * MIB) == "512MiB"
    assert human(2048) == "2KiB"
    assert human(5) == "5B"
