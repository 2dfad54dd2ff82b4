-- One row per day and slice: the tickets that were created, closed and reopened, and those open at the day's end.
--
-- Names in braces are tables, views of tables (`entities/`), and words that engines spell differently. {days} has a row
-- per wanted day: `starts` and `ends`, and the time from `known_from` to `known_to` of which the stored events tell all;
-- both are null if that is no time before `ends`. The moments {always} and {never} lie before and after all others.
WITH counted AS (
  -- Tickets in their newest state. Spam, trashed and deleted ones count on no day.
  SELECT id AS ticket_id, channel, created_datetime AS created_at, updated_datetime AS updated_at,
         CASE WHEN status = 'closed'
              THEN GREATEST(created_datetime, COALESCE(closed_datetime, updated_datetime, created_datetime))
         END AS closed_at
  FROM {tickets} AS stored
  WHERE id IS NOT NULL AND created_datetime IS NOT NULL
    AND _deleted_at IS NULL AND spam IS NOT TRUE AND trashed_datetime IS NULL
), tickets AS (
  -- After its last closing nothing happens to a ticket, and before its creation there is none.
  SELECT *
  FROM counted
  WHERE created_at < (SELECT MAX(ends) FROM {days})
    AND (closed_at IS NULL OR closed_at >= (SELECT MIN(starts) FROM {days}))
), told AS (
  SELECT ticket_id, event_id, change, change <> 'closed' AS is_open, created_datetime AS happened_at,
         LAG(change <> 'closed') OVER in_order AS was_open
  FROM {ticket_status_changes} AS changed
  WHERE change IN ('created', 'closed', 'reopened') AND ticket_id IN (SELECT ticket_id FROM tickets)
  WINDOW in_order AS (PARTITION BY ticket_id ORDER BY created_datetime, change <> 'created', event_id)
), turns AS (
  -- What repeats a state is no turn.
  SELECT ticket_id, event_id, change, is_open, happened_at
  FROM told
  WHERE was_open IS NULL OR was_open <> is_open
), bounds AS (
  SELECT ticket_id, MIN(CASE WHEN change = 'created' THEN happened_at END) AS created_at,
         MAX(CASE WHEN change = 'closed' THEN happened_at END) AS closed_at
  FROM turns
  GROUP BY ticket_id
), known AS (
  -- A ticket has a beginning in the events unless it was imported, or is older; its newest state may know of a closing
  -- that they lack.
  SELECT ticket.ticket_id, ticket.channel, ticket.created_at, ticket.updated_at, ticket.closed_at,
         COALESCE(told.created_at <= ticket.created_at + INTERVAL 1 HOUR, FALSE) AS has_beginning,
         CASE WHEN ticket.closed_at <= told.closed_at + INTERVAL 1 MINUTE THEN NULL ELSE ticket.closed_at END AS untold_at
  FROM tickets AS ticket
  LEFT JOIN bounds AS told ON told.ticket_id = ticket.ticket_id
), turned AS (
  SELECT ticket_id, change, is_open, happened_at, LEAD(happened_at) OVER in_order AS closed_at
  FROM turns
  WINDOW in_order AS (PARTITION BY ticket_id ORDER BY happened_at, change <> 'created', event_id)
), spans AS (
  -- From an opening to the closing after it: by the events, and by the newest state of the ticket.
  SELECT turned.ticket_id, TRUE AS is_exact, turned.change = 'created' AS is_first,
         CASE WHEN turned.change = 'created' THEN ticket.created_at ELSE turned.happened_at END AS opened_at,
         COALESCE(turned.closed_at, {never}) AS closed_at
  FROM turned
  JOIN tickets AS ticket ON ticket.ticket_id = turned.ticket_id
  WHERE turned.is_open
  UNION ALL
  SELECT ticket_id, FALSE, TRUE, created_at, COALESCE(closed_at, {never})
  FROM tickets
), ticket_days AS (
  -- Each day on which something happened to a ticket, or at whose end it was open. A ticket is exact on a day if the
  -- events tell all of it, from its creation to the day's end or to the last that happened to it.
  SELECT days.day, days.ends, days.known_to, span.is_exact,
         ticket.ticket_id, ticket.channel, ticket.created_at, ticket.updated_at,
         SUM(CASE WHEN span.is_first AND span.opened_at >= days.starts THEN 1 ELSE 0 END) AS created,
         SUM(CASE WHEN span.closed_at < days.ends THEN 1 ELSE 0 END) AS closed,
         SUM(CASE WHEN NOT span.is_first AND span.opened_at >= days.starts THEN 1 ELSE 0 END) AS reopened,
         MAX(CASE WHEN span.closed_at >= days.ends THEN 1 ELSE 0 END) AS is_open
  FROM {days}
  JOIN spans AS span ON span.opened_at < days.ends AND span.closed_at >= days.starts
  JOIN known AS ticket ON ticket.ticket_id = span.ticket_id
  WHERE span.is_exact = COALESCE(
    ticket.has_beginning AND ticket.created_at >= days.known_from
    AND (days.known_to >= days.ends OR ticket.updated_at < days.known_to)
    AND (ticket.untold_at IS NULL OR ticket.untold_at >= days.known_to),
    FALSE
  )
  GROUP BY days.day, days.ends, days.known_to, span.is_exact,
           ticket.ticket_id, ticket.channel, ticket.created_at, ticket.updated_at
), changes AS (
  -- A ticket has one agent and one team, or none, and any number of tags.
  SELECT ticket_id, event_id, created_datetime AS happened_at, 'agent' AS dimension, '' AS item,
         CAST(assignee_user_id AS {text}) AS slice, assignee_user_id IS NOT NULL AS is_on
  FROM {ticket_assignments} AS assigned
  WHERE assignee = 'user' AND ticket_id IN (SELECT ticket_id FROM ticket_days)
  UNION ALL
  SELECT ticket_id, event_id, created_datetime, 'team', '',
         CAST(assignee_team_id AS {text}), assignee_team_id IS NOT NULL
  FROM {ticket_assignments} AS assigned
  WHERE assignee = 'team' AND ticket_id IN (SELECT ticket_id FROM ticket_days)
  UNION ALL
  SELECT ticket_id, event_id, created_datetime, 'tag', CAST(tag_id AS {text}), CAST(tag_id AS {text}), change = 'added'
  FROM {ticket_tag_changes} AS tagged
  WHERE ticket_id IN (SELECT ticket_id FROM ticket_days)
), held AS (
  SELECT ticket_id, dimension, item, slice, is_on, happened_at AS from_at,
         LEAD(happened_at) OVER in_order AS until_at, ROW_NUMBER() OVER in_order AS number
  FROM changes
  WINDOW in_order AS (PARTITION BY ticket_id, dimension, item ORDER BY happened_at, event_id)
), shown AS (
  SELECT ticket_id, 'agent' AS dimension, '' AS item, CAST(assignee_user_id AS {text}) AS slice,
         assignee_user_name AS name, _extracted_at AS read_at
  FROM {ticket_people} AS people
  WHERE assignee_user_id IS NOT NULL
  UNION ALL
  SELECT ticket_id, 'team', '', CAST(assignee_team_id AS {text}), assignee_team_name, _extracted_at
  FROM {ticket_people} AS people
  WHERE assignee_team_id IS NOT NULL
  UNION ALL
  SELECT ticket_id, 'tag', CAST(tag_id AS {text}), CAST(tag_id AS {text}), tag_name, _extracted_at
  FROM {ticket_tags} AS tagged
), newest AS (
  SELECT DISTINCT ticket_id, dimension, item, slice
  FROM shown
  WHERE ticket_id IN (SELECT ticket_id FROM ticket_days)
), slices AS (
  -- By the events; a tag that was removed and never added had been there from the beginning.
  SELECT ticket_id, dimension, slice, from_at, COALESCE(until_at, {never}) AS until_at,
         FALSE AS is_newest, TRUE AS is_told
  FROM held
  WHERE is_on
  UNION ALL
  SELECT ticket_id, dimension, slice, {always}, from_at, FALSE, TRUE
  FROM held
  WHERE dimension = 'tag' AND NOT is_on AND number = 1
  UNION ALL
  -- By the newest state: all that there is of a ticket that is not exact, or of which no event tells.
  SELECT newest.ticket_id, newest.dimension, newest.slice, {always}, {never}, TRUE, changed.ticket_id IS NOT NULL
  FROM newest
  LEFT JOIN held AS changed
    ON changed.ticket_id = newest.ticket_id AND changed.dimension = newest.dimension AND changed.item = newest.item
    AND changed.number = 1
), letters AS (
  -- Public messages, each until the next one. What the shop could not send is none.
  SELECT ticket_id, from_agent IS TRUE AS is_from_shop, created_datetime AS from_at,
         COALESCE(LEAD(created_datetime) OVER (PARTITION BY ticket_id ORDER BY created_datetime, id), {never}) AS until_at
  FROM {ticket_messages} AS message
  WHERE _deleted_at IS NULL AND public
    AND (from_agent IS NOT TRUE OR failed_datetime IS NULL OR sent_datetime IS NOT NULL)
    AND ticket_id IN (SELECT ticket_id FROM ticket_days WHERE is_open = 1)
), measured AS (
  SELECT ticket.day, ticket.ends, ticket.known_to, ticket.is_exact, ticket.ticket_id, ticket.channel, ticket.updated_at,
         ticket.created, ticket.closed, ticket.reopened, ticket.is_open,
         CASE WHEN ticket.is_open = 1
              THEN ({unix_micros}(ticket.ends) - {unix_micros}(ticket.created_at)) / 1000000.0
         END AS age,
         ticket.is_open = 1 AND NOT letter.is_from_shop AS waits_for_agent,
         ticket.is_open = 1 AND letter.is_from_shop AS waits_for_customer
  FROM ticket_days AS ticket
  LEFT JOIN letters AS letter
    ON letter.ticket_id = ticket.ticket_id AND letter.from_at < ticket.ends AND letter.until_at >= ticket.ends
), sliced AS (
  SELECT day, 'all' AS dimension, 'all' AS slice,
         created, closed, reopened, is_open, age, waits_for_agent, waits_for_customer, is_exact
  FROM measured
  UNION ALL
  SELECT day, 'channel', channel,
         created, closed, reopened, is_open, age, waits_for_agent, waits_for_customer, is_exact
  FROM measured
  WHERE channel IS NOT NULL
  UNION ALL
  SELECT ticket.day, slice.dimension, slice.slice,
         ticket.created, ticket.closed, ticket.reopened, ticket.is_open, ticket.age,
         ticket.waits_for_agent, ticket.waits_for_customer, ticket.is_exact
  FROM measured AS ticket
  JOIN slices AS slice
    ON slice.ticket_id = ticket.ticket_id AND slice.from_at < ticket.ends AND slice.until_at >= ticket.ends
  WHERE CASE WHEN NOT slice.is_newest THEN ticket.is_exact
             ELSE NOT ticket.is_exact OR (NOT slice.is_told AND ticket.updated_at < ticket.known_to) END
  UNION ALL
  -- Every day has its row of all, of zeros if there was nothing.
  SELECT day, 'all', 'all', 0, 0, 0, 0, NULL, FALSE, FALSE, TRUE
  FROM {days}
), ranked AS (
  SELECT sliced.*,
         ROW_NUMBER() OVER (PARTITION BY day, dimension, slice, is_open ORDER BY age) - 1 AS place,
         COUNT(*) OVER (PARTITION BY day, dimension, slice, is_open) - 1 AS last_place
  FROM sliced
), grouped AS (
  -- The age at a place between two tickets, as half of the way to the last one may be, is a mean by nearness.
  SELECT day, dimension, slice,
         SUM(created) AS tickets_created, SUM(closed) AS tickets_closed, SUM(reopened) AS tickets_reopened,
         SUM(is_open) AS open_tickets,
         SUM(CASE WHEN is_open = 1 THEN age * GREATEST(0, 1 - ABS(place - last_place * 0.5)) END) AS age_median_seconds,
         SUM(CASE WHEN is_open = 1 THEN age * GREATEST(0, 1 - ABS(place - last_place * 0.9)) END) AS age_p90_seconds,
         COUNT(CASE WHEN waits_for_agent THEN 1 END) AS waiting_for_agent,
         COUNT(CASE WHEN waits_for_customer THEN 1 END) AS waiting_for_customer,
         COUNT(CASE WHEN NOT is_exact THEN 1 END) AS derived_tickets
  FROM ranked
  GROUP BY day, dimension, slice
), names AS (
  SELECT dimension, slice, name, MAX(read_at) AS read_at
  FROM shown
  GROUP BY dimension, slice, name
), labels AS (
  -- Names as the ticket that was read last had them.
  SELECT dimension, slice, name
  FROM names
  WHERE name IS NOT NULL
  QUALIFY ROW_NUMBER() OVER (PARTITION BY dimension, slice ORDER BY read_at DESC, name) = 1
)
SELECT grouped.*, COALESCE(labels.name, grouped.slice) AS label
FROM grouped
LEFT JOIN labels ON labels.dimension = grouped.dimension AND labels.slice = grouped.slice
