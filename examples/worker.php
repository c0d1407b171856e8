#!/usr/bin/env php
<?php
/*
 * A Gearman worker that writes changed rows to Redis: the job `syncToRedis` with the workload
 * {"id":1,"name":"sm"} becomes SET 1 sm, and with "name":null it becomes DEL 1.
 *
 * No job is lost while Redis is away: the worker finishes a job only after Redis has answered, and
 * tries until it does. A worker that has to stop before that drops its connection, and gearmand
 * gives the job to the next worker. So a job can be done twice, which does no harm to a SET.
 *
 * Needs PHP 8 with the extensions gearman, redis and pcntl (Debian: php-cli php-gearman php-redis).
 */
declare(strict_types=1);

const USAGE = <<<'TEXT'
    Usage: worker.php [--gearmand=HOST:PORT] [--redis=HOST:PORT] [--verbose]

      --gearmand  the Gearman job server [env: GEARMAND] [default: 127.0.0.1:4730]
      --redis     Redis [env: REDIS] [default: 127.0.0.1:6379]
      --verbose   print every job

    TEXT;

const REDIS_TIMEOUT = 2.0; // seconds
const LINE_BYTES = 1000;
const PAUSE = 500_000;     // microseconds between two attempts to reach a server

$options = getopt('', ['gearmand:', 'redis:', 'verbose', 'help'], $parsed);
if (isset($options['help']) || $parsed < $argc) {
    fwrite(isset($options['help']) ? STDOUT : STDERR, USAGE);
    exit(isset($options['help']) ? 0 : 2);
}
$gearmand = $options['gearmand'] ?? (getenv('GEARMAND') ?: '127.0.0.1:4730');
$redisServer = $options['redis'] ?? (getenv('REDIS') ?: '127.0.0.1:6379');
$verbose = isset($options['verbose']);

$running = true;
pcntl_async_signals(true);
foreach ([SIGTERM, SIGINT] as $signal) {
    pcntl_signal($signal, function () use (&$running) { $running = false; });
}

while ($running) {
    $problem = serve($gearmand);
    if ($running) {
        report("gearmand $gearmand: $problem; trying again");
        pause();
    }
}

/** Does jobs until a signal asks to stop or the connection fails; answers what happened to it. */
function serve(string $gearmand): string
{
    global $running;
    try {
        $worker = new GearmanWorker();
        $worker->addServers($gearmand);
        $worker->addFunction('syncToRedis', 'syncToRedis');
        $worker->setTimeout(500); // milliseconds after which work() returns, to look at $running
        do {
            @$worker->work();
        } while ($running && in_array($worker->returnCode(), [GEARMAN_SUCCESS, GEARMAN_WORK_FAIL, GEARMAN_TIMEOUT]));
        return $worker->error();
    } catch (GearmanException $problem) {
        return $problem->getMessage();
    }
}

/** Does one job. */
function syncToRedis(GearmanJob $job): void
{
    global $verbose;
    $workload = $job->workload();
    $row = json_decode($workload, true, flags: JSON_BIGINT_AS_STRING);
    $id = $row['id'] ?? null;
    $name = $row['name'] ?? null;
    if (!is_text($id) || !array_key_exists('name', $row) || !($name === null || is_text($name))) {
        // Trying again would not help, so it ends here. gearmand forgets a background job whether
        // it failed or not, but a client that waits for this one shall know.
        report("syncToRedis: expected an object with \"id\" and \"name\"; the workload was: $workload");
        $job->setReturn(GEARMAN_WORK_FAIL);
        return;
    }
    if ($verbose) {
        echo one_line("syncToRedis $workload"), "\n";
    }
    if (!store((string) $id, $name)) {
        // The one return value for which libgearman sends nothing. The connection closes with the
        // job unfinished, and gearmand gives it to the next worker; `exit` here would finish it.
        $job->setReturn(GEARMAN_LOST_CONNECTION);
    }
}

/** Whether a column's value is one that Redis can hold. */
function is_text(mixed $value): bool
{
    return is_string($value) || is_int($value) || is_float($value);
}

/**
 * Tries until Redis has the value; false when a signal asks to stop before that.
 * NULL, which Redis cannot hold, removes the key: readers find none and ask the database.
 */
function store(string $key, mixed $value): bool
{
    global $running, $redisServer;
    static $redis = null;
    do {
        try {
            $redis ??= connect($redisServer);
            $value === null ? $redis->del($key) : $redis->set($key, (string) $value);
            if ($redis->getLastError() === null) {
                return true;
            }
            throw new RedisException($redis->getLastError());
        } catch (RedisException $problem) {
            $redis = null;
            report("Redis: {$problem->getMessage()}; keeping the job");
            pause();
        }
    } while ($running);
    return false;
}

function connect(string $server): Redis
{
    [$host, $port] = explode(':', "$server:6379");
    $redis = new Redis();
    $redis->connect($host, (int) $port, REDIS_TIMEOUT, null, 0, REDIS_TIMEOUT);
    return $redis;
}

function pause(): void
{
    usleep(PAUSE);
}

function report(string $message): void
{
    fwrite(STDERR, 'worker.php: ' . one_line($message) . "\n");
}

/** What a job brings must not forge a line, fill the log or steer the terminal. */
function one_line(string $text): string
{
    $line = preg_replace('/\xc2[\x80-\x9f]/', '?', addcslashes($text, "\0..\37\177"));
    $more = strlen($line) - LINE_BYTES;
    return $more > 0 ? substr($line, 0, LINE_BYTES) . "... ($more more bytes)" : $line;
}
