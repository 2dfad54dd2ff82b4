"""The declared tables of metrics."""

from gorgias_assets.metrics.model import Metric

TICKET_METRICS = Metric(
    "ticket_metrics",
    needs=("tickets", "ticket_messages", "satisfaction_surveys"),
    uses=("events", "users", "tags", "integrations", "custom_fields", "account_settings"),
)
TICKET_BACKLOG = Metric("ticket_backlog", needs=("tickets", "ticket_messages"), uses=("events",))
METRICS = (TICKET_METRICS, TICKET_BACKLOG)
