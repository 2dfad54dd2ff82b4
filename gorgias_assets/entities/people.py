"""The people who answer: agents, bots among them, and their teams."""

from gorgias_assets.columns import EXTRACTED_AT, Kind, Personal, below
from gorgias_assets.entities.model import Entity, Whole, boolean, integer, json, moment, string
from gorgias_assets.entities.shown import ABOUT_PERSON, DECORATION, PERSON
from gorgias_assets.entities.view import At, Items, Nested, Rows, Sql, Stored, View, read_at

USERS = Entity(
    name="users",
    path="/users",
    grain="One row per user of the helpdesk: agents, and the bots of apps and of Gorgias.",
    read=Whole(),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the user; customers' ids come from the same sequence."),
        boolean("active", "Whether the user may log in."),
        string("bio", "What the user wrote about themselves.", Personal.BODY),
        moment("created_datetime", "When the user was created."),
        string("country", "Country, ISO 3166-1 alpha-2."),
        moment("deactivated_datetime", "When the user was deactivated."),
        string("email", "E-mail address; of a bot, that of its app.", Personal.EMAIL),
        string("external_id", "Id of the user in another system."),
        string("firstname", "First name.", Personal.NAME),
        string("lastname", "Last name.", Personal.NAME),
        boolean("has_password", "Whether the user logs in with a password."),
        boolean("has_2fa_enabled", "Whether the user's log-in has a second factor."),
        string("language", "Language of the helpdesk's pages, ISO 639-1."),
        json(
            "meta", "Where the name came from, profile picture, time of the last phone call and the like.", ABOUT_PERSON
        ),
        string("name", "Full name.", Personal.NAME),
        json("role", "Role: {name}, of which bot is one, and agent is called Lead in the helpdesk.", {"name": None}),
        string("timezone", "IANA time zone."),
        moment("updated_datetime", "When the user last changed."),
        string("client_id", "The app that a bot belongs to."),
        string("uri", "URL of the user in the API."),
    ),
)

AGENTS = View(
    name="agents",
    grain="One row per living user, bots included, with the role as text.",
    parent=USERS.name,
    nested=Rows(),
    values={
        integer("user_id", "The user."): Stored("id"),
        string("name", "Full name.", Personal.NAME): Stored("name"),
        string("email", "E-mail address; of a bot, that of its app.", Personal.EMAIL): Stored("email"),
        string(
            "role", "admin, agent (called Lead), basic-agent, lite-agent, observer-agent, internal-agent or bot."
        ): At("role", "name"),
        boolean("is_bot", "Whether it is the bot of an app, or Gorgias's AI Agent."): Sql(
            "COALESCE({role} = 'bot', FALSE)", role=At("role", "name", Kind.STRING)
        ),
        boolean("active", "Whether the user may log in."): Stored("active"),
        read_at("user"): Stored(EXTRACTED_AT),
    },
)

TEAMS = Entity(
    name="teams",
    path="/teams",
    grain="One row per team of users.",
    read=Whole(),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the team."),
        string("uri", "Path of the team in the API."),
        string("name", "Name of the team."),
        string("description", "Description of the team."),
        json("decoration", "Emoji: {emoji}.", DECORATION),
        json("members", "Members as of the reading: [{id, name, email, meta}].", below("[]", PERSON)),
        moment("created_datetime", "When the team was created."),
    ),
)

TEAM_MEMBERS = View(
    name="team_members",
    grain="One row per team and user in it, as of the last reading.",
    parent=TEAMS.name,
    nested=Items("members"),
    needs=("user_id",),
    values={
        integer("team_id", "The team."): Stored("id"),
        string("team_name", "Name of the team."): Stored("name"),
        integer("user_id", "The user."): Nested("id"),
        string("name", "Full name of the user.", Personal.NAME): Nested("name"),
        string("email", "E-mail address of the user.", Personal.EMAIL): Nested("email"),
        read_at("team"): Stored(EXTRACTED_AT),
    },
)
