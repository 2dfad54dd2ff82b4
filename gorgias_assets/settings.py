"""The settings: every environment variable, typed, with its meaning. The documents' tables are made from this model."""

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal, Self, TypedDict
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gorgias_assets.metrics.business_hours import is_holiday
from gorgias_assets.metrics.ticket_metrics import columns_of
from gorgias_assets.privacy.policy import VARIABLE, Policy, parsed


def _hours_and_minutes(text: object) -> object:
    if isinstance(text, str) and not re.fullmatch(r"\d{1,2}:\d{2}", text):
        raise ValueError
    return text


def _minutes(text: object) -> object:
    try:
        return timedelta(minutes=float(text)) if isinstance(text, str) else text
    except OverflowError:
        raise ValueError from None


def _or_none(text: object) -> object:
    return None if text == "" else text


def _words(text: object) -> object:
    """Split text at commas."""
    if isinstance(text, str):
        return tuple(word for part in text.split(",") if (word := part.strip()))
    return tuple(text) if isinstance(text, Iterable) else text


def _are_columns(fields: tuple[str, ...]) -> tuple[str, ...]:
    columns_of(fields)
    return fields


def _are_holidays(dates: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(is_holiday, dates)):
        raise ValueError
    return dates


def _is_policy(privacy: dict[str, str]) -> dict[str, str]:
    try:
        Policy.of(privacy)
    except KeyError:  # no action of this name
        raise ValueError from None
    return privacy


def _setting(variable: str, default: Any, meaning: str, must_be: str = "text", **fields: Any) -> Any:
    """Return a field that `variable` sets; `must_be` ends the sentence on a value that it cannot take."""
    return Field(default, alias=variable, description=meaning, json_schema_extra={"must_be": must_be}, **fields)


class Given(TypedDict, total=False):
    """The fields of `Settings`, as keyword arguments of a function; texts have the form of the variables."""

    uri: dg.EnvVar | str
    warehouse: str
    table_schema: str
    entities: Iterable[Any] | str
    event_types: Iterable[str] | str
    metric_fields: Iterable[str] | str
    holidays: Iterable[str] | str
    privacy: Mapping[str, str] | str
    privacy_key: dg.EnvVar | str
    start_date: date | str
    daily_at: time | str
    timezone: ZoneInfo | str
    changes_every: timedelta | str
    gaps_days: int
    bodies_kept_days: int | str
    max_share: float
    seek: bool
    executor: str
    reports: str
    alert_webhook_url: str
    alert_dagster_url: str
    api_url: str


class Settings(BaseModel):
    """The settings of one account's deployment. `Settings()` has the defaults and reads no environment."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        validate_default=True,
    )

    uri: dg.EnvVar | str = Field(
        dg.EnvVar("GORGIAS_URI"),
        exclude=True,
        repr=False,
        description="the account: `gorgias://<domain>?api_key=<api-key>&email=<email>`; read when a run starts",
    )
    warehouse: str = _setting(
        "WAREHOUSE_URI",
        "duckdb:///warehouse.duckdb",
        "`duckdb:///<file>`, `duckdb:////<absolute path of a file>`, `md:<MotherDuck database>` or "
        "`bigquery://<project>?dataset=<dataset>`",
        repr=False,
    )
    table_schema: str = _setting(
        "GORGIAS_SCHEMA",
        "",
        "the schema or dataset of the tables; by default the dataset in `WAREHOUSE_URI`, else the account's name",
    )
    entities: Annotated[tuple[Any, ...], BeforeValidator(_words)] = _setting(
        "GORGIAS_ENTITIES",
        "all",
        "the entities, views and metrics to have: `all`, or `core` for customers, tickets, messages, surveys and the "
        "metrics of these, or names with commas between them; `statistics` and `ticket_statistics`, Gorgias's own "
        "numbers, are had by name alone",
        "names of entities and views with commas between them",
        min_length=1,
    )
    event_types: Annotated[tuple[str, ...], BeforeValidator(_words)] = _setting(
        "GORGIAS_EVENT_TYPES",
        "",
        "the types of events to read, with commas between them; by default all",
        "types of events with commas between them",
    )
    metric_fields: Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_are_columns)] = _setting(
        "GORGIAS_METRIC_FIELDS",
        "",
        "custom fields of tickets that are columns of `ticket_metrics`: their ids or labels, with commas between them",
        "ids or labels of custom fields, with commas between them, each with a column of its own",
    )
    holidays: Annotated[tuple[str, ...], BeforeValidator(_words), AfterValidator(_are_holidays)] = _setting(
        "GORGIAS_HOLIDAYS",
        "",
        "days without business hours: dates, or `MM-DD` for a day of every year, with commas between them",
        "dates, YYYY-MM-DD or MM-DD, with commas between them",
    )
    privacy: Annotated[dict[str, str], BeforeValidator(parsed), AfterValidator(_is_policy)] = _setting(
        "GORGIAS_PRIVACY",
        "",
        "what becomes of personal data before it is stored, such as `email:hash,phone:last4,body:drop`; by default all "
        "is kept",
        "kinds of personal data, each with keep, drop, hash or last4, such as email:hash,body:drop",
    )
    privacy_key: dg.EnvVar | str = Field(
        dg.EnvVar(VARIABLE),
        exclude=True,
        repr=False,
        description="a secret of 16 letters or more, by which values are hashed; read when a run starts",
    )
    start_date: date = _setting("GORGIAS_START_DATE", "2024-01-01", "the first partition", "a date, YYYY-MM-DD")
    daily_at: Annotated[time, BeforeValidator(_hours_and_minutes)] = _setting(
        "GORGIAS_DAILY_AT", "00:30", "time of day at which the daily run starts", "a time of day, HH:MM"
    )
    timezone: ZoneInfo = _setting(
        "GORGIAS_TIMEZONE", "UTC", "time zone of that time; days remain UTC days", "a time zone such as Europe/Berlin"
    )
    changes_every: Annotated[timedelta, BeforeValidator(_minutes)] = _setting(
        "GORGIAS_CHANGES_EVERY",
        "5",
        "minutes between two looks of the sensor `gorgias_changes`",
        "a number of minutes, 1 to 1440",
        ge=timedelta(minutes=1),
        le=timedelta(days=1),
    )
    gaps_days: int = _setting(
        "GORGIAS_GAPS_DAYS",
        "30",
        "number of days that the sensor `gorgias_gaps` looks back",
        "a number of days, 1 to 36500",
        ge=1,
        le=36_500,
    )
    bodies_kept_days: Annotated[int | None, BeforeValidator(_or_none)] = _setting(
        "GORGIAS_BODIES_KEPT_DAYS",
        "",
        "age in days from which on the texts of tickets, messages, surveys, calls and events are dropped; by default "
        "they are kept",
        "a number of days, 1 to 36500",
        ge=1,
        le=36_500,
    )
    max_share: float = _setting(
        "GORGIAS_MAX_SHARE",
        "0.8",
        "share of the account's API calls to use; the rest is left to other integrations",
        "a number above 0, at most 1",
        gt=0,
        le=1,
    )
    seek: bool = _setting(
        "GORGIAS_SEEK",
        "on",
        "reach old days without reading what is newer; `off` pages from the newest row",
        "on or off",
    )
    executor: Literal["in_process", "processes", "kubernetes"] = _setting(
        "GORGIAS_EXECUTOR",
        "in_process",
        "where the steps of a run are executed: in the run's process (`in_process`), each in a process of its own "
        "(`processes`), or each in a pod of its own (`kubernetes`)",
        "in_process, processes or kubernetes",
    )
    reports: str = _setting(
        "GORGIAS_REPORTS",
        "reports",
        "folder of the overview's reports, or a URL that fsspec can write to, such as `s3://<bucket>/<folder>`",
        repr=False,
    )
    alert_webhook_url: str = _setting(
        "ALERT_WEBHOOK_URL", "", "Slack-compatible webhook for failed runs and failed checks", repr=False
    )
    alert_dagster_url: str = _setting(
        "ALERT_DAGSTER_URL", "http://localhost:3000", "the Dagster UI that links in alerts lead to"
    )
    api_url: str = _setting("GORGIAS_API_URL", "", "base URL of the API, for a simulated account", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, **given: Any) -> Self:
        """Read the settings that are not `given`, without white space around them.

        A variable that is empty, as in a copied `.env.example`, counts as not set. Raises ValueError with one sentence
        on the first variable, or given setting, that cannot be used.
        """
        names = [field.alias for field in cls.model_fields.values() if field.alias]
        texts = {name: environment.get(name, "").strip() for name in names}
        for name, text in texts.items():
            if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
                raise ValueError(f"{name} must be text in UTF-8, without line ends and control characters.")
        read = {field.alias: name for name, field in cls.model_fields.items() if name not in given}
        return cls.of(**{name: text for name, text in texts.items() if text and name in read}, **given)

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Return the given settings, by name or by variable, and the defaults of the others.

        Raises ValueError with one sentence on the first that cannot be used.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
        extra: Any = next(
            (field.json_schema_extra for key, field in cls.model_fields.items() if name in (key, field.alias)), None
        )
        if extra is None:
            raise ValueError(f"There is no setting {name}; there are {', '.join(cls.model_fields)}.")
        raise ValueError(f"{name} must be {extra['must_be']}.")

    @classmethod
    def documented(cls) -> list[tuple[str, str, str]]:
        """Return the name, the default and the meaning of each variable."""
        return [
            (field.alias or field.default.env_var_name, field.default if field.alias else "", field.description or "")
            for field in cls.model_fields.values()
        ]
