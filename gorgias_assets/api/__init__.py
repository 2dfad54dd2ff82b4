"""The only modules that send requests: to Gorgias, and to the webhook of alerts."""
