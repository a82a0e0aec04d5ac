reembed_unit_test(test_worker_embed
    test_worker_embed.c
    scripted_provider.c
    LIBS reembed_worker)

reembed_unit_test(test_onnx
    test_onnx.c
    fixture.c
    LIBS reembed_embed m)
