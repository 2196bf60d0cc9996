<?php
# SPDX-License-Identifier: Apache-2.0
# The settings of a release. What differs between machines, and is secret, is each node's own.
if ( !defined( 'MEDIAWIKI' ) ) {
	exit;
}
require __DIR__ . '/Secrets.php';
$release = trim( file_get_contents( __DIR__ . '/RELEASE' ) );
if ( PHP_SAPI !== 'cli' ) {
	header( "X-Release: $release" );
}

$wgSitename = 'Wiki';
$wgScriptPath = '';
$wgArticlePath = '/wiki/$1';
$wgUsePathInfo = false;
$wgDBtype = 'postgres';
$wgDBmwschema = 'mediawiki';
$wgMainCacheType = CACHE_NONE;
$wgSessionCacheType = CACHE_DB;
$wgLocalisationCacheConf['store'] = 'array';
$wgLocalisationCacheConf['storeDirectory'] = __DIR__ . '/l10n';
$wgLocalisationCacheConf['manualRecache'] = true;
$wgLanguageCode = 'en';
$wgEnableUploads = false;
$wgDefaultSkin = 'vector';
# Whoever edits much is slowed down; the test's people do.
$wgRateLimits = [];
$wgGroupPermissions['*']['edit'] = false;

wfLoadSkin( 'Vector' );
wfLoadExtensions( [ 'ParserFunctions', 'Cite' ] );
if ( $release !== 'v1' ) {
	wfLoadExtensions( [ 'AbuseFilter', 'OATHAuth' ] );
}
