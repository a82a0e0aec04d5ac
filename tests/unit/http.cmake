reembed_unit_test(test_http
    test_http_base64.c
    test_http_dialect.c
    test_http_number.c
    test_http_retry_after.c
    test_http_scanner.c
    LIBS reembed_embed_http reembed_embed reembed_base PkgConfig::CJSON m)
reembed_unit_test(test_http_provider
    http_server.c
    test_http_fake_server.c
    test_http_faults.c
    test_http_positions.c
    test_http_provider.c
    test_http_worker.c
    LIBS reembed_worker reembed_embed_http reembed_embed reembed_base PkgConfig::CJSON PkgConfig::CURL m)
if(TARGET test_http_provider)
    add_dependencies(test_http_provider fake-embedding-server)
endif()
reembed_plain_test(race_http_provider
    http_server.c
    race_http_provider.c
    LIBS reembed_embed_http reembed_embed reembed_base PkgConfig::CJSON PkgConfig::CURL m)
add_dependencies(race_http_provider fake-embedding-server)
