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
DROP PROCEDURE IF EXISTS gman_outbox_set_aside;
DROP PROCEDURE IF EXISTS gman_outbox_settle;
DROP PROCEDURE IF EXISTS gman_outbox_delete;
DROP PROCEDURE IF EXISTS gman_outbox_note;
DROP PROCEDURE IF EXISTS gman_outbox_advance;
DROP PROCEDURE IF EXISTS gman_outbox_set_session;
DROP PROCEDURE IF EXISTS gman_outbox_begin;
DROP PROCEDURE IF EXISTS gman_outbox_check_name;
DROP VIEW IF EXISTS gman_outbox_status;
DROP TABLE IF EXISTS gman_outbox;
DROP TABLE IF EXISTS gman_outbox_dead;
DROP TABLE IF EXISTS gman_outbox_state;

DELIMITER $$
CREATE PROCEDURE gman_outbox_check_name()
BEGIN
  IF EXISTS (SELECT 1 FROM mysql.func WHERE name = 'gman_do_background') THEN
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT =
      'All is removed but a stored function gman_do_background, if there is one: the loadable one would be dropped in its place.';
  END IF;
END$$
DELIMITER ;

DO RELEASE_LOCK(CONCAT('gman_outbox ', CRC32(DATABASE()), ' ', LEFT(DATABASE(), 40)));
CALL gman_outbox_check_name();
DROP PROCEDURE gman_outbox_check_name;
DROP FUNCTION IF EXISTS gman_do_background;
