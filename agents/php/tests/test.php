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

/** Serves a directory; returns where. */
function serve(string $site, array $options): string
{
    global $folder;
    $probe = stream_socket_server('tcp://127.0.0.1:0');
    $address = stream_socket_get_name($probe, false);
    fclose($probe);
    $log = "$folder/server-" . count(glob("$folder/server-*"));
    $command = [PHP_BINARY, '-d', 'display_errors=0', '-d', "error_log=$folder/errors"];
    foreach ($options as $option) {
        array_push($command, '-d', $option);
    }
    $server = proc_open(
        [...$command, '-S', $address, '-t', $site], [0 => ['file', '/dev/null', 'r'], 1 => ['file', $log, 'w'], 2 => ['file', $log, 'a']], $pipes);
    register_shutdown_function(function () use ($server): void {
        proc_terminate($server, 9);
        proc_close($server);
    });
    for ($tries = 0; @stream_socket_client("tcp://$address") === false; $tries++) {
        $tries < 200 || exit("PHP's server does not answer: " . file_get_contents($log));
        usleep(50000);
    }
    return $address;
}

$adapter = 'auto_prepend_file=' . dirname(__DIR__) . '/sluice.php';
$address = serve(__DIR__ . '/site', [$adapter]);
// As php.ini has it; the adapter keeps as much back by itself.
$plain = array_map(fn ($more) => serve(__DIR__ . '/plain', ['output_buffering=4096', "session.save_path=$folder", ...$more]), [[], [$adapter]]);
register_shutdown_function(function () use ($folder): void {
    mode(null);
    array_map('unlink', glob("$folder/*"));
    rmdir($folder);
});

/** Status, headers by their lower case, body. */
function ask(string $path, array $headers = [], ?string $at = null, string $method = 'GET'): array
{
    $at ??= $GLOBALS['address'];
    $lines = array_map(fn ($name, $value) => "$name: $value", array_keys($headers), $headers);
    $context = stream_context_create(['http' => [
        'ignore_errors' => true, 'header' => implode("\r\n", $lines), 'method' => $method, 'follow_location' => 0, 'timeout' => 60]]);
    $body = file_get_contents("http://$at$path", false, $context);
    $found = [];
    foreach (array_slice($http_response_header, 1) as $line) {
        [$name, $value] = explode(':', $line, 2);
        $found[strtolower($name)] = trim($value);
    }
    return [(int) explode(' ', $http_response_header[0])[1], $found, $body];
}

/** The same of all requests: what is the server's own, or new with each, left out. */
function seen(string $at, ?string $mode): array
{
    $found = [];
    foreach (['/', '/bad', '/moved', '/long', '/pieces', '/replaced', '/late', '/handled', '/fatal', '/session', '/file', '/missing'] as $path) {
        foreach (['GET', 'HEAD', 'POST'] as $method) {
            $answer = ask($path, $mode === null ? [] : ['X-Sluice-Mode' => $mode], $at, $method);
            unset($answer[1]['date'], $answer[1]['host']);
            if ($path === '/session') {
                $answer[1]['set-cookie'] = explode('=', $answer[1]['set-cookie'])[0];
            }
            $found["$method $path"] = $answer;
        }
    }
    return $found;
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
    @unlink($path) || @rmdir($path);
    $text === null || file_put_contents($path, $text);
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
    'where nobody says a mode a site is as without the adapter' => function () use ($plain): void {
        $without = seen($plain[0], null);
        is(true, count(array_unique(array_column($without, 0))) > 3);
        foreach ([
            'no file' => fn ($path) => true, 'a directory' => 'mkdir', 'a link to itself' => fn ($path) => symlink($path, $path),
            'a pipe into which nobody writes' => fn ($path) => posix_mkfifo($path, 0600), 'a device' => fn ($path) => symlink('/dev/zero', $path),
        ] as $kind => $make) {
            mode(null);
            is(true, $make(getenv('SLUICE_MODE_FILE')), $kind);
            foreach ([null, '', 'garbage', 'normal, read-only', 'READ-ONLY', str_repeat("\xff", 2000)] as $header) {
                foreach (seen($plain[1], $header) as $request => $answer) {
                    is($without[$request], $answer, "$kind, $header, $request");
                }
            }
        }
    },
    'a file that cannot be understood changes nothing for whoever reads' => function () use ($plain): void {
        $without = seen($plain[0], null);
        foreach ([
            '', '{', 'null', '3', str_repeat('[', 60000), str_repeat("\0", 100000), '{"readOnly": true, "retryAfterSeconds": 1e999}',
            '{"readOnly": true, "retryAfterSeconds": [1], "message": ["x"]}', '{"readOnly": true, "message": "\\ud800"}',
        ] as $text) {
            mode($text);
            foreach (seen($plain[1], null) as $request => $answer) {
                is($without[$request], $answer, substr($text, 0, 20) . " $request");
            }
        }
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
