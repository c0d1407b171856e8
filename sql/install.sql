-- Creates the functions of libgearman_mysql_udf.so.
--
--     mysql < install.sql
--
-- Copy the library into the server's plugin directory first (SELECT @@plugin_dir). Safe to run
-- again: a function that exists is left alone, so that no trigger misses it even for a moment.
-- Needs the mysql or mariadb client (DELIMITER) and an account that may create routines in the
-- schema `mysql` and insert into mysql.func.
--
-- The server writes CREATE FUNCTION to its binary log: copy the library to the replicas first.
--
-- json_object and json_array are not created here, because a server with a native function of
-- that name refuses it: see install-json-names.sql for the servers where they are free.

DROP PROCEDURE IF EXISTS mysql.gman_install;

DELIMITER $$
CREATE PROCEDURE mysql.gman_install()
BEGIN
  -- 1125: the function exists. MySQL before 8.0.29 has no CREATE FUNCTION IF NOT EXISTS.
  DECLARE CONTINUE HANDLER FOR 1125 BEGIN END;

  CREATE FUNCTION json_object_udf RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION json_array_udf RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION json_members RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION json_values RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION json_base64 RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION lib_mysqludf_json_info RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_servers_set RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_check RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_flush RETURNS INTEGER SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_do RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_do_high RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_do_low RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_do_background RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_do_high_background RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_do_low_background RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_do_epoch RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE AGGREGATE FUNCTION gman_sum RETURNS INTEGER SONAME 'libgearman_mysql_udf.so';
  CREATE AGGREGATE FUNCTION gman_relay RETURNS INTEGER SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_relay_error RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_outbox_written RETURNS INTEGER SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION gman_outbox_wait RETURNS INTEGER SONAME 'libgearman_mysql_udf.so';
END$$
DELIMITER ;

CALL mysql.gman_install();
DROP PROCEDURE mysql.gman_install;

SELECT name, dl AS `library`,
       IF(dl = 'libgearman_mysql_udf.so', 'ready',
          CONCAT('belongs to another library: DROP FUNCTION ', name, ', then run this file again')) AS state
  FROM mysql.func
 WHERE name LIKE 'gman\_%' OR name LIKE 'json\_%' OR name LIKE 'lib\_mysqludf\_json\_%'
 ORDER BY name;
