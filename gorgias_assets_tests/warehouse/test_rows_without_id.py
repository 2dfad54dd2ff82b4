"""Rows without an id, which somebody has put in by hand: a run leaves them alone and logs how many there are."""

import logging

from gorgias_assets.entities import TICKETS
from gorgias_assets_tests.conftest import FIRST_DAY, Project


def test_a_run_logs_rows_without_an_id_and_leaves_them_alone(project: Project) -> None:
    project.materialize(FIRST_DAY, select=[TICKETS.name])
    project.engine.execute(*["INSERT INTO gorgias.tickets (subject) VALUES ('mine')"] * 2)
    for _ in range(2):
        result = project.materialize(FIRST_DAY, select=[TICKETS.name])
        warnings = [entry.user_message for entry in project.log(result) if entry.level == logging.WARNING]
        assert "gorgias.tickets: 2 rows without an id are left alone; delete them, no sweep wrote them." in warnings
    assert project.query("SELECT COUNT(*) FROM gorgias.tickets WHERE id IS NULL") == [(2,)]
