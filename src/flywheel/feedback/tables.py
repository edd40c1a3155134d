"""The feedback store's tables, and how those of an older version become these."""

from __future__ import annotations

import sqlalchemy as sa

SCHEMA = 2
"""Version of the tables below."""

metadata = sa.MetaData()
_number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up by itself only in this type

facts = sa.Table(
    "flywheel_facts",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""`schema`, `salt` of the hashes of people's keys, and `seal`: something sealed, by which a wrong key is known."""

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("number", _number, primary_key=True, autoincrement=True),
    sa.Column("prediction_id", sa.String(256), nullable=False, unique=True),
    sa.Column("task", sa.String(256), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("model_sha256", sa.String(64), nullable=False),
    sa.Column("time_us", sa.BigInteger, nullable=False, index=True),
    sa.Column("kept", sa.String(16), nullable=False),
    sa.Column("sealed", sa.Boolean, nullable=False),
    sa.Column("input", sa.LargeBinary, nullable=True),
    sa.Column("input_sha256", sa.String(64), nullable=False, index=True),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("subject_hash", sa.String(64), nullable=True, index=True),
    sa.Index("predictions_of_task", "task", "time_us"),
)
feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("number", _number, primary_key=True, autoincrement=True),
    sa.Column("feedback_id", sa.String(256), nullable=False),
    sa.Column("prediction_id", sa.String(256), nullable=False, index=True),
    sa.Column("label", sa.Text, nullable=True),
    sa.Column("correct", sa.Boolean, nullable=True),
    sa.Column("time_us", sa.BigInteger, nullable=False, index=True),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("source", sa.String(32), nullable=False),
    sa.UniqueConstraint("client", "feedback_id", name="feedback_of_client"),
)
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", _number, primary_key=True, autoincrement=True),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("subject_hash", sa.String(64), nullable=True),
    sa.Column("told", sa.Text, nullable=False),
)
"""What was deleted, when and how much of it; it does not say whose data it was."""


def migrate(connection: sa.Connection, lock: int) -> None:
    """Make tables of version 1 those of version 2, where an id of feedback is its client's own. All rows stay.

    Args:
        connection: A connection in a writing transaction, so that everything or nothing is written.
        lock: Number of PostgreSQL's advisory lock under which tables are made.
    """
    server = connection.dialect.name != "sqlite"
    if server:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    if connection.execute(sa.select(facts.c.value).where(facts.c.key == "schema")).scalar() != "1":
        return  # another process was quicker
    if server:
        for one in sa.inspect(connection).get_unique_constraints(feedback.name):
            connection.exec_driver_sql(f'ALTER TABLE feedback DROP CONSTRAINT "{one["name"]}"')
        connection.exec_driver_sql(
            "ALTER TABLE feedback ADD CONSTRAINT feedback_of_client UNIQUE (client, feedback_id)"
        )
    else:  # SQLite cannot drop a constraint
        old = sa.Table("feedback_1", sa.MetaData(), *(sa.Column(one.name, one.type) for one in feedback.c))
        connection.exec_driver_sql("ALTER TABLE feedback RENAME TO feedback_1")
        for index in feedback.indexes:
            index.drop(connection)
        feedback.create(connection)
        names = [one.name for one in feedback.c]
        connection.execute(sa.insert(feedback).from_select(names, sa.select(*(old.c[name] for name in names))))
        connection.exec_driver_sql("DROP TABLE feedback_1")
    connection.execute(sa.update(facts).where(facts.c.key == "schema").values(value="2"))
