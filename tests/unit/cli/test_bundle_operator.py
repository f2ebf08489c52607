"""The operator's part of a bundle, where a tenant's Deployment says that it is the operator."""

from mailtls.api.reading.document import Json
from mailtls.cli.bundle.contents import Contents
from mailtls.cli.bundle.operator import add_operator
from mailtls.cli.bundle.reading import Reader

META = {"namespace": "tenant", "name": "fake"}


class _Cluster:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, path: str) -> Json | None:
        self.asked.append(path)
        env = [
            {"name": "MAILTLS_METRICS_PORT", "value": "80/../../../secrets?"},
            {"name": "MAILTLS_LEASE", "value": "../secrets/key"},
        ]
        template = {"spec": {"containers": [{"name": "operator", "env": env}]}}
        kinds = {"deployments": {"metadata": META, "spec": {"template": template}}, "pods": {"metadata": META}}
        kind = path.partition("?")[0].rpartition("/")[2]
        return {"items": [kinds[kind]] if kind in kinds else []}

    def list(self, path: str, *, label_selector: str = "") -> list[Json]:
        raise NotImplementedError

    def text(self, path: str, *, most: int) -> tuple[str, bool]:
        del most
        self.asked.append(path)
        return "", False


def test_settings_of_a_strangers_deployment_lead_to_no_other_path() -> None:
    """Any tenant may label a Deployment as the operator's."""
    cluster = _Cluster()
    add_operator(Reader(cluster), Contents(), (None,))
    assert not any("secrets" in path for path in cluster.asked)
    assert "/api/v1/namespaces/tenant/pods/fake:8080/proxy/metrics" in cluster.asked
