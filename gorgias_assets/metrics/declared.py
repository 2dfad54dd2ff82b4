"""The declared tables of metrics. Each is made of entities, or of the ones before."""

from gorgias_assets.metrics.model import Metric

TICKET_METRICS = Metric(
    name="ticket_metrics",
    grain="One row per ticket: how it went, and how long that took.\n\n"
    "Each run computes the rows of all tickets of which anything was read since, no matter on which day, and merges "
    "them by `id`. A partition is the tickets created on that day (UTC).",
    needs=("tickets", "ticket_messages", "satisfaction_surveys"),
    uses=("events", "users", "tags", "integrations", "custom_fields", "account_settings"),
    day="created_datetime",
)
TICKET_BACKLOG = Metric(
    name="ticket_backlog",
    grain="One row per day and slice: the whole helpdesk, one channel, team, agent or tag.\n\n"
    "The work that came in on that day (UTC), and what was left at its end, exactly as far as the stored events reach. "
    "A ticket counts in the slices that it was in at the end of the day. Spam, trashed and deleted tickets count on no "
    "day that is materialized after that is known.",
    needs=("tickets", "ticket_messages"),
    uses=("events",),
)
OVERVIEW = Metric(
    name="overview",
    grain="One row per day and slice: the whole helpdesk, one channel, team or agent.\n\n"
    "The work of support on that day (UTC). Each measure counts on the day of its own event, and follows the state of "
    "the tables when the day was materialized. The newest day of a run has a picture of the four weeks that end with "
    "it, and a report of thirteen.",
    needs=("ticket_metrics", "ticket_backlog", "satisfaction_surveys"),
    group="",
)
METRICS = (TICKET_METRICS, TICKET_BACKLOG, OVERVIEW)
