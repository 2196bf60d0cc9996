<?php
// SPDX-License-Identifier: Apache-2.0

declare(strict_types=1);

/**
 * The mode that Sluice has put this application into: Sluice\read_only(), and $read_only_mode for templates. php.ini:
 *
 *     auto_prepend_file = /etc/sluice/sluice.php
 *
 * In a request the mode is what the proxy said with it (X-Sluice-Mode); on the command line, what the agent's mode.json says. Without
 * either an application is in its normal mode. See docs/adapters.md.
 */

namespace Sluice;

/** What one request is to know. */
final class State
{
    /** A day: what is longer is no time to come again. */
    private const LONGEST_RETRY_AFTER = 86400;

    public bool $readOnly = false;
    /** Seconds. */
    public int $retryAfter = 5;
    public string $message = 'Read-only for the moment. Please try again shortly.';
    /** Whether the database has refused a write of this request: whatever the application makes of it, it is no fault of the client. */
    public bool $refused = false;
    /** Whether our answer has taken the place of the application's. */
    public bool $isAnswered = false;

    /** Of this request; on the command line a look at the file. */
    public static function current(): self
    {
        static $state = null;
        if (PHP_SAPI === 'cli') {
            return self::ofFile();
        }
        if ($state === null) {
            $state = self::ofFile();
            $header = $_SERVER['HTTP_X_SLUICE_MODE'] ?? '';
            if ($header === 'read-only' || $header === 'normal') {
                $state->readOnly = $header === 'read-only';
            }
        }
        return $state;
    }

    /** No file: normal. One that cannot be understood: read-only, as the agent takes it. */
    public static function ofFile(): self
    {
        $state = new self();
        $path = getenv('SLUICE_MODE_FILE') ?: '/run/sluice/mode.json';
        clearstatcache(true, $path);
        // Waits for nobody: a pipe or a directory in its place is no file of the agent's.
        $text = @is_file($path) && is_readable($path) ? @file_get_contents($path, false, null, 0, 65536) : false;
        if ($text === false) {
            return $state;
        }
        $mode = json_decode($text, true);
        $state->readOnly = is_array($mode) && isset($mode['readOnly']) ? (bool) $mode['readOnly'] : true;
        $after = is_array($mode) ? $mode['retryAfterSeconds'] ?? null : null;
        if (is_numeric($after) && $after >= 1) {
            $state->retryAfter = (int) min($after, self::LONGEST_RETRY_AFTER);
        }
        $message = is_array($mode) ? $mode['message'] ?? null : null;
        if (is_string($message) && $message !== '') {
            $state->message = $message;
        }
        return $state;
    }
}

/** The flag for code. */
function read_only(): bool
{
    return State::current()->readOnly;
}

/** Whether an error, or one that it came from, is a write that the database refused because it is read-only. */
function is_refused(\Throwable $error): bool
{
    for ($one = $error; $one !== null; $one = $one->getPrevious()) {
        $code = $one instanceof \PDOException ? ($one->errorInfo[0] ?? $one->getCode()) : $one->getCode();
        if (is_refusal((string) $code) || (method_exists($one, 'getSQLState') && is_refusal((string) $one->getSQLState()))) {
            return true;
        }
    }
    return false;
}

/** read_only_sql_transaction; while read-only insufficient_privilege as well, which a sequence says behind the fence. */
function is_refusal(string $code): bool
{
    return $code === '25006' || ($code === '42501' && read_only());
}

/**
 * Remembers that the database refused a write, for an application that catches the database's errors itself: whatever it answers with 4xx
 * or 5xx becomes the 503. An SQLSTATE will do, as pg_result_error_field() says it. Returns whether it was refused.
 */
function note(\Throwable|string $error): bool
{
    $is = is_string($error) ? is_refusal($error) : is_refused($error);
    if ($is) {
        State::current()->refused = true;
    }
    return $is;
}

/** For a write that a reader would not miss (a counter, "last seen"): left out while read-only, and null then. */
function unless_read_only(callable $write): mixed
{
    if (read_only()) {
        return null;
    }
    $was = State::current()->refused;
    try {
        return $write();
    } catch (\Throwable $error) {
        if (!is_refused($error)) {
            throw $error;
        }
        State::current()->refused = $was;
        return null;
    }
}

/** For a job that has time: returns once writes are open. After so many seconds, false. */
function wait(?float $atMost = null): bool
{
    $began = microtime(true);
    while (State::ofFile()->readOnly) {
        if ($atMost !== null && microtime(true) - $began >= $atMost) {
            return false;
        }
        usleep(1000000);
    }
    return true;
}

/** Around a handler of sessions that writes to the database: session_set_save_handler(new Sluice\Sessions($handler)). */
final class Sessions implements \SessionHandlerInterface
{
    public function __construct(private \SessionHandlerInterface $handler)
    {
    }

    public function open(string $path, string $name): bool
    {
        return $this->handler->open($path, $name);
    }

    public function close(): bool
    {
        return $this->handler->close();
    }

    public function read(string $id): string|false
    {
        return $this->handler->read($id);
    }

    public function write(string $id, string $data): bool
    {
        return unless_read_only(fn () => $this->handler->write($id, $data)) ?? true;
    }

    public function destroy(string $id): bool
    {
        return unless_read_only(fn () => $this->handler->destroy($id)) ?? true;
    }

    public function gc(int $max_lifetime): int|false
    {
        return unless_read_only(fn () => $this->handler->gc($max_lifetime)) ?? 0;
    }
}

/** The words of the 503, as the client asks for them; sets the headers. */
function answer(State $state): string
{
    $accept = strtolower($_SERVER['HTTP_ACCEPT'] ?? '');
    $type = 'text/plain; charset=utf-8';
    $body = $state->message . "\n";
    if (str_contains($accept, 'text/html')) {
        $type = 'text/html; charset=utf-8';
        $message = htmlspecialchars($state->message);
        $body = <<<HTML
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <title>Read-only for the moment</title>
            </head>
            <body>
            <main>
            <h1>Read-only for the moment</h1>
            <p>$message</p>
            <p>What you sent has not been saved. Go back, and send it again in a moment.</p>
            </main>
            </body>
            </html>

            HTML;
    } elseif (str_contains($accept, 'json')) {
        $type = 'application/json';
        $body = json_encode(
            ['error' => 'read-only', 'message' => $state->message, 'retryAfter' => $state->retryAfter],
            JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE
        ) . "\n";
    }
    foreach (['Content-Length', 'Content-Encoding', 'Location', 'ETag', 'Last-Modified'] as $name) {
        header_remove($name);
    }
    http_response_code(503);
    header("Content-Type: $type");
    header('Retry-After: ' . $state->retryAfter);
    header('Cache-Control: no-store');
    header('Vary: Accept', false);
    header('X-Sluice-Refused: database');
    return ($_SERVER['REQUEST_METHOD'] ?? '') === 'HEAD' ? '' : $body;
}

/** The outermost buffer: where an error hides a refused write, the first bytes decide. */
function filter(string $output, int $phase): string
{
    $state = State::current();
    if ($state->isAnswered || ($phase & PHP_OUTPUT_HANDLER_CLEAN) !== 0) {
        return '';
    }
    $status = (int) http_response_code();
    $after = (bool) preg_grep('/^retry-after:/i', headers_list());
    if (!$state->refused || $status < 400 || ($status === 503 && $after) || headers_sent()) {
        return $output;
    }
    $state->isAnswered = true;
    return answer($state);
}

$GLOBALS['read_only_mode'] = read_only();

if (PHP_SAPI !== 'cli') {
    // In pieces, so that a long answer is not kept whole.
    ob_start(filter(...), 4096);
    set_exception_handler(static function (\Throwable $error): void {
        if (!note($error)) {
            // As without this handler.
            throw $error;
        }
        $state = State::current();
        $state->isAnswered = true;
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
        if (!headers_sent()) {
            echo answer($state);
        }
    });
}
