"""Messages to people over a Slack-compatible webhook."""

import requests

_SECONDS_TO_POST = 10


class NotPosted(Exception):
    """The message was not posted; one sentence without the webhook's URL, since whoever knows that can post."""


def post(url: str, text: str) -> None:
    """Post a text in Slack's markup. Raise `NotPosted`."""
    try:
        answer = requests.post(url, json={"text": text}, timeout=_SECONDS_TO_POST)
    except requests.RequestException as error:
        raise NotPosted(f"The alert's webhook could not be reached ({type(error).__name__}).") from None
    if not answer.ok:
        raise NotPosted(f"The alert's webhook refused the message ({answer.status_code}).")


def escaped(text: str) -> str:
    """Escape Slack's three characters (docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
