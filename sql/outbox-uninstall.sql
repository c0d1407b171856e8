-- Removes what outbox.sql creates, with the jobs that wait. Safe to run again.
--
--     mysql DATABASE < outbox-uninstall.sql
--
-- Drop the triggers that write to it first; this finds them:
--
--     SELECT trigger_schema, trigger_name FROM information_schema.triggers
--      WHERE action_statement LIKE '%gman\_outbox%' OR action_statement LIKE '%gman\_do\_background%';
--
-- To lose nothing, wait until SELECT depth FROM gman_outbox_status is 0, and look at gman_outbox_dead.

DROP EVENT IF EXISTS gman_outbox_relay;
-- The relay that is running ends by itself.
DO GET_LOCK(CONCAT('gman_outbox ', CRC32(DATABASE()), ' ', LEFT(DATABASE(), 40)), 10);

DROP PROCEDURE IF EXISTS gman_outbox_run;
DROP PROCEDURE IF EXISTS gman_outbox_doubt;
DROP PROCEDURE IF EXISTS gman_outbox_set_aside;
DROP PROCEDURE IF EXISTS gman_outbox_keep_acknowledged;
DROP PROCEDURE IF EXISTS gman_outbox_settle;
DROP PROCEDURE IF EXISTS gman_outbox_delete;
DROP PROCEDURE IF EXISTS gman_outbox_note;
DROP PROCEDURE IF EXISTS gman_outbox_advance;
DROP PROCEDURE IF EXISTS gman_outbox_set_session;
DROP PROCEDURE IF EXISTS gman_outbox_beat;
DROP PROCEDURE IF EXISTS gman_outbox_lease;
DROP PROCEDURE IF EXISTS gman_outbox_begin;
DROP VIEW IF EXISTS gman_outbox_status;
DROP TABLE IF EXISTS gman_outbox;
DROP TABLE IF EXISTS gman_outbox_dead;
DROP TABLE IF EXISTS gman_outbox_acknowledged;
DROP TABLE IF EXISTS gman_outbox_state;

DO RELEASE_LOCK(CONCAT('gman_outbox ', CRC32(DATABASE()), ' ', LEFT(DATABASE(), 40)));

-- See outbox.sql.
SET @gman_sql = IF(EXISTS (SELECT 1 FROM mysql.func WHERE name = 'gman_do_background'),
  'SET default_storage_engine = ''All is removed but a stored function gman_do_background, if there is one: the loadable one would be dropped in its place.''',
  'DO 0');
PREPARE gman_statement FROM @gman_sql;
EXECUTE gman_statement;
DEALLOCATE PREPARE gman_statement;

DROP FUNCTION IF EXISTS gman_do_background;
