// SPDX-License-Identifier: Apache-2.0
#include "CCurl.h"

#include <fcntl.h>

CURLcode sluice_curl_global_init(void) {
    return curl_global_init(CURL_GLOBAL_DEFAULT);
}

CURLcode sluice_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}

CURLcode sluice_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}

CURLcode sluice_curl_set_text(CURL *handle, CURLoption option, const char *value) {
    return curl_easy_setopt(handle, option, value);
}

CURLcode sluice_curl_set_pointer(CURL *handle, CURLoption option, void *value) {
    return curl_easy_setopt(handle, option, value);
}

CURLcode sluice_curl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
    return curl_easy_setopt(handle, option, value);
}

CURLcode sluice_curl_set_body(CURL *handle, const void *bytes, size_t count) {
    // The size comes first: without it COPYPOSTFIELDS stops at the first zero byte.
    CURLcode code = curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)count);
    if (code != CURLE_OK) return code;
    return curl_easy_setopt(handle, CURLOPT_COPYPOSTFIELDS, count == 0 ? "" : (const char *)bytes);
}

CURLcode sluice_curl_set_write(CURL *handle, sluice_curl_bytes_callback callback, void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, callback);
    if (code != CURLE_OK) return code;
    return curl_easy_setopt(handle, CURLOPT_WRITEDATA, context);
}

CURLcode sluice_curl_set_header(CURL *handle, sluice_curl_bytes_callback callback, void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, callback);
    if (code != CURLE_OK) return code;
    return curl_easy_setopt(handle, CURLOPT_HEADERDATA, context);
}

CURLcode sluice_curl_set_read(CURL *handle, sluice_curl_bytes_callback callback,
                              sluice_curl_seek_callback seek, void *context) {
    CURLcode code = curl_easy_setopt(handle, CURLOPT_READFUNCTION, callback);
    if (code != CURLE_OK) return code;
    code = curl_easy_setopt(handle, CURLOPT_READDATA, context);
    if (code != CURLE_OK) return code;
    code = curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, seek);
    if (code != CURLE_OK) return code;
    return curl_easy_setopt(handle, CURLOPT_SEEKDATA, context);
}

static int close_on_exec(void *context, curl_socket_t socket, curlsocktype purpose) {
    (void)context;
    (void)purpose;
    int flags = fcntl(socket, F_GETFD);
    if (flags >= 0) (void)fcntl(socket, F_SETFD, flags | FD_CLOEXEC);
    return CURL_SOCKOPT_OK;
}

CURLcode sluice_curl_set_close_on_exec(CURL *handle) {
    return curl_easy_setopt(handle, CURLOPT_SOCKOPTFUNCTION, close_on_exec);
}

CURLcode sluice_curl_get_long(CURL *handle, CURLINFO info, long *value) {
    return curl_easy_getinfo(handle, info, value);
}

CURLMcode sluice_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}

CURL *sluice_curl_multi_next_done(CURLM *multi, CURLcode *result) {
    int left = 0;
    CURLMsg *message;
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            *result = message->data.result;
            return message->easy_handle;
        }
    }
    return NULL;
}

#define NAME(code) \
    case code:     \
        return #code

const char *sluice_curl_code_name(CURLcode code) {
    switch (code) {
        NAME(CURLE_OK);
        NAME(CURLE_UNSUPPORTED_PROTOCOL);
        NAME(CURLE_FAILED_INIT);
        NAME(CURLE_URL_MALFORMAT);
        NAME(CURLE_COULDNT_RESOLVE_PROXY);
        NAME(CURLE_COULDNT_RESOLVE_HOST);
        NAME(CURLE_COULDNT_CONNECT);
        NAME(CURLE_WEIRD_SERVER_REPLY);
        NAME(CURLE_PARTIAL_FILE);
        NAME(CURLE_WRITE_ERROR);
        NAME(CURLE_READ_ERROR);
        NAME(CURLE_OUT_OF_MEMORY);
        NAME(CURLE_OPERATION_TIMEDOUT);
        NAME(CURLE_RANGE_ERROR);
        NAME(CURLE_SSL_CONNECT_ERROR);
        NAME(CURLE_ABORTED_BY_CALLBACK);
        NAME(CURLE_BAD_FUNCTION_ARGUMENT);
        NAME(CURLE_INTERFACE_FAILED);
        NAME(CURLE_UNKNOWN_OPTION);
        NAME(CURLE_GOT_NOTHING);
        NAME(CURLE_SSL_ENGINE_NOTFOUND);
        NAME(CURLE_SEND_ERROR);
        NAME(CURLE_RECV_ERROR);
        NAME(CURLE_SSL_CERTPROBLEM);
        NAME(CURLE_SSL_CIPHER);
        NAME(CURLE_PEER_FAILED_VERIFICATION);
        NAME(CURLE_BAD_CONTENT_ENCODING);
        NAME(CURLE_FILESIZE_EXCEEDED);
        NAME(CURLE_USE_SSL_FAILED);
        NAME(CURLE_SEND_FAIL_REWIND);
        NAME(CURLE_LOGIN_DENIED);
        NAME(CURLE_SSL_CACERT_BADFILE);
        NAME(CURLE_SSL_SHUTDOWN_FAILED);
        NAME(CURLE_AGAIN);
        NAME(CURLE_SSL_CRL_BADFILE);
        NAME(CURLE_SSL_ISSUER_ERROR);
        NAME(CURLE_NO_CONNECTION_AVAILABLE);
        NAME(CURLE_SSL_PINNEDPUBKEYNOTMATCH);
        NAME(CURLE_SSL_INVALIDCERTSTATUS);
        NAME(CURLE_RECURSIVE_API_CALL);
        NAME(CURLE_SSL_CLIENTCERT);
        NAME(CURLE_UNRECOVERABLE_POLL);
        default: return "CURLE_OTHER";
    }
}
