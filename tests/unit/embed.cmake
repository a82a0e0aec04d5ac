reembed_unit_test(test_embed
    test_hashing.c
    test_models.c
    test_onnx_parts.c
    test_wordpiece.c
    fixture.c
    LIBS reembed_embed m)

reembed_unit_test(test_onnx
    test_onnx.c
    fixture.c
    LIBS reembed_embed m)

foreach(subject IN ITEMS embed failures)
    reembed_unit_test(test_worker_${subject}
        test_worker_${subject}.c
        embed_batch.c
        scripted_provider.c
        LIBS reembed_worker)
endforeach()

reembed_plain_test(race_onnx_runner
    race_onnx_runner.c
    LIBS reembed_embed)
