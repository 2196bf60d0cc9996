<?php
// SPDX-License-Identifier: Apache-2.0

declare(strict_types=1);

// Run by scripts/test-adapters: a real PHP with auto_prepend_file, and the refusals of a real PostgreSQL.

$folder = sys_get_temp_dir() . '/sluice-php.' . bin2hex(random_bytes(6));
mkdir($folder);
putenv("SLUICE_MODE_FILE=$folder/mode.json");

function run_sql(string $statement, string $database = 'adapters_php'): array
{
    $connection = new PDO('pgsql:host=' . getenv('PGHOST') . ";dbname=$database", getenv('PGUSER'), null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    return $connection->query($statement)->fetchAll(PDO::FETCH_NUM);
}

run_sql('DROP DATABASE IF EXISTS adapters_php WITH (FORCE)', 'postgres');
run_sql('CREATE DATABASE adapters_php', 'postgres');
foreach ([
    'CREATE TABLE fence (up boolean NOT NULL)', 'INSERT INTO fence VALUES (false)', 'CREATE TABLE note (id serial PRIMARY KEY, text text NOT NULL)',
    'CREATE TABLE session (id text PRIMARY KEY, data text NOT NULL, saved integer NOT NULL DEFAULT 0)',
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (SELECT up FROM fence) THEN
        RAISE EXCEPTION 'this database is read-only while an upgrade runs' USING ERRCODE = '25006'; END IF; RETURN NULL; END $$",
    'CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON note FOR EACH STATEMENT EXECUTE FUNCTION refuse()',
    'CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON session FOR EACH STATEMENT EXECUTE FUNCTION refuse()',
] as $statement) {
    run_sql($statement);
}

$probe = stream_socket_server('tcp://127.0.0.1:0');
$address = stream_socket_get_name($probe, false);
fclose($probe);
$server = proc_open(
    [PHP_BINARY, '-d', 'auto_prepend_file=' . dirname(__DIR__) . '/sluice.php', '-d', 'display_errors=0', '-d', "error_log=$folder/errors", '-S', $address,
        '-t', __DIR__ . '/site'],
    [0 => ['file', '/dev/null', 'r'], 1 => ['file', "$folder/server", 'w'], 2 => ['file', "$folder/server", 'a']], $pipes);
register_shutdown_function(function () use ($server, $folder): void {
    proc_terminate($server, 9);
    proc_close($server);
    array_map('unlink', glob("$folder/*"));
    rmdir($folder);
});
for ($tries = 0; @stream_socket_client("tcp://$address") === false; $tries++) {
    $tries < 200 || exit("PHP's server does not answer: " . file_get_contents("$folder/server"));
    usleep(50000);
}

/** Status, headers by their lower case, body. */
function ask(string $path, array $headers = []): array
{
    global $address;
    $lines = array_map(fn ($name, $value) => "$name: $value", array_keys($headers), $headers);
    $context = stream_context_create(['http' => ['ignore_errors' => true, 'header' => implode("\r\n", $lines), 'method' => 'GET']]);
    $body = file_get_contents("http://$address$path", false, $context);
    $found = [];
    foreach (array_slice($http_response_header, 1) as $line) {
        [$name, $value] = explode(':', $line, 2);
        $found[strtolower($name)] = trim($value);
    }
    return [(int) explode(' ', $http_response_header[0])[1], $found, $body];
}

function fence(callable $inside): void
{
    run_sql('UPDATE fence SET up = true');
    try {
        $inside();
    } finally {
        run_sql('UPDATE fence SET up = false');
    }
}

function mode(?string $text): void
{
    $path = getenv('SLUICE_MODE_FILE');
    $text === null ? @unlink($path) : file_put_contents($path, $text);
}

function is(mixed $expected, mixed $seen, string $where = ''): void
{
    $expected === $seen || throw new Exception("$where: expected " . var_export($expected, true) . ', saw ' . var_export($seen, true));
}

const READ_ONLY = ['X-Sluice-Mode' => 'read-only'];
const CLOSED = '{"version": 1, "readOnly": true, "retryAfterSeconds": 7, "message": "We are upgrading."}';

$tests = [
    'code and templates see the mode' => function (): void {
        is('read-only true', ask('/', READ_ONLY)[2]);
        is('normal false', ask('/')[2]);
        mode(CLOSED);
        is('read-only true', ask('/')[2]);
        is('normal false', ask('/', ['X-Sluice-Mode' => 'normal'])[2]);
    },
    'a damaged file is read-only' => function (): void {
        foreach (['', '{', '[]', 'null', '{"version": 1}', '3'] as $text) {
            mode($text);
            is('read-only true', ask('/')[2], $text);
        }
    },
    'a refused write is a 503 that says when to come again in the clients words' => function (): void {
        mode(CLOSED);
        fence(function (): void {
            foreach (['/write', '/caught', '/pg'] as $path) {
                [$status, $headers, $body] = ask($path, ['Accept' => 'application/json']);
                is([503, '7', 'no-store'], [$status, $headers['retry-after'] ?? null, $headers['cache-control'] ?? null], $path);
                is(['error' => 'read-only', 'message' => 'We are upgrading.', 'retryAfter' => 7], json_decode($body, true), "$path: $body");
            }
            is(true, str_contains(ask('/write', ['Accept' => 'text/html,*/*'])[2], '<p>We are upgrading.</p>'));
            is("We are upgrading.\n", ask('/write')[2]);
            is('99', ask('/own')[1]['retry-after']);
        });
        is('half a page', ask('/write')[2]);
    },
    'a counter is left out' => function (): void {
        fence(function (): void {
            is([200, 'counted'], [ask('/counted')[0], ask('/counted', READ_ONLY)[2]]);
        });
    },
    'whoever is logged in is served in the window and stays logged in after it' => function (): void {
        [, $headers] = ask('/enter');
        $cookie = ['Cookie' => explode(';', $headers['set-cookie'])[0]];
        $before = run_sql('SELECT id, saved FROM session');
        fence(function () use ($cookie): void {
            is([200, 'ada'], [ask('/who', $cookie)[0], ask('/who', $cookie + READ_ONLY)[2]]);
            is([200, 200], [ask('/enter')[0], ask('/enter', READ_ONLY)[0]]);
        });
        is($before, run_sql('SELECT id, saved FROM session'));
        is('ada', ask('/who', $cookie)[2]);
    },
    'other errors stay what they are and a long answer comes whole' => function (): void {
        is(500, ask('/wrong')[0]);
        is(5000, substr_count(ask('/long')[2], "\n"));
    },
];
$failed = 0;
foreach ($tests as $name => $test) {
    mode(null);
    try {
        $test();
        echo "ok - $name\n";
    } catch (Throwable $error) {
        $failed++;
        echo "not ok - $name\n  {$error->getMessage()} (line {$error->getLine()})\n", @file_get_contents("$folder/errors") ?: '';
    }
}
echo count($tests) - $failed, " passed, $failed failed\n";
exit($failed > 0 ? 1 : 0);
