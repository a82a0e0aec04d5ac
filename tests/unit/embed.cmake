reembed_unit_test(test_worker_embed
    test_worker_embed.c
    scripted_provider.c
    LIBS reembed_worker)
