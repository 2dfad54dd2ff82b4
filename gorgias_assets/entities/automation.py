"""Work that agents are spared: macros, rules, and jobs over many tickets."""

from datetime import timedelta

from gorgias_assets.columns import Harmless, Personal, below
from gorgias_assets.entities.model import ByDate, Entity, Whole, integer, json, moment, string
from gorgias_assets.entities.shown import ACTION, ANYTHING, SECRETS

MACROS = Entity(
    name="macros",
    path="/macros",
    grain="One row per macro, archived macros included.",
    read=Whole(passes=((("archived", "false"),), (("archived", "true"),))),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the macro."),
        string("external_id", "Id of the macro in another system."),
        string("name", "Name of the macro."),
        string("intent", "What the customer wants whom it answers: shipping/status, return/request …"),
        string("language", "Language of its text, ISO 639-1."),
        integer("usage", "Number of times it was used."),
        json("actions", "Actions, texts among them: [{name, title, type, arguments}].", below("[]", ACTION)),
        moment("created_datetime", "When the macro was created."),
        moment("updated_datetime", "When the macro last changed; null until its first change."),
        moment("archived_datetime", "When the macro was archived."),
        string("uri", "Path of the macro in the API."),
    ),
)

RULES = Entity(
    name="rules",
    path="/rules",
    grain="One row per rule, deactivated rules included.",
    read=Whole(),
    left_out=("code_ast",),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the rule."),
        string("code", "Its program, close to JavaScript. The parse tree of it, code_ast, is left out.", Personal.BODY),
        moment("created_datetime", "When the rule was created."),
        moment("deactivated_datetime", "When the rule was deactivated."),
        string("description", "Description of the rule."),
        string("event_types", "Types of events that it fires on, with commas between."),
        json("settings", "Settings of a rule that Gorgias manages.", ANYTHING),
        string("name", "Name of the rule."),
        integer("priority", "Order of firing, the highest first."),
        string("type", "user, or a kind of rule that Gorgias manages."),
        moment("updated_datetime", "When the rule last changed."),
        string("uri", "Path of the rule in the API."),
    ),
)

_PARAMS = ("apply_and_close", "start_datetime", "end_datetime", "macro_id", "view_id")

JOBS = Entity(
    name="jobs",
    path="/jobs",
    grain="One row per job: a change of many tickets at once, an import or an export.",
    read=ByDate(
        order="created_datetime",
        touch_fields=(
            "created_datetime",
            "started_datetime",
            "ended_datetime",
            "failed_datetime",
            "cancel_requested_datetime",
            "cancelled_datetime",
        ),
        look_back=timedelta(days=3),  # a job is scheduled up to an hour ahead, and takes hours at most
    ),
    group="reference",
    is_optional=True,
    columns=(
        integer("id", "Gorgias's id of the job."),
        moment("cancel_requested_datetime", "When somebody asked to cancel it; it may have ended all the same."),
        moment("cancelled_datetime", "When it was cancelled."),
        moment("created_datetime", "When the job was created."),
        moment("ended_datetime", "When it ended."),
        moment("failed_datetime", "When it failed."),
        json("info", "Of its result nothing is kept, since it may hold a link to an export.", SECRETS, Harmless()),
        moment("locked_datetime", "When it was taken up for execution."),
        json("meta", "Arbitrary data attached to the job.", ANYTHING),
        json(
            "params",
            "What it acts on. Kept are apply_and_close, start_datetime, end_datetime, macro_id, ticket_ids and "
            "view_id; other parameters may hold links and are withheld.",
            {**dict.fromkeys((*_PARAMS, "ticket_ids[]")), **SECRETS},
            Harmless(frozenset({*_PARAMS, "ticket_ids"})),
        ),
        moment("scheduled_datetime", "When it is planned to start; a plan, not an event."),
        moment("started_datetime", "When it started."),
        string("status", "scheduled, pending, running, done, errored, fatal_errored, cancel_requested or canceled."),
        string("type", "updateTicket, applyMacro, deleteTicket, exportTicket …"),
        integer("user_id", "Who started it."),
        string("uri", "Path of the job in the API."),
    ),
)
