<?php
// SPDX-License-Identifier: Apache-2.0

declare(strict_types=1);

// An application that knows nothing of Sluice; the same with sluice.php and without it.

switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/':
        echo 'shown';
        break;
    case '/bad':
        http_response_code(400);
        header('Retry-After: 9');
        echo str_repeat('cannot save ', 1000);
        break;
    case '/moved':
        header('Location: /', true, 302);
        header('Set-Cookie: a=b');
        break;
    case '/long':
        for ($line = 0; $line < 5000; $line++) {
            echo "line $line\n";
        }
        break;
    case '/pieces':
        ob_start();
        echo 'one';
        ob_end_flush();
        while (ob_get_level() > 0) {
            ob_end_flush();
        }
        flush();
        echo ' two';
        break;
    case '/replaced':
        echo 'half a page';
        ob_end_clean();
        echo 'another';
        break;
    case '/late':
        echo 'half a page';
        throw new RuntimeException('a fault of the application');
    case '/handled':
        set_exception_handler(function (Throwable $error): void {
            http_response_code(500);
            echo 'a page for ', $error->getMessage();
        });
        throw new RuntimeException('a fault of the application');
    case '/fatal':
        no_such_function();
        break;
    case '/session':
        session_start();
        $_SESSION['seen'] = ($_SESSION['seen'] ?? 0) + 1;
        echo 'seen ', $_SESSION['seen'];
        break;
    case '/file':
        header('Content-Length: ' . filesize(__FILE__));
        readfile(__FILE__);
        break;
    default:
        http_response_code(404);
        echo 'missing';
}
