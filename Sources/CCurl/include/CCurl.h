// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <curl/curl.h>

// Typed forms of the variadic functions. Each passes its argument on unchanged and returns curl's own code.

CURLcode sluice_curl_global_init(void);

CURLcode sluice_curl_set_long(CURL *handle, CURLoption option, long value);
CURLcode sluice_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value);
// curl copies the text.
CURLcode sluice_curl_set_text(CURL *handle, CURLoption option, const char *value);
// curl keeps the pointer until the handle is cleaned up.
CURLcode sluice_curl_set_pointer(CURL *handle, CURLoption option, void *value);
CURLcode sluice_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value);
// curl copies `count` bytes.
CURLcode sluice_curl_set_body(CURL *handle, const void *bytes, size_t count);

typedef size_t (*sluice_curl_bytes_callback)(char *bytes, size_t size, size_t count, void *context);
typedef int (*sluice_curl_seek_callback)(void *context, curl_off_t offset, int origin);

CURLcode sluice_curl_set_write(CURL *handle, sluice_curl_bytes_callback callback, void *context);
CURLcode sluice_curl_set_header(CURL *handle, sluice_curl_bytes_callback callback, void *context);
CURLcode sluice_curl_set_read(CURL *handle, sluice_curl_bytes_callback callback,
                              sluice_curl_seek_callback seek, void *context);

// Sockets that a child process does not inherit (FD_CLOEXEC).
CURLcode sluice_curl_set_close_on_exec(CURL *handle);

CURLcode sluice_curl_get_long(CURL *handle, CURLINFO info, long *value);

CURLMcode sluice_curl_multi_set_long(CURLM *multi, CURLMoption option, long value);

// The next finished transfer of a multi handle: its easy handle, or NULL when there is none.
CURL *sluice_curl_multi_next_done(CURLM *multi, CURLcode *result);

// "CURLE_COULDNT_CONNECT" and so on; "CURLE_OTHER" for what has no name here.
const char *sluice_curl_code_name(CURLcode code);
