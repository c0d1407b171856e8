<?php
/*
 * The page of the tutorial: it reads the nine names from Redis, and from MySQL those that Redis does
 * not have, which it then puts into Redis. A change goes to MySQL alone; the trigger, gearmand and a
 * worker bring it to Redis. A page that is open shows it without a reload, if the worker publishes what it
 * writes (gman worker --publish changes): the page keeps /changes open, where the server names it.
 *
 * Needs PHP 8 with the extensions redis and mysqli (Debian: php-fpm php-redis php-mysql). `serve`
 * beside this file runs it with nginx and php-fpm. Where the servers are is in the environment:
 * REDIS and MYSQL as host:port, CHANNEL, MYSQL_USER, MYSQL_PASSWORD and MYSQL_DATABASE.
 */
declare(strict_types=1);

const IDS = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const NAME_LENGTH = 8; // characters: the column is a CHAR(8)

/*
 * What is wrong with a value, and not with the server: ER_TRUNCATED_WRONG_VALUE_FOR_FIELD, for letters that
 * the column cannot hold, and ER_DATA_TOO_LONG.
 */
const VALUE_ERRORS = [1366, 1406];

/* Errors of the client begin here: no connection, or none any more. */
const FIRST_CLIENT_ERROR = 2000;

// Seconds. No page takes longer than all of them together.
const REDIS_TIMEOUT = 0.5;
const MYSQL_CONNECT_TIMEOUT = 1;
const MYSQL_READ_TIMEOUT = 2;

/*
 * How long, in seconds, what this page has put into Redis stays there. What the worker puts there
 * stays until the next change.
 */
const FILLED_FOR = 60;

/*
 * How long, in seconds, one answer of /changes goes on; then the browser asks again. It holds a process of
 * php-fpm meanwhile.
 */
const STREAM_FOR = 8;

/* How soon, in milliseconds, the browser asks again. */
const STREAM_PAUSE = 200;

mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
header("Content-Security-Policy: default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'");
header('Cache-Control: no-store');

if (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) === '/changes') {
    stream();
    exit;
}
$problem = $_SERVER['REQUEST_METHOD'] === 'POST' ? change() : null;
show(read(), $problem);

/* ---- Reading: Redis first, MySQL second ---- */

/** The nine names, where each came from, and how the two servers did. */
function read(): array
{
    $answers = ['rows' => [], 'redis' => new Server('Redis'), 'mysql' => new Server('MySQL')];
    ['redis' => $redis, 'mysql' => $mysql] = $answers;

    $cached = $redis->ask(fn () => redis()->mGet(array_map('strval', IDS))) ?? [];
    $missing = [];
    foreach (IDS as $position => $id) {
        // mGet answers false for a key that is not there.
        $name = $cached[$position] ?? false;
        $answers['rows'][$id] = ['name' => $name === false ? null : $name, 'from' => $name === false ? null : 'redis'];
        if ($name === false) {
            $missing[] = $id;
        }
    }

    $stored = $missing ? $mysql->ask(fn () => names($missing)) ?? [] : [];
    foreach ($stored as $id => $name) {
        $answers['rows'][$id] = ['name' => $name, 'from' => 'mysql'];
    }
    if ($redis->problem === null) {
        $redis->ask(fn () => fill($stored));
    }
    return $answers;
}

/** The names in MySQL, by id. */
function names(array $ids): array
{
    $places = implode(', ', array_fill(0, count($ids), '?'));
    $query = mysql()->prepare("SELECT id, name FROM test WHERE id IN ($places)");
    $query->execute($ids);
    return array_column($query->get_result()->fetch_all(MYSQLI_ASSOC), 'name', 'id');
}

/**
 * Puts names into Redis that it did not have.
 *
 * Between our SELECT and this SET somebody may have changed the row, and the worker may have been here
 * with the new name. NX leaves that alone: without it, this page would put the old name over the new
 * one, and there it would stay. One case is left, a name that became NULL, for which the worker deletes
 * the key: the time to live ends that.
 *
 * NULL is not put there, because Redis cannot hold it.
 */
function fill(array $names): void
{
    $pipeline = redis()->multi(Redis::PIPELINE);
    foreach (array_filter($names, is_string(...)) as $id => $name) {
        $pipeline->set((string) $id, $name, ['nx', 'ex' => FILLED_FOR]);
    }
    $pipeline->exec();
}

/* ---- Following: what reaches Redis ---- */

/**
 * Server-sent events: the names that Redis has, and then each that changes, as {"3":"sm"}; null for one
 * that Redis does not have any more.
 */
function stream(): void
{
    header('Content-Type: text/event-stream');
    // PHP keeps what is written for a while, if its configuration says so.
    while (ob_get_level() > 0) {
        ob_end_clean();
    }
    send('retry: ' . STREAM_PAUSE);
    try {
        $channel = subscribe();
        // Only now, or a change in between would be missed.
        names_are(array_filter(cached(IDS), is_string(...)));
        $end = hrtime(true) + STREAM_FOR * 1e9;
        while (hrtime(true) < $end && ($id = message($channel, $end)) !== null) {
            if (in_array((int) $id, IDS, true)) {
                names_are(cached([(int) $id]));
            }
        }
    } catch (RedisException) {
        // Without Redis there is nothing to follow. The browser asks again.
    }
}

/** What Redis has for these ids. */
function cached(array $ids): array
{
    $names = redis()->mGet(array_map('strval', $ids));
    return array_combine($ids, array_map(fn ($name) => $name === false ? null : $name, $names));
}

function names_are(array $names): void
{
    send('data: ' . json_encode((object) $names, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE));
}

function send(string $line): void
{
    echo "$line\n\n";
    flush();
}

/**
 * A connection on which Redis writes what is published. The extension's subscribe() does not say when it has
 * begun, and Redis takes a command as a line.
 *
 * @return resource
 */
function subscribe()
{
    [$host, $port] = place('REDIS', '127.0.0.1:6379');
    $channel = @stream_socket_client("tcp://$host:$port", $code, $problem, REDIS_TIMEOUT);
    if ($channel === false) {
        throw new RedisException($problem);
    }
    stream_set_timeout($channel, STREAM_FOR);
    fwrite($channel, 'SUBSCRIBE ' . setting('CHANNEL', 'changes') . "\r\n");
    parts($channel);
    return $channel;
}

/** The next message; null if there is none before the end. */
function message($channel, float $end): ?string
{
    $left = (int) max(1, ($end - hrtime(true)) / 1000);
    stream_set_timeout($channel, intdiv($left, 1_000_000), $left % 1_000_000);
    return parts($channel)[2] ?? null;
}

/** The three parts of an answer: what it is, the channel, and the message. */
function parts($channel): ?array
{
    if (fgets($channel) === false) {
        return null;
    }
    $parts = [];
    for ($part = 0; $part < 3; $part++) {
        $length = (string) fgets($channel);
        // The last part of the first answer is a number and no text.
        $parts[] = str_starts_with($length, '$') ? rtrim((string) fgets($channel), "\r\n") : trim($length);
    }
    return $parts;
}

/* ---- Changing: MySQL alone ---- */

/** Changes the name that the form sends, and answers why not if that fails. */
function change(): ?string
{
    // A form on another site would make the reader's browser say so. The page knows no users and keeps
    // no cookie, so that is all there is to protect; with users, take a token as well.
    if (preg_replace('~^https?://~', '', $_SERVER['HTTP_ORIGIN'] ?? '') !== $_SERVER['HTTP_HOST']) {
        return refuse(403, 'The form was not sent by this page. Nothing was changed.');
    }
    $id = filter_var($_POST['id'] ?? null, FILTER_VALIDATE_INT);
    $name = $_POST['name'] ?? null;
    $wrong = in_array($id, IDS, true) ? what_is_wrong_with($name) : 'There is no row of this id.';
    if ($wrong !== null) {
        return refuse(422, "$wrong Nothing was changed.");
    }
    $mysql = new Server('MySQL');
    $mysql->ask(fn () => mysql()->prepare('UPDATE test SET name = ? WHERE id = ?')->execute([$name, $id]));
    if ($mysql->problem !== null) {
        return match (true) {
            $mysql->isAway() => refuse(503, 'MySQL is away. Nothing was changed.'),
            in_array($mysql->code, VALUE_ERRORS, true) => refuse(422, 'This table cannot hold that name. Nothing was changed.'),
            default => refuse(503, "MySQL refuses: $mysql->problem. Nothing was changed."),
        };
    }
    // So that reloading does not change the row once more.
    header("Location: /?changed=$id", true, 303);
    exit;
}

/** In plain words, why something cannot be a name; null where it can. */
function what_is_wrong_with(mixed $name): ?string
{
    return match (true) {
        !is_string($name) || !preg_match('/^.{1,' . NAME_LENGTH . '}$/us', $name) => 'A name has 1 to ' . NAME_LENGTH . ' characters.',
        // What is seen of it: separators, controls and format characters leave nothing.
        (bool) preg_match('/^[\s\p{Z}\p{C}]*$/u', $name) => 'Spaces alone are no name.',
        // The table of the tutorial is utf8, which ends at three bytes a character.
        (bool) preg_match('/[\x{10000}-\x{10FFFF}]/u', $name) => 'This table cannot hold emoji; take them out of the name.',
        default => null,
    };
}

function refuse(int $status, string $problem): string
{
    http_response_code($status);
    return $problem;
}

/* ---- The two servers ---- */

/** What is known of a server after asking it. */
final class Server
{
    public ?string $problem = null;
    public int $code = 0;
    public bool $asked = false;
    public float $milliseconds = 0;

    public function __construct(public readonly string $name)
    {
    }

    /** Whether there is nobody to ask: it has not refused, it is not there. */
    public function isAway(): bool
    {
        return $this->problem !== null && ($this->code === 0 || $this->code >= FIRST_CLIENT_ERROR);
    }

    /** What $question answers; null where the server is away, and then $problem says why. */
    public function ask(callable $question): mixed
    {
        $this->asked = true;
        $started = hrtime(true);
        try {
            return $question();
        } catch (RedisException | mysqli_sql_exception $problem) {
            $this->problem = $problem->getMessage();
            $this->code = $problem->getCode();
            return null;
        } finally {
            $this->milliseconds += (hrtime(true) - $started) / 1e6;
        }
    }
}

function redis(): Redis
{
    static $redis = null;
    if ($redis === null) {
        [$host, $port] = place('REDIS', '127.0.0.1:6379');
        $connecting = new Redis();
        // It warns as well as throws.
        @$connecting->connect($host, $port, REDIS_TIMEOUT, null, 0, REDIS_TIMEOUT);
        $redis = $connecting;
    }
    return $redis;
}

function mysql(): mysqli
{
    static $mysql = null;
    if ($mysql === null) {
        [$host, $port] = place('MYSQL', '127.0.0.1:3306');
        $connecting = mysqli_init();
        $connecting->options(MYSQLI_OPT_CONNECT_TIMEOUT, MYSQL_CONNECT_TIMEOUT);
        $connecting->options(MYSQLI_OPT_READ_TIMEOUT, MYSQL_READ_TIMEOUT);
        @$connecting->real_connect(
            $host,
            setting('MYSQL_USER', 'page'),
            setting('MYSQL_PASSWORD', 'page'),
            setting('MYSQL_DATABASE', 'test'),
            $port,
        );
        $connecting->set_charset('utf8mb4');
        $mysql = $connecting;
    }
    return $mysql;
}

function setting(string $name, string $default): string
{
    return getenv($name) ?: $default;
}

/** A setting that is host:port. */
function place(string $name, string $default): array
{
    [$host, $port] = explode(':', setting($name, $default));
    return [$host, (int) $port];
}

/* ---- Showing ---- */

/** Text as HTML. */
function h(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5, 'UTF-8');
}

function milliseconds(float $number): string
{
    return number_format($number, 1) . ' ms';
}

/** In one sentence, what to know when a server is away. */
function notice(Server $redis, Server $mysql): ?string
{
    return match (true) {
        $redis->problem !== null && $mysql->problem !== null => 'Redis and MySQL are away. There is nothing to show.',
        $redis->problem !== null => 'Redis is away. The names come from MySQL.',
        $mysql->isAway() => 'MySQL is away. Here is what Redis has; names cannot be changed.',
        $mysql->problem !== null => 'MySQL refuses to answer. Here is what Redis has.',
        default => null,
    };
}

/** What a server did for this page, in a few words. */
function report(Server $server, array $rows): string
{
    if (!$server->asked) {
        return 'not asked';
    }
    if ($server->problem !== null) {
        return "$server->problem, after " . milliseconds($server->milliseconds);
    }
    $count = count(array_keys(array_column($rows, 'from'), strtolower($server->name), true));
    return "$count of " . count($rows) . ' names, ' . milliseconds($server->milliseconds);
}

function show(array $answers, ?string $problem): void
{
    ['rows' => $rows, 'redis' => $redis, 'mysql' => $mysql] = $answers;
    $notice = notice($redis, $mysql);
    if ($redis->problem !== null && $mysql->problem !== null && http_response_code() === 200) {
        http_response_code(503);
    }
    $changed = filter_var($_GET['changed'] ?? null, FILTER_VALIDATE_INT);
    // After a refusal the form is as it was sent.
    $typed = $problem !== null && is_string($_POST['name'] ?? null) ? $_POST['name'] : '';
    $chosen = $problem === null ? $changed : filter_var($_POST['id'] ?? null, FILTER_VALIDATE_INT);
    $took = (microtime(true) - $_SERVER['REQUEST_TIME_FLOAT']) * 1000;
    require __DIR__ . '/page.html.php';
}
