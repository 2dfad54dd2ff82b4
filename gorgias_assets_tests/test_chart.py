"""Dagster's Helm chart with this project's values: rendered by Helm, valid for Kubernetes, understood by Dagster.

`DAGSTER_CHART` names the chart, a folder or an archive: `DAGSTER_CHART=dagster-1.13.27.tgz make soak`.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pytest
import yaml
from dagster_k8s import K8sRunLauncher, construct_dagster_k8s_job
from dagster_k8s.container_context import K8sContainerContext
from kubernetes.client import ApiClient

from gorgias_assets_tests.postgres import postgres, programs

pytestmark = pytest.mark.soak

REPOSITORY = Path(__file__).parent.parent
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
REMOTE = re.compile(r'https://[^"#]*/_definitions\.json#/definitions/')
NAMESPACE = "support"
# An address that nothing is sent to: without one Dagster makes no launcher.
CLUSTER = """
clusters: [{name: cluster, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: context, context: {cluster: cluster}}]
current-context: context
"""


class Chart:
    """Dagster's chart, unpacked into a folder, and Helm.

    The chart's own schemas for values refer to definitions of Kubernetes that Helm would download. They are taken from
    `kubernetes-validate` instead.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self._helm = pytest.importorskip("helm_python", reason="Helm is not installed; `make .venv/chart` does it")
        self._kubernetes = pytest.importorskip("kubernetes_validate")
        shutil.copytree(source, folder / "dagster") if source.is_dir() else self._helm.expand(folder, source)
        (self._folder,) = (file.parent for file in folder.glob("*/Chart.yaml"))
        self.version = yaml.safe_load((self._folder / "Chart.yaml").read_text())["version"]
        schemas = Path(self._kubernetes.__file__).parent / "kubernetes-json-schema"
        definitions = schemas / f"v{self._kubernetes.latest_version()}-local" / "_definitions.json"
        for schema in self._folder.rglob("values.schema.json"):
            schema.write_text(REMOTE.sub(f"{definitions.as_uri()}#/$defs/", schema.read_text()))

    def render(self, values: dict[str, Any]) -> "Release":
        with self._helm.Chart.load(self._folder) as chart:
            manifests = chart.render(values, name="dagster", namespace=NAMESPACE)
        documents = [yaml.safe_load_all(manifest) for name, manifest in manifests.items() if name.endswith(".yaml")]
        return Release([object_ for parts in documents for object_ in parts if object_])

    def refused(self, values: dict[str, Any]) -> str:
        """Return why Helm refuses values."""
        with pytest.raises(self._helm.HelmError) as refused:
            self.render(values)
        return str(refused.value)

    def assert_valid(self, object_: dict[str, Any]) -> None:
        """Fail if Kubernetes would refuse an object, or ignore a part of it."""
        self._kubernetes.validate(object_, self._kubernetes.latest_version(), strict=True)


class Release(NamedTuple):
    """The objects that Helm would send to Kubernetes."""

    objects: list[dict[str, Any]]

    def named(self, kind: str, name: str) -> dict[str, Any]:
        (found,) = (one for one in self.objects if (one["kind"], one["metadata"]["name"]) == (kind, name))
        return found

    @property
    def code_location(self) -> dict[str, Any]:
        """The one container that has this project's image."""
        deployments = [one for one in self.objects if one["kind"] == "Deployment"]
        containers = [container for one in deployments for container in one["spec"]["template"]["spec"]["containers"]]
        (container,) = (one for one in containers if one["image"].startswith("registry.example/gorgias-assets:"))
        return container

    @property
    def instance(self) -> dict[str, Any]:
        return yaml.safe_load(self.named("ConfigMap", "dagster-instance")["data"]["dagster.yaml"])

    def variables(self, container: dict[str, Any]) -> dict[str, str]:
        """Return the variables that a container takes from maps of this release."""
        names = [source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source]
        return {name: value for map_ in names for name, value in self.named("ConfigMap", map_)["data"].items()}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    if not os.environ.get("DAGSTER_CHART"):
        pytest.skip("DAGSTER_CHART names no chart of Dagster's; `helm pull dagster --repo …` brings one")
    chart = Chart(Path(os.environ["DAGSTER_CHART"]), tmp_path_factory.mktemp("chart"))
    print(f"Dagster's chart {chart.version}, for Dagster {dg.__version__}")
    return chart


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "deploy" / "kubernetes" / "values.yaml").read_text())


@pytest.fixture(scope="module")
def release(chart: Chart, values: dict[str, Any]) -> Release:
    return chart.render(values)


def test_kubernetes_accepts_each_object(chart: Chart, release: Release):
    for object_ in release.objects:
        chart.assert_valid(object_)
    kinds = {object_["kind"] for object_ in release.objects}
    assert {"ConfigMap", "Deployment", "Role", "RoleBinding", "Service", "ServiceAccount"} <= kinds
    assert not kinds & {"Secret", "StatefulSet", "PersistentVolumeClaim"}, "secrets and the database are one's own"


def test_the_schema_of_the_chart_refuses_what_it_does_not_know(chart: Chart, values: dict[str, Any]):
    assert "maxRuns" in chart.refused({**values, "concurrency": {**values["concurrency"], "maxRuns": 5}})


def test_the_code_location_is_served_by_the_command_of_the_image_where_the_webserver_looks_for_it(release: Release):
    check, command = (json.loads(found) for found in re.findall(r"CMD (\[.*\])", DOCKERFILE))
    assert release.code_location["args"] == command
    assert release.code_location["readinessProbe"]["exec"]["command"] == check
    workspace = yaml.safe_load(release.named("ConfigMap", "dagster-workspace-yaml")["data"]["workspace.yaml"])
    ((_, server),) = workspace["load_from"][0].items()
    service = release.named("Service", server["host"])
    assert [port["port"] for port in service["spec"]["ports"]] == [server["port"]]
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in release.objects if one["kind"] == "Deployment"]
    assert sum(service["spec"]["selector"].items() <= each.items() for each in labels) == 1


def test_secrets_are_named_and_every_config_map_is_in_the_release(release: Release):
    secrets = [source["secretRef"] for source in release.code_location["envFrom"] if "secretRef" in source]
    assert [secret["name"] for secret in secrets if not secret.get("optional")] == ["gorgias-assets"]
    assert release.variables(release.code_location)["DAGSTER_HOME"] == "/opt/dagster/dagster_home"
    assert password_of(release.code_location) == {"name": "dagster-postgresql", "key": "postgresql-password"}


def test_a_run_gets_a_pod_with_the_image_the_settings_and_the_secret_of_the_code_location(
    chart: Chart, release: Release, values: dict[str, Any], tmp_path: Path
):
    (tmp_path / "kubeconfig").write_text(CLUSTER)
    config = release.instance["run_launcher"]["config"]
    outside = {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "kubeconfig")}
    launcher = K8sRunLauncher(**{**config, **outside})
    served = {one["name"]: one.get("value") for one in release.code_location["env"]}
    context = launcher.get_container_context_for_run(dg.DagsterRun(job_name="gorgias")).merge(
        K8sContainerContext.create_from_config(json.loads(served["DAGSTER_CLI_API_GRPC_CONTAINER_CONTEXT"]))
    )
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(served["DAGSTER_CURRENT_IMAGE"], launcher),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run-1",
        user_defined_k8s_config=context.run_k8s_config,
    )
    sent = ApiClient().sanitize_for_serialization(job)
    chart.assert_valid(sent)
    assert context.namespace == NAMESPACE
    assert sent["spec"]["ttlSecondsAfterFinished"] == 3600
    pod = sent["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert pod["serviceAccountName"] == values["global"]["serviceAccountName"]
    assert container["image"] == release.code_location["image"]
    assert container["resources"] == deployment["resources"]
    assert {"secretRef": {"name": "gorgias-assets"}} in container["envFrom"]
    assert deployment["env"].items() <= release.variables(container).items()
    given = {one["name"]: one.get("value") for one in container["env"]}
    assert f"DAGSTER_HOME={given['DAGSTER_HOME']} " in DOCKERFILE, "a folder that the image's user may write to"
    assert password_of(container) == password_of(release.code_location)


def test_an_instance_on_kubernetes_has_the_limits_and_the_retries_of_one_elsewhere(
    chart: Chart, values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = programs()
    if folder is None:
        pytest.skip("there is no PostgreSQL here; Debian's package is postgresql")
    with postgres(folder) as variables:
        monkeypatch.setenv("DAGSTER_PG_PASSWORD", variables["DAGSTER_PG_PASSWORD"])
        here = {
            "postgresqlHost": variables["DAGSTER_PG_HOST"],
            "postgresqlDatabase": variables["DAGSTER_PG_DB"],
            "service": {"port": int(variables["DAGSTER_PG_PORT"])},
        }
        release = chart.render({**values, "postgresql": {**values["postgresql"], **here}})
        deployed = (REPOSITORY / "deploy" / "dagster.yaml").read_text()
        for name, settings in {"elsewhere": deployed, "kubernetes": yaml.safe_dump(release.instance)}.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "dagster.yaml").write_text(settings)
        with (
            dg.DagsterInstance.from_config(str(tmp_path / "kubernetes")) as kubernetes,
            dg.DagsterInstance.from_config(str(tmp_path / "elsewhere")) as elsewhere,
        ):
            kubernetes.add_run(dg.DagsterRun(job_name="gorgias"))
            assert len(kubernetes.get_runs()) == 1
            assert not list((tmp_path / "kubernetes").rglob("*.db")), "SQLite was used"
            assert kubernetes.get_concurrency_config() == elsewhere.get_concurrency_config()
            for section in ("run_retries", "python_logs", "telemetry"):
                assert kubernetes.get_settings(section) == elsewhere.get_settings(section), section
            assert elsewhere.run_monitoring_settings.items() <= kubernetes.run_monitoring_settings.items()
            for kind, limits in elsewhere.get_settings("retention").items():
                assert kubernetes.get_settings("retention")[kind] == limits, kind


def password_of(container: dict[str, Any]) -> dict[str, str]:
    """Return the secret that has the password of PostgreSQL, and its key."""
    (password,) = (one for one in container["env"] if one["name"] == "DAGSTER_PG_PASSWORD")
    return password["valueFrom"]["secretKeyRef"]
