<?php
// SPDX-License-Identifier: Apache-2.0

declare(strict_types=1);

// What a person's application does; its pages are the test's.

function database(): PDO
{
    return new PDO('pgsql:host=' . getenv('PGHOST') . ';dbname=adapters_php', getenv('PGUSER'), null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}

function write(): void
{
    database()->exec("INSERT INTO note (text) VALUES ('x')");
}

final class StoredSessions implements SessionHandlerInterface
{
    public function open(string $path, string $name): bool
    {
        return true;
    }

    public function close(): bool
    {
        return true;
    }

    public function read(string $id): string|false
    {
        $statement = database()->prepare('SELECT data FROM session WHERE id = ?');
        $statement->execute([$id]);
        return (string) $statement->fetchColumn();
    }

    public function write(string $id, string $data): bool
    {
        return database()->prepare('INSERT INTO session (id, data) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data, saved = session.saved + 1')
            ->execute([$id, $data]);
    }

    public function destroy(string $id): bool
    {
        return database()->prepare('DELETE FROM session WHERE id = ?')->execute([$id]);
    }

    public function gc(int $max_lifetime): int|false
    {
        return 0;
    }
}

switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/':
        echo $read_only_mode ? 'read-only' : 'normal', ' ', var_export(Sluice\read_only(), true);
        break;
    case '/write':
        echo 'half a page';
        write();
        break;
    case '/caught':
        try {
            write();
        } catch (PDOException $error) {
            Sluice\note($error);
            http_response_code(400);
            echo str_repeat('cannot save ', 1000);
        }
        break;
    case '/pg':
        $connection = pg_connect('dbname=adapters_php');
        pg_send_query($connection, "INSERT INTO note (text) VALUES ('x')");
        if (Sluice\note((string) pg_result_error_field(pg_get_result($connection), PGSQL_DIAG_SQLSTATE))) {
            http_response_code(500);
        }
        break;
    case '/own':
        try {
            write();
        } catch (PDOException $error) {
            Sluice\note($error);
            http_response_code(503);
            header('Retry-After: 99');
        }
        break;
    case '/counted':
        Sluice\unless_read_only('write');
        echo 'counted';
        break;
    case '/enter':
    case '/who':
        session_set_save_handler(new Sluice\Sessions(new StoredSessions()));
        session_start();
        if ($_SERVER['REQUEST_URI'] === '/enter') {
            $_SESSION['name'] = 'ada';
        }
        echo $_SESSION['name'] ?? 'nobody';
        break;
    case '/long':
        for ($line = 0; $line < 5000; $line++) {
            echo "line $line\n";
        }
        break;
    default:
        throw new RuntimeException('a fault of the application');
}
