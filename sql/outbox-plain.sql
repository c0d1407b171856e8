-- The outbox without a library in the server: gman relay submits its jobs.
--
--     mysql DATABASE < outbox-plain.sql
--
-- For servers on which nothing can be loaded, such as managed ones. Everything is created in DATABASE,
-- the schema whose triggers are to use it. Safe to run again: rows that wait stay and are delivered. The
-- tables are those of outbox.sql, which can be run before or later.
--
-- A trigger writes its job into the table gman_outbox, in the transaction of the change:
--
--     INSERT INTO gman_outbox (`function`, workload) VALUES ('syncToRedis', JSON_OBJECT('id', NEW.id, 'name', NEW.name));
--
-- gman triggers DATABASE.TABLE --outbox --native-json --create makes such triggers.
--
-- Public: the tables gman_outbox and gman_outbox_dead, the column gman_outbox_state.confirm, the view
-- gman_outbox_status. The rest is how they work.

SET @gman_sql_mode = @@sql_mode, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';

-- Jobs that have been written and not yet submitted. Never TRUNCATE it, which would hand out the
-- same ids again: DELETE instead.
CREATE TABLE IF NOT EXISTS gman_outbox (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  `function` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  -- The bytes that the worker gets.
  workload LONGBLOB NOT NULL,
  created TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- Jobs that a job server refused several times, or that failed again and again while others got
-- through, and why. To try one again:
--     INSERT INTO gman_outbox (`function`, workload) SELECT `function`, workload FROM gman_outbox_dead WHERE id = ...;
CREATE TABLE IF NOT EXISTS gman_outbox_dead (
  -- Its id in gman_outbox; after a TRUNCATE there may be another one that had it.
  id BIGINT UNSIGNED NOT NULL,
  `function` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  workload LONGBLOB NOT NULL,
  created TIMESTAMP(3) NULL,
  died TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  error TEXT CHARACTER SET utf8mb4 NOT NULL,
  PRIMARY KEY (id, died)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

-- Private: rows that a job server has acknowledged and that could not be deleted so far. They must
-- not be sent again.
CREATE TABLE IF NOT EXISTS gman_outbox_acknowledged (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY
) ENGINE=InnoDB;

-- What the relay knows from one run to the next, in one row. Public is confirm:
--
--     UPDATE gman_outbox_state SET confirm = 'worker';
CREATE TABLE IF NOT EXISTS gman_outbox_state (
  one TINYINT NOT NULL PRIMARY KEY,
  -- A row is deleted once the job server has the job, or once a worker has done it.
  confirm ENUM('gearmand', 'worker') NOT NULL DEFAULT 'gearmand',
  -- Who relays. The owner changes beat at least once a second; whoever sees the row unchanged for five
  -- may take its place, in a new epoch.
  owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  epoch BIGINT UNSIGNED NOT NULL DEFAULT 0,
  beat BIGINT UNSIGNED NOT NULL DEFAULT 0,
  -- When it did, for people: clocks differ and jump, and no relay goes by them.
  beat_at TIMESTAMP(3) NULL,
  -- The rest is of the event.
  -- No row below it can appear any more, as far as we know.
  horizon BIGINT UNSIGNED NOT NULL DEFAULT 1,
  -- Becomes the horizon after some runs: see gman_outbox_advance.
  next_horizon BIGINT UNSIGNED NOT NULL DEFAULT 1,
  next_horizon_runs INT NOT NULL DEFAULT 0,
  -- One more than the highest id that was ever submitted.
  top BIGINT UNSIGNED NOT NULL DEFAULT 1,
  -- A row that has been submitted and is kept all the same: MySQL before 8.0 forgets the counter
  -- when it restarts, and goes on from the highest id that it finds.
  kept BIGINT UNSIGNED NOT NULL DEFAULT 0,
  -- When all rows below the horizon are looked for next, in case one did appear.
  look_again TIMESTAMP NULL,
  -- The row that was refused or failed last, and how often in succession.
  refused BIGINT UNSIGNED NOT NULL DEFAULT 0,
  tries INT NOT NULL DEFAULT 0,
  failing_since TIMESTAMP(3) NULL,
  last_error TEXT CHARACTER SET utf8mb4 NULL,
  last_error_at TIMESTAMP(3) NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC;

INSERT IGNORE INTO gman_outbox_state (one) VALUES (1);

-- How the outbox is: counts its rows, so it takes a while if very many wait. problem is NULL if all is
-- well. The view waits with everybody else if somebody has locked gman_outbox.
CREATE OR REPLACE VIEW gman_outbox_status AS
SELECT (SELECT COUNT(*) FROM gman_outbox WHERE id <> s.kept) AS depth,
       (SELECT UNIX_TIMESTAMP(CURRENT_TIMESTAMP(3)) - UNIX_TIMESTAMP(created)
          FROM gman_outbox WHERE id <> s.kept ORDER BY id LIMIT 1) AS oldest_seconds,
       (SELECT COUNT(*) FROM gman_outbox_dead) AS dead,
       s.failing_since AS failing_since,
       s.last_error AS last_error,
       s.last_error_at AS last_error_at,
       s.confirm AS confirm,
       s.owner AS owner,
       UNIX_TIMESTAMP(CURRENT_TIMESTAMP(3)) - UNIX_TIMESTAMP(s.beat_at) AS beat_seconds,
       CASE
         WHEN s.owner = '' OR s.beat_at IS NULL
           THEN 'nobody relays: start gman relay, whose log says if it cannot; or the event: see SHOW EVENTS and event_scheduler'
         WHEN UNIX_TIMESTAMP(CURRENT_TIMESTAMP(3)) - UNIX_TIMESTAMP(s.beat_at) > 10
           THEN CONCAT('nobody relays since ', s.beat_at, ', last ', s.owner, ': it has ended, is stuck or cannot write (a full disk);',
                       ' or the event: see SHOW EVENTS (enabled? is its definer an account that exists?), event_scheduler and the error log')
         WHEN s.failing_since IS NOT NULL THEN s.last_error
         WHEN EXISTS (SELECT 1 FROM gman_outbox_dead)
           THEN 'jobs were set aside: SELECT id, error FROM gman_outbox_dead'
       END AS problem
  FROM gman_outbox_state AS s;

SET sql_mode = @gman_sql_mode;
