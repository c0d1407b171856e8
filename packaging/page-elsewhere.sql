-- After examples/web/account.sql, for compose.yaml: the page runs on another host than the database there.
RENAME USER page@127.0.0.1 TO page@'%';
