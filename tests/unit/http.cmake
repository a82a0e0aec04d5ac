reembed_unit_test(test_http
    test_http_base64.c
    test_http_dialect.c
    test_http_number.c
    test_http_retry_after.c
    test_http_scanner.c
    LIBS reembed_embed_http reembed_embed reembed_base PkgConfig::CJSON m)
