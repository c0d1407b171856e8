-- A table whose rows are kept in Redis: an example of triggers for INSERT, UPDATE and DELETE, and of
-- the job syncRowToRedis, which gman worker does.
--
--     mysql DATABASE < triggers.sql
--
-- Run install.sql first, and name the job servers (gman_servers_set). Starts over when run again: the
-- table `product` is dropped first. For a table of your own, `gman triggers DATABASE.TABLE` prints such
-- triggers, and creates them with --create.
--
-- A job says what a key of Redis is from then on, a hash with every column of the row, or nothing:
--
--     {"key":"product:1","row":{"id":1,"name":"tea","price":2.50,"stock":12},"at":1732999999123.456}
--     {"key":"product:1","row":null,"at":1732999999123.456}
--
-- "at" is when the statement began, in milliseconds since 1970; the worker measures by it how old changes
-- are when Redis has them.
--
-- The three triggers share one function, because gearmand has a queue for each function: with more
-- than one, a DELETE could overtake the UPDATE before it. An UPDATE that changes the primary key
-- deletes the old key first.
--
-- Triggers do not see everything: TRUNCATE, the cascades of foreign keys, and ALTER TABLE change rows
-- without them. UPDATE product SET id = id sends every row again.

SET NAMES utf8mb4;

DROP TABLE IF EXISTS `product`;
CREATE TABLE `product` (
  `id` INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  `name` VARCHAR(40) NOT NULL,
  `price` DECIMAL(8,2) NOT NULL,
  `stock` INT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

DELIMITER $$

CREATE TRIGGER `product_insert_to_redis` AFTER INSERT ON `product` FOR EACH ROW BEGIN
  SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
    'key', CONCAT('product:', NEW.`id`),
    'row', json_object_udf(
      'id', NEW.`id`,
      'name', NEW.`name`,
      'price', NEW.`price`,
      'stock', NEW.`stock`),
    'at', CAST(@@timestamp * 1000 AS DECIMAL(17,3))));
END$$

CREATE TRIGGER `product_update_to_redis` AFTER UPDATE ON `product` FOR EACH ROW BEGIN
  IF OLD.`id` <> NEW.`id` THEN
    SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
      'key', CONCAT('product:', OLD.`id`),
      'row', NULL,
      'at', CAST(@@timestamp * 1000 AS DECIMAL(17,3))));
  END IF;
  SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
    'key', CONCAT('product:', NEW.`id`),
    'row', json_object_udf(
      'id', NEW.`id`,
      'name', NEW.`name`,
      'price', NEW.`price`,
      'stock', NEW.`stock`),
    'at', CAST(@@timestamp * 1000 AS DECIMAL(17,3))));
END$$

CREATE TRIGGER `product_delete_to_redis` AFTER DELETE ON `product` FOR EACH ROW BEGIN
  SET @RECV = gman_do_background('syncRowToRedis', json_object_udf(
    'key', CONCAT('product:', OLD.`id`),
    'row', NULL,
    'at', CAST(@@timestamp * 1000 AS DECIMAL(17,3))));
END$$

DELIMITER ;

INSERT INTO `product` (`name`, `price`, `stock`) VALUES ('tea', 2.50, 12), ('coffee', 3.20, 7);
