-- The account with which the page reads the table `test`.`test` and changes names. A database that others
-- can reach needs another password, which the page takes from MYSQL_PASSWORD.

CREATE USER page@localhost IDENTIFIED BY 'page';
CREATE USER page@127.0.0.1 IDENTIFIED BY 'page';
GRANT SELECT, UPDATE (name) ON test.test TO page@localhost;
GRANT SELECT, UPDATE (name) ON test.test TO page@127.0.0.1;
