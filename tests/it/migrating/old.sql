-- A schema whose triggers, routines, view and event call json_object and json_array of the C plugin
-- lib_mysqludf_json, beside much that only looks like it. For a server where these names are free.

SET sql_mode = '';
CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(40)) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE json_object (a VARCHAR(200) CHARACTER SET utf8, KEY json_array (a)) ENGINE=InnoDB;
CREATE USER app@localhost;
GRANT ALL ON test.* TO app@localhost;

DELIMITER $$

SET NAMES latin1$$
CREATE DEFINER = app@localhost TRIGGER changed AFTER UPDATE ON t FOR EACH ROW BEGIN
  -- json_object(NEW.id) in a comment
  DECLARE json_array INT DEFAULT 0; # json_array(1)
  /* json_object(1) */
  INSERT INTO json_object (a) VALUES (CONCAT('json_object(1) stays, it''s text; \' ', "json_array(1)", ' café'));
  SET @a = `json_array`(1);
  SET @a = gman_do_background('f', JSON_Object(NEW.id, NEW.name AS `json_object`, json_array/* here */ (1, `my_json_object`(2)) AS json_list));
END$$

SET NAMES utf8$$
SET sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'$$
CREATE TRIGGER inserted AFTER INSERT ON t FOR EACH ROW
  SET @a = gman_do_background('f', CONCAT('\', json_object(NEW.id AS "id"), '\'))$$
SET sql_mode = ''$$

charset gbk
CREATE PROCEDURE send(IN who INT) SQL SECURITY INVOKER COMMENT 'json_object(1)'
BEGIN
  DECLARE tail VARCHAR(10) CHARACTER SET gbk DEFAULT 'ƒ\';
  SELECT json_object(who AS id, HEX(tail) AS tail);
END$$
charset utf8mb4

CREATE FUNCTION my_json_object(a INT) RETURNS INT DETERMINISTIC RETURN a$$
CREATE FUNCTION describe_row(a INT) RETURNS TEXT CHARSET utf8 DETERMINISTIC
  RETURN json_array(my_json_object(a), test.my_json_object(a + 1))$$

CREATE PROCEDURE dynamic()
BEGIN
  SET @sql = 'SELECT json_object(1 AS a)';
  PREPARE s FROM @sql; EXECUTE s; DEALLOCATE PREPARE s;
END$$

CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'it''s json_object(1)'
DO SET @a = json_object(1 AS a)$$

DELIMITER ;

CREATE VIEW described AS SELECT id, json_object(id, name AS `n`) AS doc FROM t;
GRANT EXECUTE ON PROCEDURE send TO app@localhost;
GRANT EXECUTE, ALTER ROUTINE ON FUNCTION describe_row TO app@localhost WITH GRANT OPTION;
