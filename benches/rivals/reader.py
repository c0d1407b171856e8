"""mysql-replication writes each changed row to Redis, one pipeline for each event of the binary log."""

import sys

import redis
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import UpdateRowsEvent

socket, redis_port = sys.argv[1:]
client = redis.Redis(port=int(redis_port))
stream = BinLogStreamReader(
    connection_settings={"unix_socket": socket, "user": "root"},
    server_id=4712,
    blocking=True,
    resume_stream=True,  # from the present end of the log
    only_events=[UpdateRowsEvent],
    only_schemas=["test"],
    only_tables=["t"],
)
for event in stream:
    pipeline = client.pipeline(transaction=False)
    for row in event.rows:
        key, name = list(row["after_values"].values())[:2]
        pipeline.set(key, name)
    pipeline.execute()
