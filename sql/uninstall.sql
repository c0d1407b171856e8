-- Removes the functions that install.sql creates. Safe to run again.
--
--     mysql < uninstall.sql
--
-- Drop the triggers that call them first; this finds them:
--
--     SELECT trigger_schema, trigger_name FROM information_schema.triggers
--      WHERE action_statement LIKE '%gman\_%' OR action_statement LIKE '%json\_%';
--
-- After install-json-names.sql run uninstall-json-names.sql as well. The library stays mapped
-- until the server restarts; its file can be removed right away.

DROP FUNCTION IF EXISTS json_object_udf;
DROP FUNCTION IF EXISTS json_array_udf;
DROP FUNCTION IF EXISTS json_members;
DROP FUNCTION IF EXISTS json_values;
DROP FUNCTION IF EXISTS json_base64;
DROP FUNCTION IF EXISTS lib_mysqludf_json_info;
DROP FUNCTION IF EXISTS gman_servers_set;
DROP FUNCTION IF EXISTS gman_check;
DROP FUNCTION IF EXISTS gman_flush;
DROP FUNCTION IF EXISTS gman_do;
DROP FUNCTION IF EXISTS gman_do_high;
DROP FUNCTION IF EXISTS gman_do_low;
DROP FUNCTION IF EXISTS gman_do_background;
DROP FUNCTION IF EXISTS gman_do_high_background;
DROP FUNCTION IF EXISTS gman_do_low_background;
DROP FUNCTION IF EXISTS gman_do_epoch;
DROP FUNCTION IF EXISTS gman_sum;
DROP FUNCTION IF EXISTS gman_relay;
DROP FUNCTION IF EXISTS gman_relay_error;
DROP FUNCTION IF EXISTS gman_outbox_written;
DROP FUNCTION IF EXISTS gman_outbox_wait;
