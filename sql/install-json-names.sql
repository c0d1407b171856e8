-- Creates json_object and json_array under the names of the C plugin lib_mysqludf_json, so that
-- triggers written for it stay as they are. Run it after install.sql:
--
--     mysql < install-json-names.sql
--
-- Only where these names are free: MySQL before 5.7.8 and MariaDB before 10.2.3. Every later
-- server has native functions of these names and answers
-- ERROR 1585: This function 'json_object' has the same name as a native function.
-- Use json_object_udf and json_array_udf there.
--
-- Safe to run again, like install.sql.

DROP PROCEDURE IF EXISTS mysql.gman_install_json_names;

DELIMITER $$
CREATE PROCEDURE mysql.gman_install_json_names()
BEGIN
  DECLARE CONTINUE HANDLER FOR 1125 BEGIN END;

  CREATE FUNCTION json_object RETURNS STRING SONAME 'libgearman_mysql_udf.so';
  CREATE FUNCTION json_array RETURNS STRING SONAME 'libgearman_mysql_udf.so';
END$$
DELIMITER ;

CALL mysql.gman_install_json_names();
DROP PROCEDURE mysql.gman_install_json_names;
