-- The outbox: a job leaves if and only if its transaction commits.
--
--     mysql DATABASE < outbox.sql
--
-- Everything is created in DATABASE, the schema whose triggers are to use it. Needs install.sql
-- before it, the event scheduler (SET GLOBAL event_scheduler = ON, and the same in my.cnf), and the
-- mysql or mariadb client (DELIMITER). Safe to run again: rows that wait stay and are delivered.
--
-- A trigger writes its job into the table gman_outbox, in the transaction of the change:
--
--     INSERT INTO gman_outbox (`function`, workload) VALUES ('syncToRedis', json_object_udf(NEW.id, NEW.name));
--
-- or, if it cannot be changed, calls gman_do_background(function, workload) as before: a stored
-- function of that name does the INSERT and returns O:<id>. The loadable function of the same name
-- would win, so it must not be installed: DROP FUNCTION gman_do_background. If it is, this file
-- ends with an error that says so, after everything else has been done.
--
-- An event hands the committed rows to the job servers, in the order of their ids, and deletes
-- exactly the rows that a job server has acknowledged. A row whose DELETE did not become durable is
-- delivered again: at least once. If the DELETE fails, only the DELETE is repeated.
--
-- Why the order of ids is the order of commits, for two changes of one row: the second change waits
-- for the row's lock until the first has committed, and only then takes its id from the same
-- counter. So the first has the lower id, and whoever sees the second sees the first.
--
-- Public: the tables gman_outbox and gman_outbox_dead, the view gman_outbox_status, the function
-- gman_do_background, the event gman_outbox_relay. The rest is how they work.

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

DROP EVENT IF EXISTS gman_outbox_relay;
-- The relay that is running ends by itself.
DO GET_LOCK(CONCAT('gman_outbox ', CRC32(DATABASE()), ' ', LEFT(DATABASE(), 40)), 10);
DROP PROCEDURE IF EXISTS gman_outbox_set_session;
DROP PROCEDURE IF EXISTS gman_outbox_begin;
DROP PROCEDURE IF EXISTS gman_outbox_lease;
DROP PROCEDURE IF EXISTS gman_outbox_beat;
DROP PROCEDURE IF EXISTS gman_outbox_advance;
DROP PROCEDURE IF EXISTS gman_outbox_note;
DROP PROCEDURE IF EXISTS gman_outbox_delete;
DROP PROCEDURE IF EXISTS gman_outbox_settle;
DROP PROCEDURE IF EXISTS gman_outbox_keep_acknowledged;
DROP PROCEDURE IF EXISTS gman_outbox_set_aside;
DROP PROCEDURE IF EXISTS gman_outbox_doubt;
DROP PROCEDURE IF EXISTS gman_outbox_run;

DELIMITER $$

-- Reads below are SELECT ... INTO and not SET ... = (SELECT ...), which waits for locks.

-- Private: what the statements below need of the session.
CREATE PROCEDURE gman_outbox_set_session()
SQL SECURITY INVOKER
BEGIN
  -- MySQL has neither variable below.
  DECLARE EXIT HANDLER FOR 1193 BEGIN END;
  SET @gman_outbox_cluster = FALSE;
  SET SESSION group_concat_max_len = 1048576;
  -- A DELETE has to use the index, even if the table is so small that reading all of it costs
  -- less: that would wait for the rows of transactions that are not done. MySQL does not heed
  -- FORCE INDEX in a DELETE.
  SET SESSION sql_safe_updates = 1;
  -- Who waits for a lock says so soon, and goes on relaying what is not locked.
  SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1;
  -- MariaDB makes a join of a long list of ids, which promises no order.
  SET @gman_outbox_sql = 'SET SESSION in_predicate_conversion_threshold = 0';
  PREPARE gman_outbox_statement FROM @gman_outbox_sql;
  EXECUTE gman_outbox_statement;
  SET @gman_outbox_sql = 'SELECT @@GLOBAL.wsrep_on INTO @gman_outbox_cluster';
  PREPARE gman_outbox_statement FROM @gman_outbox_sql;
  EXECUTE gman_outbox_statement;
  DEALLOCATE PREPARE gman_outbox_statement;
END$$

-- Private: sets @gman_outbox_epoch if this server has the lease or gets it, else to NULL. Of several
-- servers with these tables, as in a cluster, one relays; so it is with a process that relays.
CREATE PROCEDURE gman_outbox_lease()
SQL SECURITY INVOKER
BEGIN
  DECLARE v_here, v_owner, v_owner_now VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
  DECLARE v_epoch, v_epoch_now, v_beat, v_beat_now BIGINT UNSIGNED;
  SET v_here = LEFT(CONCAT_WS(' ', 'event of', @@hostname, @@port, @@datadir, @@server_id), 255), @gman_outbox_epoch = NULL;
  SELECT owner, epoch, beat INTO v_owner, v_epoch, v_beat FROM gman_outbox_state WHERE one = 1;
  IF v_owner = v_here THEN
    UPDATE gman_outbox_state SET beat = beat + 1, beat_at = NOW(3) WHERE one = 1 AND epoch = v_epoch;
    IF ROW_COUNT() = 1 THEN SET @gman_outbox_epoch = v_epoch; END IF;
  ELSE
    IF v_owner <> '' THEN DO SLEEP(5); END IF;
    SELECT owner, epoch, beat INTO v_owner_now, v_epoch_now, v_beat_now FROM gman_outbox_state WHERE one = 1;
    IF v_owner_now = v_owner AND v_epoch_now = v_epoch AND v_beat_now = v_beat THEN
      -- What the other one knew of ids may not hold here.
      UPDATE gman_outbox_state
         SET owner = v_here, epoch = v_epoch + 1, beat = 0, beat_at = NOW(3),
             horizon = 1, next_horizon = 1, next_horizon_runs = 0, look_again = NULL
       WHERE one = 1 AND owner = v_owner AND epoch = v_epoch AND beat = v_beat;
      IF ROW_COUNT() = 1 THEN SET @gman_outbox_epoch = v_epoch + 1; END IF;
    END IF;
  END IF;
END$$

-- Private: sets @gman_outbox_epoch to NULL if another one has taken the lease. As a transaction of its
-- own it waits for the log.
CREATE PROCEDURE gman_outbox_beat()
SQL SECURITY INVOKER
BEGIN
  UPDATE gman_outbox_state SET beat = beat + 1, beat_at = NOW(3) WHERE one = 1 AND epoch = @gman_outbox_epoch;
  IF ROW_COUNT() = 0 THEN SET @gman_outbox_epoch = NULL; END IF;
END$$

-- Private: moves the horizon, at which every poll begins to search. InnoDB keeps deleted rows for as
-- long as some transaction could still see them, and a search from the first id would step over
-- all of them, every time.
--
-- A transaction that commits late can have an id below others that have been submitted long ago,
-- so the horizon must not pass an id that may still come. Rows that are written and not committed
-- are seen by a dirty read. What no read can see is an id that a session has taken from the counter
-- and not yet written, which takes microseconds: therefore a new horizon counts only after five
-- runs of a second each. Should a row come later still, the look at all rows finds it, which
-- happens every ten seconds, or more seldom: it takes a hundredth of the time at most.
CREATE PROCEDURE gman_outbox_advance()
SQL SECURITY INVOKER
BEGIN
  DECLARE v_horizon, v_next, v_top, v_kept BIGINT UNSIGNED;
  DECLARE v_first BIGINT UNSIGNED DEFAULT NULL;
  DECLARE v_runs, v_pause INT;
  DECLARE v_look DATETIME;
  DECLARE v_began DATETIME(6);

  SELECT horizon, next_horizon, next_horizon_runs, top, kept, look_again
    INTO v_horizon, v_next, v_runs, v_top, v_kept, v_look
    FROM gman_outbox_state WHERE one = 1;

  IF v_look IS NULL OR v_look <= NOW() THEN
    SET v_began = SYSDATE(6);
    SELECT (SELECT id FROM gman_outbox FORCE INDEX (PRIMARY) WHERE id < v_horizon AND id <> v_kept ORDER BY id LIMIT 1) INTO v_first;
    SET v_pause = GREATEST(10, TIMESTAMPDIFF(MICROSECOND, v_began, SYSDATE(6)) DIV 10000);
    IF v_first IS NOT NULL THEN
      UPDATE gman_outbox_state
         SET last_error = CONCAT('row ', v_first, ' has an id that was passed, below ', v_horizon,
                                 ': was gman_outbox truncated? DELETE its rows instead'),
             last_error_at = NOW(3)
       WHERE one = 1;
      SET v_horizon = v_first;
    END IF;
    UPDATE gman_outbox_state
       SET look_again = NOW() + INTERVAL v_pause SECOND, horizon = v_horizon
     WHERE one = 1;
  END IF;

  IF v_runs < 5 THEN
    -- Nothing to do if the horizon is as far as it can be.
    UPDATE gman_outbox_state
       SET next_horizon = IF(v_runs = 0, v_top, next_horizon), next_horizon_runs = v_runs + 1
     WHERE one = 1 AND v_top > v_horizon;
  ELSE
    -- Every server looks a MIN up in the index. For ORDER BY id LIMIT 1 MySQL begins at the first id.
    SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;
    SELECT COALESCE((SELECT MIN(id) FROM gman_outbox WHERE id >= v_horizon AND id < v_kept),
                    (SELECT MIN(id) FROM gman_outbox WHERE id >= GREATEST(v_horizon, v_kept + 1))) INTO v_first;
    UPDATE gman_outbox_state
       SET horizon = GREATEST(v_horizon, LEAST(v_next, COALESCE(v_first, v_next))), next_horizon_runs = 0
     WHERE one = 1;
  END IF;
END$$

-- Private: writes down what stands in the way; NULL when nothing does any more.
CREATE PROCEDURE gman_outbox_note(IN p_error TEXT CHARACTER SET utf8mb4)
SQL SECURITY INVOKER
BEGIN
  IF p_error IS NULL THEN
    UPDATE gman_outbox_state SET failing_since = NULL WHERE one = 1;
  ELSE
    UPDATE gman_outbox_state
       SET failing_since = COALESCE(failing_since, NOW(3)), last_error = LEFT(p_error, 4096), last_error_at = NOW(3)
     WHERE one = 1;
  END IF;
END$$

-- Private: deletes one row that has been dealt with; within a transaction.
CREATE PROCEDURE gman_outbox_delete(IN p_id BIGINT UNSIGNED)
SQL SECURITY INVOKER
BEGIN
  DECLARE v_id BIGINT UNSIGNED DEFAULT p_id;
  -- See gman_outbox_state.kept.
  IF VERSION() LIKE '5.%' THEN
    SELECT LEAST(p_id, kept) INTO v_id FROM gman_outbox_state WHERE one = 1;
    UPDATE gman_outbox_state SET kept = p_id WHERE one = 1 AND kept < p_id;
  END IF;
  DELETE FROM gman_outbox WHERE id = v_id;
END$$

-- Private: deletes those of the rows @gman_outbox_rows whose ids are p_last at most: they have been
-- acknowledged. p_last goes by itself and after the others, so that the search for these ends at a
-- row that is ours: InnoDB locks the one at which it ends, and the next one may be of a transaction
-- that is not done. Sets @gman_outbox_settled to p_last if it worked.
CREATE PROCEDURE gman_outbox_settle(IN p_last BIGINT UNSIGNED)
SQL SECURITY INVOKER
BEGIN
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
  SET @gman_outbox_settled = NULL;
  SET @gman_outbox_sql = CONCAT('DELETE FROM gman_outbox WHERE id ', @gman_outbox_rows, ' AND id < ', p_last);
  START TRANSACTION;
  PREPARE gman_outbox_statement FROM @gman_outbox_sql;
  EXECUTE gman_outbox_statement;
  DEALLOCATE PREPARE gman_outbox_statement;
  CALL gman_outbox_delete(p_last);
  DELETE FROM gman_outbox_acknowledged WHERE id <= p_last;
  CALL gman_outbox_beat();
  IF @gman_outbox_epoch IS NULL THEN
    ROLLBACK;
  ELSE
    COMMIT;
    SET @gman_outbox_settled = p_last;
  END IF;
END$$

-- Private: writes down what gman_outbox_settle could not delete, for the next run.
CREATE PROCEDURE gman_outbox_keep_acknowledged(IN p_last BIGINT UNSIGNED)
SQL SECURITY INVOKER
BEGIN
  -- In two steps: INSERT ... SELECT would lock the rows that it reads.
  SET @gman_outbox_sql = CONCAT('SELECT GROUP_CONCAT("(", id, ")") INTO @gman_outbox_ids',
                                ' FROM gman_outbox FORCE INDEX (PRIMARY) WHERE id ', @gman_outbox_rows,
                                ' AND id <= ', p_last);
  PREPARE gman_outbox_statement FROM @gman_outbox_sql;
  EXECUTE gman_outbox_statement;
  SET @gman_outbox_sql = CONCAT('INSERT IGNORE INTO gman_outbox_acknowledged (id) VALUES ', @gman_outbox_ids);
  PREPARE gman_outbox_statement FROM @gman_outbox_sql;
  EXECUTE gman_outbox_statement;
  DEALLOCATE PREPARE gman_outbox_statement;
END$$

-- Private: row p_id was refused, or failed: counts that, and sets the row aside after p_most times.
CREATE PROCEDURE gman_outbox_set_aside(IN p_id BIGINT UNSIGNED, IN p_error TEXT CHARACTER SET utf8mb4, IN p_most INT)
SQL SECURITY INVOKER
BEGIN
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
  START TRANSACTION;
  -- Assignments are made from left to right: the first one needs the old value of the second.
  UPDATE gman_outbox_state SET tries = IF(refused = p_id, tries + 1, 1), refused = p_id WHERE one = 1;
  IF (SELECT tries FROM gman_outbox_state WHERE one = 1) >= p_most THEN
    INSERT INTO gman_outbox_dead (id, `function`, workload, created, error)
    SELECT id, `function`, workload, created, LEFT(p_error, 4096) FROM gman_outbox WHERE id = p_id;
    CALL gman_outbox_delete(p_id);
    UPDATE gman_outbox_state SET refused = 0, tries = 0 WHERE one = 1;
  END IF;
  COMMIT;
END$$

-- Private: row p_id is to be sent by itself. If it failed five times while a job server was connected,
-- is it the row, as one that kills the server, or does nothing get through? Sends a small row from
-- behind it first. If that one gets through three times and p_id fails right after it, p_id is set
-- aside. Sets @gman_outbox_doubt to 0 if p_id is not suspected, else to 1, or to 2 if the other one
-- got through.
--
-- The small row is not deleted: it is sent again in its turn, after p_id, so an older value of its
-- key cannot come last. It is of the same function: another one may have other job servers.
CREATE PROCEDURE gman_outbox_doubt(IN p_id BIGINT UNSIGNED)
SQL SECURITY INVOKER
BEGIN
  DECLARE v_other BIGINT UNSIGNED DEFAULT NULL;
  SELECT refused = p_id AND tries >= 5 INTO @gman_outbox_doubt FROM gman_outbox_state WHERE one = 1;
  IF @gman_outbox_doubt THEN
    SELECT (SELECT id
              FROM (SELECT o.id, LENGTH(o.workload) AS size
                      FROM gman_outbox AS o FORCE INDEX (PRIMARY)
                     WHERE o.id > p_id AND o.id <> (SELECT kept FROM gman_outbox_state WHERE one = 1)
                       AND o.`function` = (SELECT `function` FROM gman_outbox WHERE id = p_id)
                     ORDER BY o.id LIMIT 100) AS behind
             ORDER BY size, id LIMIT 1) INTO v_other;
    SET @gman_outbox_done = NULL;
    SELECT gman_relay(id, `function`, workload)
      INTO @gman_outbox_done FROM gman_outbox WHERE id = v_other;
    IF @gman_outbox_done IS NOT NULL THEN SET @gman_outbox_doubt = 2; END IF;
  END IF;
END$$

-- Relays for p_seconds, after the one who does so now, if that one ends in time. The event calls it;
-- so can whoever has no event scheduler, over and over.
-- Leaves the session with other settings: see gman_outbox_set_session.
CREATE PROCEDURE gman_outbox_run(IN p_seconds INT)
SQL SECURITY INVOKER
run: BEGIN
  DECLARE v_lock VARCHAR(64) DEFAULT CONCAT('gman_outbox ', CRC32(DATABASE()), ' ', LEFT(DATABASE(), 40));
  -- A little longer, so that the next one is there before this one ends.
  DECLARE v_end DATETIME(6) DEFAULT SYSDATE(6) + INTERVAL p_seconds SECOND + INTERVAL 200000 MICROSECOND;
  DECLARE v_confirm VARCHAR(8) CHARACTER SET ascii;
  DECLARE v_horizon, v_kept, v_top, v_first, v_count, v_low, v_high, v_done BIGINT UNSIGNED;
  -- The last of the rows @gman_outbox_rows that have been acknowledged and are still there.
  DECLARE v_acknowledged BIGINT UNSIGNED DEFAULT NULL;
  DECLARE v_error TEXT CHARACTER SET utf8mb4;
  DECLARE v_failing, v_noted BOOL DEFAULT FALSE;
  -- Whether rows were relayed since the last wait: more may be about to come.
  DECLARE v_gathered BOOL DEFAULT FALSE;
  -- See gman_outbox_state.kept.
  DECLARE v_forgets BOOL DEFAULT VERSION() LIKE '5.%';
  -- With a binary log a commit is shown only when its log is on disk, in a cluster only when the other
  -- nodes have it.
  DECLARE v_flush BOOL DEFAULT @@GLOBAL.innodb_flush_log_at_trx_commit = 1 AND NOT @@GLOBAL.log_bin;
  -- How many ids a batch spans at most: enough that its two commits count for little, and that
  -- gearmand takes the first jobs while the last ones are read.
  DECLARE v_most BIGINT UNSIGNED DEFAULT 3000;
  -- How many it spans now: one after a failure, until something goes through again.
  DECLARE v_span BIGINT UNSIGNED DEFAULT v_most;
  -- Whether a commit wakes us: see outbox-wake.sql.
  DECLARE v_wakes BOOL DEFAULT FALSE;
  -- How long to wait after a DELETE that failed; doubled each time.
  DECLARE v_backoff DECIMAL(3,2) DEFAULT 0.05;
  -- Whatever fails, the rows are still there. A KILL is no exception and ends the procedure, also in
  -- a pause: the server's shutdown does not wait for it.
  DECLARE CONTINUE HANDLER FOR SQLEXCEPTION
    GET DIAGNOSTICS CONDITION 1 v_error = MESSAGE_TEXT;

  -- A primary that has become a replica.
  IF @@GLOBAL.read_only THEN LEAVE run; END IF;
  IF NOT COALESCE(GET_LOCK(v_lock, p_seconds), FALSE) THEN LEAVE run; END IF;
  CALL gman_outbox_set_session();
  CALL gman_outbox_lease();
  IF @gman_outbox_epoch IS NULL AND v_error IS NULL THEN
    DO RELEASE_LOCK(v_lock);
    LEAVE run;
  END IF;
  IF @gman_outbox_cluster THEN
    -- Transactions of other nodes are not seen before they commit, so any id may still come: the
    -- horizon stays where it is.
    SET v_flush = FALSE;
  ELSE
    CALL gman_outbox_advance();
  END IF;
  SELECT confirm, horizon, top, kept, failing_since IS NOT NULL
    INTO v_confirm, v_horizon, v_top, v_kept, v_failing
    FROM gman_outbox_state WHERE one = 1;
  IF v_failing THEN SET v_span = 1; END IF;
  -- What an earlier run could not delete. Then this one tries it twice at most.
  SELECT MAX(id), CONCAT('IN (', GROUP_CONCAT(id), ')') INTO v_acknowledged, @gman_outbox_rows
    FROM gman_outbox_acknowledged;
  IF v_acknowledged IS NOT NULL THEN SET v_backoff = 0.8; END IF;
  -- Without knowing what has been acknowledged it would be sent again.
  IF v_error IS NOT NULL THEN
    CALL gman_outbox_note(v_error);
    DO RELEASE_LOCK(v_lock);
    LEAVE run;
  END IF;

  -- Asked before there is time to wait: under a steady load there never is.
  SET v_wakes = gman_outbox_wait(DATABASE(), 0) IS NOT NULL;
  WHILE SYSDATE(6) < v_end AND @gman_outbox_epoch IS NOT NULL AND NOT @@GLOBAL.read_only DO
    -- The search of gman_outbox_advance.
    SELECT COALESCE((SELECT MIN(id) FROM gman_outbox WHERE id >= v_horizon AND id < v_kept),
                    (SELECT MIN(id) FROM gman_outbox WHERE id >= GREATEST(v_horizon, v_kept + 1))) INTO v_first;
    IF v_acknowledged IS NOT NULL THEN
      CALL gman_outbox_settle(v_acknowledged);
      IF @gman_outbox_settled <=> v_acknowledged THEN SET v_acknowledged = NULL; END IF;
      IF v_forgets THEN SELECT kept INTO v_kept FROM gman_outbox_state WHERE one = 1; END IF;
      IF v_acknowledged IS NULL AND v_error IS NULL THEN
        CALL gman_outbox_note(NULL);
        SET v_failing = FALSE, v_backoff = 0.05;
      END IF;
    ELSEIF v_first IS NULL AND v_error IS NULL THEN
      IF NOT v_wakes AND v_gathered THEN
        DO SLEEP(0.01);
        SET v_gathered = FALSE;
      ELSE
        SET v_wakes = gman_outbox_wait(DATABASE(), 500) IS NOT NULL;
      END IF;
    ELSE
      SET v_high = NULL, v_gathered = TRUE;
      SELECT COUNT(*), MIN(id), MAX(id) INTO v_count, v_low, v_high
        FROM gman_outbox FORCE INDEX (PRIMARY)
       WHERE id >= v_first AND id < v_first + v_span AND id <> v_kept;
      IF v_count = v_high - v_low + 1 THEN
        -- Without a gap among the ids there is no other row between them, and a range is found
        -- faster than a list.
        SET @gman_outbox_rows = CONCAT('BETWEEN ', v_low, ' AND ', v_high);
      ELSE
        SELECT CONCAT('IN (', GROUP_CONCAT(id), ')'), COUNT(*), MIN(id), MAX(id)
          INTO @gman_outbox_rows, v_count, v_low, v_high
          FROM gman_outbox FORCE INDEX (PRIMARY)
         WHERE id >= v_first AND id < v_first + v_span AND id <> v_kept;
      END IF;
      -- InnoDB shows a commit to others before its log is on disk. A commit of our own waits for
      -- the log, and with it for every commit that we have seen: what is relayed survives a crash.
      IF v_flush THEN
        CALL gman_outbox_beat();
      ELSEIF NOT EXISTS (SELECT 1 FROM gman_outbox_state WHERE one = 1 AND epoch = @gman_outbox_epoch) THEN
        SET @gman_outbox_epoch = NULL;
      END IF;
      SET @gman_outbox_doubt = 0;
      IF v_failing AND v_low = v_high THEN CALL gman_outbox_doubt(v_low); END IF;
      SET @gman_outbox_done = NULL;
      -- In the order of the primary key; gman_relay fails if it is not. Without a unique id, each attempt
      -- gets one of its own: with one that stays, gearmand would drop the repetition of a job that waits,
      -- and the repetition of an older change, which was done, would come after it.
      SET @gman_outbox_sql = CONCAT('SELECT gman_relay(id, `function`, workload, NULL, "', v_confirm, '")',
                                    ' INTO @gman_outbox_done FROM gman_outbox FORCE INDEX (PRIMARY) WHERE id ',
                                    @gman_outbox_rows);
      IF v_error IS NULL AND @gman_outbox_epoch IS NOT NULL THEN
        PREPARE gman_outbox_statement FROM @gman_outbox_sql;
        EXECUTE gman_outbox_statement;
        DEALLOCATE PREPARE gman_outbox_statement;
      END IF;
      SET v_done = @gman_outbox_done;
      IF v_error IS NULL AND NOT v_done <=> v_high AND @gman_outbox_epoch IS NOT NULL THEN SET v_error = gman_relay_error(); END IF;
      IF v_done IS NOT NULL THEN
        SET v_top = GREATEST(v_top, v_done + 1);
        CALL gman_outbox_settle(v_done);
        IF NOT @gman_outbox_settled <=> v_done AND @gman_outbox_epoch IS NOT NULL THEN
          SET v_acknowledged = v_done;
          CALL gman_outbox_keep_acknowledged(v_done);
        END IF;
      END IF;
      IF v_error LIKE 'refused %' THEN
        CALL gman_outbox_set_aside(SUBSTRING_INDEX(SUBSTRING(v_error, 9), ':', 1), v_error, 5);
      ELSEIF v_error LIKE 'failed %' AND @gman_outbox_doubt <> 1 AND v_low = v_high THEN
        CALL gman_outbox_set_aside(v_low, v_error, 8);
      END IF;
      IF v_forgets THEN SELECT kept INTO v_kept FROM gman_outbox_state WHERE one = 1; END IF;

      IF v_error IS NULL THEN
        IF v_failing THEN CALL gman_outbox_note(NULL); END IF;
        SET v_failing = FALSE;
        -- Without a gap there is nobody who could come late.
        IF v_low = v_horizon AND v_count = v_high - v_low + 1 AND NOT @gman_outbox_cluster THEN SET v_horizon = v_high + 1; END IF;
        -- Half a batch: more have come meanwhile. Less: let some gather.
        IF v_span > 1 AND v_high - v_first < v_span DIV 2 AND NOT v_wakes THEN DO SLEEP(0.01); END IF;
        SET v_span = v_most;
      END IF;
    END IF;

    IF v_error IS NOT NULL THEN
      IF NOT v_noted OR v_error LIKE 'refused %' THEN CALL gman_outbox_note(v_error); END IF;
      SET v_failing = TRUE, v_noted = TRUE, v_span = 1, v_error = NULL;
      IF v_acknowledged IS NULL THEN
        DO SLEEP(0.05);
      ELSE
        DO SLEEP(v_backoff);
        SET v_backoff = LEAST(2 * v_backoff, 1);
      END IF;
    END IF;
  END WHILE;

  UPDATE gman_outbox_state
     SET horizon = v_horizon, top = v_top, next_horizon_runs = IF(v_horizon > next_horizon, 0, next_horizon_runs)
   WHERE one = 1 AND (horizon <> v_horizon OR top <> v_top);
  DO RELEASE_LOCK(v_lock);
END run$$

CREATE EVENT gman_outbox_relay
  ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE
  COMMENT 'hands committed rows of gman_outbox to the job servers'
DO BEGIN
  SET autocommit = 1;
  SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;
  CALL gman_outbox_run(1);
END$$

DELIMITER ;

DO RELEASE_LOCK(CONCAT('gman_outbox ', CRC32(DATABASE()), ' ', LEFT(DATABASE(), 40)));
SELECT IF(@@event_scheduler = 'ON', 'relaying', 'waiting: SET GLOBAL event_scheduler = ON, and the same in my.cnf') AS outbox;

-- Ends this file if the loadable function is there: DROP FUNCTION would take it for the stored one. The
-- error has to come from a SET, as a procedure that raised it would stay behind.
SET @gman_sql = IF(EXISTS (SELECT 1 FROM mysql.func WHERE name = 'gman_do_background'),
  'SET default_storage_engine = ''The outbox is ready for INSERT. For gman_do_background as well, DROP FUNCTION the loadable one and run this again.''',
  'DO 0');
PREPARE gman_statement FROM @gman_sql;
EXECUTE gman_statement;
DEALLOCATE PREPARE gman_statement;

DROP FUNCTION IF EXISTS gman_do_background;

DELIMITER $$

-- The name and the arguments of the loadable function, without the unique id: the relay gives each
-- row one of its own. Returns O:<id>. NULL is an empty workload, as there.
--
-- It writes data, and says READS SQL DATA all the same: a server with a binary log wants
-- log_bin_trust_function_creators for a function that says that it writes. No server holds a
-- function to what it says.
CREATE FUNCTION gman_do_background(p_function VARCHAR(255) CHARACTER SET utf8mb4, p_workload LONGBLOB)
RETURNS VARCHAR(22) CHARACTER SET ascii
NOT DETERMINISTIC READS SQL DATA
BEGIN
  INSERT INTO gman_outbox (`function`, workload) VALUES (p_function, COALESCE(p_workload, ''));
  RETURN CONCAT('O:', LAST_INSERT_ID());
END$$

DELIMITER ;

SET sql_mode = @gman_sql_mode;
