"""Which control plane the tests run against, and the one that they share."""

from __future__ import annotations

from collections.abc import Iterator

# Before any test: Hypothesis asks the garbage collector who holds trio's generator, and the collector does
# not tell of what a synced cache froze.
import hypothesis
import pytest

from tests.support.control_plane import KINDS, ControlPlane, Unavailable, started

# A machine that is busy is no reason to fail.
hypothesis.settings.register_profile(
    "no clocks", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("no clocks")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--control-plane",
        choices=KINDS,
        default="embedded",
        help="embedded (default); kubeconfig: the cluster of $KUBECONFIG; "
        "envtest: etcd and kube-apiserver from $KUBEBUILDER_ASSETS; k3s: K3s through testcontainers",
    )


@pytest.fixture(scope="session")
def control_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """One per test process."""
    kind: str = request.config.getoption("--control-plane")
    try:
        with started(kind, tmp_path_factory.mktemp("control-plane")) as plane:
            yield plane
    except Unavailable as reason:
        pytest.skip(f"no control plane of kind {kind}: {reason}")
