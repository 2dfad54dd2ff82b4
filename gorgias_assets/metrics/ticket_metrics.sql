-- One row per ticket whose metrics are outdated, in DuckDB and in BigQuery. docs/metrics.md defines the columns.
--
-- Words in braces are filled in by ticket_metrics.py: tables, and views of events, by their names; values of JSON
-- columns and functions that the engines name differently; and what the settings choose. Without stored events or
-- users, has_events or {has_users} is false, and what is made of them is null. Business hours are added in Python.

WITH readings AS (
  -- Every row that metrics are made of, by its ticket.
  SELECT id AS ticket_id, _extracted_at FROM {tickets} WHERE id > {after} AND id <= {last}
  UNION ALL
  SELECT ticket_id, _extracted_at FROM {ticket_messages} WHERE ticket_id > {after} AND ticket_id <= {last}
  UNION ALL
  SELECT ticket_id, _extracted_at FROM {satisfaction_surveys} WHERE ticket_id > {after} AND ticket_id <= {last}
  UNION ALL
  SELECT object_id, _extracted_at FROM {events}
  WHERE type IN ({event_types}) AND object_id > {after} AND object_id <= {last}
), states AS (
  -- A row is only ever read anew at a later moment, so that two states of a ticket's rows never have the same sum.
  SELECT ticket_id, MAX(_extracted_at) AS read_at,
         CAST(SUM({unix_micros}(_extracted_at) - 1577836800000000) AS {integer}) AS state
  FROM readings
  GROUP BY ticket_id
), current_tickets AS (
  SELECT id, created_datetime, channel, language, status, from_agent, spam, trashed_datetime, closed_datetime,
         assignee_user, assignee_team, custom_fields, _deleted_at, _merged_into, _extracted_at,
         COALESCE({events_cover_it}, FALSE) AS has_events
  FROM {tickets}
  WHERE id > {after} AND id <= {last}
), outdated AS (
  SELECT ticket.*, states.read_at, states.state + {settings} + CASE WHEN ticket.has_events THEN 1 ELSE 0 END AS inputs
  FROM current_tickets AS ticket
  JOIN states ON states.ticket_id = ticket.id
  LEFT JOIN {stored} AS stored ON stored.id = ticket.id
  WHERE stored._inputs IS NULL
     OR stored._inputs <> states.state + {settings} + CASE WHEN ticket.has_events THEN 1 ELSE 0 END
  QUALIFY ROW_NUMBER() OVER (PARTITION BY ticket.id ORDER BY ticket._extracted_at DESC) = 1
  ORDER BY ticket.id
  LIMIT {most}
), messages AS (
  SELECT ticket_id, id, created_datetime, integration_id, {sender_id} AS sender_id, {sender_name} AS sender_name,
         COALESCE({is_bot}, FALSE) AS is_by_bot,
         rule_id IS NOT NULL AS is_by_rule,
         _deleted_at IS NULL AND public AS is_public,
         _deleted_at IS NULL AND NOT public AS is_note,
         _deleted_at IS NULL AND public AND NOT from_agent AS is_from_customer,
         _deleted_at IS NULL AND public AND from_agent AS is_from_agent,
         -- It reached the customer: it was not imported, and did not fail for good.
         _deleted_at IS NULL AND public AND from_agent AND imported IS NOT TRUE
           AND (failed_datetime IS NULL OR sent_datetime IS NOT NULL) AS is_sent,
         via = 'helpdesk' AS is_from_helpdesk
  FROM {ticket_messages}
  WHERE ticket_id IN (SELECT id FROM outdated)
), talks AS (
  SELECT ticket_id,
         MIN(created_datetime) AS begun_at,
         MIN(CASE WHEN is_from_customer THEN created_datetime END) AS asked_at,
         MAX(CASE WHEN is_from_customer THEN created_datetime END) AS last_asked_at,
         MIN(CASE WHEN is_from_agent THEN created_datetime END) AS first_written_at,
         MAX(CASE WHEN is_from_agent THEN created_datetime END) AS last_written_at,
         MIN(CASE WHEN is_sent AND is_from_helpdesk AND NOT is_by_rule THEN created_datetime END) AS answered_at,
         MIN(CASE WHEN is_sent AND is_by_bot AND NOT is_by_rule THEN created_datetime END) AS bot_answered_at,
         MAX(CASE WHEN is_sent AND is_from_helpdesk AND NOT is_by_rule AND NOT is_by_bot THEN created_datetime END)
           AS agent_last_answered_at,
         COUNT(CASE WHEN is_public THEN 1 END) AS messages,
         COUNT(CASE WHEN is_from_customer THEN 1 END) AS customer_messages,
         COUNT(CASE WHEN is_note THEN 1 END) AS internal_notes,
         COUNT(CASE WHEN is_sent AND is_from_helpdesk AND NOT is_by_rule AND NOT is_by_bot THEN 1 END) AS agent_replies,
         COUNT(CASE WHEN is_sent AND is_by_rule THEN 1 END) AS rule_replies,
         COUNT(CASE WHEN is_sent AND is_by_bot AND NOT is_by_rule THEN 1 END) AS bot_replies
  FROM messages
  GROUP BY ticket_id
), known_talks AS (
  -- As the overview has it: if the first message is later than its ticket, earlier ones were not read.
  SELECT talks.*, outdated.from_agent IS NOT TRUE AND talks.answered_at > talks.asked_at AS has_first_response
  FROM talks
  JOIN outdated ON outdated.id = talks.ticket_id
  WHERE talks.begun_at <= outdated.created_datetime + INTERVAL 1 HOUR
), first_replies AS (
  SELECT ticket_id, sender_id, sender_name
  FROM messages
  WHERE is_sent AND is_from_helpdesk AND NOT is_by_rule
  QUALIFY ROW_NUMBER() OVER (PARTITION BY ticket_id ORDER BY created_datetime, id) = 1
), first_integrations AS (
  SELECT ticket_id, integration_id
  FROM messages
  WHERE is_public AND integration_id IS NOT NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY ticket_id ORDER BY created_datetime, id) = 1
), surveys AS (
  -- The one that was scored last, or without any the one that was made last.
  SELECT ticket_id, score, sent_datetime, scored_datetime
  FROM {satisfaction_surveys}
  WHERE _deleted_at IS NULL AND ticket_id IN (SELECT id FROM outdated)
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY ticket_id ORDER BY scored_datetime IS NULL, scored_datetime DESC, id DESC
  ) = 1
), happened AS (
  SELECT * FROM {events} WHERE type IN ({event_types}) AND object_id IN (SELECT id FROM outdated)
), ticket_assignments AS (
  {ticket_assignments}
), assignments AS (
  SELECT ticket_id, COUNT(*) AS assignments, MIN(created_datetime) AS first_assigned_at,
         MAX(CASE WHEN number = 1 THEN assignee_user_id END) AS first_assignee,
         MAX(CASE WHEN number_from_end = 1 THEN assignee_user_id END) AS last_assignee
  FROM (
    SELECT ticket_id, assignee_user_id, created_datetime,
           ROW_NUMBER() OVER (PARTITION BY ticket_id ORDER BY created_datetime, event_id) AS number,
           ROW_NUMBER() OVER (PARTITION BY ticket_id ORDER BY created_datetime DESC, event_id DESC) AS number_from_end
    FROM ticket_assignments
    WHERE assignee = 'user' AND assignee_user_id IS NOT NULL
  ) AS assigned
  GROUP BY ticket_id
), ticket_status_changes AS (
  {ticket_status_changes}
), closings AS (
  SELECT ticket_id,
         MIN(CASE WHEN change = 'closed' THEN created_datetime END) AS first_closed_at,
         MAX(CASE WHEN change = 'closed' THEN created_datetime END) AS last_closed_at,
         COUNT(CASE WHEN change = 'reopened' THEN 1 END) AS reopens
  FROM ticket_status_changes
  GROUP BY ticket_id
), ticket_tag_changes AS (
  {ticket_tag_changes}
), moments AS (
  -- Rules tag a ticket within seconds of its creation.
  SELECT id AS ticket_id, 'creation' AS moment, created_datetime + INTERVAL 1 MINUTE AS moment_at FROM outdated
  UNION ALL
  SELECT ticket_id, 'close', last_closed_at FROM closings WHERE last_closed_at IS NOT NULL
), tags_at_moments AS (
  -- A tag is there if its last change up to then has added it.
  SELECT changed.ticket_id, moments.moment, changed.tag_id, changed.change
  FROM ticket_tag_changes AS changed
  JOIN moments ON moments.ticket_id = changed.ticket_id AND changed.created_datetime <= moments.moment_at
  WHERE changed.tag_id IS NOT NULL
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY changed.ticket_id, moments.moment, changed.tag_id
    ORDER BY changed.created_datetime DESC, changed.event_id DESC
  ) = 1
), named_tags AS (
  SELECT there.ticket_id, there.moment, COALESCE(tag.name, CAST(there.tag_id AS {text})) AS name
  FROM tags_at_moments AS there
  LEFT JOIN {tags} AS tag ON tag.id = there.tag_id
  WHERE there.change = 'added'
), tag_lists AS (
  SELECT ticket_id,
         STRING_AGG(CASE WHEN moment = 'creation' THEN name END, ', ' ORDER BY name) AS at_creation,
         STRING_AGG(CASE WHEN moment = 'close' THEN name END, ', ' ORDER BY name) AS at_close
  FROM named_tags
  GROUP BY ticket_id
), closes AS (
  SELECT id AS ticket_id, CASE WHEN status = 'closed' THEN closed_datetime END AS closed_at FROM outdated
)
SELECT
  ticket.id,
  ticket.created_datetime,
  ticket.channel,
  ticket.language,
  ticket.status,
  ticket.from_agent,
  ticket.spam,
  ticket.trashed_datetime,
  {assignee_user_id} AS assignee_user_id,
  {assignee_user_name} AS assignee_user_name,
  {assignee_team_id} AS assignee_team_id,
  {assignee_team_name} AS assignee_team_name,
  first_integration.integration_id,
  integration.name AS integration_name,
  {store_name} AS store_name,

  -- Messages
  talk.ticket_id IS NOT NULL AS has_beginning,
  talk.asked_at AS customer_first_message_datetime,
  talk.last_asked_at AS customer_last_message_datetime,
  talk.first_written_at AS agent_first_message_datetime,
  talk.last_written_at AS agent_last_message_datetime,
  talk.messages,
  talk.customer_messages,
  talk.internal_notes,
  CASE WHEN {has_users} THEN talk.agent_replies END AS agent_replies,
  talk.rule_replies,
  CASE WHEN {has_users} THEN talk.bot_replies END AS bot_replies,
  CASE WHEN {has_users} AND talk.ticket_id IS NOT NULL AND ticket.status = 'closed' THEN talk.agent_replies = 1 END
    AS is_one_touch,
  CASE WHEN {has_users} AND talk.ticket_id IS NOT NULL
    THEN COALESCE(talk.agent_last_answered_at > talk.bot_answered_at, FALSE) END AS is_handover,

  -- First response
  CASE WHEN talk.has_first_response THEN talk.answered_at END AS first_response_datetime,
  CASE WHEN talk.has_first_response THEN reply.sender_id END AS first_response_agent_id,
  CASE WHEN talk.has_first_response THEN reply.sender_name END AS first_response_agent_name,
  CASE WHEN talk.has_first_response
    THEN ({unix_micros}(talk.answered_at) - {unix_micros}(talk.asked_at)) / 1000000 END AS first_response_seconds,

  -- Resolution
  close.closed_at AS closed_datetime,
  CASE WHEN close.closed_at > talk.asked_at
    THEN ({unix_micros}(close.closed_at) - {unix_micros}(talk.asked_at)) / 1000000 END AS resolution_seconds,
  ticket.has_events,
  CASE WHEN ticket.has_events THEN COALESCE(closing.first_closed_at, close.closed_at) END AS first_closed_datetime,
  CASE WHEN ticket.has_events AND COALESCE(closing.first_closed_at, close.closed_at) > talk.asked_at
    THEN ({unix_micros}(COALESCE(closing.first_closed_at, close.closed_at)) - {unix_micros}(talk.asked_at)) / 1000000
    END AS first_resolution_seconds,
  CASE WHEN ticket.has_events THEN COALESCE(closing.reopens, 0) END AS reopens,

  -- Assignments
  CASE WHEN ticket.has_events THEN COALESCE(assigned.assignments, 0) END AS assignments,
  CASE WHEN ticket.has_events THEN assigned.first_assigned_at END AS first_assigned_datetime,
  CASE WHEN ticket.has_events THEN assigned.first_assignee END AS first_assignee_user_id,
  CASE WHEN ticket.has_events THEN assigned.last_assignee END AS last_assignee_user_id,

  -- Tags
  CASE WHEN ticket.has_events THEN COALESCE(tag.at_creation, '') END AS tags_at_creation,
  CASE WHEN ticket.has_events AND closing.last_closed_at IS NOT NULL THEN COALESCE(tag.at_close, '') END
    AS tags_at_close,

  -- Satisfaction
  survey.sent_datetime AS satisfaction_sent_datetime,
  survey.scored_datetime AS satisfaction_scored_datetime,
  survey.score AS satisfaction_score,

  ticket.inputs AS _inputs,
  ticket.read_at AS _extracted_at,
  ticket._deleted_at,
  ticket._merged_into{fields}
FROM outdated AS ticket
JOIN closes AS close ON close.ticket_id = ticket.id
LEFT JOIN known_talks AS talk ON talk.ticket_id = ticket.id
LEFT JOIN first_replies AS reply ON reply.ticket_id = ticket.id
LEFT JOIN first_integrations AS first_integration ON first_integration.ticket_id = ticket.id
LEFT JOIN {integrations} AS integration ON integration.id = first_integration.integration_id
LEFT JOIN surveys AS survey ON survey.ticket_id = ticket.id
LEFT JOIN assignments AS assigned ON assigned.ticket_id = ticket.id
LEFT JOIN closings AS closing ON closing.ticket_id = ticket.id
LEFT JOIN tag_lists AS tag ON tag.ticket_id = ticket.id
