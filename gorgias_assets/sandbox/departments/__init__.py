"""The departments of a brand. Each makes what it works with, and plans what happens to it.

people         customers, known on every channel
channels       the ways to write, and the integrations behind them
staff          agents, their hours and teams; bots
tags           made, renamed, merged, deleted
custom_fields  fields and their values
macros         prepared answers
tickets        conversations and messages, and what can be done to them
rules          what the helpdesk does by itself
robot          the AI Agent
desk           who answers, and when
calls          the hotline
jobs           what is done to many tickets at once
settings       views, widgets, hours, the subscription
upkeep         chores
rhythm         nights, weekends, Mondays
"""
