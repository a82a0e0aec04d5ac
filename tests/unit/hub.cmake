reembed_unit_test(test_hub test_hub.c LIBS reembed_hub reembed_base)
