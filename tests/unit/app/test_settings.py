"""What the operator is told: environment, command line, and clear words when it makes no sense."""

from __future__ import annotations

import pytest

from controller.app.settings import read_settings

IMAGE = {"OPERATOR_IMAGE": "operator:1"}


def test_the_deployment_of_the_manifests_is_enough() -> None:
    settings = read_settings([], IMAGE | {"POD_NAME": "operator-0", "POD_NAMESPACE": "system"})
    assert (settings.image, settings.instance, settings.lease_namespace) == (
        "operator:1",
        "operator-0",
        "system",
    )
    assert (settings.port, settings.namespaces, settings.log_format) == (8080, (), "json")


def test_the_command_line_wins_over_the_environment() -> None:
    settings = read_settings(["--image", "other:2", "--port", "0"], IMAGE | {"HTTP_PORT": "9"})
    assert (settings.image, settings.port) == ("other:2", 0)


def test_namespaces_are_a_list_with_blanks_forgiven() -> None:
    assert read_settings([], IMAGE | {"WATCH_NAMESPACES": " b, a,,b"}).namespaces == ("a", "b")


def test_without_its_own_image_it_does_not_start_and_says_what_to_set() -> None:
    with pytest.raises(SystemExit) as caught:
        read_settings([], {})
    assert "OPERATOR_IMAGE" in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [["--port", "70000"], ["--workers", "0"], ["--log-format", "xml"], ["--log-level", "loud"]]
)
def test_wrong_values_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read_settings(arguments, IMAGE)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err
