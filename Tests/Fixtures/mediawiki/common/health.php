<?php
# SPDX-License-Identifier: Apache-2.0
# Reads the database as this release does, and says which release it is.
define( 'MW_ENTRY_POINT', 'health' );
require __DIR__ . '/includes/WebStart.php';
$services = MediaWiki\MediaWikiServices::getInstance();
$database = $services->getDBLoadBalancer()->getConnection( DB_REPLICA );
header( 'Content-Type: text/plain' );
echo 'pages: ', $database->selectField( 'page', 'count(*)', '', 'health' ), "\n";
