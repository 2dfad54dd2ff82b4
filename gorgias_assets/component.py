"""The component: a Gorgias account in the `defs` folder of anybody's Dagster project, declared in YAML."""

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component
from dagster.components.utils.translation import TranslationFnResolver
from pydantic import BaseModel, Field

from gorgias_assets.account import Account, Translation
from gorgias_assets.build import account_of, definitions_of
from gorgias_assets.entities import ENTITIES
from gorgias_assets.privacy.policy import VARIABLE
from gorgias_assets.settings import Settings

NAMES = ", ".join(entity.name for entity in ENTITIES)
# The component's attributes that are settings, by their names there. What is left out is read from the environment.
SETTINGS = (
    "warehouse",
    "table_schema",
    "entities",
    "event_types",
    "metric_fields",
    "holidays",
    "privacy",
    "start_date",
    "daily_at",
    "timezone",
    "gaps_days",
    "bodies_kept_days",
    "max_share",
    "seek",
    "reports",
    "alert_dagster_url",
    "api_url",
)


def _described(description: str, *examples: object) -> dg.Resolver:
    made: dg.Resolver = dg.Resolver.default(description=description, examples=list(examples))
    return made


def _setting(name: str, *examples: object, reads: type | None = None) -> dg.Resolver:
    """Describe a setting, and the environment variable that it goes before."""
    field = Settings.model_fields[name]
    meaning = f"{field.description} (the variable `{field.alias}`)"
    if reads is None:
        return _described(meaning, *examples)
    type_ = reads | str | None
    return dg.Resolver(_text, model_field_type=type_, description=meaning, examples=list(examples))


def _text(_: object, value: Any) -> str | None:
    """Return text, also where YAML has read a date, or 12:30 as 750 minutes, because it has no quotes."""
    if isinstance(value, int):
        return "{:02}:{:02}".format(*divmod(value, 60))
    return None if value is None else str(value)


class ScaffoldParams(BaseModel):
    name: str | None = Field(None, description="name of the account; by default that of the folder")
    warehouse: str | None = Field(None, description="URI of the warehouse, such as duckdb:///shops.duckdb")
    start_date: str | None = Field(None, description="first day, YYYY-MM-DD")
    entities: str | None = Field(
        None, description=f"all, core, or names of entities and views with commas between them, such as {NAMES}"
    )


class GorgiasScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes a `defs.yaml` of an account whose URI is in a variable of its own."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        params = request.params
        name = params.name or re.sub(r"\W", "_", request.target_path.name)
        uri_env = f"{name.upper()}_URI"
        words = params.entities.replace(" ", "").split(",") if params.entities else []
        entities = {"entities": words if len(words) > 1 else words[0]} if words else {}
        others = {"warehouse": params.warehouse, "start_date": params.start_date}
        given = {key: value for key, value in others.items() if value}
        scaffold_component(request, {"name": name, "uri_env": uri_env, **given, **entities})
        if request.scaffold_format == "yaml":
            file = request.target_path if request.append else request.target_path / "defs.yaml"
            with file.open("a") as opened:
                opened.write(f"requirements:\n  env:\n    - {uri_env}\n")


@dg.scaffold_with(GorgiasScaffolder)
class GorgiasComponent(dg.Component, dg.Model, dg.Resolvable):
    """A Gorgias account: its assets, checks, jobs, schedules, sensors and resources.

    An attribute that is left out has the value of its environment variable, else its default.
    """

    name: Annotated[
        str,
        _described(
            "name of the account: the prefix of asset keys, jobs, schedules, sensors, pools and resources, the group, "
            "and the schema",
            "gorgias_eu",
        ),
    ] = "gorgias"
    uri_env: Annotated[
        str,
        _described(
            "the environment variable of the account, `gorgias://<domain>?api_key=<api-key>&email=<email>`; it is read "
            "when a run starts, and is in no page or event",
            "GORGIAS_EU_URI",
        ),
    ] = "GORGIAS_URI"
    warehouse: Annotated[str | None, _setting("warehouse", "duckdb:///shops.duckdb")] = None
    table_schema: Annotated[str | None, _setting("table_schema", "helpdesk")] = None
    table_names: Annotated[
        dict[str, str] | None,
        _described(
            "names of tables that differ from those of their assets, by entity", {"tickets": "helpdesk_tickets"}
        ),
    ] = None
    entities: Annotated[list[str] | str | None, _setting("entities", "all", ["tickets", "ticket_messages"])] = None
    event_types: Annotated[
        list[str] | str | None, _setting("event_types", ["ticket-assigned", "ticket-closed", "ticket-reopened"])
    ] = None
    metric_fields: Annotated[list[str] | str | None, _setting("metric_fields", ["Contact reason", "3001"])] = None
    holidays: Annotated[list[str] | str | None, _setting("holidays", ["2025-04-21", "12-25"])] = None
    privacy: Annotated[
        dict[str, str] | str | None, _setting("privacy", {"email": "hash", "phone": "last4", "body": "drop"})
    ] = None
    privacy_key_env: Annotated[
        str,
        _described(
            "the environment variable of a secret of 16 letters or more, by which values are hashed and forgotten "
            "people are known; it is read when a run starts, and is in no page or event"
        ),
    ] = VARIABLE
    start_date: Annotated[str | None, _setting("start_date", "2025-01-01", reads=date)] = None
    today: Annotated[bool, _described("whether today is a partition, before it has ended")] = True
    automation: Annotated[
        Literal["schedule", "conditions", "none"],
        _described(
            "who requests the days that are over: a schedule and a sensor (`schedule`), an automation condition of "
            "each asset (`conditions`), or nobody (`none`)"
        ),
    ] = "schedule"
    daily_at: Annotated[str | None, _setting("daily_at", "06:30", reads=int)] = None
    timezone: Annotated[str | None, _setting("timezone", "Europe/Berlin")] = None
    changes_every: Annotated[float | None, _setting("changes_every", 5)] = None
    gaps_days: Annotated[int | None, _setting("gaps_days", 30)] = None
    bodies_kept_days: Annotated[int | None, _setting("bodies_kept_days", 365)] = None
    max_share: Annotated[float | None, _setting("max_share", 0.5)] = None
    seek: Annotated[bool | None, _setting("seek", False)] = None
    reports: Annotated[str | None, _setting("reports", "s3://bucket/reports")] = None
    alert_webhook_env: Annotated[
        str, _described("the environment variable of a Slack-compatible webhook for failed runs and checks")
    ] = "ALERT_WEBHOOK_URL"
    alert_dagster_url: Annotated[str | None, _setting("alert_dagster_url", "https://dagster.example")] = None
    api_url: Annotated[str | None, _setting("api_url", "http://127.0.0.1:8765/api")] = None
    io_manager_key: Annotated[
        str | None, _described("resource key of the IO manager; by default `<name>_io_manager`", "warehouse")
    ] = None
    translation: Annotated[
        Translation | None,
        TranslationFnResolver[str](template_vars_for_translation_fn=lambda what: {"entity": what}),
    ] = None
    """Attributes of each asset; `{{ entity }}` is the name of its entity, view or metrics."""

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(
            description="A Gorgias helpdesk in DuckDB or BigQuery: assets by day, checks, schedules and sensors.",
            tags=["gorgias", "helpdesk", "integration"],
            owners=[],
            produces=["asset", "asset_check", "job", "resource", "schedule", "sensor"],
        )

    @property
    def settings(self) -> Settings:
        """Raises ValueError, with one sentence, on a setting that cannot be used."""
        given = {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}
        if self.changes_every is not None:
            given["changes_every"] = timedelta(minutes=self.changes_every)
        webhook = dg.EnvVar(self.alert_webhook_env).get_value() or ""
        secrets: dict[str, Any] = {"uri": dg.EnvVar(self.uri_env), "privacy_key": dg.EnvVar(self.privacy_key_env)}
        return Settings.from_environment(**secrets, alert_webhook_url=webhook.strip(), **given)

    @property
    def account(self) -> Account:
        """Raises ValueError, with one sentence, on an attribute that cannot be used."""
        return account_of(
            self.name,
            self.settings,
            self.today,
            self.table_names,
            self.translation,
            self.io_manager_key,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002, nothing depends on its place
        return definitions_of(self.account, self.settings, self.automation)
