-- Removes json_object and json_array, whichever library they belong to. Safe to run again.
--
--     mysql < uninstall-json-names.sql

DROP FUNCTION IF EXISTS json_object;
DROP FUNCTION IF EXISTS json_array;
