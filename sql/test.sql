-- The tutorial's table and trigger, for servers where the name json_object is free: MySQL before
-- 5.7.8 and MariaDB before 10.2.3, after install.sql and install-json-names.sql. For every other
-- server there is test-native-json.sql.
--
--     mysql < test.sql
--
-- Starts over when run again: the table `test`.`test` is dropped first.

CREATE DATABASE IF NOT EXISTS test;
USE test;

DROP TABLE IF EXISTS `test`;
CREATE TABLE `test` (`id` int(7) NOT NULL AUTO_INCREMENT, `name` char(8) DEFAULT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
INSERT INTO `test` VALUES (1,'test1'),(2,'test2'),(3,'test3'),(4,'test4'),(5,'test5'),(6,'test6'),(7,'test7'),(8,'test8'),(9,'test9');

DELIMITER $$
CREATE TRIGGER datatoredis AFTER UPDATE ON test FOR EACH ROW BEGIN
  SET @RECV = gman_do_background('syncToRedis', json_object(NEW.id AS `id`, NEW.name AS `name`));
END$$
DELIMITER ;
