-- A commit wakes the relay of the outbox, which looks 20 times a second otherwise.
--
--     mysql DATABASE < outbox-wake.sql
--
-- Run it after outbox.sql, in the same schema. Needs the plugin gman_commit, which knows of commits:
--
--     INSTALL PLUGIN gman_commit SONAME 'libgearman_mysql_udf.so';
--
-- Without the plugin the relay looks as before. To undo it: DROP TRIGGER gman_outbox_written.

SET @gman_sql_mode = @@sql_mode, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION';

DROP TRIGGER IF EXISTS gman_outbox_written;

CREATE TRIGGER gman_outbox_written BEFORE INSERT ON gman_outbox FOR EACH ROW
  SET @gman_outbox_written = gman_outbox_written(DATABASE());

SET sql_mode = @gman_sql_mode;

SELECT IF(EXISTS (SELECT 1 FROM information_schema.plugins WHERE plugin_name = 'gman_commit' AND plugin_status = 'ACTIVE'),
          'a commit wakes the relay', 'waiting: INSTALL PLUGIN gman_commit SONAME ''libgearman_mysql_udf.so''') AS outbox;
