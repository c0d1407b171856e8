-- What the sale keeps in the database; `flash_sale sell` runs it. Nothing is dropped but the trigger.

CREATE TABLE IF NOT EXISTS sale_item (
    id INT UNSIGNED PRIMARY KEY,
    -- Unsigned: the database, too, refuses to sell more than there is.
    stock INT UNSIGNED NOT NULL
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS sale_order (
    item INT UNSIGNED NOT NULL,
    buyer INT UNSIGNED NOT NULL,
    stored_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    -- One order for each buyer, however often its job is run.
    PRIMARY KEY (item, buyer),
    FOREIGN KEY (item) REFERENCES sale_item (id)
) ENGINE=InnoDB;

-- The page shows what the database holds: the job of gman worker sets stock:ITEM:stored.
-- It is never stock:ITEM, from which the buyers take: the database lags behind that one.
DROP TRIGGER IF EXISTS sale_stock_to_redis;

CREATE TRIGGER sale_stock_to_redis AFTER UPDATE ON sale_item FOR EACH ROW
    SET @handle = gman_do_background('syncToRedis',
        json_object_udf(CONCAT('stock:', NEW.id, ':stored') AS `id`, NEW.stock AS `name`));
